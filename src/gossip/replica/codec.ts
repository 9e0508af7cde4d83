/**
 * Records as bytes: one deterministic encoding, signed once by the author, stored and relayed unchanged.
 *
 *     u8 format = 1 | u8 scope | 32 author | string kind | string key | varint version | varint hlc
 *     | u8 flags (bit 0: deleted) | bytes value | bytes tail | 64 signature
 *
 * `tail` is room for fields that a later release adds: this release signs, keeps and relays it unread, so a
 * record of release N+1 crosses a mesh of release N byte for byte. The signature covers everything before
 * it, behind a tag of its own so that no other signed thing of this mesh can be taken for a record.
 */
import { hash } from 'node:crypto';
import { ByteReader, ByteWriter, Fault, type HostId, type Signer, type Verify } from '../../core.ts';
import { type Hlc, maxValueBytes, type Record, type Scope } from './record.ts';

export const maxKindBytes = 64;
export const maxKeyBytes = 256;
/** Fields of later releases; a few short ones are all a record should ever gain. */
export const maxTailBytes = 1024;
/** Format, scope, author, flags, lengths, version, hlc and signature come to less than 160 bytes. */
export const maxRecordBytes: number = maxValueBytes + maxKindBytes + maxKeyBytes + maxTailBytes + 160;

const formatVersion = 1;
const signatureBytes = 64;
const authorBytes = 32;
const deletedFlag = 1;
const kindPattern = /^[a-z0-9]+(-[a-z0-9]+)*$/;
const domain = new TextEncoder().encode('starling record 1\0');
const nothing = new Uint8Array(0);

/**
 * A record as it is held: one string of bytes, and what a replica asks of it at every turn. A typed array a
 * record would take twice the memory of the record itself; few are ever read again as bytes.
 */
class SignedRecord implements Record {
  readonly scope: Scope;
  readonly author: HostId;
  readonly kind: string;
  readonly key: string;
  readonly version: number;
  readonly hlc: Hlc;
  readonly deleted: boolean;
  readonly text: string;
  /** Where the value begins and ends in `text`. */
  private readonly valueStart: number;
  private readonly valueEnd: number;

  constructor(fields: Omit<Record, 'value' | 'bytes'>, valueStart: number, valueEnd: number) {
    this.scope = fields.scope;
    this.author = authors.intern(fields.author);
    this.kind = kinds.intern(fields.kind);
    this.key = fields.key;
    this.version = fields.version;
    this.hlc = fields.hlc;
    this.deleted = fields.deleted;
    this.text = fields.text;
    this.valueStart = valueStart;
    this.valueEnd = valueEnd;
  }

  get value(): Uint8Array {
    return bytesOf(this.text.slice(this.valueStart, this.valueEnd));
  }

  get bytes(): Uint8Array {
    return bytesOf(this.text);
  }
}

/** One copy of each string that many records share. Starts over when full: it saves memory, no more. */
class Interner {
  private readonly limit: number;
  private readonly known = new Map<string, string>();

  constructor(limit: number) {
    this.limit = limit;
  }

  intern(text: string): string {
    const known = this.known.get(text);
    if (known !== undefined) return known;
    if (this.known.size >= this.limit) this.known.clear();
    this.known.set(text, text);
    return text;
  }
}

/** More than the hosts of the largest mesh, and than the kinds that there are. */
const authors = new Interner(16_384);
const kinds = new Interner(256);

/** What a writer decides; the author is the signer. */
export interface RecordFields {
  readonly scope: Scope;
  readonly kind: string;
  readonly key: string;
  readonly version: number;
  readonly hlc: Hlc;
  /** Null makes a tombstone. */
  readonly value: Uint8Array | null;
}

/**
 * Signs and encodes. `Fault('value-too-large')`, `Fault('invalid-kind')` or `Fault('invalid-key')` when a
 * field is outside its limits. `tail` carries fields of a later release and is empty in this one.
 */
export function encodeRecord(fields: RecordFields, signer: Signer, tail: Uint8Array = nothing): Record {
  checkFields(fields, tail);
  const value = fields.value ?? nothing;
  const body = new ByteWriter()
    .u8(formatVersion)
    .u8(fields.scope === 'host' ? 0 : 1)
    .hex(signer.publicKey)
    .string(fields.kind)
    .string(fields.key)
    .varint(fields.version)
    .varint(fields.hlc)
    .u8(fields.value === null ? deletedFlag : 0)
    .bytes(value)
    .bytes(tail)
    .done();
  const text = textOf(body) + textOf(signer.sign(signedMessage(body)));
  const { scope, kind, key, version, hlc } = fields;
  const deleted = fields.value === null;
  const valueEnd = body.length - lengthOfBytes(tail.length);
  const plain = { scope, author: signer.publicKey, kind, key, version, hlc, deleted, text };
  return new SignedRecord(plain, valueEnd - value.length, valueEnd);
}

