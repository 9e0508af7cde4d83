/**
 * Writes header blocks for one connection (RFC 7541). A field is added to the table when it comes for the second
 * time in a while: what differs with each message, such as a path or a request id, does not push out the rest.
 */
import { lowerCase } from '../../http1/bytes.ts';
import { copyBytes } from '../copy.ts';
import { FieldKind } from '../field-kind.ts';
import { FieldTable, maxTableBytes } from './field-table.ts';
import { encodeHuffman, huffmanLength } from './huffman.ts';
import { StaticIndex, staticCount, staticFields } from './static-table.ts';

/** What a field may take beyond its name and value: two lengths and a first byte. */
export const fieldOverheadBytes = 10;
/** What a block may begin with. */
export const blockOverheadBytes = 10;

/** Fields remembered to have come once, by their hash. */
const memory = 256;
const memoryMask = memory - 1;
const notAdded = -1;

const hashSeed = 0x811c9dc5 | 0;
const hashPrime = 0x01000193;

/** Static names by hash: the index of the first with that name, or 0; the next slots hold what collided. */
const nameSlots = 256;
const nameMask = nameSlots - 1;
const staticNames = staticFields.map(([name]) => Buffer.from(name));
const staticHashes = Int32Array.from(staticNames, (name) => hashName(name, 0, name.length));
const staticByHash = (() => {
  const table = new Uint8Array(nameSlots);
  staticNames.forEach((_, i) => {
    if (staticFields.findIndex(([other]) => other === staticFields[i]![0]) !== i) return;
    let slot = staticHashes[i] & nameMask;
    while (table[slot] !== 0) slot = (slot + 1) & nameMask;
    table[slot] = i + 1;
  });
  return table;
})();

/** FNV-1a, of the name in lower case. */
function hashName(bytes: Buffer, start: number, end: number): number {
  let hash = hashSeed;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ lowerCase[bytes[i]], hashPrime);
  return hash;
}

function hashValue(nameHash: number, bytes: Buffer, start: number, end: number): number {
  let hash = Math.imul(nameHash ^ 0x3a, hashPrime);
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i], hashPrime);
  return hash;
}

/** The index of the static name that `bytes[start, end)` is in lower case, or 0. */
function staticNameOf(bytes: Buffer, start: number, end: number, hash: number): number {
  for (let slot = hash & nameMask; staticByHash[slot] !== 0; slot = (slot + 1) & nameMask) {
    const name = staticNames[staticByHash[slot]! - 1]!;
    if (name.length === end - start && isSame(bytes, start, name)) return staticByHash[slot]!;
  }
  return 0;
}

function isSame(bytes: Buffer, at: number, name: Buffer): boolean {
  for (let i = 0; i < name.length; i++) if (lowerCase[bytes[at + i]] !== name[i]) return false;
  return true;
}

/** What an attacker who sees lengths must not learn by guessing: never in a table (section 7.1). */
function isSecret(staticName: number): boolean {
  return (
    staticName === StaticIndex.authorization ||
    staticName === StaticIndex.cookie ||
    staticName === StaticIndex.proxyAuthorization ||
    staticName === StaticIndex.setCookie
  );
}

export class Encoder {
  private readonly table = new FieldTable();
  /** By hash: the whole hash, and which entry of the table it became. Made with the first field. */
  private hashes: Int32Array | null = null;
  private entries: Float64Array | null = null;
  /** Limits that the peer set since the last block: the least, and the last. */
  private leastLimit = maxTableBytes;
  private lastLimit = maxTableBytes;
  private limit = maxTableBytes;

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. Beyond what is of use here it changes nothing. */
  setLimit(bytes: number): void {
    this.lastLimit = Math.min(bytes, maxTableBytes);
    this.leastLimit = Math.min(this.leastLimit, this.lastLimit);
  }

  /** Begins a block at `at` of `output`; returns the offset after what it begins with. */
  begin(output: Buffer, at: number): number {
    if (this.leastLimit === this.limit && this.lastLimit === this.limit) return at;
    let to = at;
    if (this.leastLimit < this.lastLimit) to = this.resize(output, to, this.leastLimit);
    to = this.resize(output, to, this.lastLimit);
    this.leastLimit = this.limit = this.lastLimit;
    return to;
  }

  private resize(output: Buffer, at: number, limit: number): number {
    this.table.resize(limit);
    return integer(output, at, 0x20, 5, limit);
  }

  /** A field of the static table. */
  indexed(output: Buffer, at: number, index: number): number {
    output[at] = 0x80 | index;
    return at + 1;
  }

  /**
   * A field with the name `bytes[nameStart, nameEnd)`, in any case, and a value of the same bytes. `output` has
   * room for both and `fieldOverheadBytes`.
   */
  field(
    output: Buffer,
    at: number,
    bytes: Buffer,
    nameStart: number,
    nameEnd: number,
    valueStart: number,
    valueEnd: number,
  ): number {
    const nameHash = hashName(bytes, nameStart, nameEnd);
    const staticName = staticNameOf(bytes, nameStart, nameEnd, nameHash);
    return this.write(output, at, staticName, nameHash, bytes, nameStart, nameEnd, valueStart, valueEnd);
  }

