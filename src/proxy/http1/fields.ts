/**
 * The header section, read once in place: which bytes it is allowed to hold, what it says about framing and
 * the connection, and which lines the next hop must not see. Strict as RFC 9112 asks of an intermediary:
 * whatever two parsers could read in two ways is refused, never repaired.
 */
import {
  carriageReturn,
  colon,
  isAuthority,
  isFieldValue,
  isToken,
  lineFeed,
  space,
  spells,
  tab,
} from './bytes.ts';
import * as names from './names.ts';

/** The longest head, request line and fields together. Longer: 431. */
export const maxHeadBytes = 64 * 1024;
/** The most fields of one head. More: 431. */
export const maxFields = 128;

/** How the end of a message body is found (RFC 9112 section 6.3). */
export type BodyKind = 'none' | 'length' | 'chunked' | 'until-close';

const keepAliveOption = names.keepAlive;
const closeOption = new Uint8Array(Buffer.from('close'));
const trailersWord = new Uint8Array(Buffer.from('trailers'));
const chunkedCoding = new Uint8Array(Buffer.from('chunked'));
const grpcType = new Uint8Array(Buffer.from('application/grpc'));
const continueExpectation = new Uint8Array(Buffer.from('100-continue'));

/**
 * What requests and responses have in common. One object is reused for many heads; all offsets point into
 * the bytes that were parsed and mean nothing once those are gone.
 */
export class MessageHead {
  /** Offset of the first byte of the start line, and one past the empty line. */
  start = 0;
  end = 0;
  /** Where the first field begins. */
  fieldsStart = 0;
  /** 0 or 1: the minor version. */
  minorVersion = 1;
  /** Whether the connection may carry another message after this one. */
  keepAlive = true;
  hasContentLength = false;
  contentLength = 0;
  isChunked = false;
  hostCount = 0;
  hostStart = 0;
  hostEnd = 0;
  hasRequestId = false;
  expectsContinue = false;
  /** `Content-Type` begins with `application/grpc`. */
  isGrpc = false;
  /** `Connection` lists `upgrade`, and `Upgrade` names one protocol that can be carried as bytes. */
  upgrades = false;
  /** Offset pairs of lines that must not be forwarded, ascending, never overlapping. */
  readonly cuts = new Int32Array(2 * (maxFields + 2));
  cutCount = 0;
  /** Why it was refused: what to answer and what to say. Set when parsing returned `malformed`. */
  problemStatus = 400;
  problem = '';
  /** `Connection` named more than keep-alive and close, or there is an `Upgrade`: the slow path looks again. */
  private needsSecondLook = false;
  /** `close` outweighs `keep-alive`, in whatever order they come (RFC 9112 section 9.3). */
  private sawClose = false;
  private readonly isRequest: boolean;

  constructor(isRequest: boolean) {
    this.isRequest = isRequest;
  }

  /** Returns `malformed`, so that a caller can refuse and leave in one expression. */
  refuse(status: number, problem: string): number {
    this.problemStatus = status;
    this.problem = problem;
    return malformed;
  }

  /**
   * Reads the fields from `at`, which is just after the start line. The start line has set `minorVersion`.
   * Returns the offset after the empty line, `incomplete`, or `malformed`.
   */
  protected parseFields(bytes: Uint8Array, at: number, end: number): number {
    this.resetFields();
    this.fieldsStart = at;
    let i = at;
    for (let count = 0; ; count++) {
      if (i + 1 >= end) return incomplete;
      if (bytes[i] === carriageReturn) {
        if (bytes[i + 1] !== lineFeed) return this.refuse(400, 'carriage return without line feed');
        break;
      }
      if (count === maxFields) return this.refuse(431, `more than ${maxFields} fields`);
      const nameStart = i;
      while (i < end && isToken[bytes[i]] === 1) i++;
      if (i >= end) return incomplete;
      if (i === nameStart || bytes[i] !== colon) return this.refuse(400, 'malformed field name');
      const nameEnd = i++;
      while (i < end && (bytes[i] === space || bytes[i] === tab)) i++;
      const valueStart = i;
      while (i < end && isFieldValue[bytes[i]] === 1) i++;
      if (i + 1 >= end) return incomplete;
      if (bytes[i] !== carriageReturn || bytes[i + 1] !== lineFeed)
        return this.refuse(400, 'malformed field value');
      let valueEnd = i;
      while (valueEnd > valueStart && (bytes[valueEnd - 1] === space || bytes[valueEnd - 1] === tab))
        valueEnd--;
      i += 2;
      if (this.noteField(bytes, nameStart, nameEnd - nameStart, valueStart, valueEnd, i) < 0)
        return malformed;
    }
    this.end = i + 2;
    if (this.needsSecondLook) this.lookAgain(bytes, at);
    return this.end;
  }

