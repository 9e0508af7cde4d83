/**
 * The dynamic table of one direction (RFC 7541 sections 2.3 and 4). Its fields lie as lines of HTTP/1.1,
 * `name: value` and CRLF, in a ring of bytes: taking one is a copy, and keeping one makes no object.
 */
import { copyBytes } from '../copy.ts';
import type { FieldKind } from '../field-kind.ts';

/** What both directions offer and use: the default of the protocol. */
export const maxTableBytes = 4096;
/** What an entry counts beyond its name and value. */
export const entryOverheadBytes = 32;
/** The bytes of a line beyond its name and value. */
export const lineOverheadBytes = 4;

const slots = maxTableBytes / entryOverheadBytes;
/**
 * An entry is never split where the ring ends. With twice the room the newest still never meets the oldest: all
 * that live fit in half of it.
 */
const ringBytes = 2 * maxTableBytes;

const none = new Uint16Array(0);

export class FieldTable {
  /** Holds the lines. Made with the first entry: idle connections have none. */
  bytes: Buffer = Buffer.alloc(0);
  /** How many entries there have ever been, and how many of those are gone again. */
  added = 0;
  private evicted = 0;
  private sizeBytes = 0;
  private limitBytes = maxTableBytes;
  private tail = 0;
  private starts = none;
  private nameLengths = none;
  private valueLengths = none;
  private kinds = none;

  get size(): number {
    return this.sizeBytes;
  }

  /** Whether the entry that was the `number`th to be added, from 0, is still there. */
  has(number: number): boolean {
    return number >= this.evicted && number < this.added;
  }
  startOf(number: number): number {
    return this.starts[number % slots];
  }
  nameLengthOf(number: number): number {
    return this.nameLengths[number % slots];
  }
  valueLengthOf(number: number): number {
    return this.valueLengths[number % slots];
  }
  kindOf(number: number): FieldKind {
    return this.kinds[number % slots] as FieldKind;
  }

  /** Entries go until the rest fits; at most `maxTableBytes`. */
  resize(limitBytes: number): void {
    this.limitBytes = limitBytes;
    this.makeRoom(0);
  }

  /** Adds a field; one that is larger than the table empties it (section 4.4). The sources lie outside of it. */
  add(
    names: Buffer,
    nameAt: number,
    nameLength: number,
    values: Buffer,
    valueAt: number,
    valueLength: number,
    kind: FieldKind,
  ): void {
    const size = nameLength + valueLength + entryOverheadBytes;
    this.makeRoom(size);
    if (size > this.limitBytes) return;
    if (this.bytes.length === 0) this.allocate();
    const ring = this.bytes;
    if (this.tail + nameLength + valueLength + lineOverheadBytes > ringBytes) this.tail = 0;
    const slot = this.added++ % slots;
    this.starts[slot] = this.tail;
    this.nameLengths[slot] = nameLength;
    this.valueLengths[slot] = valueLength;
    this.kinds[slot] = kind;
    this.sizeBytes += size;
    let at = copyBytes(names, nameAt, nameAt + nameLength, ring, this.tail);
    ring[at++] = 0x3a;
    ring[at++] = 0x20;
    at = copyBytes(values, valueAt, valueAt + valueLength, ring, at);
    ring[at++] = 0x0d;
    ring[at++] = 0x0a;
    this.tail = at;
  }

  private allocate(): void {
    this.bytes = Buffer.allocUnsafeSlow(ringBytes);
    this.starts = new Uint16Array(slots);
    this.nameLengths = new Uint16Array(slots);
    this.valueLengths = new Uint16Array(slots);
    this.kinds = new Uint16Array(slots);
  }

  private makeRoom(bytes: number): void {
    while (this.sizeBytes + bytes > this.limitBytes && this.evicted < this.added) {
      const slot = this.evicted++ % slots;
      this.sizeBytes -= this.nameLengths[slot] + this.valueLengths[slot] + entryOverheadBytes;
    }
  }
}
