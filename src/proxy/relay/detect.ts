/** Tells HTTP/1.1, HTTP/2 and anything else apart by the first bytes a client sends. */
import { ascii, carriageReturn, isToken, lineFeed, slash, space } from '../http1/bytes.ts';
import { preface } from '../http2/frames.ts';

export type DetectedProtocol = 'http1' | 'http2' | 'tcp';

/** How long a client may be silent before its connection is taken for a protocol in which the server speaks first. */
export const detectionSilenceMs = 300;

/** What may stand where the version does; the last two are requests of HTTP to servers built with Node. */
const protocolNames = [ascii('HTTP/'), ascii('RTSP/'), ascii('ICE/')];
const authorityMark = Buffer.from('://');
/** A request line that long without its version yet is taken for HTTP: the head parser bounds and answers it. */
const enoughLineBytes = 300;
const maxMethodBytes = 32;
const asterisk = 0x2a;

/**
 * Null while the bytes could still become more than one of them, never once 300 bytes are at hand. HTTP/1.1 is what
 * any server in use takes for a request, though it breaks the rules: were it a byte stream, it would go past all that
 * is done to requests, and bring an identity of its own making. The head parser then refuses it.
 */
export function detectProtocol(bytes: Uint8Array): DetectedProtocol | null {
  if (bytes.length === 0) return null;
  if (startsLike(bytes, 0, preface)) return bytes.length >= preface.length ? 'http2' : null;
  const detected = readRequestLine(bytes);
  return detected === null && bytes.length >= enoughLineBytes ? 'http1' : detected;
}

function readRequestLine(bytes: Uint8Array): 'http1' | 'tcp' | null {
  const methodStart = skipLineEnds(bytes);
  let i = methodStart;
  while (i < bytes.length && isToken[bytes[i]] === 1) i++;
  const methodEnd = i;
  if (methodEnd - methodStart > maxMethodBytes) return 'tcp';
  if (i === bytes.length) return null;
  if (i === methodStart || bytes[i] !== space) return 'tcp';
  const targetStart = skipBlanks(bytes, i);
  i = targetStart;
  while (i < bytes.length && isVisible(bytes[i])) i++;
  if (i === bytes.length) return null;
  if (isLineEnd(bytes[i])) return isSimpleRequest(bytes, methodStart, methodEnd, targetStart, i);
  if (bytes[i] !== space || i === targetStart) return 'tcp';
  const versionAt = skipBlanks(bytes, i);
  const likely = protocolNames.filter((name) => startsLike(bytes, versionAt, name));
  if (likely.length === 0) return 'tcp';
  return likely.some((name) => bytes.length >= versionAt + name.length) ? 'http1' : null;
}

/**
 * A request without a version, as in HTTP/0.9: some servers take lines of fields behind it all the same. Of text
 * protocols with such lines, commands are in lower case, or name no path.
 */
function isSimpleRequest(
  bytes: Uint8Array,
  methodStart: number,
  methodEnd: number,
  targetStart: number,
  targetEnd: number,
): 'http1' | 'tcp' {
  for (let i = methodStart; i < methodEnd; i++) if (bytes[i] >= 0x61 && bytes[i] <= 0x7a) return 'tcp';
  const target = Buffer.from(bytes.buffer, bytes.byteOffset + targetStart, targetEnd - targetStart);
  return target[0] === slash || target[0] === asterisk || target.includes(authorityMark) ? 'http1' : 'tcp';
}

function skipLineEnds(bytes: Uint8Array): number {
  let i = 0;
  while (i < bytes.length && isLineEnd(bytes[i])) i++;
  return i;
}

function skipBlanks(bytes: Uint8Array, from: number): number {
  let i = from;
  while (i < bytes.length && bytes[i] === space) i++;
  return i;
}

function isLineEnd(byte: number): boolean {
  return byte === carriageReturn || byte === lineFeed;
}

/** Also beyond ASCII, which servers let pass in targets. */
function isVisible(byte: number): boolean {
  return byte > space && byte !== 0x7f;
}

/** Whether `bytes` from `at` agree with `word` as far as both go. */
function startsLike(bytes: Uint8Array, at: number, word: Uint8Array): boolean {
  const count = Math.min(word.length, bytes.length - at);
  for (let i = 0; i < count; i++) if (bytes[at + i] !== word[i]) return false;
  return true;
}