  private resetFields(): void {
    this.keepAlive = this.minorVersion === 1;
    this.hasContentLength = false;
    this.contentLength = 0;
    this.isChunked = false;
    this.hostCount = 0;
    this.hasRequestId = false;
    this.expectsContinue = false;
    this.isGrpc = false;
    this.upgrades = false;
    this.cutCount = 0;
    this.needsSecondLook = false;
    this.sawClose = false;
  }

  /** Acts on one field if its name means anything to the proxy; its length tells most apart. */
  private noteField(
    bytes: Uint8Array,
    name: number,
    length: number,
    valueStart: number,
    valueEnd: number,
    lineEnd: number,
  ): number {
    switch (length) {
      case 2:
        // What follows the body is passed on; whoever says that it wants it is to be heard.
        if (
          spells(bytes, name, names.te) &&
          !names.isName(bytes, valueStart, valueEnd - valueStart, trailersWord)
        )
          this.cut(name, lineEnd);
        return 0;
      case 4:
        return this.isRequest && spells(bytes, name, names.host)
          ? this.noteHost(bytes, valueStart, valueEnd)
          : 0;
      case 6:
        if (spells(bytes, name, names.expect)) return this.noteExpect(bytes, valueStart, valueEnd);
        return 0;
      case 7:
        if (spells(bytes, name, names.upgrade)) this.needsSecondLook = true;
        return 0;
      case 10:
        if (spells(bytes, name, names.connection))
          this.noteConnection(bytes, name, valueStart, valueEnd, lineEnd);
        else if (spells(bytes, name, names.keepAlive)) this.cut(name, lineEnd);
        return 0;
      case 12:
        if (spells(bytes, name, names.requestId) && valueEnd > valueStart) this.hasRequestId = true;
        else if (spells(bytes, name, names.contentType))
          this.isGrpc = isGrpcType(bytes, valueStart, valueEnd);
        return this.noteIdentity(bytes, name, length, lineEnd);
      case 14:
        if (spells(bytes, name, names.contentLength)) return this.noteLength(bytes, valueStart, valueEnd);
        return this.noteIdentity(bytes, name, length, lineEnd);
      case 16:
        if (spells(bytes, name, names.proxyConnection)) this.cut(name, lineEnd);
        return this.noteIdentity(bytes, name, length, lineEnd);
      case 17:
        if (spells(bytes, name, names.transferEncoding)) return this.noteCoding(bytes, valueStart, valueEnd);
        return this.noteIdentity(bytes, name, length, lineEnd);
      default:
        return this.noteIdentity(bytes, name, length, lineEnd);
    }
  }

  /** Clients do not say who they are; a proxy says it of them. */
  private noteIdentity(bytes: Uint8Array, name: number, length: number, lineEnd: number): number {
    // Both names begin with `x`: one comparison spares nearly every field the rest.
    if (this.isRequest && (bytes[name] | 0x20) === 0x78 && names.isIdentity(bytes, name, length))
      this.cut(name, lineEnd);
    return 0;
  }

  private noteHost(bytes: Uint8Array, start: number, end: number): number {
    if (++this.hostCount > 1) return this.refuse(400, 'more than one Host');
    for (let i = start; i < end; i++)
      if (isAuthority[bytes[i]] !== 1) return this.refuse(400, 'malformed Host');
    this.hostStart = start;
    this.hostEnd = end;
    return 0;
  }

  private noteExpect(bytes: Uint8Array, start: number, end: number): number {
    if (!this.isRequest) return 0;
    if (end - start !== continueExpectation.length || !spells(bytes, start, continueExpectation))
      return this.refuse(417, 'unknown expectation');
    this.expectsContinue = true;
    return 0;
  }

  private noteLength(bytes: Uint8Array, start: number, end: number): number {
    if (this.hasContentLength) return this.refuse(400, 'more than one Content-Length');
    if (this.isChunked) return this.refuse(400, 'Content-Length beside Transfer-Encoding');
    // Fifteen digits stay exact in a double.
    if (end === start || end - start > 15) return this.refuse(400, 'malformed Content-Length');
    let value = 0;
    for (let i = start; i < end; i++) {
      const digit = bytes[i] - 0x30;
      if (digit < 0 || digit > 9) return this.refuse(400, 'malformed Content-Length');
      value = value * 10 + digit;
    }
    this.hasContentLength = true;
    this.contentLength = value;
    return 0;
  }

  private noteCoding(bytes: Uint8Array, start: number, end: number): number {
    if (this.minorVersion === 0) return this.refuse(400, 'Transfer-Encoding in HTTP/1.0');
    if (this.isChunked) return this.refuse(400, 'more than one Transfer-Encoding');
    if (this.hasContentLength) return this.refuse(400, 'Transfer-Encoding beside Content-Length');
    if (end - start !== chunkedCoding.length || !spells(bytes, start, chunkedCoding))
      return this.refuse(400, 'Transfer-Encoding other than chunked');
    this.isChunked = true;
    return 0;
  }

