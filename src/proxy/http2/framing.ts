/** How the body ends that follows a head an engine wrote, by its lines. */
import { isName, transferEncoding } from '../http1/names.ts';
import { FieldKind } from './field-kind.ts';
import { lengthOf, unknownLength } from './field-value.ts';
import type { SectionLines } from './lines.ts';

/** The body is chunked. */
export const chunkedLength = -3;

/** The length of the body, `chunkedLength`, or `unknownLength`. */
export function framingOf(bytes: Buffer, lines: SectionLines): number {
  let length: number = unknownLength;
  for (let i = 0; i < lines.count; i++) {
    const kind = lines.kind(i);
    const nameStart = lines.nameStarts[i];
    if (kind === FieldKind.contentLength) length = lengthOf(bytes, lines.valueStarts[i], lines.valueEnds[i]);
    else if (
      kind === FieldKind.connection &&
      isName(bytes, nameStart, lines.nameEnds[i] - nameStart, transferEncoding)
    )
      return chunkedLength;
  }
  return length;
}
