/**
 * What this host says of its own services and checks, and which records a change to them takes. Pure: reads
 * the catalog and the standalone checks, returns writes; the caller makes them durable in one go.
 */
import { Fault, type HostId } from '../core.ts';
import { bindsOf, type OwnBind, refuseTakenBinds } from './binds.ts';
import type { Catalog, HostEntry } from './catalog.ts';
import {
  CHECK,
  CHECK_DEFINITION,
  type CheckDefinition,
  type CheckStatus,
  type CheckValue,
  SERVICE,
  type ServiceDefinition,
  type StandaloneCheck,
} from './kinds.ts';

/** One own record to write; `value` null takes it back. */
export interface OwnWrite {
  readonly kind: string;
  readonly key: string;
  readonly value: object | null;
}

/** What files ask for that this host cannot do, with why. */
export interface RefusedDefinition {
  readonly id: string;
  readonly fault: Fault;
}

/** What a new definition must leave alone: the service of each check id, and that of each upstream's bind. */
interface Taken {
  readonly owners: ReadonlyMap<string, string>;
  readonly binds: ReadonlyMap<string, string>;
}

/** More services or checks than this on one host are refused: a typing error or a runaway script. */
export const maxServicesPerHost = 1000;
export const maxChecksPerHost = 4000;
/** What of a check's output is told to the mesh, UTF-16 code units. */
export const maxOutputLength = 4096;

/** Ids that Consul's clients know for maintenance. */
export function maintenanceCheckId(serviceId: string): string {
  return serviceId === '' ? '_node_maintenance' : `_service_maintenance:${serviceId}`;
}

export class Registry {
  private readonly catalog: Catalog;
  readonly selfId: HostId;
  private readonly ownBinds: readonly OwnBind[];
  private readonly standalone = new Map<string, StandaloneCheck>();
  /** Check values that were written and are not durable yet, the last one of each check. */
  private readonly written = new Map<string, CheckValue>();

  constructor(selfId: HostId, catalog: Catalog, ownBinds: readonly OwnBind[] = []) {
    this.selfId = selfId;
    this.catalog = catalog;
    this.ownBinds = ownBinds;
  }

  /** Takes in an own `check-definition` record. */
  checkDefinition(id: string, value: StandaloneCheck | null): void {
    if (value === null) this.standalone.delete(id);
    else this.standalone.set(id, value);
  }

  /** Takes note of writes that are on their way to the disk. */
  wrote(writes: readonly OwnWrite[]): void {
    for (const { kind, key, value } of writes) {
      if (kind !== CHECK) continue;
      this.written.delete(key);
      if (value !== null) this.written.set(key, value as CheckValue);
    }
    // More than there can be checks are left over from writes that the disk refused.
    for (const key of this.written.keys())
      if (this.written.size > maxChecksPerHost) this.written.delete(key);
      else break;
  }

  /** Takes in an own `check` record: what is durable need not be remembered as written. */
  checkSettled(id: string, value: CheckValue | null): void {
    if (JSON.stringify(this.written.get(id)) === JSON.stringify(value ?? undefined)) this.written.delete(id);
  }

  /** What the mesh was told of a check, or is about to be; undefined when nothing. */
  told(checkId: string): CheckValue | undefined {
    return this.written.get(checkId) ?? this.host?.checks.get(checkId)?.value;
  }

  private get host(): HostEntry | undefined {
    return this.catalog.host(this.selfId);
  }

