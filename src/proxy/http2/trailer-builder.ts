/** Makes the end of a chunked body out of a trailer block of HTTP/2 (RFC 9113 section 8.1). */
import { isForbiddenTrailer } from '../http1/names.ts';
import { copyBytes } from './copy.ts';
import { delivery } from './delivery.ts';
import { FieldKind } from './field-kind.ts';
import type { FieldSink } from './hpack/decoder.ts';
import { entryOverheadBytes } from './hpack/field-table.ts';
import { maxHeaderListBytes } from './limits.ts';

const lastChunk = Buffer.from('0\r\n');
const lineEnd = Buffer.from('\r\n');

/** One serves all: a block is read at once. It writes to `delivery`, behind what is there. */
export class TrailerBuilder implements FieldSink {
  /** Why these are no trailers; empty for good ones. */
  problem = '';
  private listBytes = 0;

  start(): void {
    this.problem = '';
    this.listBytes = 0;
    delivery.at = copyBytes(lastChunk, 0, lastChunk.length, delivery.bytes, delivery.at);
  }

  field(bytes: Buffer, at: number, nameLength: number, valueLength: number, kind: FieldKind): void {
    this.listBytes += nameLength + valueLength + entryOverheadBytes;
    if (this.listBytes > maxHeaderListBytes) this.problem = 'trailers too long';
    else if (kind === FieldKind.malformed || kind === FieldKind.connection || isPseudo(kind))
      this.problem = 'a field that no trailer may be';
    if (this.problem !== '') return;
    // What would read as part of the head behind a proxy's back is left out; the rest counts.
    if (kind !== FieldKind.ordinary || isForbiddenTrailer(bytes, at, nameLength)) return;
    const end = at + nameLength + 2 + valueLength + lineEnd.length;
    delivery.at = copyBytes(bytes, at, end, delivery.bytes, delivery.at);
  }

  finish(): void {
    delivery.at = copyBytes(lineEnd, 0, lineEnd.length, delivery.bytes, delivery.at);
  }
}

function isPseudo(kind: FieldKind): boolean {
  return kind >= FieldKind.method && kind <= FieldKind.status;
}
