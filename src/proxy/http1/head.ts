/**
 * Request and response heads, read once in place (RFC 9112 sections 3, 4 and 6). Nothing is copied or turned
 * into strings: a head is offsets into the bytes, valid as long as those bytes are at hand.
 */
import {
  carriageReturn,
  isAuthority,
  isFieldValue,
  isTarget,
  isToken,
  lineFeed,
  lowerCase,
  slash,
  space,
} from './bytes.ts';
import { type BodyKind, incomplete, MessageHead, malformed } from './fields.ts';
import { ambiguous, asIs, normalTarget } from './path.ts';

export { incomplete, malformed, maxHeadBytes } from './fields.ts';

/** The longest method, bytes. */
const maxMethodBytes = 32;
const httpName = Buffer.from('HTTP/');
const httpVersion = Buffer.from('HTTP/1.');
const absoluteScheme = Buffer.from('http://');

/** Which requests may be sent twice without harm (RFC 9110 section 9.2.2), and the two treated apart. */
const idempotentMethods = ['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS', 'TRACE'].map((name) =>
  Buffer.from(name),
);
const headMethod = Buffer.from('HEAD');
const connectMethod = Buffer.from('CONNECT');
const optionsMethod = Buffer.from('OPTIONS');

export class RequestHead extends MessageHead {
  methodStart = 0;
  methodEnd = 0;
  targetStart = 0;
  targetEnd = 0;
  /** Where the path begins: after the authority in absolute-form, else `targetStart`. */
  pathStart = 0;
  /** What goes on in place of the target, in origin-form; null leaves it as it came. */
  newTarget: Buffer | null = null;

  constructor() {
    super(true);
  }

  /** Returns the offset after the head, `incomplete`, or `malformed` (`problem` says why). */
  parse(bytes: Uint8Array, at: number, end: number): number {
    const fieldsStart = this.parseRequestLine(bytes, at, end);
    if (fieldsStart <= 0) return fieldsStart;
    const result = this.parseFields(bytes, fieldsStart, end);
    if (result <= 0) return result;
    if (this.hostCount === 0 && this.minorVersion === 1) return this.refuse(400, 'no Host');
    if (!this.isTargetSound(bytes)) return malformed;
    return result;
  }

  private parseRequestLine(bytes: Uint8Array, at: number, end: number): number {
    let i = at;
    // One empty line before a request is ignored (RFC 9112 section 2.2).
    if (bytes[i] === carriageReturn) {
      if (i + 1 >= end) return incomplete;
      if (bytes[i + 1] !== lineFeed) return this.refuse(400, 'carriage return without line feed');
      i += 2;
    }
    this.start = this.methodStart = i;
    this.newTarget = null;
    while (i < end && isToken[bytes[i]] === 1) i++;
    if (i - this.methodStart > maxMethodBytes) return this.refuse(400, 'method too long');
    if (i >= end) return incomplete;
    if (bytes[i] !== space || i === this.methodStart) return this.refuse(400, 'malformed method');
    this.methodEnd = i++;
    this.targetStart = i;
    while (i < end && isTarget[bytes[i]] === 1) i++;
    if (i >= end) return incomplete;
    if (bytes[i] !== space || i === this.targetStart) return this.refuse(400, 'malformed request target');
    this.targetEnd = i++;
    return this.parseVersion(bytes, i, end);
  }

  private parseVersion(bytes: Uint8Array, at: number, end: number): number {
    // `HTTP/1.x` and CRLF: ten bytes.
    if (at + 10 > end) return incomplete;
    if (!matches(bytes, at, at + 10, httpName)) return this.refuse(400, 'malformed request line');
    if (!matches(bytes, at, at + 10, httpVersion)) return this.refuse(505, 'not HTTP/1.x');
    const minor = bytes[at + 7] - 0x30;
    if (minor !== 0 && minor !== 1) return this.refuse(505, 'not HTTP/1.0 or HTTP/1.1');
    if (bytes[at + 8] !== carriageReturn || bytes[at + 9] !== lineFeed)
      return this.refuse(400, 'malformed request line');
    this.minorVersion = minor;
    return at + 10;
  }

