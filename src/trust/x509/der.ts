/**
 * DER, the encoding of certificates (X.690): writing by node-forge's `asn1`, and reading that accepts one
 * encoding of each value only. `forge.pki` is never used: it knows no key type but RSA.
 */
import type { asn1 as Asn1Module } from 'node-forge';
// All of node-forge is TLS, PKCS and its own arithmetic, ten times as much to load.
import asn1 from 'node-forge/lib/asn1.js';
import { Fault, type Millis, messageOf } from '../../core.ts';

/** A value being written. */
export type Asn1 = Asn1Module.Asn1;

/** First identifier octets, without the "constructed" bit. */
export const tags = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  utf8: 0x0c,
  sequence: 0x10,
  set: 0x11,
  utcTime: 0x17,
  generalizedTime: 0x18,
} as const;

/** The identifier octet of context-specific tag `number`. */
export function contextTag(number: number): number {
  return 0x80 | number;
}

// forge keeps bytes as strings of code units 0 to 255.
const toBinary = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');
const fromBinary = (text: string): Buffer => Buffer.from(text, 'latin1');

const universal = asn1.Class.UNIVERSAL;

export function sequence(...values: Asn1[]): Asn1 {
  return asn1.create(universal, asn1.Type.SEQUENCE, true, values);
}

export function set(...values: Asn1[]): Asn1 {
  return asn1.create(universal, asn1.Type.SET, true, values);
}

export function objectIdentifier(dotted: string): Asn1 {
  return asn1.create(universal, asn1.Type.OID, false, asn1.oidToDer(dotted).getBytes());
}

export function octetString(bytes: Uint8Array): Asn1 {
  return asn1.create(universal, asn1.Type.OCTETSTRING, false, toBinary(bytes));
}

export function utf8String(text: string): Asn1 {
  return asn1.create(universal, asn1.Type.UTF8, false, toBinary(Buffer.from(text, 'utf8')));
}

/** A non-negative integer from its big-endian bytes. */
export function unsignedInteger(bytes: Uint8Array): Asn1 {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const minimal = Buffer.from(bytes.subarray(start));
  const padded = (minimal[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), minimal]) : minimal;
  return asn1.create(universal, asn1.Type.INTEGER, false, toBinary(padded));
}

export function booleanTrue(): Asn1 {
  return asn1.create(universal, asn1.Type.BOOLEAN, false, '\xff');
}

/** `unusedBits`: how many low bits of the last byte do not count. */
export function bitString(bytes: Uint8Array, unusedBits = 0): Asn1 {
  return asn1.create(
    universal,
    asn1.Type.BITSTRING,
    false,
    String.fromCharCode(unusedBits) + toBinary(bytes),
  );
}

/** Context-specific tag around values (constructed) or raw bytes (implicit). */
export function context(number: number, content: Asn1[] | Uint8Array): Asn1 {
  return Array.isArray(content)
    ? asn1.create(asn1.Class.CONTEXT_SPECIFIC, number, true, content)
    : asn1.create(asn1.Class.CONTEXT_SPECIFIC, number, false, toBinary(content));
}

/** UTCTime up to 2049, GeneralizedTime after (RFC 5280, section 4.1.2.5). Whole seconds. */
export function time(at: Millis): Asn1 {
  const date = new Date(at);
  return date.getUTCFullYear() < 2050
    ? asn1.create(universal, asn1.Type.UTCTIME, false, asn1.dateToUtcTime(date))
    : asn1.create(universal, asn1.Type.GENERALIZEDTIME, false, asn1.dateToGeneralizedTime(date));
}

export function encode(value: Asn1): Buffer {
  return fromBinary(asn1.toDer(value).getBytes());
}

/** Bytes that are known to be DER, to be embedded as they are. */
export function embed(der: Uint8Array): Asn1 {
  return parse(der);
}

function parse(der: Uint8Array): Asn1 {
  // Bit strings must stay bytes: forge would otherwise take some elliptic-curve points for nested DER.
  // The published types know only a boolean here; the code takes these options.
  const options = { strict: true, parseAllBytes: true, decodeBitStrings: false, maxDepth: 24 };
  return asn1.fromDer(toBinary(der), options as unknown as boolean);
}

/** An object identifier as the hex of its content, which is how `DerNode.oid` returns one. */
export function oidHex(dotted: string): string {
  return asn1.oidToDer(dotted).toHex();
}

