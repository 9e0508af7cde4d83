/** What attackers make: things that look right and are not, and the memory of them, so that none is ever found. */
import { hash } from 'node:crypto';
import { type HostId, type Random, randomInt, type Signer } from '../../src/core.ts';
import { encodeRecord, type RecordFields } from '../../src/gossip/replica/codec.ts';
import type { Record } from '../../src/gossip/replica/record.ts';
import { drawBytes } from '../host/keys.ts';

/** Any bytes at all. */
export function garbage(random: Random, maxBytes: number): Uint8Array {
  return drawBytes(random, randomInt(random, maxBytes + 1));
}

/** Somebody's bytes with a few of them changed, the end cut off, something added, or the middle left out. */
export function damaged(bytes: Uint8Array, random: Random): Uint8Array {
  const copy = Uint8Array.from(bytes);
  const at = randomInt(random, copy.length + 1);
  switch (randomInt(random, 4)) {
    case 0:
      for (let flips = 1 + randomInt(random, 4); flips > 0 && copy.length > 0; flips--)
        copy[randomInt(random, copy.length)]! ^= 1 << randomInt(random, 8);
      return copy;
    case 1:
      return copy.subarray(0, at);
    case 2:
      return Buffer.concat([copy, garbage(random, 64)]);
    default:
      return Buffer.concat([copy.subarray(0, at), copy.subarray(at + randomInt(random, 16))]);
  }
}

/** A key that signs in another's name, with signatures that fit nothing. */
export function forger(publicKey: HostId, random: Random): Signer {
  return { publicKey, sign: () => drawBytes(random, 64) };
}

/** Everything that was forged in a run, and must be in no replica. */
export class Forgeries {
  private readonly hashes = new Set<string>();

  /** A record that `author` never signed. */
  forge(fields: RecordFields, author: HostId, random: Random): Record {
    return this.noted(encodeRecord(fields, forger(author, random)));
  }

  /** Takes note of a record that nobody may take in, such as one signed by a key without the right to. */
  noted(record: Record): Record {
    this.hashes.add(hash('md5', record.bytes));
    return record;
  }

  has(record: Record): boolean {
    return this.hashes.size > 0 && this.hashes.has(hash('md5', record.bytes));
  }

  get count(): number {
    return this.hashes.size;
  }
}
