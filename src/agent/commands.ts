/** From what somebody asks of this agent to the records that make it so. Pure; refuses before anything changes. */
import { ed25519Signer, Fault, type Millis, type Signer, unreachable } from '../core.ts';
import { createGrant, type GrantRole } from '../trust/grant.ts';
import type { TrustState } from '../trust/state.ts';
import { encodeToken, type Seed } from '../trust/token.ts';
import type { HealthEffect, HealthMachine } from './health.ts';
import { CONFIG_ENTRY, GRANT } from './kinds.ts';
import type { Command, CreatedToken, PolicyStore } from './port.ts';
import type { OwnWrite, Registry } from './registry.ts';

/** A record for the whole mesh, to be signed by an operator; `value` null takes it back. */
export interface PolicyWrite {
  readonly kind: string;
  readonly key: string;
  readonly value: object | null;
  readonly operator: Signer;
}

export interface Outcome {
  readonly own: readonly OwnWrite[];
  readonly policy: readonly PolicyWrite[];
  /** What health says to a report, to be carried out like any other of its effects. */
  readonly health: readonly HealthEffect[];
  /** The answer once all is durable. */
  readonly value: unknown;
}

export interface CommandContext {
  readonly registry: Registry;
  readonly health: HealthMachine;
  readonly trust: TrustState;
  readonly policies: PolicyStore;
  /** Where joiners can reach the mesh; the first is this host. */
  seeds(): readonly Seed[];
}

const nothing = { own: [], policy: [], health: [], value: null };
/** The bounds of a token's life. */
const minTokenTtlMs = 1000;
const maxTokenTtlMs = 366 * 24 * 3_600_000;

/** Throws `Fault` with nothing changed. */
export function perform(
  command: Exclude<Command, { type: 'leave' }>,
  context: CommandContext,
  entropy: Uint8Array,
  now: Millis,
): Outcome {
  const { registry } = context;
  switch (command.type) {
    case 'register-service':
      refuseUngranted(context, command.definition.name, command.definition.inMesh);
      return { ...nothing, own: registry.register(command.definition) };
    case 'deregister-service':
      return { ...nothing, own: registry.deregister(command.id) };
    case 'register-check':
      return { ...nothing, own: registry.registerCheck(command.serviceId, command.check) };
    case 'deregister-check':
      return { ...nothing, own: registry.deregisterCheck(command.id) };
    case 'report-ttl': {
      const refusal = context.health.refusalOfReport(command.checkId);
      if (refusal !== null) throw refusal;
      const { checkId, status, output } = command;
      return { ...nothing, health: context.health.step({ type: 'ttl', checkId, status, output }, now) };
    }
    case 'maintenance':
      return { ...nothing, own: registry.maintenance(command.serviceId, command.enable, command.reason) };
    case 'put-config-entry':
      return policyOutcome(context, now, command.operator, {
        kind: CONFIG_ENTRY,
        key: `${command.kind}/${command.name}`,
        value: command.entry,
        operator: command.operator,
      });
    case 'delete-config-entry':
      if (context.policies.get(command.kind, command.name) === undefined)
        throw new Fault('unknown-config-entry', `there is no ${command.kind} named "${command.name}"`, {
          field: 'name',
        });
      return policyOutcome(context, now, command.operator, {
        kind: CONFIG_ENTRY,
        key: `${command.kind}/${command.name}`,
        value: null,
        operator: command.operator,
      });
    case 'create-token':
      return createToken(command, context, entropy, now);
    default:
      return unreachable(command);
  }
}

/** An identity would never be issued for it: better said now than in a log later. */
function refuseUngranted({ trust, registry }: CommandContext, name: string, inMesh: boolean): void {
  if (inMesh && !trust.mayServe(registry.selfId, name))
    throw new Fault('name-not-granted', `this host's token does not allow it to run the service "${name}"`, {
      field: 'service.name',
    });
}

function requireOperator({ trust }: CommandContext, operator: Signer, now: Millis): void {
  const standing = trust.operatorStanding(operator.publicKey, now);
  if (standing === 'operator') return;
  const why = { expired: 'has expired', revoked: 'was revoked', unknown: 'is not one of this mesh' }[
    standing
  ];
  throw new Fault('not-operator', `the operator token ${why}`);
}

function policyOutcome(context: CommandContext, now: Millis, operator: Signer, write: PolicyWrite): Outcome {
  requireOperator(context, operator, now);
  return { ...nothing, policy: [write] };
}

function createToken(
  command: Extract<Command, { type: 'create-token' }>,
  context: CommandContext,
  entropy: Uint8Array,
  now: Millis,
): Outcome {
  requireOperator(context, command.operator, now);
  const { genesis } = context.trust;
  const wantsOperator = command.roles.includes('operator');
  if (wantsOperator && command.operator.publicKey !== genesis.operatorKey)
    throw new Fault('not-first-operator', 'only the first operator may make operators');
  if (command.ttlMs < minTokenTtlMs || command.ttlMs > maxTokenTtlMs)
    throw new Fault('bad-ttl', 'a token lives between one second and one year', { field: 'ttl' });
  const grantSeed = entropy.slice(0, 32);
  const operatorSeed = entropy.slice(32, 64);
  const expiresAt = now + command.ttlMs;
  const grant = createGrant({
    publicKey: ed25519Signer(grantSeed).publicKey,
    services: command.services,
    roles: grantRoles(command.roles),
    uses: command.uses,
    createdAt: now,
    expiresAt,
    operatorKey: wantsOperator ? ed25519Signer(operatorSeed).publicKey : null,
  });
  const token = encodeToken(
    {
      trustDomain: genesis.trustDomain,
      genesisHash: genesis.hash,
      seeds: context.seeds().slice(0, 3),
      grantId: grant.id,
      expiresAt,
    },
    grantSeed,
  );
  const created: CreatedToken = {
    id: grant.id,
    token,
    operatorSeed: wantsOperator ? Buffer.from(operatorSeed).toString('hex') : null,
    services: grant.services,
    roles: grant.roles,
    uses: grant.uses,
    expiresAt,
  };
  return {
    ...nothing,
    policy: [{ kind: GRANT, key: grant.id, value: grant, operator: command.operator }],
    value: created,
  };
}

function grantRoles(roles: readonly string[]): GrantRole[] {
  const known: readonly GrantRole[] = ['agent', 'operator', 'trustee'];
  const unknown = roles.find((role) => !known.some((one) => one === role));
  if (unknown !== undefined)
    throw new Fault('unknown-role', `"${unknown}" is not one of ${known.join(', ')}`, { field: 'roles' });
  return roles.length === 0 ? ['agent'] : known.filter((role) => roles.includes(role));
}
