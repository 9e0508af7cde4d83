/**
 * What asks for a discovery chain may want otherwise than policy has it, to see what would become of it. Read as
 * Consul reads it. https://developer.hashicorp.com/consul/api-docs/discovery-chain
 */
import { createHash } from 'node:crypto';
import { Fault } from '../../core.ts';
import type { Protocol } from '../../proxy/view.ts';
import type { Json } from './consul.ts';
import { maxDurationMs } from './duration.ts';
import { Fields } from './fields.ts';

export interface ChainOverrides {
  /** Of every service of the chain; null leaves each its own. */
  readonly protocol: Protocol | null;
  /** Of every target; null leaves each its own. */
  readonly connectTimeoutMs: number | null;
  /** Only shown, as there are no mesh gateways; '' for none. */
  readonly meshGatewayMode: string;
}

export const noOverrides: ChainOverrides = { protocol: null, connectTimeoutMs: null, meshGatewayMode: '' };

const protocols = ['tcp', 'http', 'http2', 'grpc'] as const;
const meshGatewayModes = ['none', 'local', 'remote'];

/** `Fault('bad-query')` in Consul's words; fields that it does not know it passes over, and so does this. */
export function parseChainOverrides(body: unknown): ChainOverrides {
  try {
    const fields = new Fields(body, '');
    const gateway = fields.value('OverrideMeshGateway');
    const mode = gateway === undefined ? '' : new Fields(gateway, 'OverrideMeshGateway').string('Mode', '');
    if (mode !== '' && !meshGatewayModes.includes(mode))
      throw new Fault('bad-query', 'Invalid OverrideMeshGateway.Mode parameter');
    const protocol = fields.word('OverrideProtocol', ['', ...protocols], '');
    const connectTimeoutMs = durationIn(fields, 'OverrideConnectTimeout');
    return {
      protocol: protocol === '' ? null : protocol,
      connectTimeoutMs: connectTimeoutMs === 0 ? null : connectTimeoutMs,
      meshGatewayMode: mode,
    };
  } catch (error) {
    if (!(error instanceof Fault) || error.code === 'bad-query') throw error;
    throw new Fault('bad-query', `Request decoding failed: ${error.message}`);
  }
}

/** A duration as text, or as Go's number of nanoseconds. */
function durationIn(fields: Fields, name: string): number {
  const value = fields.value(name);
  if (typeof value !== 'number') return fields.duration(name);
  const milliseconds = Math.round(value / 1_000_000);
  if (milliseconds < 0 || milliseconds > maxDurationMs)
    throw fields.fault('invalid-field', name, 'must be a duration of at most 31 days');
  return milliseconds;
}

/** What Consul puts beside a chain that would be another one without the overrides: eight hex digits. */
export function customizationHash(changed: Json): string {
  return createHash('sha256').update(JSON.stringify(changed)).digest('hex').slice(0, 8);
}