  /** Definitions registered on this host, by id. */
  services(): ServiceDefinition[] {
    const entries = [...(this.host?.services.values() ?? [])];
    return entries.map((entry) => entry.definition).sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  service(id: string): ServiceDefinition | undefined {
    return this.host?.services.get(id)?.definition;
  }

  /** Every check of this host that somebody or something must carry out, with its service; each id once. */
  checks(): StandaloneCheck[] {
    const found = new Map<string, StandaloneCheck>();
    for (const one of checksOf(this.services())) found.set(one.check.id, one);
    for (const [id, standalone] of this.standalone) found.set(id, standalone);
    return [...found.values()];
  }

  /** Writes that register a definition, or replace the one of the same id; none when nothing would change. */
  register(definition: ServiceDefinition): OwnWrite[] {
    const others = this.service(definition.id) === undefined ? this.serviceCount : this.serviceCount - 1;
    this.refuse(definition, others, { owners: ownersOf(this.checks()), binds: bindsOf(this.services()) });
    return this.definitionWrites(definition);
  }

  private get serviceCount(): number {
    return this.host?.services.size ?? 0;
  }

  /** Throws unless a definition has room beside so many others, and takes nothing that is another's. */
  private refuse(definition: ServiceDefinition, others: number, taken: Taken): void {
    const { owners, binds } = taken;
    if (others >= maxServicesPerHost)
      throw new Fault('too-many-services', `this host has ${maxServicesPerHost} services already`);
    definition.checks.forEach((check, index) => {
      const owner = owners.get(check.id);
      if (owner !== undefined && owner !== definition.id)
        throw new Fault('duplicate-check-id', `check id "${check.id}" belongs to ${nameOf(owner)} already`, {
          field: `service.checks[${index}].id`,
        });
    });
    refuseTakenBinds(definition, binds, this.ownBinds);
    const more = definition.checks.filter(({ id }) => !owners.has(id)).length;
    if (more > 0 && owners.size + more > maxChecksPerHost)
      throw new Fault('too-many-checks', `a host has at most ${maxChecksPerHost} checks`);
  }

  private definitionWrites(definition: ServiceDefinition): OwnWrite[] {
    const before = this.service(definition.id);
    const writes: OwnWrite[] = [];
    if (JSON.stringify(before) !== JSON.stringify(definition))
      writes.push({ kind: SERVICE, key: definition.id, value: definition });
    const kept = new Set(definition.checks.map((check) => check.id));
    for (const { id } of before?.checks ?? [])
      if (!kept.has(id) && !this.standalone.has(id)) writes.push({ kind: CHECK, key: id, value: null });
    // A check that was registered beside the definition and is now part of it is one check, not two.
    for (const id of kept)
      if (this.standalone.has(id)) writes.push({ kind: CHECK_DEFINITION, key: id, value: null });
    for (const check of definition.checks) writes.push(...this.initial(definition.id, check));
    return writes;
  }

  /** A check starts with its initial status; one that is known under the same service goes on with its own. */
  private initial(serviceId: string, check: CheckDefinition): OwnWrite[] {
    const known = this.host?.checks.get(check.id)?.value;
    const goesOn = known?.serviceId === serviceId && known.type === check.type;
    if (goesOn && known.name === check.name && known.notes === check.notes) return [];
    const last = goesOn ? this.told(check.id) : undefined;
    const value = checkValue(serviceId, check, last?.status ?? check.initialStatus, last?.output ?? '');
    return [{ kind: CHECK, key: check.id, value }];
  }

  /** Writes that take a service and its checks back. `Fault('unknown-service')` when there is none. */
  deregister(id: string): OwnWrite[] {
    if (this.service(id) === undefined)
      throw new Fault('unknown-service', `no service with id "${id}" is registered on this host`, {
        field: 'id',
      });
    const writes: OwnWrite[] = [{ kind: SERVICE, key: id, value: null }];
    for (const [checkId, check] of this.host?.checks ?? [])
      if (check.value.serviceId === id) writes.push({ kind: CHECK, key: checkId, value: null });
    for (const [checkId, { serviceId }] of this.standalone)
      if (serviceId === id) writes.push({ kind: CHECK_DEFINITION, key: checkId, value: null });
    return writes;
  }

  /** Writes that add a check to a service, or to the host (`serviceId` ''), or replace the one of the same id. */
  registerCheck(serviceId: string, check: CheckDefinition): OwnWrite[] {
    if (serviceId !== '' && this.service(serviceId) === undefined)
      throw new Fault('unknown-service', `no service with id "${serviceId}" is registered on this host`, {
        field: 'ServiceID',
      });
    const checks = this.checks();
    const owner = checks.find((other) => other.check.id === check.id);
    if (owner !== undefined && owner.serviceId !== serviceId)
      throw new Fault(
        'duplicate-check-id',
        `check id "${check.id}" belongs to ${nameOf(owner.serviceId)} already`,
        { field: 'CheckID' },
      );
    if (owner === undefined && checks.length >= maxChecksPerHost)
      throw new Fault('too-many-checks', `a host has at most ${maxChecksPerHost} checks`);
    const value: StandaloneCheck = { serviceId, check };
    return [{ kind: CHECK_DEFINITION, key: check.id, value }, ...this.initial(serviceId, check)];
  }

  /** Writes that take one check back, out of its service's definition if it is part of one. */
  deregisterCheck(id: string): OwnWrite[] {
    if (this.host?.checks.get(id) === undefined)
      throw new Fault('unknown-check', `no check with id "${id}" is registered on this host`, {
        field: 'id',
      });
    const writes: OwnWrite[] = [{ kind: CHECK, key: id, value: null }];
    if (this.standalone.has(id)) writes.push({ kind: CHECK_DEFINITION, key: id, value: null });
    for (const service of this.services()) {
      const checks = service.checks.filter((check) => check.id !== id);
      if (checks.length < service.checks.length)
        writes.push({ kind: SERVICE, key: service.id, value: { ...service, checks } });
    }
    return writes;
  }

  maintenance(serviceId: string, enable: boolean, reason: string): OwnWrite[] {
    if (serviceId !== '' && this.service(serviceId) === undefined)
      throw new Fault('unknown-service', `no service with id "${serviceId}" is registered on this host`, {
        field: 'id',
      });
    const key = maintenanceCheckId(serviceId);
    if (!enable) return this.host?.checks.has(key) ? [{ kind: CHECK, key, value: null }] : [];
    const value: CheckValue = {
      name: serviceId === '' ? 'Node Maintenance Mode' : 'Service Maintenance Mode',
      status: 'critical',
      notes: reason === '' ? 'Maintenance mode is enabled; no reason was given.' : reason,
      output: '',
      serviceId,
      type: 'maintenance',
    };
    return [{ kind: CHECK, key, value }];
  }

  /** The write that a change of a check's status takes; none when the check is gone or nothing changed. */
  status(checkId: string, status: CheckStatus, output: string): OwnWrite[] {
    const known = this.checks().find((other) => other.check.id === checkId);
    if (known === undefined) return [];
    const value = checkValue(known.serviceId, known.check, status, output.slice(0, maxOutputLength));
    // What is on its way to the disk counts: a status that went and came back must be written again.
    const last = this.told(checkId);
    if (last?.status === status && last.output === value.output) return [];
    return [{ kind: CHECK, key: checkId, value }];
  }

  /**
   * Writes that make the services which came from files equal to `definitions`, whatever the API registered.
   * A definition that this host cannot take costs no other.
   */
  files(definitions: readonly ServiceDefinition[]): {
    readonly writes: readonly OwnWrite[];
    readonly refused: readonly RefusedDefinition[];
  } {
    const wanted = new Set(definitions.map(({ id }) => id));
    const gone = this.services().filter(({ id, source }) => source.startsWith('file:') && !wanted.has(id));
    const replaced = new Set([...wanted, ...gone.map(({ id }) => id)]);
    const others = this.services().filter(({ id }) => !replaced.has(id));
    const stays = ({ serviceId }: StandaloneCheck): boolean =>
      wanted.has(serviceId) || !replaced.has(serviceId);
    const standalone = [...this.standalone.values()].filter(stays);
    const taken = { owners: ownersOf([...checksOf(others), ...standalone]), binds: bindsOf(others) };
    let count = others.length;
    const writes = gone.flatMap(({ id }) => this.deregister(id));
    const refused: RefusedDefinition[] = [];
    for (const definition of definitions) {
      try {
        this.refuse(definition, count, taken);
        count++;
        for (const { id } of definition.checks) taken.owners.set(id, definition.id);
        for (const [bind, id] of bindsOf([definition])) taken.binds.set(bind, id);
        writes.push(...this.definitionWrites(definition));
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        refused.push({ id: definition.id, fault: error });
      }
    }
    // A check may go from one service to another: what is taken back comes before what is said anew.
    const takenBack = writes.filter(({ value }) => value === null);
    return { writes: [...takenBack, ...writes.filter(({ value }) => value !== null)], refused };
  }
}

function checksOf(services: readonly ServiceDefinition[]): StandaloneCheck[] {
  return services.flatMap(({ id, checks }) => checks.map((check) => ({ serviceId: id, check })));
}

/** The service of each check, by check id. */
function ownersOf(checks: readonly StandaloneCheck[]): Map<string, string> {
  return new Map(checks.map(({ serviceId, check }) => [check.id, serviceId]));
}

function nameOf(serviceId: string): string {
  return serviceId === '' ? 'the host' : `"${serviceId}"`;
}

function checkValue(
  serviceId: string,
  check: CheckDefinition,
  status: CheckStatus,
  output: string,
): CheckValue {
  return { name: check.name, status, notes: check.notes, output, serviceId, type: check.type };
}