  /**
   * Origin-form, `*` for OPTIONS, or absolute-form whose authority is the one of Host: there is one authority,
   * decided once, for routing and for what is forwarded. CONNECT is the engine's to refuse.
   */
  private isTargetSound(bytes: Uint8Array): boolean {
    this.pathStart = this.targetStart;
    if (bytes[this.targetStart] === slash) return true;
    if (this.hasMethod(bytes, connectMethod)) return true;
    const length = this.targetEnd - this.targetStart;
    if (length === 1 && bytes[this.targetStart] === 0x2a && this.hasMethod(bytes, optionsMethod)) return true;
    if (!matches(bytes, this.targetStart, this.targetEnd, absoluteScheme)) {
      this.refuse(400, 'malformed request target');
      return false;
    }
    const authorityStart = this.targetStart + absoluteScheme.length;
    let i = authorityStart;
    while (i < this.targetEnd && isAuthority[bytes[i]] === 1) i++;
    this.pathStart = i;
    if (i === authorityStart || (i < this.targetEnd && bytes[i] !== slash)) {
      this.refuse(400, 'malformed authority');
      return false;
    }
    if (!this.isHost(bytes, authorityStart, i)) {
      this.refuse(400, 'authority and Host differ');
      return false;
    }
    return true;
  }

  private isHost(bytes: Uint8Array, start: number, end: number): boolean {
    if (end - start !== this.hostEnd - this.hostStart || this.hostCount === 0) return false;
    for (let i = 0; i < end - start; i++)
      if (lowerCase[bytes[start + i]] !== lowerCase[bytes[this.hostStart + i]]) return false;
    return true;
  }

  private hasMethod(bytes: Uint8Array, method: Uint8Array): boolean {
    return (
      this.methodEnd - this.methodStart === method.length &&
      matches(bytes, this.methodStart, this.methodEnd, method)
    );
  }

  /** Gives the path its one spelling, for policy that looks at it; false when it has none. */
  normalisePath(bytes: Uint8Array): boolean {
    const normal = normalTarget(bytes, this.pathStart, this.targetEnd);
    if (normal === ambiguous) return false;
    if (normal !== asIs) this.newTarget = normal;
    return true;
  }

  isHead(bytes: Uint8Array): boolean {
    return this.hasMethod(bytes, headMethod);
  }

  isConnect(bytes: Uint8Array): boolean {
    return this.hasMethod(bytes, connectMethod);
  }

  /** Whether sending it twice does no harm beyond sending it once. */
  isIdempotent(bytes: Uint8Array): boolean {
    for (const method of idempotentMethods) if (this.hasMethod(bytes, method)) return true;
    return false;
  }

  bodyKind(): BodyKind {
    if (this.isChunked) return 'chunked';
    return this.hasContentLength && this.contentLength > 0 ? 'length' : 'none';
  }
}

export class ResponseHead extends MessageHead {
  status = 0;

  constructor() {
    super(false);
  }

  /** As `RequestHead.parse`; every malformed response is answered with 502. */
  parse(bytes: Uint8Array, at: number, end: number): number {
    this.start = at;
    // `HTTP/1.x nnn` and at least CRLF.
    if (at + 14 > end) return incomplete;
    for (let i = 0; i < httpVersion.length; i++)
      if (bytes[at + i] !== httpVersion[i]) return this.refuse(502, 'not HTTP/1.x');
    const minor = bytes[at + 7] - 0x30;
    if ((minor !== 0 && minor !== 1) || bytes[at + 8] !== space)
      return this.refuse(502, 'malformed status line');
    this.minorVersion = minor;
    this.status = 0;
    for (let i = at + 9; i < at + 12; i++) {
      const digit = bytes[i] - 0x30;
      if (digit < 0 || digit > 9) return this.refuse(502, 'malformed status');
      this.status = this.status * 10 + digit;
    }
    if (this.status < 100 || this.status > 599) return this.refuse(502, 'status out of range');
    let i = at + 12;
    if (bytes[i] === space) while (i < end && isFieldValue[bytes[i]] === 1) i++;
    if (i + 1 >= end) return incomplete;
    if (bytes[i] !== carriageReturn || bytes[i + 1] !== lineFeed)
      return this.refuse(502, 'malformed status line');
    return this.parseFields(bytes, i + 2, end);
  }

  /** What follows this head in answer to a request of the given kind (RFC 9112 section 6.3). */
  bodyKind(toHeadRequest: boolean): BodyKind {
    if (toHeadRequest || this.status < 200 || this.status === 204 || this.status === 304) return 'none';
    if (this.isChunked) return 'chunked';
    if (!this.hasContentLength) return 'until-close';
    return this.contentLength > 0 ? 'length' : 'none';
  }
}

function matches(bytes: Uint8Array, start: number, end: number, word: Uint8Array): boolean {
  if (end - start < word.length) return false;
  for (let i = 0; i < word.length; i++) if (bytes[start + i] !== word[i]) return false;
  return true;
}
