/** Reads header blocks of one connection (RFC 7541). Each field is told as it is found, as a line of HTTP/1.1. */
import { copyBytes } from '../copy.ts';
import { FieldKind, isSoundValue, kindOfName } from '../field-kind.ts';
import { FieldTable, lineOverheadBytes, maxTableBytes } from './field-table.ts';
import { decodedAtMost, decodeHuffman } from './huffman.ts';
import { staticCount, staticFields } from './static-table.ts';

/** The longest header block, as it comes: a limit on what one may make of few bytes, too. */
export const maxBlockBytes = 64 * 1024;

/** Told of every field of a block in order. */
export interface FieldSink {
  /**
   * The name is `bytes[at, at + nameLength)`; then come a colon and a blank, `valueLength` bytes of value, and
   * CRLF. The bytes are good for this call only.
   */
  field(bytes: Buffer, at: number, nameLength: number, valueLength: number, kind: FieldKind): void;
}

/** Where literals are put together. A name of the table and all of a block fit. */
const scratch = Buffer.allocUnsafeSlow(decodedAtMost(maxBlockBytes) + maxTableBytes + lineOverheadBytes);

interface StaticLine {
  readonly at: number;
  readonly nameLength: number;
  readonly valueLength: number;
  readonly kind: FieldKind;
}

/** The static table as lines; by index, so the first is none. */
const staticBytes = Buffer.from(staticFields.map(([name, value]) => `${name}: ${value}\r\n`).join(''));
const staticLines: readonly StaticLine[] = (() => {
  let end = 0;
  return [['', ''] as const, ...staticFields].map(([name, value], index) => {
    const at = end;
    if (index > 0) end += name.length + value.length + lineOverheadBytes;
    return {
      at,
      nameLength: name.length,
      valueLength: value.length,
      kind: kindOfName(staticBytes, at, name.length),
    };
  });
})();

export class Decoder {
  private readonly table = new FieldTable();
  /** What is wrong with a block that was not read. The connection cannot go on. */
  problem = '';
  private bytes: Buffer = scratch;
  private at = 0;
  private end = 0;

  get tableSize(): number {
    return this.table.size;
  }

  /** Reads `bytes[start, end)`, at most `maxBlockBytes`. False: `problem` says what is wrong. */
  decode(bytes: Buffer, start: number, end: number, sink: FieldSink): boolean {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
    this.problem = '';
    let mayResize = true;
    while (this.at < end && this.problem === '') {
      const first = bytes[this.at];
      if ((first & 0x80) !== 0) this.indexed(sink);
      else if ((first & 0x40) !== 0) this.literal(6, true, sink);
      else if ((first & 0x20) === 0) this.literal(4, false, sink);
      else if (mayResize) {
        this.resize();
        continue;
      } else this.problem = 'table size changed within a block';
      mayResize = false;
    }
    this.bytes = scratch;
    return this.problem === '';
  }

  private indexed(sink: FieldSink): void {
    const index = this.integer(7);
    if (index < 0) return;
    if (index <= staticCount && index > 0) {
      const { at, nameLength, valueLength, kind } = staticLines[index]!;
      sink.field(staticBytes, at, nameLength, valueLength, kind);
      return;
    }
    const { table } = this;
    const number = table.added - (index - staticCount);
    if (index === 0 || !table.has(number)) {
      this.problem = `no field has index ${index}`;
      return;
    }
    const at = table.startOf(number);
    sink.field(
      table.bytes,
      at,
      table.nameLengthOf(number),
      table.valueLengthOf(number),
      table.kindOf(number),
    );
  }

  private literal(prefixBits: number, isAdded: boolean, sink: FieldSink): void {
    const index = this.integer(prefixBits);
    if (index < 0) return;
    const nameLength = index === 0 ? this.string(0) : this.copyName(index);
    if (nameLength < 0) return;
    const kindOfThisName = kindOfName(scratch, 0, nameLength);
    scratch[nameLength] = 0x3a;
    scratch[nameLength + 1] = 0x20;
    const valueAt = nameLength + 2;
    const valueLength = this.string(valueAt);
    if (valueLength < 0) return;
    scratch[valueAt + valueLength] = 0x0d;
    scratch[valueAt + valueLength + 1] = 0x0a;
    const kind = isSoundValue(scratch, valueAt, valueLength) ? kindOfThisName : FieldKind.malformed;
    if (isAdded) this.table.add(scratch, 0, nameLength, scratch, valueAt, valueLength, kind);
    sink.field(scratch, 0, nameLength, valueLength, kind);
  }

  /** The name of a field of the tables, into the scratch. Returns its length, or -1. */
  private copyName(index: number): number {
    if (index <= staticCount) {
      const { at, nameLength } = staticLines[index]!;
      return copyBytes(staticBytes, at, at + nameLength, scratch, 0);
    }
    const { table } = this;
    const number = table.added - (index - staticCount);
    if (!table.has(number)) {
      this.problem = `no name has index ${index}`;
      return -1;
    }
    const at = table.startOf(number);
    return copyBytes(table.bytes, at, at + table.nameLengthOf(number), scratch, 0);
  }

  /** A string into the scratch at `to`. Returns its length, or -1. */
  private string(to: number): number {
    const isCoded = this.at < this.end && (this.bytes[this.at] & 0x80) !== 0;
    const length = this.integer(7);
    if (length < 0) return -1;
    const start = this.at;
    if (length > this.end - start) {
      this.problem = 'block ends within a string';
      return -1;
    }
    this.at = start + length;
    if (!isCoded) return copyBytes(this.bytes, start, this.at, scratch, to) - to;
    const end = decodeHuffman(this.bytes, start, this.at, scratch, to);
    if (end < 0) this.problem = 'malformed Huffman code';
    return end < 0 ? -1 : end - to;
  }

  private resize(): void {
    const size = this.integer(5);
    if (size > maxTableBytes) this.problem = `table of ${size} bytes`;
    else if (size >= 0) this.table.resize(size);
  }

  /** Section 5.1. Returns -1 for one that is not complete, or beyond all that is of use. */
  private integer(prefixBits: number): number {
    const { bytes, end } = this;
    if (this.at >= end) {
      this.problem = 'block ends within a field';
      return -1;
    }
    const mask = (1 << prefixBits) - 1;
    let value = bytes[this.at++] & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 21 && this.at < end; shift += 7) {
      const byte = bytes[this.at++];
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    this.problem = this.at < end ? 'integer too long' : 'block ends within an integer';
    return -1;
  }
}
