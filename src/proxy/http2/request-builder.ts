/** Makes the HTTP/1.1 head of a request out of the fields of HTTP/2 (RFC 9113 section 8.3.1), strictly. */
import { isAuthority, isTarget, isToken, lowerCase, slash } from '../http1/bytes.ts';
import { copyBytes } from './copy.ts';
import { delivery } from './delivery.ts';
import { FieldKind } from './field-kind.ts';
import { lengthOf, onlyLength, unknownLength } from './field-value.ts';
import type { FieldSink } from './hpack/decoder.ts';
import { entryOverheadBytes } from './hpack/field-table.ts';
import { maxHeaderListBytes } from './limits.ts';

/**
 * The most bytes that a head takes in HTTP/1.1: no line is longer than its field counts in HTTP/2, and there are
 * the first line, the framing and the empty line.
 */
export const headRoomBytes = maxHeaderListBytes + 256;

const versionAndHost = Buffer.from(' HTTP/1.1\r\n');
const hostName = Buffer.from('host: ');
const cookieName = Buffer.from('cookie: ');
const chunkedLine = Buffer.from('transfer-encoding: chunked\r\n');
const lineEnd = Buffer.from('\r\n');
const trailersWord = Buffer.from('trailers');
const connectMethod = Buffer.from('CONNECT');
const headMethod = Buffer.from('HEAD');
const httpScheme = Buffer.from('http');
const httpsScheme = Buffer.from('https');

/** A value taken aside: `bytes[0, length)`; negative while there is none. */
class Aside {
  bytes = Buffer.alloc(64);
  length = -1;

  set(source: Buffer, start: number, end: number): void {
    this.length = 0;
    this.append(source, start, end);
  }

  append(source: Buffer, start: number, end: number): void {
    const length = Math.max(this.length, 0);
    if (length + end - start > this.bytes.length) {
      const larger = Buffer.allocUnsafe((length + end - start) * 2);
      this.bytes.copy(larger, 0, 0, length);
      this.bytes = larger;
    }
    this.length = copyBytes(source, start, end, this.bytes, length);
  }

  is(word: Buffer): boolean {
    return this.length === word.length && this.bytes.compare(word, 0, word.length, 0, word.length) === 0;
  }
}

/** One serves all: a block is read at once. It writes to `delivery`, behind what is there. */
export class RequestBuilder implements FieldSink {
  /** Why it is no request; empty for a good one. */
  problem = '';
  /** Its fields are more than anybody may send. What is in `delivery` is no head then. */
  isTooLong = false;
  isHead = false;
  /** Of the body, or `unknownLength`. */
  contentLength: number = unknownLength;
  private listBytes = 0;
  private begun = false;
  private hasHost = false;
  private readonly method = new Aside();
  private readonly scheme = new Aside();
  private readonly authority = new Aside();
  private readonly path = new Aside();
  private readonly cookies = new Aside();

  start(): void {
    this.problem = '';
    this.isTooLong = false;
    this.contentLength = unknownLength;
    this.listBytes = 0;
    this.begun = false;
    this.hasHost = false;
    this.method.length = this.scheme.length = this.authority.length = -1;
    this.path.length = this.cookies.length = -1;
  }

  field(bytes: Buffer, at: number, nameLength: number, valueLength: number, kind: FieldKind): void {
    this.listBytes += nameLength + valueLength + entryOverheadBytes;
    if (this.listBytes > maxHeaderListBytes) this.isTooLong = true;
    if (this.isTooLong || this.problem !== '') return;
    const value = at + nameLength + 2;
    const end = value + valueLength;
    switch (kind) {
      case FieldKind.method:
        this.pseudo(this.method, bytes, value, end);
        return;
      case FieldKind.scheme:
        this.pseudo(this.scheme, bytes, value, end);
        return;
      case FieldKind.authority:
        this.pseudo(this.authority, bytes, value, end);
        return;
      case FieldKind.path:
        this.pseudo(this.path, bytes, value, end);
        return;
      default:
        if (!this.begun) this.firstLine();
        if (this.problem === '') this.regular(bytes, at, value, end, kind);
    }
  }

  private pseudo(aside: Aside, bytes: Buffer, start: number, end: number): void {
    if (this.begun) this.problem = 'pseudo-field behind others';
    else if (aside.length >= 0) this.problem = 'pseudo-field twice';
    else aside.set(bytes, start, end);
  }

