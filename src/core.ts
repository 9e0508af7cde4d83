/**
 * What every room of the house shares: the `Machine` contract, seeded randomness, errors with stable
 * codes, identifiers, Ed25519 signatures, and a bounded byte reader and writer. No clock, no IO.
 */
import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from 'node:crypto';

/** Milliseconds since the Unix epoch, never going backwards within one process. */
export type Millis = number;

/**
 * A protocol core: no clock, no IO, no randomness of its own. The shell and the simulator drive the very
 * same object: one input, drain every effect in order, then the next input. Every input union contains
 * `{ type: 'wake' }`, which the driver feeds once `now >= nextWake()`.
 */
export interface Machine<I, E> {
  step(input: I, now: Millis): readonly E[];
  /** The one deadline the core owns, absolute; null when it waits for input only. */
  nextWake(): Millis | null;
}

/** The earlier of several deadlines; null means none. */
export function earliest(...deadlines: (Millis | null)[]): Millis | null {
  let least: Millis | null = null;
  for (const deadline of deadlines)
    if (deadline !== null && (least === null || deadline < least)) least = deadline;
  return least;
}

/** Lower-case hex of a 32-byte Ed25519 public key: who a host is, whatever its name or address. */
export type HostId = string;

/** Randomness passed in. `next()` is uniform in [0, 1). */
export interface Random {
  next(): number;
}

/** Deterministic generator (mulberry32) for tests and the simulator; never for keys. */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  return {
    next() {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    },
  };
}

/** A uniform integer in [0, bound). `bound` must be at least 1. */
export function randomInt(random: Random, bound: number): number {
  return Math.floor(random.next() * bound);
}

/** One Ed25519 key that signs; the secret stays behind it. */
export interface Signer {
  readonly publicKey: HostId;
  sign(message: Uint8Array): Uint8Array;
}

/** Checks an Ed25519 signature by the key `publicKey` (hex); false for anything malformed. */
export type Verify = (publicKey: HostId, message: Uint8Array, signature: Uint8Array) => boolean;

/** DER of an Ed25519 private key (RFC 8410, section 7) up to its 32-byte seed. */
const pkcs8Prefix = Buffer.from('302e020100300506032b657004220420', 'hex');
/** DER of an Ed25519 public key (RFC 8410, section 4) up to its 32 bytes. */
const spkiPrefix = Buffer.from('302a300506032b6570032100', 'hex');

/**
 * The signer behind a 32-byte Ed25519 seed (RFC 8032). The seed itself is not kept; OpenSSL's copy is wiped when
 * the signer is collected as garbage.
 */
export function ed25519Signer(seed: Uint8Array): Signer {
  assert(seed.length === 32, 'an Ed25519 seed has 32 bytes');
  const der = Buffer.concat([pkcs8Prefix, seed]);
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  der.fill(0);
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return {
    publicKey: spki.subarray(spkiPrefix.length).toString('hex'),
    sign: (message) => sign(null, message, key),
  };
}

/** How many parsed public keys `ed25519Verify` keeps; parsing one costs about a third of a verification. */
const maxCachedKeys = 4096;
const cachedKeys = new Map<HostId, KeyObject>();

/** The parsed key, from a cache that forgets the key parsed longest ago. */
function publicKeyObject(publicKey: HostId): KeyObject {
  const cached = cachedKeys.get(publicKey);
  if (cached !== undefined) return cached;
  const spki = Buffer.concat([spkiPrefix, Buffer.from(publicKey, 'hex')]);
  const key = createPublicKey({ key: spki, format: 'der', type: 'spki' });
  if (cachedKeys.size >= maxCachedKeys)
    for (const oldest of cachedKeys.keys()) {
      cachedKeys.delete(oldest);
      break;
    }
  cachedKeys.set(publicKey, key);
  return key;
}

/** Ed25519 verification (RFC 8032) by OpenSSL; about 7,000 a second. */
export const ed25519Verify: Verify = (publicKey, message, signature) => {
  if (!isHex(publicKey, 32) || signature.length !== 64) return false;
  return verify(null, message, publicKeyObject(publicKey), signature);
};

/**
 * An expected failure: something a user, a peer, a file or the system did. `code` is stable kebab-case and
 * part of the interface; `changed` says whether state was changed before it failed; `field` is the path of
 * the offending field, if one is to blame. A bug is never a `Fault`: it is an `assert`.
 */
export class Fault extends Error {
  readonly code: string;
  readonly changed: boolean;
  readonly field: string | undefined;
  constructor(
    code: string,
    message: string,
    options: { changed?: boolean; field?: string; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = 'Fault';
    this.code = code;
    this.changed = options.changed ?? false;
    this.field = options.field;
  }
}

/** Stops the process on a bug. Nothing that a peer or a user sends may reach one. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`bug: ${message}`);
}

/** For the end of a switch over a closed union: a new member fails to type-check here. */
export function unreachable(value: never): never {
  throw new Error(`bug: unexpected ${JSON.stringify(value)}`);
}

/** Orders strings by code unit: the same on every host, whatever its locale. */
export function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const HEX = /^[0-9a-f]*$/;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const utf8Encoder = new TextEncoder();

/** Grows as needed; integers are big-endian, lengths LEB128. The counterpart of `ByteReader`. */
export class ByteWriter {
  private buffer = Buffer.allocUnsafe(256);
  private length = 0;

