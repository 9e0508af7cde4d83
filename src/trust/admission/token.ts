/**
 * Join tokens: `starling-join-1.` and base64url text. A token is a secret that a person copies, so a mistyped
 * one is told from a foreign one, and none can reach a log by accident.
 */
import { createHash } from 'node:crypto';
import {
  ByteReader,
  ByteWriter,
  ed25519Signer,
  Fault,
  type HostId,
  type Millis,
  type Signer,
} from '../../core.ts';
import { latestTime } from '../fields.ts';
import { maxTrustDomainLength, trustDomainPattern } from '../x509/spiffe.ts';
import { grantIdBytes } from './grant.ts';

/** A host that takes join requests. */
export interface Seed {
  /** An IP address or DNS name. */
  readonly address: string;
  readonly port: number;
  readonly host: HostId;
}

export interface TokenFields {
  readonly trustDomain: string;
  /** Hex. */
  readonly genesisHash: string;
  /** One to three. */
  readonly seeds: readonly Seed[];
  readonly grantId: string;
  readonly expiresAt: Millis;
}

export const maxSeeds = 3;
/** A token with three seeds has about 400 characters. */
export const maxTokenLength = 2048;
const maxAddressLength = 253;
const addressPattern = /^[0-9A-Za-z.:-]+$/;
const checksumBytes = 4;

/** What a token says. The secret is not a property: printing or serialising a `JoinToken` never shows it. */
export class JoinToken implements TokenFields {
  readonly trustDomain: string;
  readonly genesisHash: string;
  readonly seeds: readonly Seed[];
  readonly grantId: string;
  readonly expiresAt: Millis;
  readonly #grantSeed: Uint8Array;

  constructor(fields: TokenFields, grantSeed: Uint8Array) {
    this.trustDomain = fields.trustDomain;
    this.genesisHash = fields.genesisHash;
    this.seeds = fields.seeds;
    this.grantId = fields.grantId;
    this.expiresAt = fields.expiresAt;
    this.#grantSeed = grantSeed;
  }

  /** Signs admissions under the grant. */
  grantSigner(): Signer {
    return ed25519Signer(this.#grantSeed);
  }

  /** The text to hand over: this one shows the secret. */
  reveal(): string {
    return encodeToken(this, this.#grantSeed);
  }
}

/** `<prefix>.<base64url(content, first bytes of its hash)>`: the form of every token. */
export function sealText(prefix: string, content: Uint8Array): string {
  return `${prefix}.${Buffer.concat([content, checksum(prefix, content)]).toString('base64url')}`;
}

/**
 * The content of a text of this form. Faults: `<code>-malformed` (not such a text), `<code>-unsupported` (a
 * version this agent does not know), `<code>-mistyped` (a character is wrong or missing). None quotes the text.
 */
export function openText(prefix: string, text: string, code: string): Uint8Array {
  const trimmed = text.trim();
  const [head, body, ...rest] = trimmed.length <= maxTokenLength ? trimmed.split('.') : [];
  const family = prefix.slice(0, prefix.lastIndexOf('-') + 1);
  if (head === undefined || body === undefined || rest.length > 0 || !head.startsWith(family))
    throw new Fault(`${code}-malformed`, `expected text that begins with ${prefix}.`);
  if (head !== prefix)
    throw new Fault(`${code}-unsupported`, 'the token is of a version that this agent does not know');
  const bytes = Buffer.from(body, 'base64url');
  const content = bytes.subarray(0, -checksumBytes);
  if (
    bytes.length <= checksumBytes ||
    bytes.toString('base64url') !== body ||
    !bytes.subarray(-checksumBytes).equals(checksum(prefix, content))
  )
    throw new Fault(`${code}-mistyped`, 'the token is incomplete or mistyped: copy it again as a whole');
  return content;
}

function checksum(prefix: string, content: Uint8Array): Buffer {
  return createHash('sha256').update(`${prefix}\0`).update(content).digest().subarray(0, checksumBytes);
}

const prefix = 'starling-join-1';

/** The text of a token. `grantSeed` is the 32-byte secret whose public half the grant holds. */
export function encodeToken(fields: TokenFields, grantSeed: Uint8Array): string {
  const writer = new ByteWriter().string(fields.trustDomain).hex(fields.genesisHash).u8(fields.seeds.length);
  for (const seed of fields.seeds) writer.string(seed.address).varint(seed.port).hex(seed.host);
  writer.hex(fields.grantId).raw(grantSeed).varint(fields.expiresAt);
  return sealText(prefix, writer.done());
}

function readSeed(reader: ByteReader): Seed {
  const address = reader.string(maxAddressLength);
  if (!addressPattern.test(address)) throw new Fault('malformed', 'a seed has no valid address');
  const port = reader.varint(65_535);
  if (port === 0) throw new Fault('malformed', 'a seed has no valid port');
  return { address, port, host: reader.hex(32) };
}

function readToken(content: Uint8Array): JoinToken {
  const reader = new ByteReader(content);
  const trustDomain = reader.string(maxTrustDomainLength);
  if (!trustDomainPattern.test(trustDomain)) throw new Fault('malformed', 'no valid trust domain');
  const genesisHash = reader.hex(32);
  const count = reader.u8();
  if (count < 1 || count > maxSeeds) throw new Fault('malformed', `expected one to ${maxSeeds} seeds`);
  const seeds = Array.from({ length: count }, () => readSeed(reader));
  const grantId = reader.hex(grantIdBytes);
  const grantSeed = Uint8Array.from(reader.raw(32));
  const expiresAt = reader.varint(latestTime);
  reader.end();
  return new JoinToken({ trustDomain, genesisHash, seeds, grantId, expiresAt }, grantSeed);
}

/**
 * Reads what a person pasted; white space around it is forgiven. Faults: `token-malformed`,
 * `token-unsupported`, `token-mistyped`. Whether it has expired is not checked here.
 */
export function parseToken(text: string): JoinToken {
  const content = openText(prefix, text, 'token');
  try {
    return readToken(content);
  } catch (error) {
    if (error instanceof Fault) throw new Fault('token-malformed', `join token: ${error.message}`);
    throw error;
  }
}

const operatorPrefix = 'starling-operator-1';

const recoveryPrefix = 'starling-recovery-1';

/** The text of a recovery key: the 32-byte seed of the key that shares of the root are sealed for. */
export function encodeRecoveryKey(seed: Uint8Array): string {
  return sealText(recoveryPrefix, seed);
}

/** The seed. Faults: `recovery-key-malformed`, `recovery-key-unsupported`, `recovery-key-mistyped`. */
export function parseRecoveryKey(text: string): Uint8Array {
  const seed = openText(recoveryPrefix, text, 'recovery-key');
  if (seed.length !== 32) throw new Fault('recovery-key-malformed', 'the recovery key has the wrong length');
  return seed;
}

/** The text of an operator token: the 32-byte seed of the key that signs policy. */
export function encodeOperatorToken(seed: Uint8Array): string {
  return sealText(operatorPrefix, seed);
}

/**
 * The signer behind an operator token. Faults: `operator-token-malformed`, `operator-token-unsupported`,
 * `operator-token-mistyped`. Whether the mesh knows the key is for `TrustState.isOperator` to say.
 */
export function parseOperatorToken(text: string): Signer {
  const seed = openText(operatorPrefix, text, 'operator-token');
  if (seed.length !== 32)
    throw new Fault('operator-token-malformed', 'the operator token has the wrong length');
  return ed25519Signer(seed);
}
