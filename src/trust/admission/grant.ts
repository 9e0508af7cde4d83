/**
 * Grants: what an operator allows the holder of a secret to do, once or several times. The secret travels in
 * a token; the grant, gossiped to everybody, holds the public half and the terms.
 *
 * A grant is never deleted: hosts that joined by it stay hosts after it is revoked, and a host that joins
 * later must still be able to check them. So revoking writes the grant once more, with `revokedAt`, and that
 * is final: see `grantFinality`. All other fields are fixed by the id, which is their hash.
 */
import { createHash } from 'node:crypto';
import { ByteWriter, encodeJson, Fault, type HostId, type Millis } from '../../core.ts';
import { Fields, latestTime } from '../fields.ts';
import { clockSkewMs, grantKind, type SignedStatement } from '../statement.ts';
import { labelPattern, maxLabelLength } from '../x509/spiffe.ts';

export type GrantRole = 'agent' | 'operator' | 'trustee';

export interface GrantTerms {
  /** Ed25519 key (hex) of the grant's secret, which signs admissions. */
  readonly publicKey: HostId;
  /** Services that hosts admitted by it may be; empty means any. */
  readonly services: readonly string[];
  /** `agent`: may join. `operator`: `operatorKey` may sign policy. `trustee`: eligible for a share of the root. */
  readonly roles: readonly GrantRole[];
  /** How many hosts may join by it. */
  readonly uses: number;
  readonly createdAt: Millis;
  /** No host joins, and `operatorKey` writes nothing, after this. What was done before stays. */
  readonly expiresAt: Millis;
  /** Exactly with the role `operator`. */
  readonly operatorKey: HostId | null;
}

/** The value of a `grant` record; its key is the id. */
export interface GrantValue extends GrantTerms {
  /** Eight bytes of hex: the hash of the terms. */
  readonly id: string;
  readonly revokedAt: Millis | null;
}

export const grantIdBytes = 8;
export const maxGrantUses = 10_000;
export const maxGrantServices = 64;
export const grantRoles: readonly GrantRole[] = ['agent', 'operator', 'trustee'];

function idOf(terms: GrantTerms): string {
  const writer = new ByteWriter().string('starling-grant-1').hex(terms.publicKey);
  writer.varint(terms.services.length);
  for (const service of terms.services) writer.string(service);
  writer.varint(terms.roles.length);
  for (const role of terms.roles) writer.string(role);
  writer.varint(terms.uses).varint(terms.createdAt).varint(terms.expiresAt);
  writer.string(terms.operatorKey ?? '');
  return createHash('sha256')
    .update(writer.done())
    .digest('hex')
    .slice(0, grantIdBytes * 2);
}

function checkTerms(terms: GrantTerms): void {
  const wrong = (field: string, message: string): Fault => new Fault('grant-malformed', message, { field });
  if (terms.roles.length === 0) throw wrong('roles', 'a grant must give at least one role');
  if (terms.expiresAt <= terms.createdAt)
    throw wrong('expiresAt', 'a grant must expire after it was created');
  if (terms.roles.includes('operator') !== (terms.operatorKey !== null))
    throw wrong('operatorKey', 'a grant has an operator key exactly if it gives the role operator');
}

/** A new grant. Throws `Fault('grant-malformed')` for terms that `parseGrant` would not take. */
export function createGrant(terms: GrantTerms): GrantValue {
  const checked = readTerms(new Fields(terms, 'grant-malformed'));
  return { id: idOf(checked), ...checked, revokedAt: null };
}

/** The same grant, revoked: nobody joins by it any more, and its operator key writes nothing after `at`. */
export function revokeGrant(grant: GrantValue, at: Millis): GrantValue {
  return { ...grant, revokedAt: grant.revokedAt === null ? at : Math.min(at, grant.revokedAt) };
}

/** Two statements of one grant as one: revoked if either is, from the earlier moment on. */
export function joinGrants(one: GrantValue, other: GrantValue): GrantValue {
  return other.revokedAt === null ? one : revokeGrant(one, other.revokedAt);
}

/**
 * How strongly a statement holds its slot, before anybody's clock is compared: a revoked grant outranks the
 * same grant unrevoked, and an earlier revocation a later one. So nobody takes a revocation back by writing
 * the grant once more, and all replicas agree, whatever reached them first. 0 for everything else.
 */
export function grantFinality({ scope, kind, key, deleted, value }: SignedStatement): number {
  if (scope !== 'policy' || kind !== grantKind || deleted) return 0;
  try {
    const { revokedAt } = parseGrant(value, key);
    return revokedAt === null ? 0 : 1 + latestTime - revokedAt;
  } catch (error) {
    // No grant at all: whoever judges it says so.
    if (error instanceof Fault) return 0;
    throw error;
  }
}

/** The record value, JSON. */
export function encodeGrant(grant: GrantValue): Uint8Array {
  return encodeJson(grant);
}

function roleNamed(name: string): GrantRole {
  const role = grantRoles.find((one) => one === name);
  if (role === undefined)
    throw new Fault('grant-malformed', `roles are ${grantRoles.join(', ')}`, { field: 'roles' });
  return role;
}

function readTerms(fields: Fields): GrantTerms {
  const terms: GrantTerms = {
    publicKey: fields.hex('publicKey', 32),
    services: fields.texts('services', labelPattern, maxLabelLength, maxGrantServices),
    roles: fields.texts('roles', /^[a-z]+$/, 8, grantRoles.length).map(roleNamed),
    uses: fields.integer('uses', 1, maxGrantUses),
    createdAt: fields.time('createdAt'),
    expiresAt: fields.time('expiresAt'),
    operatorKey: fields.has('operatorKey') ? fields.hex('operatorKey', 32) : null,
  };
  checkTerms(terms);
  return terms;
}

/** Reads the value of the `grant` record of key `key`. Throws `Fault('grant-malformed')`. */
export function parseGrant(value: Uint8Array, key: string): GrantValue {
  const fields = Fields.parse(value, 'grant-malformed');
  const terms = readTerms(fields);
  const id = fields.hex('id', grantIdBytes);
  if (id !== key || id !== idOf(terms))
    throw new Fault('grant-malformed', 'the id is not the hash of the terms', { field: 'id' });
  return { id, ...terms, revokedAt: fields.has('revokedAt') ? fields.time('revokedAt') : null };
}

/**
 * Whether something done at `at` was covered: after creation (give or take clocks), before expiry and before
 * revocation. `at` is what a signed record says of itself, so that every host, whenever it learns of the
 * record, answers the same. The price: who holds a revoked secret can antedate; what stops that is whoever
 * takes the record in fresh (see `judgeJoin`), and later the quorum's endorsement.
 */
export function grantCovers(grant: GrantValue, at: Millis): 'covered' | 'early' | 'expired' | 'revoked' {
  if (grant.revokedAt !== null && at >= grant.revokedAt) return 'revoked';
  if (at > grant.expiresAt) return 'expired';
  if (at < grant.createdAt - clockSkewMs) return 'early';
  return 'covered';
}

/** Whether a host admitted by this grant may be the service `name`. */
export function grantsService(grant: GrantValue, name: string): boolean {
  return grant.services.length === 0 || grant.services.includes(name);
}
