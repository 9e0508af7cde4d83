/**
 * The genesis: what a mesh is, fixed when it is founded. Its hash names the mesh in every token and
 * admission, so a host can tell its own mesh from another that chose the same trust domain.
 */
import { createHash } from 'node:crypto';
import {
  ByteReader,
  ByteWriter,
  Fault,
  type HostId,
  type Millis,
  type Signer,
  type Verify,
} from '../../core.ts';
import { latestTime } from '../fields.ts';
import { createRootCertificate, type Root, readRoot } from '../x509/root.ts';
import { labelPattern, maxLabelLength, maxTrustDomainLength, trustDomainPattern } from '../x509/spiffe.ts';

export type DefaultIntention = 'allow' | 'deny';

export interface Genesis {
  readonly trustDomain: string;
  /** Signs mesh-wide policy, and is the only key that may make further operators. */
  readonly operatorKey: HostId;
  readonly founder: HostId;
  readonly founderName: string;
  readonly defaultIntention: DefaultIntention;
  readonly createdAt: Millis;
  /** Generation 0 of the trust bundle. */
  readonly root: Root;
  /** The signed encoding: kept and passed on unchanged. */
  readonly bytes: Uint8Array;
  /** SHA-256 of the signed content, hex. */
  readonly hash: string;
  /** The first eight bytes of the hash, hex: which mesh this is. */
  readonly meshId: string;
}

export interface GenesisFields {
  readonly trustDomain: string;
  readonly founderName: string;
  readonly defaultIntention: DefaultIntention;
  readonly createdAt: Millis;
  /** How long the first root is valid. */
  readonly rootLifetimeMs: number;
}

/** Whose keys found a mesh. */
export interface GenesisKeys {
  readonly operator: Signer;
  readonly founder: Signer;
  readonly root: Signer;
}

const format = 1;
const contentTag = 'starling-genesis-1\n';
export const maxGenesisBytes = 8192;
const intentions: readonly DefaultIntention[] = ['deny', 'allow'];

function contentHash(content: Uint8Array): Buffer {
  return createHash('sha256').update(contentTag).update(content).digest();
}

/** What the operator and the founder sign: the tag, so that the signature means nothing else, and the hash. */
function signedMessage(hash: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(contentTag), hash]);
}

/** Founds a mesh: makes its first root and signs what it is. Throws `Fault('genesis-malformed')`. */
export function createGenesis(fields: GenesisFields, keys: GenesisKeys, verify: Verify): Genesis {
  if (!trustDomainPattern.test(fields.trustDomain))
    throw new Fault('genesis-malformed', 'the trust domain must be a DNS name of at most 64 characters', {
      field: 'trustDomain',
    });
  const rootDer = createRootCertificate(
    fields.trustDomain,
    0,
    keys.root,
    fields.createdAt,
    fields.rootLifetimeMs,
  );
  const content = new ByteWriter()
    .varint(format)
    .string(fields.trustDomain)
    .hex(keys.operator.publicKey)
    .hex(keys.founder.publicKey)
    .string(fields.founderName)
    .u8(intentions.indexOf(fields.defaultIntention))
    .varint(fields.createdAt)
    .bytes(rootDer)
    .done();
  const message = signedMessage(contentHash(content));
  const bytes = new ByteWriter()
    .bytes(content)
    .raw(keys.operator.sign(message))
    .raw(keys.founder.sign(message))
    .done();
  return parseGenesis(bytes, verify);
}

function readGenesis(bytes: Uint8Array, verify: Verify): Genesis {
  const outer = new ByteReader(bytes);
  const content = outer.bytes(maxGenesisBytes);
  const operatorSignature = outer.raw(64);
  const founderSignature = outer.raw(64);
  outer.end();
  const reader = new ByteReader(content);
  if (reader.varint() !== format) throw new Fault('malformed', 'a format this version does not know');
  const trustDomain = reader.string(maxTrustDomainLength);
  const operatorKey = reader.hex(32);
  const founder = reader.hex(32);
  const founderName = reader.string(maxLabelLength);
  const defaultIntention = intentions[reader.u8()];
  const createdAt = reader.varint(latestTime);
  const rootDer = reader.bytes(maxGenesisBytes);
  reader.end();
  if (!trustDomainPattern.test(trustDomain)) throw new Fault('malformed', 'not a trust domain');
  if (!labelPattern.test(founderName)) throw new Fault('malformed', 'the founder has no valid name');
  if (defaultIntention === undefined) throw new Fault('malformed', 'unknown default intention');

  const hash = contentHash(content);
  const message = signedMessage(hash);
  if (!verify(operatorKey, message, operatorSignature) || !verify(founder, message, founderSignature))
    throw new Fault('genesis-forged', 'the genesis is not signed by the operator and the founder it names');
  return {
    trustDomain,
    operatorKey,
    founder,
    founderName,
    defaultIntention,
    createdAt,
    root: readRoot(rootDer, trustDomain, 0, verify),
    bytes: Uint8Array.from(bytes),
    hash: hash.toString('hex'),
    meshId: hash.toString('hex', 0, 8),
  };
}

/**
 * Reads a genesis nobody vouches for: complete, signed by the keys it names, its root well-formed. Whether it
 * is the right one is for the caller to say by its hash. Faults: `genesis-malformed`, `genesis-forged`.
 */
export function parseGenesis(bytes: Uint8Array, verify: Verify): Genesis {
  try {
    if (bytes.length > maxGenesisBytes) throw new Fault('malformed', `larger than ${maxGenesisBytes} bytes`);
    return readGenesis(bytes, verify);
  } catch (error) {
    if (error instanceof Fault && error.code !== 'genesis-forged')
      throw new Fault('genesis-malformed', `genesis: ${error.message}`);
    throw error;
  }
}
