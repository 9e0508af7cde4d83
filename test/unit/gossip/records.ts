/** Records for tests: unsigned but well-formed, since a replica does not look at signatures. */
import { createHash } from 'node:crypto';
import { encodeJson, type Signer } from '../../../src/core.ts';
import { encodeRecord, type RecordFields } from '../../../src/gossip/replica/codec.ts';
import type { Record } from '../../../src/gossip/replica/record.ts';

/** A key whose signatures are not worth anything, a hundred times faster than a real one. */
export function idleSigner(name: string): Signer {
  const publicKey = createHash('sha256').update(name).digest('hex');
  return { publicKey, sign: () => new Uint8Array(64) };
}

export function makeRecord(
  fields: Partial<Omit<RecordFields, 'value'>> & { author?: string; value?: unknown; deleted?: boolean },
): Record {
  const { author = 'alice', value = {}, deleted = false, ...rest } = fields;
  const version = rest.version ?? 1;
  return encodeRecord(
    {
      scope: 'host',
      kind: 'service',
      key: 'web',
      version,
      hlc: version * 1024,
      ...rest,
      value: deleted ? null : encodeJson(value),
    },
    idleSigner(author),
  );
}
