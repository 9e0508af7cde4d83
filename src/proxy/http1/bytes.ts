/** Which bytes HTTP/1.1 allows where (RFC 9110 section 5, RFC 9112, RFC 3986), as tables of 256 flags. */

function table(allowed: (byte: number) => boolean): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => (allowed(byte) ? 1 : 0));
}

function tableOf(characters: string): Uint8Array {
  const codes = new Set(Buffer.from(characters, 'latin1'));
  return table((byte) => codes.has(byte));
}

const alphanumeric = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

export const carriageReturn = 13;
export const lineFeed = 10;
export const space = 32;
export const tab = 9;
export const colon = 58;
export const semicolon = 59;
export const slash = 47;

/** `tchar` of RFC 9110 section 5.6.2: field names and methods. */
export const isToken = tableOf(`!#$%&'*+-.^_\`|~${alphanumeric}`);

/** Field values: visible bytes, blanks and obs-text; no control byte, so no NUL and no bare CR or LF. */
export const isFieldValue = table((byte) => byte === tab || (byte >= 0x20 && byte !== 0x7f));

/** Request targets: visible ASCII without `#`, which never travels (RFC 9112 section 3.2). */
export const isTarget = table((byte) => byte > 0x20 && byte < 0x7f && byte !== 0x23);

/** `uri-host [":" port]` of RFC 3986: no userinfo, no list, no path. */
export const isAuthority = tableOf(`-._~%!$&'()*+;=:[]${alphanumeric}`);

/** The value of a hexadecimal digit, -1 for any other byte. */
export const hexValue = Int8Array.from({ length: 256 }, (_, byte) => {
  const index = '0123456789abcdef'.indexOf(String.fromCharCode(byte).toLowerCase());
  return byte < 0x80 ? index : -1;
});

/** ASCII lower case of a byte. */
export const lowerCase = Uint8Array.from({ length: 256 }, (_, byte) =>
  byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte,
);

/** Bytes of an ASCII word. */
export function ascii(word: string): Uint8Array {
  return new Uint8Array(Buffer.from(word, 'latin1'));
}

/** Whether `bytes` at `at` spell `word` (lower case) in any case. The caller has checked that they fit. */
export function spells(bytes: Uint8Array, at: number, word: Uint8Array): boolean {
  for (let i = 0; i < word.length; i++) if (lowerCase[bytes[at + i]] !== word[i]) return false;
  return true;
}

/**
 * As `spells`, with `_` counting as `-`: many application frameworks make one variable of both, so a header
 * that must not come from a client must not come in that spelling either.
 */
export function spellsLoosely(bytes: Uint8Array, at: number, word: Uint8Array): boolean {
  for (let i = 0; i < word.length; i++) {
    if (dashed(lowerCase[bytes[at + i]]) !== dashed(word[i])) return false;
  }
  return true;
}

function dashed(byte: number): number {
  return byte === 0x5f ? 0x2d : byte;
}

/** The text with everything escaped that does not belong in a URI: what policy puts into one ends no line. */
export function visible(text: string): string {
  return text.toWellFormed().replaceAll(/[^!-~]|#/gu, encodeURIComponent);
}
