/** Tells HTTP/1.1, HTTP/2 and anything else apart by the first bytes a client sends. */
import { ascii, isToken, lineFeed, lowerCase, slash } from '../http1/bytes.ts';
import { preface } from '../http2/frames.ts';

export type DetectedProtocol = 'http1' | 'http2' | 'tcp';

/** How long a client may be silent before its connection is taken for a protocol in which the server speaks first. */
export const detectionSilenceMs = 300;

/** What may stand where the version does; the last two are requests of HTTP to servers built with Node. */
const protocolNames = [ascii('http/'), ascii('rtsp/'), ascii('ice/')];
/** A request line that long without its version yet is taken for HTTP: the head parser bounds and answers it. */
const enoughLineBytes = 300;
const maxMethodBytes = 32;
/** What servers take for a blank between words; a carriage return too, those of Python. */
const isBlank = Uint8Array.from({ length: 256 }, (_, byte) =>
  [0x09, 0x0b, 0x0c, 0x0d, 0x1c, 0x1d, 0x1e, 0x1f, 0x20, 0x85, 0xa0].includes(byte) ? 1 : 0,
);
const asterisk = 0x2a;

/**
 * Null while the bytes could still become more than one of them, never once 300 bytes are at hand. HTTP/1.1 is what
 * any server in use takes for a request, though it breaks the rules: were it a byte stream, it would go past all that
 * is done to requests, and bring an identity of its own making. The head parser then refuses it.
 */
export function detectProtocol(bytes: Uint8Array): DetectedProtocol | null {
  if (bytes.length === 0) return null;
  if (isBeginningOf(bytes, preface)) return bytes.length >= preface.length ? 'http2' : null;
  const detected = readRequestLine(bytes);
  return detected === null && bytes.length >= enoughLineBytes ? 'http1' : detected;
}

function readRequestLine(bytes: Uint8Array): 'http1' | 'tcp' | null {
  let i = 0;
  while (i < bytes.length && (isBlank[bytes[i]] === 1 || bytes[i] === lineFeed)) i++;
  const methodStart = i;
  while (i < bytes.length && isToken[bytes[i]] === 1) i++;
  const methodEnd = i;
  if (methodEnd - methodStart > maxMethodBytes) return 'tcp';
  if (i === bytes.length) return null;
  if (i === methodStart || isBlank[bytes[i]] === 0) return 'tcp';
  const targetStart = skipBlanks(bytes, i);
  i = targetStart;
  while (i < bytes.length && isBlank[bytes[i]] === 0 && bytes[i] !== lineFeed) i++;
  if (i === bytes.length) return null;
  if (isMethod(bytes, methodStart, methodEnd) && isTarget(bytes, targetStart, i)) return 'http1';
  const versionAt = skipBlanks(bytes, i);
  if (versionAt === bytes.length) return null;
  return readProtocol(bytes, versionAt);
}

function readProtocol(bytes: Uint8Array, at: number): 'http1' | 'tcp' | null {
  for (const name of protocolNames) {
    let length = 0;
    while (length < name.length && lowerCase[bytes[at + length]] === name[length]) length++;
    if (length === name.length) return 'http1';
    if (at + length === bytes.length) return null;
  }
  return 'tcp';
}

/**
 * This and `isTarget` tell a request whatever follows: a blank more in the target, or no version, as in HTTP/0.9, behind
 * which some servers take lines of fields all the same. Of text protocols, commands are in lower case, or name no path.
 */
function isMethod(bytes: Uint8Array, start: number, end: number): boolean {
  for (let i = start; i < end; i++) if (lowerCase[bytes[i]] === bytes[i] && bytes[i] > 0x60) return false;
  return true;
}

function isTarget(bytes: Uint8Array, start: number, end: number): boolean {
  if (bytes[start] === slash || bytes[start] === asterisk) return end > start;
  return /^[a-z][a-z\d+.-]*:\/\//i.test(Buffer.from(bytes.subarray(start, end)).toString('latin1'));
}

function skipBlanks(bytes: Uint8Array, from: number): number {
  let i = from;
  while (i < bytes.length && isBlank[bytes[i]] === 1) i++;
  return i;
}

/** Whether `bytes` agree with `word` as far as both go. */
function isBeginningOf(bytes: Uint8Array, word: Uint8Array): boolean {
  const count = Math.min(word.length, bytes.length);
  for (let i = 0; i < count; i++) if (bytes[i] !== word[i]) return false;
  return true;
}