  /** As `field`, with a name of the static table. */
  namedField(
    output: Buffer,
    at: number,
    staticName: number,
    bytes: Buffer,
    valueStart: number,
    valueEnd: number,
  ): number {
    const nameHash = staticHashes[staticName - 1];
    return this.write(output, at, staticName, nameHash, bytes, 0, 0, valueStart, valueEnd);
  }

  private write(
    output: Buffer,
    at: number,
    staticName: number,
    nameHash: number,
    bytes: Buffer,
    nameStart: number,
    nameEnd: number,
    valueStart: number,
    valueEnd: number,
  ): number {
    if (isSecret(staticName)) {
      const to = this.name(output, at, 0x10, 4, staticName, bytes, nameStart, nameEnd);
      return plain(output, to, bytes, valueStart, valueEnd);
    }
    const hash = hashValue(nameHash, bytes, valueStart, valueEnd);
    const slot = hash & memoryMask;
    this.hashes ??= new Int32Array(memory);
    this.entries ??= new Float64Array(memory).fill(notAdded);
    if (this.hashes[slot] !== hash) {
      this.hashes[slot] = hash;
      this.entries[slot] = notAdded;
      const to = this.name(output, at, 0, 4, staticName, bytes, nameStart, nameEnd);
      return plain(output, to, bytes, valueStart, valueEnd);
    }
    const entry = this.entries[slot];
    const { table } = this;
    if (table.has(entry) && this.isEntry(entry, staticName, bytes, nameStart, nameEnd, valueStart, valueEnd))
      return integer(output, at, 0x80, 7, staticCount + (table.added - entry));
    return this.add(output, at, slot, staticName, bytes, nameStart, nameEnd, valueStart, valueEnd);
  }

  private add(
    output: Buffer,
    at: number,
    slot: number,
    staticName: number,
    bytes: Buffer,
    nameStart: number,
    nameEnd: number,
    valueStart: number,
    valueEnd: number,
  ): number {
    const { table } = this;
    const nameEndAt = this.name(output, at, 0x40, 6, staticName, bytes, nameStart, nameEnd);
    const names = staticName === 0 ? output : staticNames[staticName - 1]!;
    const nameLength = staticName === 0 ? nameEnd - nameStart : names.length;
    const nameAt = staticName === 0 ? nameEndAt - nameLength : 0;
    const added = table.added;
    const valueLength = valueEnd - valueStart;
    table.add(names, nameAt, nameLength, bytes, valueStart, valueLength, FieldKind.ordinary);
    // One that is too large for the table has only emptied it.
    this.entries![slot] = table.added > added ? added : notAdded;
    return coded(output, nameEndAt, bytes, valueStart, valueEnd);
  }

  /** The first byte with the index of the name, or the name itself in lower case. */
  private name(
    output: Buffer,
    at: number,
    first: number,
    prefixBits: number,
    staticName: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): number {
    if (staticName !== 0) return integer(output, at, first, prefixBits, staticName);
    output[at] = first;
    let to = integer(output, at + 1, 0, 7, end - start);
    for (let i = start; i < end; i++) output[to++] = lowerCase[bytes[i]];
    return to;
  }

  private isEntry(
    entry: number,
    staticName: number,
    bytes: Buffer,
    nameStart: number,
    nameEnd: number,
    valueStart: number,
    valueEnd: number,
  ): boolean {
    const { table } = this;
    const nameLength = table.nameLengthOf(entry);
    const start = table.startOf(entry);
    const name = staticName === 0 ? null : staticNames[staticName - 1]!;
    if (nameLength !== (name === null ? nameEnd - nameStart : name.length)) return false;
    if (table.valueLengthOf(entry) !== valueEnd - valueStart) return false;
    for (let i = 0; i < nameLength; i++) {
      const byte = name === null ? lowerCase[bytes[nameStart + i]] : name[i];
      if (table.bytes[start + i] !== byte) return false;
    }
    const value = start + nameLength + 2;
    for (let i = 0; i < valueEnd - valueStart; i++)
      if (table.bytes[value + i] !== bytes[valueStart + i]) return false;
    return true;
  }
}

function plain(output: Buffer, at: number, bytes: Buffer, start: number, end: number): number {
  return copyBytes(bytes, start, end, output, integer(output, at, 0, 7, end - start));
}

/** By Huffman's code where that is shorter. */
function coded(output: Buffer, at: number, bytes: Buffer, start: number, end: number): number {
  const length = huffmanLength(bytes, start, end);
  if (length >= end - start) return plain(output, at, bytes, start, end);
  return encodeHuffman(bytes, start, end, output, integer(output, at, 0x80, 7, length));
}

/** Section 5.1: `value` behind the bits of `first`. */
function integer(output: Buffer, at: number, first: number, prefixBits: number, value: number): number {
  const mask = (1 << prefixBits) - 1;
  if (value < mask) {
    output[at] = first | value;
    return at + 1;
  }
  output[at] = first | mask;
  let to = at + 1;
  let rest = value - mask;
  for (; rest >= 0x80; rest >>>= 7) output[to++] = (rest & 0x7f) | 0x80;
  output[to++] = rest;
  return to;
}
