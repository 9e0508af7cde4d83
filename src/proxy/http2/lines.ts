/**
 * The lines of a head or trailer section that the engine wrote, as offsets. The engine has checked what it
 * forwards; here it is only taken apart, without trust in more than that.
 */
import { carriageReturn, colon, lineFeed, space, tab } from '../http1/bytes.ts';
import { type FieldKind, kindOfWord } from './field-kind.ts';

/** Twice what the engine lets through, for what policy adds. */
const maxLines = 256;

export const incompleteSection = 0;
export const malformedSection = -1;

export class SectionLines {
  count = 0;
  readonly nameStarts = new Int32Array(maxLines);
  readonly nameEnds = new Int32Array(maxLines);
  readonly valueStarts = new Int32Array(maxLines);
  readonly valueEnds = new Int32Array(maxLines);
  readonly kinds = new Uint8Array(maxLines);
  /** Of a head: where its first line ends. */
  firstLineEnd = 0;

  kind(index: number): FieldKind {
    return this.kinds[index] as FieldKind;
  }

  /** Reads a head; returns the offset after its empty line, `incompleteSection` or `malformedSection`. */
  readHead(bytes: Buffer, start: number, end: number): number {
    let at = start;
    while (at < end && bytes[at] !== carriageReturn) at++;
    this.firstLineEnd = at;
    return at + 1 < end ? this.readFields(bytes, at + 2, end) : incompleteSection;
  }

  /** As `readHead`, for lines without a first one. */
  readFields(bytes: Buffer, start: number, end: number): number {
    this.count = 0;
    for (let at = start; at + 1 < end; ) {
      if (bytes[at] === carriageReturn) return bytes[at + 1] === lineFeed ? at + 2 : malformedSection;
      if (this.count === maxLines) return malformedSection;
      const nameStart = at;
      while (at < end && bytes[at] !== colon && bytes[at] !== carriageReturn) at++;
      if (at === end) return incompleteSection;
      if (bytes[at] !== colon) return malformedSection;
      const nameEnd = at++;
      while (at < end && isBlank(bytes[at])) at++;
      const valueStart = at;
      while (at < end && bytes[at] !== carriageReturn) at++;
      if (at + 1 >= end) return incompleteSection;
      if (bytes[at + 1] !== lineFeed) return malformedSection;
      let valueEnd = at;
      while (valueEnd > valueStart && isBlank(bytes[valueEnd - 1])) valueEnd--;
      this.add(bytes, nameStart, nameEnd, valueStart, valueEnd);
      at += 2;
    }
    return incompleteSection;
  }

  private add(bytes: Buffer, nameStart: number, nameEnd: number, valueStart: number, valueEnd: number): void {
    const index = this.count++;
    this.nameStarts[index] = nameStart;
    this.nameEnds[index] = nameEnd;
    this.valueStarts[index] = valueStart;
    this.valueEnds[index] = valueEnd;
    this.kinds[index] = kindOfWord(bytes, nameStart, nameEnd - nameStart);
  }
}

function isBlank(byte: number): boolean {
  return byte === space || byte === tab;
}
