/**
 * Admission: a host's own signed record saying that it belongs to the mesh, with a proof by the grant's
 * secret. Anybody who holds the genesis and the grant can check it, offline, at any later time; so a restart
 * needs no token.
 *
 * One grant admits as many hosts as it has uses: the first so many, by `admittedAt` and then by host id. With no
 * centre the halves of a split mesh may each let somebody in by the last use; everybody who knows of both then agrees
 * on who was too late. Who joined by a use that was to spare is never in doubt, however the mesh was split. The times
 * are the hosts' own word: a thief of a token could antedate and displace a rightful user. What stands against that
 * is the sponsor, who takes no antedated request, and the trustees, each of whom endorses no more host keys of a
 * grant than it has uses, persisting each first: whoever comes too late to a quorum of them gets no certificates.
 */
import {
  ByteWriter,
  encodeJson,
  Fault,
  type HostId,
  type Millis,
  type Signer,
  type Verify,
} from '../../core.ts';
import { Fields } from '../fields.ts';
import { clockSkewMs, type Refusal, refuse } from '../statement.ts';
import { labelPattern, maxLabelLength } from '../x509/spiffe.ts';
import type { Genesis } from './genesis.ts';
import { type GrantValue, grantCovers, grantIdBytes } from './grant.ts';

/** The value of a host's `admission` record (host scope, key ''). */
export interface AdmissionValue {
  readonly genesisHash: string;
  /** The host's name in the mesh. */
  readonly name: string;
  readonly admittedAt: Millis;
  /** The founder needs no grant: the genesis, which it signed, names it. The fields below are then empty. */
  readonly founder: boolean;
  readonly grantId: string;
  /** Ed25519 signature (hex) by the grant's secret over all of the above and the host's key. */
  readonly proof: string;
}

/** What judging an admission needs to look up. */
export interface AdmissionContext {
  readonly genesis: Genesis;
  readonly verify: Verify;
  grant(id: string): GrantValue | undefined;
  /** How many hosts other than this one were admitted by a grant. */
  takenUses(grantId: string, except: HostId): number;
  /** How many of them came before it. */
  takenBefore(grantId: string, admitted: Admitted): number;
  /** Another host of this name that a newcomer may not replace. */
  nameHolder(name: string, except: HostId): HostId | undefined;
}

/** What decides who came first. */
export interface Admitted {
  readonly host: HostId;
  readonly admittedAt: Millis;
}

export interface AdmissionRequest {
  readonly genesisHash: string;
  readonly name: string;
  readonly host: HostId;
  readonly grantId: string;
  readonly admittedAt: Millis;
}

function proofMessage(request: AdmissionRequest): Uint8Array {
  return new ByteWriter()
    .string('starling-admission-1')
    .hex(request.genesisHash)
    .hex(request.host)
    .string(request.name)
    .hex(request.grantId)
    .varint(request.admittedAt)
    .done();
}

/** An admission for `request.host`, proven by the grant's secret. Pure: nothing is used up until it is taken. */
export function createAdmission(request: AdmissionRequest, grantSigner: Signer): AdmissionValue {
  return {
    genesisHash: request.genesisHash,
    name: request.name,
    admittedAt: request.admittedAt,
    founder: false,
    grantId: request.grantId,
    proof: Buffer.from(grantSigner.sign(proofMessage(request))).toString('hex'),
  };
}

/** The founder's own admission. */
export function createFounderAdmission(genesis: Genesis): AdmissionValue {
  return {
    genesisHash: genesis.hash,
    name: genesis.founderName,
    admittedAt: genesis.createdAt,
    founder: true,
    grantId: '',
    proof: '',
  };
}

/** The record value, JSON. */
export function encodeAdmission(admission: AdmissionValue): Uint8Array {
  return encodeJson(admission);
}

/** Reads the value of an `admission` record. Throws `Fault('admission-malformed')`; proves nothing. */
export function parseAdmission(value: Uint8Array): AdmissionValue {
  const fields = Fields.parse(value, 'admission-malformed');
  const founder = fields.flag('founder');
  return {
    genesisHash: fields.hex('genesisHash', 32),
    name: fields.text('name', labelPattern, maxLabelLength),
    admittedAt: fields.time('admittedAt'),
    founder,
    grantId: fields.hex('grantId', founder ? 0 : grantIdBytes),
    proof: fields.hex('proof', founder ? 0 : 64),
  };
}

function judgeFounder(value: AdmissionValue, author: HostId, genesis: Genesis): Refusal | null {
  const itself =
    author === genesis.founder &&
    value.name === genesis.founderName &&
    value.admittedAt === genesis.createdAt;
  return itself ? null : refuse('bad-proof', 'the genesis does not name this host as the founder');
}

