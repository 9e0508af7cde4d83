/** Makes the HTTP/1.1 head of a response out of the fields of HTTP/2 (RFC 9113 section 8.3.2), strictly. */
import { ascii, spells } from '../http1/bytes.ts';
import type { BodyKind } from '../http1/fields.ts';
import { copyBytes } from './copy.ts';
import { delivery } from './delivery.ts';
import { FieldKind } from './field-kind.ts';
import { lengthOf, onlyLength, unknownLength } from './field-value.ts';
import type { FieldSink } from './hpack/decoder.ts';
import { entryOverheadBytes } from './hpack/field-table.ts';
import { maxHeaderListBytes } from './limits.ts';

const version = Buffer.from('HTTP/1.1 ');
/** There is no reason phrase in HTTP/2, and none is needed. */
const afterStatus = Buffer.from(' \r\n');
const chunkedLine = Buffer.from('transfer-encoding: chunked\r\n');
const lineEnd = Buffer.from('\r\n');
const grpcType = ascii('application/grpc');

/** One serves all: a block is read at once. It writes to `delivery`, behind what is there. */
export class ResponseBuilder implements FieldSink {
  /** Why it is no response; empty for a good one. */
  problem = '';
  status = 0;
  /** Of the body, or `unknownLength`. */
  contentLength: number = unknownLength;
  private listBytes = 0;
  private isGrpc = false;

  start(): void {
    this.problem = '';
    this.status = 0;
    this.contentLength = unknownLength;
    this.listBytes = 0;
    this.isGrpc = false;
  }

  field(bytes: Buffer, at: number, nameLength: number, valueLength: number, kind: FieldKind): void {
    this.listBytes += nameLength + valueLength + entryOverheadBytes;
    if (this.listBytes > maxHeaderListBytes) this.problem = 'head too long';
    if (this.problem !== '') return;
    const value = at + nameLength + 2;
    const end = value + valueLength;
    if (kind === FieldKind.status) this.firstLine(bytes, value, end);
    else if (this.status === 0) this.problem = 'no status in front';
    else this.regular(bytes, at, value, end, kind);
  }

  private firstLine(bytes: Buffer, start: number, end: number): void {
    if (this.status !== 0) this.problem = 'status twice';
    const status = end - start === 3 ? lengthOf(bytes, start, end) : 0;
    // Nobody can switch protocols within HTTP/2.
    if (status < 100 || status > 599 || status === 101) this.problem = 'malformed status';
    if (this.problem !== '') return;
    this.status = status;
    let at = copyBytes(version, 0, version.length, delivery.bytes, delivery.at);
    at = copyBytes(bytes, start, end, delivery.bytes, at);
    delivery.at = copyBytes(afterStatus, 0, afterStatus.length, delivery.bytes, at);
  }

  private regular(bytes: Buffer, at: number, value: number, end: number, kind: FieldKind): void {
    switch (kind) {
      case FieldKind.contentLength:
        this.contentLength = onlyLength(this.contentLength, lengthOf(bytes, value, end));
        if (this.contentLength < unknownLength) this.problem = 'malformed Content-Length';
        return;
      case FieldKind.contentType:
        this.isGrpc = end - value >= grpcType.length && spells(bytes, value, grpcType);
        break;
      case FieldKind.ordinary:
      case FieldKind.cookie:
      case FieldKind.host:
        break;
      default:
        this.problem = 'a field that no response may have';
        return;
    }
    delivery.at = copyBytes(bytes, at, end + lineEnd.length, delivery.bytes, delivery.at);
  }

  /**
   * The block is complete. Returns how the body ends that follows the head, which is in `delivery` unless there
   * is a problem. Only a chunked one has room for trailers, without which gRPC has no status.
   */
  finish(endStream: boolean, toHeadRequest: boolean): BodyKind {
    if (this.problem === '' && this.status === 0) this.problem = 'no status';
    if (this.problem === '' && this.status < 200 && endStream)
      this.problem = 'nothing after an informational';
    if (this.problem !== '') return 'none';
    const kind = this.bodyKind(endStream, toHeadRequest);
    const { bytes } = delivery;
    let { at } = delivery;
    if (kind === 'chunked') at = copyBytes(chunkedLine, 0, chunkedLine.length, bytes, at);
    else if (this.contentLength >= 0)
      at += bytes.write(`content-length: ${this.contentLength}\r\n`, at, 'latin1');
    delivery.at = copyBytes(lineEnd, 0, lineEnd.length, bytes, at);
    return kind;
  }

  private bodyKind(endStream: boolean, toHeadRequest: boolean): BodyKind {
    if (toHeadRequest || this.status < 200 || this.status === 204 || this.status === 304) return 'none';
    if (endStream) {
      if (this.contentLength > 0) this.problem = 'Content-Length without a body';
      this.contentLength = 0;
      return 'none';
    }
    return this.contentLength < 0 || this.isGrpc ? 'chunked' : 'length';
  }
}
