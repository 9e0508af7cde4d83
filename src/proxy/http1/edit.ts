/** What of a head goes to the next hop: the lines not cut, and the lines the proxy adds, in one copy. */
import type { Random } from '../../core.ts';
import { ascii } from './bytes.ts';
import type { MessageHead } from './fields.ts';
import type { RequestHead, ResponseHead } from './head.ts';

const requestIdPrefix = ascii('x-request-id: ');
const connectionUpgrade = Buffer.from('connection: upgrade\r\n');
const connectionClose = Buffer.from('connection: close\r\n');
const connectionKeepAlive = Buffer.from('connection: keep-alive\r\n');
const hexDigits = ascii('0123456789abcdef');
const requestIdDigits = 32;
/** With its line end. */
const requestIdBytes = requestIdPrefix.length + requestIdDigits + 2;
/** What few heads are given. */
const rarelyAddedBytes = 64;

/**
 * The most bytes of body that are copied behind an edited head. More are sent as they are, after it: a copy of
 * theirs would cost more than a second write saves.
 */
const maxInlineBodyBytes = 2048;

/** How much of what came with a head, up to `bodyEnd`, is to go out in one buffer with it. */
export function inlineEnd(headEnd: number, bodyEnd: number): number {
  return bodyEnd - headEnd <= maxInlineBodyBytes ? bodyEnd : headEnd;
}

/**
 * The head as it is forwarded, with the bytes up to `bodyEnd` behind it in the same buffer. `added` are whole
 * lines, such as the caller's certificate. Returns a new buffer that nobody writes to again.
 */
export function forwardedRequest(
  bytes: Buffer,
  head: RequestHead,
  bodyEnd: number,
  added: Buffer | null,
  random: Random,
): Buffer {
  const { newTarget } = head;
  let room = bodyEnd - head.start - cutBytes(head);
  if (!head.hasRequestId) room += requestIdBytes;
  if (added !== null) room += added.length;
  if (newTarget !== null) room += newTarget.length;
  if (head.upgrades || head.minorVersion === 0 || head.pathStart !== head.targetStart)
    room += rarelyAddedBytes;
  const output = Buffer.allocUnsafe(room);
  let length = 0;
  let from = head.start;
  if (newTarget !== null) {
    length += bytes.copy(output, 0, from, head.targetStart);
    length += newTarget.copy(output, length);
    from = head.targetEnd;
  } else if (head.pathStart !== head.targetStart) {
    length += bytes.copy(output, 0, from, head.targetStart);
    from = head.pathStart;
    // `http://host` without a path asks for `/`.
    if (head.pathStart === head.targetEnd) output[length++] = 0x2f;
  }
  length = copyKept(bytes, head.cuts, head.cutCount, from, head.end - 2, output, length);
  if (!head.hasRequestId) length = writeRequestId(output, length, random);
  if (added !== null) length += added.copy(output, length);
  if (head.upgrades) length += connectionUpgrade.copy(output, length);
  // HTTP/1.0 closes unless told otherwise; then the client would be closed on as well.
  if (head.minorVersion === 0 && head.keepAlive) length += connectionKeepAlive.copy(output, length);
  // The empty line, then what has come of the body.
  length += bytes.copy(output, length, head.end - 2, bodyEnd);
  return length === room ? output : output.subarray(0, length);
}

function cutBytes({ cuts, cutCount }: MessageHead): number {
  let count = 0;
  for (let i = 0; i < cutCount; i += 2) count += cuts[i + 1] - cuts[i];
  return count;
}

/** What the connection to the client is told about its future. */
export type ConnectionNotice = 'none' | 'close' | 'keep-alive' | 'upgrade';

/** In `HTTP/1.1`. */
const minorVersionAt = 7;
const one = 0x31;

/** As `forwardedRequest`, for the head of a response. Its version is the proxy's own (RFC 9112 section 2.3). */
export function forwardedResponse(
  bytes: Buffer,
  head: ResponseHead,
  bodyEnd: number,
  notice: ConnectionNotice,
  added: Buffer | null,
): Buffer {
  if (head.cutCount === 0 && notice === 'none' && added === null && head.minorVersion === 1)
    return bytes.subarray(head.start, bodyEnd);
  let room = bodyEnd - head.start - cutBytes(head);
  if (added !== null) room += added.length;
  if (notice !== 'none') room += rarelyAddedBytes;
  const output = Buffer.allocUnsafe(room);
  let length = copyKept(bytes, head.cuts, head.cutCount, head.start, head.end - 2, output, 0);
  output[minorVersionAt] = one;
  if (added !== null) length += added.copy(output, length);
  if (notice === 'close') length += connectionClose.copy(output, length);
  else if (notice === 'keep-alive') length += connectionKeepAlive.copy(output, length);
  else if (notice === 'upgrade') length += connectionUpgrade.copy(output, length);
  length += bytes.copy(output, length, head.end - 2, bodyEnd);
  return length === room ? output : output.subarray(0, length);
}

/** Copies `bytes[from, to)` without the cut spans; returns the new length of `output`. */
function copyKept(
  bytes: Buffer,
  cuts: Int32Array,
  cutCount: number,
  from: number,
  to: number,
  output: Buffer,
  at: number,
): number {
  let length = at;
  let kept = from;
  for (let i = 0; i < cutCount; i += 2) {
    length += bytes.copy(output, length, kept, cuts[i]);
    kept = cuts[i + 1];
  }
  return length + bytes.copy(output, length, kept, to);
}

/** `x-request-id:` with 128 random bits. It names a request in logs; it is no secret. */
function writeRequestId(output: Buffer, at: number, random: Random): number {
  output.set(requestIdPrefix, at);
  let length = at + requestIdPrefix.length;
  let bits = 0;
  for (let i = 0; i < requestIdDigits; i++) {
    if (i % 8 === 0) bits = (random.next() * 0x100000000) >>> 0;
    output[length++] = hexDigits[bits & 15];
    bits >>>= 4;
  }
  output[length++] = 13;
  output[length++] = 10;
  return length;
}