/** What is true of an admission whoever asks and whenever, but for the grant's being known. */
function judgeProof(value: AdmissionValue, author: HostId, context: AdmissionContext): Refusal | null {
  if (value.genesisHash !== context.genesis.hash)
    return refuse('foreign-mesh', `the admission is for another mesh, ${value.genesisHash.slice(0, 16)}`);
  if (value.founder) return judgeFounder(value, author, context.genesis);
  const grant = context.grant(value.grantId);
  if (grant === undefined)
    return refuse('grant-unknown', `no grant ${value.grantId} is known here yet`, true);
  if (!grant.roles.includes('agent'))
    return refuse('grant-not-for-hosts', `grant ${grant.id} does not allow hosts to join`);
  const message = proofMessage({ ...value, host: author });
  if (!context.verify(grant.publicKey, message, Buffer.from(value.proof, 'hex')))
    return refuse('bad-proof', `the admission is not signed by the secret of grant ${grant.id}`);
  return null;
}

function judgeTime(grant: GrantValue, at: Millis): Refusal | null {
  switch (grantCovers(grant, at)) {
    case 'revoked':
      return refuse('grant-revoked', `grant ${grant.id} was revoked`);
    case 'expired':
      return refuse('token-expired', `the token of grant ${grant.id} has expired`);
    case 'early':
      return refuse('clock-skew', `admitted before grant ${grant.id} was created: check the clock`);
    case 'covered':
      return null;
  }
}

/** Whether `a` came first: the earlier, then the lower host id. */
export function precedes(a: Admitted, b: Admitted): boolean {
  return a.admittedAt !== b.admittedAt ? a.admittedAt < b.admittedAt : a.host < b.host;
}

/**
 * Judges a replicated admission, perhaps long after: by the time it claims, not by the clock here. Codes:
 * `foreign-mesh`, `grant-unknown` (later), `grant-not-for-hosts`, `bad-proof`, `grant-revoked`,
 * `token-expired`, `clock-skew` (later, when it lies in the future), `token-used-up`. Names do not matter
 * here: a split mesh may admit two hosts of one name, and both stay.
 */
export function judgeAdmission(
  value: AdmissionValue,
  author: HostId,
  context: AdmissionContext,
  now: Millis,
): Refusal | null {
  const unproven = judgeProof(value, author, context);
  if (unproven !== null || value.founder) return unproven;
  const grant = context.grant(value.grantId)!;
  if (value.admittedAt > now + clockSkewMs)
    return refuse('clock-skew', 'the admission lies in the future: check the clocks', true);
  const uncovered = judgeTime(grant, value.admittedAt);
  if (uncovered !== null) return uncovered;
  if (context.takenBefore(grant.id, { host: author, admittedAt: value.admittedAt }) >= grant.uses)
    return refuse('token-used-up', `grant ${grant.id} has ${grant.uses} uses, and others came before`);
  return null;
}

/**
 * Judges a request to join, fresh from a stranger whose key `author` the channel proved: as
 * `judgeAdmission`, and by the clock here, a use must be left, and the name be free. More codes: `name-taken`,
 * `clock-skew`.
 */
export function judgeJoin(
  value: AdmissionValue,
  author: HostId,
  context: AdmissionContext,
  now: Millis,
): Refusal | null {
  const unproven = judgeProof(value, author, context);
  if (unproven !== null || value.founder) return unproven;
  const grant = context.grant(value.grantId)!;
  const uncovered = judgeTime(grant, now) ?? judgeTime(grant, value.admittedAt);
  if (uncovered !== null) return uncovered;
  if (Math.abs(value.admittedAt - now) > clockSkewMs)
    return refuse('clock-skew', `the clocks differ by more than ${clockSkewMs / 1000} s: set the clock`);
  if (context.nameHolder(value.name, author) !== undefined)
    return refuse('name-taken', `a host named ${value.name} already belongs to the mesh`);
  if (context.takenUses(grant.id, author) >= grant.uses)
    return refuse('token-used-up', `all ${grant.uses} uses of the token are taken`);
  return null;
}

/** Parses and judges a join request's admission; a malformed one is a refusal too. */
export function judgeJoinBytes(
  bytes: Uint8Array,
  author: HostId,
  context: AdmissionContext,
  now: Millis,
): Refusal | null {
  try {
    return judgeJoin(parseAdmission(bytes), author, context, now);
  } catch (error) {
    if (error instanceof Fault) return refuse(error.code, error.message);
    throw error;
  }
}