  private regular(bytes: Buffer, at: number, value: number, end: number, kind: FieldKind): void {
    switch (kind) {
      case FieldKind.malformed:
      case FieldKind.status:
      case FieldKind.connection:
        this.problem = 'a field that no request may have';
        return;
      case FieldKind.te:
        if (end - value !== trailersWord.length || bytes.compare(trailersWord, 0, 8, value, end) !== 0)
          this.problem = 'TE other than trailers';
        break;
      case FieldKind.host:
        this.host(bytes, value, end);
        if (this.authority.length >= 0) return;
        break;
      case FieldKind.contentLength:
        this.contentLength = onlyLength(this.contentLength, lengthOf(bytes, value, end));
        if (this.contentLength < unknownLength) this.problem = 'malformed Content-Length';
        return;
      case FieldKind.cookie:
        // Cookies come in crumbs (RFC 9113 section 8.2.3).
        if (this.cookies.length > 0) this.cookies.append(crumbEnd, 0, crumbEnd.length);
        this.cookies.append(bytes, value, end);
        return;
    }
    delivery.at = copyBytes(bytes, at, end + lineEnd.length, delivery.bytes, delivery.at);
  }

  /** There is one authority: Host says the same, or is what there is. */
  private host(bytes: Buffer, start: number, end: number): void {
    const { authority } = this;
    if (this.hasHost) this.problem = 'more than one Host';
    this.hasHost = true;
    if (authority.length < 0) return;
    let isSame = authority.length === end - start;
    for (let i = 0; isSame && i < authority.length; i++)
      isSame = lowerCase[authority.bytes[i]] === lowerCase[bytes[start + i]];
    if (!isSame) this.problem = 'authority and Host differ';
  }

  private firstLine(): void {
    this.begun = true;
    const { method, scheme, path, authority } = this;
    const isConnect = method.is(connectMethod);
    this.isHead = method.is(headMethod);
    if (!allOf(isToken, method) || method.length === 0) this.problem = 'malformed method';
    else if (authority.length >= 0 && !allOf(isAuthority, authority)) this.problem = 'malformed authority';
    else if (isConnect) {
      if (scheme.length >= 0 || path.length >= 0 || authority.length <= 0) this.problem = 'malformed CONNECT';
    } else if (!scheme.is(httpScheme) && !scheme.is(httpsScheme)) this.problem = 'malformed scheme';
    else if (!isPath(path)) this.problem = 'malformed path';
    if (this.problem === '') this.writeFirstLine(isConnect ? authority : path);
  }

  private writeFirstLine(target: Aside): void {
    const { method, authority } = this;
    const { bytes } = delivery;
    let at = copyBytes(method.bytes, 0, method.length, bytes, delivery.at);
    bytes[at++] = 0x20;
    at = copyBytes(target.bytes, 0, target.length, bytes, at);
    at = copyBytes(versionAndHost, 0, versionAndHost.length, bytes, at);
    if (authority.length >= 0) {
      at = copyBytes(hostName, 0, hostName.length, bytes, at);
      at = copyBytes(authority.bytes, 0, authority.length, bytes, at);
      at = copyBytes(lineEnd, 0, lineEnd.length, bytes, at);
    }
    delivery.at = at;
  }

  /** The block is complete. Afterwards the head is in `delivery`, unless there is a problem or it is too long. */
  finish(endStream: boolean): void {
    if (!this.begun && this.problem === '') this.firstLine();
    if (this.problem !== '' || this.isTooLong) return;
    const { cookies, contentLength } = this;
    const { bytes } = delivery;
    let { at } = delivery;
    if (cookies.length >= 0) {
      at = copyBytes(cookieName, 0, cookieName.length, bytes, at);
      at = copyBytes(cookies.bytes, 0, cookies.length, bytes, at);
      at = copyBytes(lineEnd, 0, lineEnd.length, bytes, at);
    }
    if (contentLength >= 0) {
      if (endStream && contentLength > 0) this.problem = 'Content-Length without a body';
      at += bytes.write(`content-length: ${contentLength}\r\n`, at, 'latin1');
    } else if (!endStream) at = copyBytes(chunkedLine, 0, chunkedLine.length, bytes, at);
    delivery.at = copyBytes(lineEnd, 0, lineEnd.length, bytes, at);
  }
}

const crumbEnd = Buffer.from('; ');

function allOf(table: Uint8Array, { bytes, length }: Aside): boolean {
  for (let i = 0; i < length; i++) if (table[bytes[i]] !== 1) return false;
  return length >= 0;
}

/** Origin-form, or `*`, which the engine allows to OPTIONS alone. */
function isPath(path: Aside): boolean {
  if (path.length <= 0) return false;
  if (path.bytes[0] === slash) return allOf(isTarget, path);
  return path.length === 1 && path.bytes[0] === 0x2a;
}