/** What length-prefixed bytes take. */
function lengthOfBytes(count: number): number {
  return new ByteWriter().varint(count).done().length + count;
}

function checkFields(fields: RecordFields, tail: Uint8Array): void {
  if (!kindPattern.test(fields.kind) || fields.kind.length > maxKindBytes)
    throw new Fault('invalid-kind', `kind must be kebab-case of at most ${maxKindBytes} bytes`, {
      field: 'kind',
    });
  if (!fields.key.isWellFormed() || Buffer.byteLength(fields.key) > maxKeyBytes)
    throw new Fault('invalid-key', `key must be Unicode text of at most ${maxKeyBytes} bytes`, {
      field: 'key',
    });
  if (fields.value !== null && fields.value.length > maxValueBytes)
    throw new Fault('value-too-large', `value has ${fields.value.length} bytes, at most ${maxValueBytes}`, {
      field: 'value',
    });
  if (tail.length > maxTailBytes)
    throw new Fault('value-too-large', `tail has ${tail.length} bytes, at most ${maxTailBytes}`, {
      field: 'tail',
    });
}

/**
 * Reads a record from bytes nobody vouches for: structure and limits only, `isAuthentic` does the rest.
 * `Fault('malformed')`, or `Fault('unknown-format')` for an encoding of a later release. The record owns a
 * copy of its bytes, so that it keeps no larger message alive.
 */
export function decodeRecord(bytes: Uint8Array): Record {
  if (bytes.length > maxRecordBytes)
    throw new Fault('malformed', `record has ${bytes.length} bytes, at most ${maxRecordBytes}`);
  const reader = new ByteReader(bytes);
  const format = reader.u8();
  if (format !== formatVersion) throw new Fault('unknown-format', `record format ${format} is not known`);
  const scope = readScope(reader);
  const author = reader.hex(authorBytes);
  const kind = reader.string(maxKindBytes);
  if (!kindPattern.test(kind)) throw new Fault('malformed', 'kind is not kebab-case', { field: 'kind' });
  const key = reader.string(maxKeyBytes);
  const version = reader.varint();
  const hlc = reader.varint();
  const flags = reader.u8();
  if (flags > deletedFlag) throw new Fault('malformed', `flags ${flags} are not known`, { field: 'flags' });
  const valueLength = reader.bytes(maxValueBytes).length;
  const valueEnd = reader.position;
  const deleted = flags === deletedFlag;
  if (deleted && valueLength > 0)
    throw new Fault('malformed', 'a tombstone has no value', { field: 'value' });
  reader.bytes(maxTailBytes);
  reader.raw(signatureBytes);
  reader.end();
  const plain = { scope, author, kind, key, version, hlc, deleted, text: textOf(bytes) };
  return new SignedRecord(plain, valueEnd - valueLength, valueEnd);
}

function readScope(reader: ByteReader): Scope {
  const code = reader.u8();
  if (code === 0) return 'host';
  if (code === 1) return 'policy';
  throw new Fault('malformed', `scope ${code} is not known`, { field: 'scope' });
}

/** Whether the record's author signed exactly these bytes. */
export function isAuthentic(record: Record, verify: Verify): boolean {
  const bytes = record.bytes;
  const end = bytes.length - signatureBytes;
  return verify(record.author, signedMessage(bytes.subarray(0, end)), bytes.subarray(end));
}

function signedMessage(body: Uint8Array): Uint8Array {
  return concatenate(domain, body);
}

function concatenate(head: Uint8Array, rest: Uint8Array): Uint8Array {
  const whole = new Uint8Array(head.length + rest.length);
  whole.set(head);
  whole.set(rest, head.length);
  return whole;
}

/** SHA-256 as one character a byte: compares like the bytes, and is a map key of 32 bytes rather than 64. */
export function digestOf(data: Uint8Array | string): string {
  return hash('sha256', data, 'binary');
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}

/** A plain array, neither a Buffer nor a part of a pool that it would keep alive. */
function bytesOf(text: string): Uint8Array {
  const bytes = Buffer.allocUnsafeSlow(text.length);
  bytes.write(text, 'latin1');
  return new Uint8Array(bytes.buffer);
}