  private noteConnection(bytes: Uint8Array, name: number, start: number, end: number, lineEnd: number): void {
    this.cut(name, lineEnd);
    if (end - start === keepAliveOption.length && spells(bytes, start, keepAliveOption)) {
      if (!this.sawClose) this.keepAlive = true;
    } else if (end - start === closeOption.length && spells(bytes, start, closeOption)) {
      this.keepAlive = false;
      this.sawClose = true;
    } else this.needsSecondLook = true;
  }

  private cut(start: number, end: number): void {
    const last = this.cutCount - 1;
    if (last > 0 && this.cuts[last] === start) this.cuts[last] = end;
    else {
      this.cuts[this.cutCount++] = start;
      this.cuts[this.cutCount++] = end;
    }
  }

  /** Cuts every line with one of these names (lower case): what policy replaces or takes out. */
  cutFields(bytes: Uint8Array, unwanted: readonly Uint8Array[]): void {
    const earlier = this.cuts.slice(0, this.cutCount);
    this.cutCount = 0;
    for (const { start, nameLength, end } of fieldLines(bytes, this.fieldsStart, this.end - 2))
      if (isInside(earlier, start) || unwanted.some((name) => names.isName(bytes, start, nameLength, name)))
        this.cut(start, end);
  }

  /**
   * The slow path for heads whose `Connection` lists more than the usual, or that ask for an upgrade: decides
   * each line anew, now that every option is known. The section has been found well-formed.
   */
  private lookAgain(bytes: Uint8Array, at: number): void {
    const lines = fieldLines(bytes, at, this.end - 2);
    const options = new Set<string>();
    let upgrade: string | null = null;
    for (const line of lines) {
      if (names.isName(bytes, line.start, line.nameLength, names.connection))
        for (const option of line.value.split(',')) options.add(option.trim().toLowerCase());
      if (names.isName(bytes, line.start, line.nameLength, names.upgrade))
        upgrade = upgrade === null ? line.value.toLowerCase() : '';
    }
    if (options.has('close')) this.keepAlive = false;
    else if (options.has('keep-alive')) this.keepAlive = true;
    this.upgrades =
      this.minorVersion === 1 && options.has('upgrade') && upgrade !== null && isCarried(upgrade);
    const earlier = this.cuts.slice(0, this.cutCount);
    this.cutCount = 0;
    for (const line of lines) {
      const { start, nameLength, end } = line;
      const name = Buffer.from(bytes.buffer, bytes.byteOffset + start, nameLength)
        .toString('latin1')
        .toLowerCase();
      const isUpgrade = name === 'upgrade';
      const isNamed = options.has(name) && !names.isProtectedFromConnection(bytes, start, nameLength);
      if (isUpgrade ? !this.upgrades : isNamed || isInside(earlier, start)) this.cut(start, end);
    }
  }
}

/** More bytes are needed. */
export const incomplete = 0;
/** The head is refused; `problem` and `problemStatus` say why and how. */
export const malformed = -1;

interface FieldLine {
  readonly start: number;
  readonly nameLength: number;
  readonly value: string;
  /** One past its line feed. */
  readonly end: number;
}

/** The lines of a well-formed header section, from `at` to its empty line at `end`. */
function fieldLines(bytes: Uint8Array, at: number, end: number): FieldLine[] {
  const lines: FieldLine[] = [];
  for (let start = at; start < end; ) {
    const nameLength = bytes.indexOf(colon, start) - start;
    const lineEnd = bytes.indexOf(lineFeed, start) + 1;
    const valueAt = start + nameLength + 1;
    const value = Buffer.from(bytes.buffer, bytes.byteOffset + valueAt, lineEnd - 2 - valueAt);
    lines.push({ start, nameLength, value: value.toString('latin1').trim(), end: lineEnd });
    start = lineEnd;
  }
  return lines;
}

/**
 * WebSocket and whatever else is bytes to a proxy: `tcp`, `spdy/3.1`. Not what is HTTP again, for its requests
 * would pass unseen, nor TLS, in which nothing can be seen.
 */
function isCarried(upgrade: string): boolean {
  return /^[!#$%&'*+.^_`|~\w-]+(\/[!#$%&'*+.^_`|~\w-]+)?$/.test(upgrade) && !/^(h2|http|tls)/.test(upgrade);
}

function isGrpcType(bytes: Uint8Array, start: number, end: number): boolean {
  return end - start >= grpcType.length && spells(bytes, start, grpcType);
}

function isInside(cuts: Int32Array, offset: number): boolean {
  for (let i = 0; i < cuts.length; i += 2) if (offset >= cuts[i] && offset < cuts[i + 1]) return true;
  return false;
}
