/**
 * Keyed 64-bit digests, by which two replicas compare what they hold without telling it. The key is the
 * mesh's own, so that nobody outside can look for two records, or two slots, that digest alike; who knows
 * the key gains little, because digests decide what is compared and never what is believed.
 */
import { createHash, hash } from 'node:crypto';
import type { Digest } from '../frames.ts';

/** Bytes of a digest on the wire, and characters of it in memory. */
export const digestBytes = 8;
export const digestKeyBytes = 32;
/** Digest of nothing, and the neutral element of `combine`. */
export const emptyDigest: Digest = '\0'.repeat(digestBytes);

/**
 * What a slot has to do with others: policy comes first (0), with the grants; then what admits authors (1); then what
 * they said (2). Who takes records in another order than this has to refuse some, until it is told again.
 */
export type Rank = 0 | 1 | 2;

/** The leading bits of a slot's digest say its rank: these stay as they fell, and these are set. */
const rankBits: { readonly [rank in Rank]: { readonly kept: number; readonly set: number } } = {
  0: { kept: 0x3f, set: 0 },
  1: { kept: 0x3f, set: 0x40 },
  2: { kept: 0x7f, set: 0x80 },
};

const slotTag = 0;
const recordTag = 1;

/** The key of one mesh, from the hash of its genesis. */
export function digestKeyOf(genesisHash: string): Uint8Array {
  return createHash('sha256').update(`starling replica digests 1\0${genesisHash}`).digest();
}

/** SHA-256 over key, tag and content, cut to eight bytes: a prefix MAC whose output is too short to extend. */
export class Digester {
  private scratch: Buffer;

  constructor(key: Uint8Array) {
    this.scratch = Buffer.alloc(1024);
    this.scratch.set(key.subarray(0, digestKeyBytes));
  }

  /** Names a slot on the wire; names of a lower rank come before those of a higher one. */
  ofSlot(name: string, rank: Rank): Digest {
    const length = Buffer.byteLength(name);
    const scratch = this.room(length);
    scratch.write(name, digestKeyBytes + 1, 'utf8');
    const digest = this.finish(slotTag, length);
    const { kept, set } = rankBits[rank];
    return String.fromCharCode((digest.charCodeAt(0) & kept) | set) + digest.slice(1);
  }

  /** Of a record's bytes, given with one character a byte. */
  ofRecord(text: string): Digest {
    const scratch = this.room(text.length);
    scratch.write(text, digestKeyBytes + 1, 'latin1');
    return this.finish(recordTag, text.length);
  }

  private finish(tag: number, length: number): Digest {
    this.scratch[digestKeyBytes] = tag;
    const whole = this.scratch.subarray(0, digestKeyBytes + 1 + length);
    return hash('sha256', whole, 'binary').slice(0, digestBytes);
  }

  private room(length: number): Buffer {
    const needed = digestKeyBytes + 1 + length;
    if (needed > this.scratch.length) {
      const larger = Buffer.alloc(2 * needed);
      larger.set(this.scratch.subarray(0, digestKeyBytes));
      this.scratch = larger;
    }
    return this.scratch;
  }
}

/** Exclusive-or: adds a digest to a sum, or takes it out again. Neither order nor grouping matters. */
export function combine(a: Digest, b: Digest): Digest {
  let sum = '';
  for (let i = 0; i < digestBytes; i++) sum += String.fromCharCode(a.charCodeAt(i) ^ b.charCodeAt(i));
  return sum;
}

/** The same, in place, of the digest that begins at `start` of a row of them. */
export function combineInto(row: Uint8Array, start: number, digest: Digest): void {
  for (let i = 0; i < digestBytes; i++) row[start + i]! ^= digest.charCodeAt(i);
}