  private room(bytes: number): void {
    if (this.length + bytes <= this.buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.buffer.length * 2, this.length + bytes));
    this.buffer.copy(larger, 0, 0, this.length);
    this.buffer = larger;
  }
  u8(value: number): this {
    this.room(1);
    this.buffer[this.length++] = value;
    return this;
  }
  u32(value: number): this {
    this.room(4);
    this.length = this.buffer.writeUInt32BE(value >>> 0, this.length);
    return this;
  }
  /** A safe integer >= 0 as unsigned LEB128. */
  varint(value: number): this {
    assert(Number.isSafeInteger(value) && value >= 0, `varint of ${value}`);
    this.room(8);
    let rest = value;
    while (rest >= 0x80) {
      this.buffer[this.length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.buffer[this.length++] = rest;
    return this;
  }
  raw(bytes: Uint8Array): this {
    this.room(bytes.length);
    this.buffer.set(bytes, this.length);
    this.length += bytes.length;
    return this;
  }
  /** Length-prefixed bytes. */
  bytes(bytes: Uint8Array): this {
    return this.varint(bytes.length).raw(bytes);
  }
  /** Length-prefixed UTF-8. */
  string(text: string): this {
    return this.bytes(utf8Encoder.encode(text));
  }
  /** Raw bytes of an even-length hex string, without a length. */
  hex(text: string): this {
    return this.raw(Buffer.from(text, 'hex'));
  }
  /** A copy of what was written. */
  done(): Uint8Array {
    return Uint8Array.prototype.slice.call(this.buffer, 0, this.length);
  }
}

/**
 * Reads what `ByteWriter` wrote from bytes nobody vouches for: every read is bounded, and anything short,
 * long, non-minimal or not UTF-8 throws `Fault('malformed')`. Returned arrays alias the input.
 */
export class ByteReader {
  private readonly view: Buffer;
  private offset = 0;
  constructor(bytes: Uint8Array) {
    this.view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  private take(count: number): number {
    const at = this.offset;
    if (count > this.view.length - at) throw new Fault('malformed', 'message ends early');
    this.offset = at + count;
    return at;
  }
  get remaining(): number {
    return this.view.length - this.offset;
  }
  /** How many bytes were read so far. */
  get position(): number {
    return this.offset;
  }
  u8(): number {
    return this.view[this.take(1)]!;
  }
  u32(): number {
    return this.view.readUInt32BE(this.take(4));
  }
  varint(max: number = Number.MAX_SAFE_INTEGER): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 8; i++) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (byte === 0 && i > 0) throw new Fault('malformed', 'integer is not minimal');
        if (value > max) throw new Fault('malformed', `integer exceeds ${max}`);
        return value;
      }
      scale *= 0x80;
    }
    throw new Fault('malformed', 'integer is too long');
  }
  raw(count: number): Uint8Array {
    const at = this.take(count);
    return this.view.subarray(at, at + count);
  }
  bytes(max: number): Uint8Array {
    return this.raw(this.varint(max));
  }
  string(maxBytes: number): string {
    try {
      return utf8.decode(this.bytes(maxBytes));
    } catch (error) {
      if (error instanceof Fault) throw error;
      throw new Fault('malformed', 'text is not UTF-8');
    }
  }
  hex(count: number): string {
    return Buffer.from(this.raw(count)).toString('hex');
  }
  /** Everything must have been read. */
  end(): void {
    if (this.remaining > 0) throw new Fault('malformed', `${this.remaining} bytes too many`);
  }
}

/** Whether `text` is lower-case hex of exactly `bytes` bytes. */
export function isHex(text: string, bytes: number): boolean {
  return text.length === bytes * 2 && HEX.test(text);
}

/** Parses JSON from bytes nobody vouches for; `Fault('malformed')` instead of a SyntaxError. */
export function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(utf8.decode(bytes));
  } catch (error) {
    throw new Fault('malformed', `not JSON: ${messageOf(error)}`);
  }
}

/** JSON as UTF-8 bytes. */
export function encodeJson(value: unknown): Uint8Array {
  return utf8Encoder.encode(JSON.stringify(value));
}

const ipv4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;

/** 4 or 6 for a literal IP address without zone or brackets, 0 for anything else. */
export function ipVersion(text: string): 0 | 4 | 6 {
  if (ipv4.test(text)) return 4;
  return /^[0-9a-fA-F:.]+$/.test(text) && text.includes(':') && URL.canParse(`http://[${text}]/`) ? 6 : 0;
}
