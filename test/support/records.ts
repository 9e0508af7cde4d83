/** Records of several hosts as a replica would hand them to the agent, without signatures: those are gossip's. */
import { Knowledge } from '../../src/agent/knowledge.ts';
import { encodeJson, type HostId } from '../../src/core.ts';
import { type Record, type Scope, slotOf } from '../../src/gossip/replica/record.ts';
import { founder, genesis, operator } from '../unit/trust/mesh.ts';

export const selfId: HostId = founder.publicKey;

export function recordOf(fields: {
  readonly kind: string;
  readonly key?: string;
  /** Null is a tombstone; bytes are taken as they are. */
  readonly value: object | Uint8Array | null;
  readonly author?: HostId;
  readonly scope?: Scope;
  readonly version?: number;
}): Record {
  const { kind, key = '', value, scope = 'host', version = 1 } = fields;
  return {
    scope,
    kind,
    key,
    author: fields.author ?? (scope === 'policy' ? operator.publicKey : selfId),
    version,
    hlc: version * 1024,
    deleted: value === null,
    value: value === null ? new Uint8Array(0) : value instanceof Uint8Array ? value : encodeJson(value),
    bytes: new Uint8Array(0),
    text: '',
  };
}

/** Knowledge over the simplest replica: the highest version of each slot, all that is not gone. */
export class KnownMesh {
  readonly slots = new Map<string, Record>();
  readonly malformed: string[] = [];
  readonly knowledge: Knowledge = new Knowledge({
    self: selfId,
    genesis,
    verify: () => true,
    recordsOf: (author) =>
      [...this.slots.values()].filter((one) => one.author === author && one.scope === 'host'),
    malformed: (record, detail) => this.malformed.push(`${record.kind}: ${detail}`),
    failed: (_failed, error) => {
      throw error;
    },
  });

  apply(...records: readonly Record[]): void {
    const won = records.filter((record) => {
      const held = this.slots.get(slotOf(record));
      if (held !== undefined && held.version >= record.version) return false;
      this.slots.set(slotOf(record), record);
      return true;
    });
    this.knowledge.apply(won);
  }
}
