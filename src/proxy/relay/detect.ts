/** Tells HTTP/1.1, HTTP/2 and anything else apart by the first bytes a client sends. */
import { isTarget, isToken, space } from '../http1/bytes.ts';

export type DetectedProtocol = 'http1' | 'http2' | 'tcp';

/** How long a client may be silent before its connection is taken for a protocol in which the server speaks first. */
export const detectionSilenceMs = 300;

/** RFC 9113 section 3.4. */
const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');
const version = Buffer.from('HTTP/1.');
/** A request line that long without its version yet is taken for HTTP: the head parser bounds and answers it. */
const enoughTargetBytes = 256;
const maxMethodBytes = 32;

/** Null while the bytes could still become more than one of them. Never null once 300 bytes are at hand. */
export function detectProtocol(bytes: Uint8Array): DetectedProtocol | null {
  if (bytes.length === 0) return null;
  if (startsLike(bytes, 0, preface)) return bytes.length >= preface.length ? 'http2' : null;
  let i = 0;
  while (i < bytes.length && isToken[bytes[i]] === 1) i++;
  if (i === 0 || i > maxMethodBytes) return 'tcp';
  if (i === bytes.length) return null;
  if (bytes[i] !== space) return 'tcp';
  const targetStart = ++i;
  while (i < bytes.length && isTarget[bytes[i]] === 1) i++;
  if (i === bytes.length) return i - targetStart >= enoughTargetBytes ? 'http1' : null;
  if (bytes[i] !== space || i === targetStart) return 'tcp';
  if (!startsLike(bytes, i + 1, version)) return 'tcp';
  return bytes.length >= i + 1 + version.length ? 'http1' : null;
}

/** Whether `bytes` from `at` agree with `word` as far as both go. */
function startsLike(bytes: Uint8Array, at: number, word: Uint8Array): boolean {
  const count = Math.min(word.length, bytes.length - at);
  for (let i = 0; i < count; i++) if (bytes[at + i] !== word[i]) return false;
  return true;
}
