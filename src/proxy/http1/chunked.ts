/**
 * Finds where a chunked body ends (RFC 9112 section 7.1) without touching it: the bytes are forwarded as they
 * came, so what is let through must read the same to every parser behind.
 */
import {
  carriageReturn,
  colon,
  hexValue,
  isFieldValue,
  isToken,
  lineFeed,
  semicolon,
  space,
  tab,
} from './bytes.ts';
import { grpcStatus, isForbiddenTrailer, isName } from './names.ts';

/** The most hexadecimal digits of a chunk size. */
const maxSizeDigits = 16;
/** The most bytes of extensions behind one chunk size. */
const maxExtensionBytes = 256;
/** The longest trailer section, and the longest name in it, bytes. */
const maxTrailerBytes = 64 * 1024;
const maxTrailerNameBytes = 128;

const maxGrpcStatus = 16;
const unknownGrpcStatus = 2;

const State = {
  sizeStart: 0,
  size: 1,
  extension: 2,
  sizeLineFeed: 3,
  data: 4,
  dataCarriageReturn: 5,
  dataLineFeed: 6,
  trailerStart: 7,
  trailerName: 8,
  trailerValue: 9,
  trailerLineFeed: 10,
  lastLineFeed: 11,
  done: 12,
} as const;

/** The bytes are not a chunked body. */
export const chunkedMalformed = -1;

export class ChunkedTracker {
  private state: number = State.sizeStart;
  private remaining = 0;
  private digits = 0;
  private extensionBytes = 0;
  private trailerBytes = 0;
  /** Made with the first trailer; nearly no body has one. */
  private trailerName: Uint8Array | null = null;
  private nameLength = 0;
  /** The trailer `grpc-status`; -1 without one. */
  grpcStatus = -1;
  private inGrpcStatus = false;

  get done(): boolean {
    return this.state === State.done;
  }

  reset(): void {
    this.state = State.sizeStart;
    this.remaining = 0;
    this.trailerBytes = 0;
    this.grpcStatus = -1;
  }

  /**
   * Follows the body through `bytes[at, end)`. Returns the offset one past what belongs to it, which is `end`
   * until `done`, or `chunkedMalformed`. Where data lies within the chunks is added to `data`: begin, end, and so on.
   */
  feed(bytes: Uint8Array, at: number, end: number, data: number[] | null = null): number {
    let i = at;
    while (i < end && this.state !== State.done) {
      if (this.state === State.data) {
        const count = Math.min(this.remaining, end - i);
        this.remaining -= count;
        if (data !== null) data.push(i, i + count);
        i += count;
        if (this.remaining === 0) this.state = State.dataCarriageReturn;
        continue;
      }
      if (!(this.state < State.data ? this.sizeByte(bytes[i]) : this.markByte(bytes[i])))
        return chunkedMalformed;
      i++;
    }
    return i;
  }

  /** One byte of the line that gives a chunk's size. */
  private sizeByte(byte: number): boolean {
    const digit = hexValue[byte];
    switch (this.state) {
      case State.sizeStart:
        if (digit < 0) return false;
        this.remaining = digit;
        this.digits = 1;
        this.extensionBytes = 0;
        this.state = State.size;
        return true;
      case State.size:
        if (digit >= 0) {
          this.remaining = this.remaining * 16 + digit;
          // Sixteen digits may be zeros in front; what counts must be exact in a double.
          return ++this.digits <= maxSizeDigits && this.remaining <= Number.MAX_SAFE_INTEGER;
        }
        if (byte === carriageReturn) this.state = State.sizeLineFeed;
        else if (byte === semicolon) this.state = State.extension;
        else return false;
        return true;
      case State.extension:
        if (byte === carriageReturn) this.state = State.sizeLineFeed;
        else return isFieldValue[byte] === 1 && ++this.extensionBytes <= maxExtensionBytes;
        return true;
      default:
        if (byte !== lineFeed) return false;
        this.state = this.remaining === 0 ? State.trailerStart : State.data;
        return true;
    }
  }

  /** One byte after a chunk's data, or of the trailer section. */
  private markByte(byte: number): boolean {
    switch (this.state) {
      case State.dataCarriageReturn:
        this.state = State.dataLineFeed;
        return byte === carriageReturn;
      case State.dataLineFeed:
        this.state = State.sizeStart;
        return byte === lineFeed;
      case State.lastLineFeed:
        this.state = State.done;
        return byte === lineFeed;
      default:
        return this.trailerByte(byte);
    }
  }

  private trailerByte(byte: number): boolean {
    if (++this.trailerBytes > maxTrailerBytes) return false;
    switch (this.state) {
      case State.trailerStart:
        this.nameLength = 0;
        if (byte === carriageReturn) {
          this.state = State.lastLineFeed;
          return true;
        }
        this.state = State.trailerName;
        return this.trailerNameByte(byte);
      case State.trailerName:
        if (byte !== colon) return this.trailerNameByte(byte);
        this.state = State.trailerValue;
        this.inGrpcStatus = isName(this.trailerName!, 0, this.nameLength, grpcStatus);
        if (this.inGrpcStatus) this.grpcStatus = 0;
        return !isForbiddenTrailer(this.trailerName!, 0, this.nameLength);
      case State.trailerValue:
        if (byte === carriageReturn) this.state = State.trailerLineFeed;
        else {
          if (this.inGrpcStatus) this.noteGrpcStatus(byte);
          return isFieldValue[byte] === 1;
        }
        return true;
      default:
        this.state = State.trailerStart;
        return byte === lineFeed;
    }
  }

  /** What is no status counts as `UNKNOWN`, as clients read it. */
  private noteGrpcStatus(byte: number): void {
    if (byte === space || byte === tab) return;
    const digit = byte - 0x30;
    const status = digit >= 0 && digit <= 9 ? this.grpcStatus * 10 + digit : unknownGrpcStatus;
    this.grpcStatus = status <= maxGrpcStatus ? status : unknownGrpcStatus;
  }

  private trailerNameByte(byte: number): boolean {
    if (isToken[byte] !== 1 || this.nameLength === maxTrailerNameBytes) return false;
    this.trailerName ??= new Uint8Array(maxTrailerNameBytes);
    this.trailerName[this.nameLength++] = byte;
    return true;
  }
}
