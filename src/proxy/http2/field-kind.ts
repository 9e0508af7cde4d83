/** What HTTP/2 says of a field by its name and value (RFC 9113 sections 8.2 and 8.3), found once per field. */
import { ascii, isFieldValue, isToken, lowerCase, space, spells, tab } from '../http1/bytes.ts';

export const FieldKind = {
  ordinary: 0,
  /** Not allowed in any message: the message is malformed. */
  malformed: 1,
  method: 2,
  scheme: 3,
  authority: 4,
  path: 5,
  status: 6,
  host: 7,
  contentLength: 8,
  contentType: 9,
  cookie: 10,
  te: 11,
  /** Of one connection, and so without meaning in HTTP/2. */
  connection: 12,
} as const;

export type FieldKind = (typeof FieldKind)[keyof typeof FieldKind];

const pseudoColon = 0x3a;
const pseudoKinds: readonly (readonly [Uint8Array, FieldKind])[] = [
  [ascii(':method'), FieldKind.method],
  [ascii(':scheme'), FieldKind.scheme],
  [ascii(':authority'), FieldKind.authority],
  [ascii(':path'), FieldKind.path],
  [ascii(':status'), FieldKind.status],
];

const wordKinds: readonly (readonly [string, FieldKind])[] = [
  ['te', FieldKind.te],
  ['host', FieldKind.host],
  ['cookie', FieldKind.cookie],
  ['upgrade', FieldKind.connection],
  ['connection', FieldKind.connection],
  ['keep-alive', FieldKind.connection],
  ['content-type', FieldKind.contentType],
  ['content-length', FieldKind.contentLength],
  ['proxy-connection', FieldKind.connection],
  ['transfer-encoding', FieldKind.connection],
];
/** By the length of the word: most names are told apart by that alone. */
const wordsByLength: readonly (readonly (readonly [Uint8Array, FieldKind])[])[] = Array.from(
  { length: 18 },
  (_, length) =>
    wordKinds.filter(([word]) => word.length === length).map(([word, kind]) => [ascii(word), kind] as const),
);

/** The kind of a well-formed name that is no pseudo-field, in any case. */
export function kindOfWord(bytes: Uint8Array, at: number, length: number): FieldKind {
  if (length >= wordsByLength.length) return FieldKind.ordinary;
  for (const [word, kind] of wordsByLength[length]!) if (spells(bytes, at, word)) return kind;
  return FieldKind.ordinary;
}

/** The kind of a field with the name `bytes[at, at + length)`, as far as the name tells. */
export function kindOfName(bytes: Uint8Array, at: number, length: number): FieldKind {
  if (length === 0) return FieldKind.malformed;
  if (bytes[at] === pseudoColon) return kindOfPseudo(bytes, at, length);
  for (let i = at; i < at + length; i++)
    if (isToken[bytes[i]] !== 1 || lowerCase[bytes[i]] !== bytes[i]) return FieldKind.malformed;
  return kindOfWord(bytes, at, length);
}

function kindOfPseudo(bytes: Uint8Array, at: number, length: number): FieldKind {
  for (const [word, kind] of pseudoKinds)
    if (word.length === length && word.every((byte, i) => bytes[at + i] === byte)) return kind;
  return FieldKind.malformed;
}

/** Whether a field may have the value: no control bytes, no blanks around it. */
export function isSoundValue(bytes: Uint8Array, at: number, length: number): boolean {
  if (length === 0) return true;
  if (isBlank(bytes[at]) || isBlank(bytes[at + length - 1])) return false;
  for (let i = at; i < at + length; i++) if (isFieldValue[bytes[i]] !== 1) return false;
  return true;
}

function isBlank(byte: number): boolean {
  return byte === space || byte === tab;
}
