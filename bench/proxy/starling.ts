/** The subject: two real agents, whose embedded proxies carry the client's requests to the service. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Bird, Flock } from '../../demo/flock.ts';
import { assertFree, assertOwned } from '../processes.ts';
import type { Stage } from '../stage.ts';
import { answering } from './backend.ts';
import type { Subject } from './subject.ts';

export interface StarlingWay {
  /** Last octets of the two agents' addresses 127.0.1.N: beside the client, and beside the service. */
  readonly near: number;
  readonly far: number;
  /** The upstream port of the client, on the near agent's address. */
  readonly upstreamPort: number;
  /** Port of the backend, on the far agent's address. */
  readonly backendPort: number;
}

/**
 * Client -> upstream port of the near agent -> `starling/1` over mutual TLS -> inbound port of the far agent ->
 * backend. The agents are whole: they gossip and renew while they proxy, and that is in their cost.
 */
export async function startStarling(stage: Stage, way: StarlingWay): Promise<Subject> {
  const endpoint = `127.0.1.${way.near}:${way.upstreamPort}`;
  assertFree(endpoint);
  const flock = stage.flock();
  const [near, far] = (await flock.start([
    { n: way.near, name: 'near' },
    { n: way.far, name: 'far' },
  ])) as [Bird, Bird];
  await register(flock, far, { name: 'bench', address: far.address, port: way.backendPort });
  const upstream = {
    destination_name: 'bench',
    local_bind_address: near.address,
    local_bind_port: way.upstreamPort,
  };
  await register(flock, near, {
    name: 'client',
    address: near.address,
    port: way.backendPort,
    connect: { sidecar_service: { proxy: { upstreams: [upstream] } } },
  });
  const allowed = await near.cli('intention', 'create', 'client', 'bench', '--allow', ...flock.operator());
  if (allowed.code !== 0) throw new Error(`intention create: ${allowed.stderr.trim()}`);
  await answering(stage, endpoint, near.program!);
  assertOwned(`${far.address}:${far.inboundPort}`, [far.program!.pid]);
  return { name: 'starling', endpoint, proxies: [near.program!, far.program!] };
}

async function register(flock: Flock, bird: Bird, service: object): Promise<void> {
  const file = join(flock.directory, `${bird.name}.json`);
  writeFileSync(file, JSON.stringify({ service }));
  const result = await bird.cli('register', file);
  if (result.code !== 0) throw new Error(`register on ${bird.name}: ${result.stderr.trim()}`);
}
