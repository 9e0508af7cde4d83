/**
 * Tokens as an operator deals with them: made, listed, revoked. Behind each stands a grant in the mesh's
 * records; the token itself, with the secret, is shown once and kept nowhere. Pure.
 */
import { ed25519Signer, Fault, type HostId, type Millis, type Signer } from '../../core.ts';
import {
  createGrant,
  type GrantRole,
  type GrantValue,
  grantRoles,
  revokeGrant,
} from '../../trust/admission/grant.ts';
import { encodeToken, maxSeeds, type Seed } from '../../trust/admission/token.ts';
import type { TrustState } from '../../trust/state.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { HostValue } from '../kinds.ts';
import {
  type Command,
  type CreatedToken,
  maxTokenTtlMs,
  minTokenTtlMs,
  type RevokedToken,
  type TokenStatus,
} from '../port.ts';

/** What a command about a token comes to: a grant to write, null for none, and the answer. */
export interface TokenOutcome<T> {
  readonly grant: GrantValue | null;
  readonly value: T;
}

/** Every token there ever was in this mesh, the newest first. Nothing in it is secret. */
export function listTokens(trust: TrustState): TokenStatus[] {
  return trust.allGrants().map((grant) => statusOf(grant, trust.takenUses(grant.id)));
}

function statusOf(grant: GrantValue, used: number): TokenStatus {
  const { id, roles, services, uses, createdAt, expiresAt, revokedAt, operatorKey } = grant;
  return { id, roles, services, uses, used, createdAt, expiresAt, revokedAt, operatorKey };
}

/**
 * A new token, for an operator whose standing was judged before. `entropy` is 64 random bytes, `seeds` are
 * where joiners can reach the mesh. Faults: `not-first-operator`, `bad-ttl`, `unknown-role`,
 * `grant-malformed`; nothing changed.
 */
export function createToken(
  command: Extract<Command, { type: 'create-token' }>,
  trust: TrustState,
  seeds: readonly Seed[],
  entropy: Uint8Array,
  now: Millis,
): TokenOutcome<CreatedToken> {
  const { genesis } = trust;
  const roles = rolesNamed(command.roles);
  const wantsOperator = roles.includes('operator');
  if (wantsOperator) requireFirstOperator(trust, command.operator);
  if (!(command.ttlMs >= minTokenTtlMs && command.ttlMs <= maxTokenTtlMs))
    throw new Fault('bad-ttl', 'a token lives between one second and thirty days', { field: 'ttl' });
  const grantSeed = entropy.slice(0, 32);
  const operatorSeed = entropy.slice(32, 64);
  const expiresAt = now + command.ttlMs;
  const grant = createGrant({
    publicKey: ed25519Signer(grantSeed).publicKey,
    services: command.services,
    roles,
    uses: command.uses,
    createdAt: now,
    expiresAt,
    operatorKey: wantsOperator ? ed25519Signer(operatorSeed).publicKey : null,
  });
  const terms = {
    trustDomain: genesis.trustDomain,
    genesisHash: genesis.hash,
    seeds: seeds.slice(0, maxSeeds),
    grantId: grant.id,
    expiresAt,
  };
  const value = {
    id: grant.id,
    token: encodeToken(terms, grantSeed),
    operatorSeed: wantsOperator ? Buffer.from(operatorSeed).toString('hex') : null,
    services: grant.services,
    roles: grant.roles,
    uses: grant.uses,
    expiresAt,
  };
  return { grant, value };
}

/**
 * Takes a token back, for an operator whose standing was judged before: from `now` on nobody joins by it and
 * its operator key signs nothing. Hosts that joined stay, and so does what the operator wrote. Revoking again
 * changes nothing. Faults: `unknown-token`, `not-first-operator`; nothing changed.
 */
export function revokeToken(
  command: Extract<Command, { type: 'revoke-token' }>,
  trust: TrustState,
  now: Millis,
): TokenOutcome<RevokedToken> {
  const grant = trust.grant(command.id);
  if (grant === undefined)
    throw new Fault('unknown-token', `there is no token ${command.id}`, { field: 'id' });
  if (grant.roles.includes('operator')) requireFirstOperator(trust, command.operator);
  const used = trust.takenUses(grant.id);
  if (grant.revokedAt !== null) return { grant: null, value: { ...statusOf(grant, used), changed: false } };
  const revoked = revokeGrant(grant, now);
  return { grant: revoked, value: { ...statusOf(revoked, used), changed: true } };
}

/** Every host would refuse the record otherwise: see `judgeRecord`. */
function requireFirstOperator({ genesis }: TrustState, operator: Signer): void {
  if (operator.publicKey !== genesis.operatorKey)
    throw new Fault('not-first-operator', 'only the first operator may make or revoke operators');
}

/** In the order that a grant lists them; `agent` when none is named. */
function rolesNamed(roles: readonly string[]): GrantRole[] {
  const unknown = roles.find((role) => !grantRoles.some((one) => one === role));
  if (unknown !== undefined)
    throw new Fault('unknown-role', `"${unknown}" is not one of ${grantRoles.join(', ')}`, {
      field: 'roles',
    });
  return roles.length === 0 ? ['agent', 'trustee'] : grantRoles.filter((role) => roles.includes(role));
}

/** Where a joiner finds the mesh: this host, and the others that are alive. */
export function seedsOf(catalog: Catalog, self: HostId, host: HostValue): Seed[] {
  const others = catalog.allHosts().filter(({ id, state }) => id !== self && state === 'alive');
  const hosts = [{ id: self, value: host }, ...others];
  return hosts.map(({ id, value }) => ({ address: value.address, port: value.gossipPort, host: id }));
}
