/** From what somebody asks of this agent to the records that make it so. Pure; refuses before anything changes. */
import { Fault, type Millis, type Signer, unreachable } from '../core.ts';
import type { Seed } from '../trust/admission/token.ts';
import type { TrustState } from '../trust/state.ts';
import type { CaQuestion, CaStatus } from './ca/ca-port.ts';
import { deny } from './ca/denials.ts';
import { noteDrill, setRecoveryKey } from './ca/recovery.ts';
import { rotateRoot } from './ca/rotation.ts';
import type { Catalog } from './catalog/catalog.ts';
import type { HealthEffect, HealthMachine } from './catalog/health.ts';
import type { OwnWrite, Registry } from './catalog/registry.ts';
import { type EntryChange, refuseInconsistency } from './entries/consistency.ts';
import { createToken, revokeToken, type TokenOutcome } from './joining/tokens.ts';
import { CONFIG_ENTRY, DEPARTURE, GRANT } from './kinds.ts';
import type { Command, ForcedLeave, PolicyStore } from './port.ts';

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
  readonly catalog: Catalog;
  ca(): CaStatus;
  /** Where joiners can reach the mesh; the first is this host. */
  seeds(): readonly Seed[];
}

const nothing = { own: [], policy: [], health: [], value: null };

/** Throws `Fault` with nothing changed. */
export function perform(
  command: Exclude<Command, { type: 'leave' } | CaQuestion>,
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
      return entriesOutcome(context, now, [command], command.operator);
    case 'change-config-entries':
      return entriesOutcome(context, now, command.changes, command.operator);
    case 'delete-config-entry':
      if (context.policies.get(command.kind, command.name) === undefined)
        throw new Fault('unknown-config-entry', `there is no ${command.kind} named "${command.name}"`, {
          field: 'name',
        });
      return entriesOutcome(context, now, [{ ...command, entry: null }], command.operator);
    case 'create-token':
      requireOperator(context, command.operator, now);
      return tokenOutcome(
        createToken(command, context.trust, context.seeds(), entropy, now),
        command.operator,
      );
    case 'revoke-token':
      requireOperator(context, command.operator, now);
      return tokenOutcome(revokeToken(command, context.trust, now), command.operator);
    case 'rotate-root': {
      requireOperator(context, command.operator, now);
      const { write, value } = rotateRoot(context.ca(), command.operator);
      return { ...nothing, policy: [write], value };
    }
    case 'deny': {
      requireOperator(context, command.operator, now);
      const self = registry.selfId;
      const { write, value } = deny(command, { self, trust: context.trust, ca: () => context.ca() }, now);
      return { ...nothing, policy: write === null ? [] : [write], value };
    }
    case 'set-recovery-key':
      requireOperator(context, command.operator, now);
      return { ...nothing, policy: [setRecoveryKey(command, context.trust)] };
    case 'note-drill':
      return policyOutcome(context, now, command.operator, noteDrill(command, now));
    case 'force-leave':
      return forceLeave(command, context, now);
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

/** A host that is alive after all refutes it within a probe or two. */
function forceLeave(
  { host: id, operator }: Command & { readonly type: 'force-leave' },
  context: CommandContext,
  now: Millis,
): Outcome {
  const host = context.catalog.host(id);
  if (host === undefined) throw new Fault('unknown-host', `there is no host ${id}`, { field: 'host' });
  if (id === context.registry.selfId)
    throw new Fault('conflict', 'this is the host that was asked: stop it with leave', { field: 'host' });
  const { incarnation, value, state } = host;
  const answer: ForcedLeave = { host: id, name: value.name, incarnation, changed: state !== 'left' };
  const write = { kind: DEPARTURE, key: id, value: { incarnation }, operator };
  const outcome = policyOutcome(context, now, operator, write);
  return answer.changed ? { ...outcome, value: answer } : { ...nothing, value: answer };
}

/** Throws `Fault('not-operator')`. */
export function requireOperator(
  { trust }: Pick<CommandContext, 'trust'>,
  operator: Signer,
  now: Millis,
): void {
  const standing = trust.operatorStanding(operator.publicKey, now);
  if (standing === 'operator') return;
  const why = { expired: 'has expired', revoked: 'was revoked', unknown: 'is not one of this mesh' }[
    standing
  ];
  throw new Fault('not-operator', `the operator token ${why}`);
}

/** All of them or none; refused where one of them, or another entry, could not act any more. */
function entriesOutcome(
  context: CommandContext,
  now: Millis,
  changes: readonly EntryChange[],
  operator: Signer,
): Outcome {
  requireOperator(context, operator, now);
  refuseInconsistency(context.policies, changes);
  const policy = changes.map(({ kind, name, entry }) => ({
    kind: CONFIG_ENTRY,
    key: `${kind}/${name}`,
    value: entry,
    operator,
  }));
  return { ...nothing, policy };
}

function policyOutcome(context: CommandContext, now: Millis, operator: Signer, write: PolicyWrite): Outcome {
  requireOperator(context, operator, now);
  return { ...nothing, policy: [write] };
}

function tokenOutcome({ grant, value }: TokenOutcome<unknown>, operator: Signer): Outcome {
  const policy = grant === null ? [] : [{ kind: GRANT, key: grant.id, value: grant, operator }];
  return { ...nothing, policy, value };
}
