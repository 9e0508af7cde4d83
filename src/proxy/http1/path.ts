/**
 * One spelling for a path before policy looks at it (RFC 3986 section 6.2.2): what an application would take
 * for `/admin` must look like `/admin` to whoever allows or denies, and goes on in that spelling.
 */
import { hexValue, isToken, slash } from './bytes.ts';

const percent = 0x25;
const backslash = 0x5c;
const dot = 0x2e;
const semicolon = 0x3b;
const questionMark = 0x3f;
const tilde = 0x7e;

/** Bytes that applications may read as separators or ends: encoded, they could hide where a path leads. */
const hidden = [0x2f, 0x5c, 0x00];

/** It is in its one spelling already. */
export const asIs = 0;
/** It has no one spelling: two readers could take it for different paths. */
export const ambiguous = 1;

/**
 * The target `bytes[start, end)` with its path in normal form: unreserved bytes decoded, other escapes in upper
 * case, dot segments resolved, empty segments dropped. The query stays as it is. `ambiguous` for encoded
 * slashes, backslashes in either form, encoded NUL, broken escapes, and dot segments that lead above the root.
 */
export function normalTarget(
  bytes: Uint8Array,
  start: number,
  end: number,
): Buffer | typeof asIs | typeof ambiguous {
  if (bytes[start] !== slash) return asIs;
  const pathEnd = firstSuspect(bytes, start, end);
  if (pathEnd === end || bytes[pathEnd] === questionMark) return asIs;
  const path = decoded(bytes, start, end);
  if (path === null) return ambiguous;
  const resolved = resolve(path.text);
  if (resolved === null) return ambiguous;
  const query = Buffer.from(bytes.buffer, bytes.byteOffset + path.end, end - path.end);
  return Buffer.concat([Buffer.from(resolved, 'latin1'), query]);
}

/** Where something begins that may have another spelling, or where the path ends. */
function firstSuspect(bytes: Uint8Array, start: number, end: number): number {
  let before = 0;
  for (let i = start; i < end; i++) {
    const byte = bytes[i];
    if (byte === questionMark || byte === percent || byte === backslash) return i;
    if (before === slash && (byte === slash || byte === dot || byte === semicolon)) return i;
    before = byte;
  }
  return end;
}

/** The path with its escapes undone where that changes nothing of its meaning; null when it is ambiguous. */
function decoded(bytes: Uint8Array, start: number, end: number): { text: string; end: number } | null {
  let text = '';
  let i = start;
  for (; i < end && bytes[i] !== questionMark; i++) {
    const byte = bytes[i];
    if (byte === backslash) return null;
    if (byte !== percent) {
      text += String.fromCharCode(byte);
      continue;
    }
    const high = i + 2 < end ? hexValue[bytes[i + 1]] : -1;
    const low = i + 2 < end ? hexValue[bytes[i + 2]] : -1;
    if (high < 0 || low < 0) return null;
    const value = high * 16 + low;
    if (hidden.includes(value)) return null;
    text += isUnreserved(value)
      ? String.fromCharCode(value)
      : `%${value.toString(16).toUpperCase().padStart(2, '0')}`;
    i += 2;
  }
  return { text, end: i };
}

/** Letters, digits, `-`, `.`, `_` and `~`: those of the token bytes that no part of a URI gives a meaning. */
function isUnreserved(byte: number): boolean {
  if (byte === dot || byte === tilde || byte === 0x2d || byte === 0x5f) return true;
  const lower = byte | 0x20;
  return isToken[byte] === 1 && ((lower >= 0x61 && lower <= 0x7a) || (byte >= 0x30 && byte <= 0x39));
}

/**
 * RFC 3986 section 5.2.4, except that a path which leads above its root is refused, not cut there; as are dot
 * and empty segments with parameters (`..;x`, `;x`), which some application servers take for plain ones.
 */
function resolve(path: string): string | null {
  const resolved: string[] = [];
  for (const segment of path.split('/').slice(1)) {
    if (/^\.{0,2};/.test(segment)) return null;
    if (segment === '..') {
      if (resolved.pop() === undefined) return null;
    } else if (segment !== '.' && segment !== '') resolved.push(segment);
  }
  const isFolder = resolved.length > 0 && /\/\.{0,2}$/.test(path);
  return `/${resolved.join('/')}${isFolder ? '/' : ''}`;
}