/**
 * Reads DER nobody vouches for. Throws `Fault('malformed')` when it is larger than `maxBytes`, not DER, or
 * not the one canonical encoding of what it says (checked by encoding it again).
 */
export function readDer(der: Uint8Array, maxBytes: number): DerNode {
  if (der.length > maxBytes) throw new Fault('malformed', `larger than ${maxBytes} bytes`);
  let value: Asn1;
  try {
    value = parse(der);
  } catch (error) {
    throw new Fault('malformed', `not DER: ${messageOf(error)}`);
  }
  if (!encode(value).equals(der)) throw new Fault('malformed', 'not canonical DER');
  return new DerNode(value);
}

/** One decoded value. Every accessor checks the type it is asked for and throws `Fault('malformed')` else. */
export class DerNode {
  private readonly value: Asn1;

  constructor(value: Asn1) {
    this.value = value;
  }

  get tag(): number {
    return this.value.tagClass | this.value.type;
  }

  /** This value's own encoding. */
  der(): Buffer {
    return encode(this.value);
  }

  /** The content bytes of a primitive value. */
  content(tag: number): Buffer {
    if (this.tag !== tag || this.value.constructed || typeof this.value.value !== 'string')
      throw new Fault('malformed', `expected a primitive value of tag ${tag}`);
    return fromBinary(this.value.value);
  }

  /** The values inside a constructed one, to be read in order. */
  inside(tag: number): DerCursor {
    if (this.tag !== tag || !this.value.constructed || typeof this.value.value === 'string')
      throw new Fault('malformed', `expected a constructed value of tag ${tag}`);
    return new DerCursor(this.value.value.map((child) => new DerNode(child)));
  }

  oid(): string {
    return this.content(tags.oid).toString('hex');
  }

  boolean(): boolean {
    const content = this.content(tags.boolean);
    if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff))
      throw new Fault('malformed', 'boolean is neither true nor false');
    return content[0] === 0xff;
  }

  /** A whole-byte bit string, such as a key or a signature. */
  bits(): Buffer {
    const content = this.content(tags.bitString);
    if (content[0] !== 0) throw new Fault('malformed', 'expected a bit string of whole bytes');
    return content.subarray(1);
  }

  /** A named-bits string: bit i is the i-th from the left. */
  namedBits(): number[] {
    const content = this.content(tags.bitString);
    const unused = content[0] ?? 8;
    if (unused > 7 || (content.length === 1 && unused > 0)) throw new Fault('malformed', 'bad bit string');
    const bits: number[] = [];
    for (let bit = 0; bit < (content.length - 1) * 8 - unused; bit++)
      if (((content[1 + (bit >> 3)] ?? 0) & (0x80 >> (bit & 7))) !== 0) bits.push(bit);
    return bits;
  }

  /** A certificate's time: exactly `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`, and a time that exists. */
  time(): Millis {
    const utc = this.tag === tags.utcTime;
    const text = this.content(utc ? tags.utcTime : tags.generalizedTime).toString('latin1');
    const match = (utc ? /^(\d\d)(\d{10})Z$/ : /^(\d{4})(\d{10})Z$/).exec(text);
    if (match === null) throw new Fault('malformed', 'time is not in the form certificates use');
    const year = utc ? (Number(match[1]) < 50 ? 2000 : 1900) + Number(match[1]) : Number(match[1]);
    const part = (index: number): number => Number(match[2]!.slice(index * 2, index * 2 + 2));
    const at = Date.UTC(year, part(0) - 1, part(1), part(2), part(3), part(4));
    const canonical = new Date(at).toISOString().replace(/[-:T]/g, '').slice(0, 14);
    if (year < 1900 || canonical !== `${year}${match[2]}`) throw new Fault('malformed', 'no such time');
    return at;
  }
}

/** Reads the values of a constructed one, one after the other. */
export class DerCursor {
  private readonly nodes: readonly DerNode[];
  private position = 0;

  constructor(nodes: readonly DerNode[]) {
    this.nodes = nodes;
  }

  get more(): boolean {
    return this.position < this.nodes.length;
  }

  next(): DerNode {
    const node = this.nodes[this.position++];
    if (node === undefined) throw new Fault('malformed', 'a value is missing');
    return node;
  }

  /** The next value if it has this tag. */
  optional(tag: number): DerNode | null {
    return this.nodes[this.position]?.tag === tag ? this.next() : null;
  }

  end(): void {
    if (this.more) throw new Fault('malformed', 'a value too many');
  }
}
