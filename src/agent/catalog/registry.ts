/**
 * What this host says of its own services and checks, and which records a change to them takes. Pure: reads
 * the catalog and the standalone checks, returns writes; the caller makes them durable in one go.
 */
import { Fault, type HostId } from '../../core.ts';
import type { Record } from '../../gossip/replica/record.ts';
import {
  CHECK,
  CHECK_DEFINITION,
  type CheckDefinition,
  type CheckStatus,
  type CheckValue,
  SERVICE,
  type ServiceDefinition,
  type StandaloneCheck,
} from '../kinds.ts';
import { bindsOf, type OwnBind, refuseTakenBinds } from './binds.ts';
import type { Catalog, HostEntry } from './catalog.ts';
import { Intended } from './intended.ts';

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

/** How the source of a definition from a file begins; the file's path follows. */
const fromFile = 'file:';

/** Ids that Consul's clients know for maintenance. */
export function maintenanceCheckId(serviceId: string): string {
  return serviceId === '' ? '_node_maintenance' : `_service_maintenance:${serviceId}`;
}

export class Registry {
  private readonly catalog: Catalog;
  readonly selfId: HostId;
  private readonly ownBinds: readonly OwnBind[];
  private readonly standalone = new Map<string, StandaloneCheck>();
  private readonly intended = new Intended();
  /** Which file defines a service, by id, whether it is registered now or not. */
  private fileOf: ReadonlyMap<string, string> = new Map();

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

  /** Takes note of a write that is on its way to the disk, as a record of this version. */
  wrote(write: OwnWrite, version: number): void {
    this.intended.wrote(write, version);
  }

  /** These writes are durable, or the disk refused them and their caller was told. */
  ended(records: readonly Pick<Record, 'scope' | 'kind' | 'key' | 'version'>[]): void {
    for (const { scope, kind, key, version } of records)
      if (scope === 'host') this.intended.ended(kind, key, version);
  }

  /** What the mesh was told of a check, or is about to be; undefined when nothing. */
  told(checkId: string): CheckValue | undefined {
    const underWay = this.intended.get(CHECK, checkId);
    if (underWay !== undefined) return (underWay as CheckValue | null) ?? undefined;
    return this.host?.checks.get(checkId)?.value;
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

  /** The definition that is registered once all writes under way are durable. */
  private intendedService(id: string): ServiceDefinition | undefined {
    const underWay = this.intended.get(SERVICE, id);
    return underWay === undefined ? this.service(id) : ((underWay as ServiceDefinition | null) ?? undefined);
  }

  private intendedServices(): ServiceDefinition[] {
    const durable = this.services().map((definition) => [definition.id, definition] as const);
    return [...this.intended.over(SERVICE, durable).values()];
  }

  private intendedStandalone(): Map<string, StandaloneCheck> {
    return this.intended.over(CHECK_DEFINITION, this.standalone);
  }

  /** What the mesh will have been told of each check, by id. */
  private intendedValues(): Map<string, CheckValue> {
    const durable = [...(this.host?.checks ?? [])].map(([id, { value }]) => [id, value] as const);
    return this.intended.over(CHECK, durable);
  }

  private intendedChecks(): StandaloneCheck[] {
    return checksAmong(this.intendedServices(), this.intendedStandalone());
  }

  /** Every check of this host that somebody or something must carry out, with its service; each id once. */
  checks(): StandaloneCheck[] {
    return checksAmong(this.services(), this.standalone);
  }

  /**
   * Writes that register a definition, or replace the one of the same id; none when nothing would change. Throws
   * `Fault('conflict')` for one that a file defines: the file would have its way again with the next start.
   */
  register(definition: ServiceDefinition): OwnWrite[] {
    const file = this.fileOf.get(definition.id);
    if (file !== undefined)
      throw new Fault('conflict', `"${definition.id}" is defined in ${file}: change it there`, {
        field: 'service.id',
      });
    const services = this.intendedServices();
    const others = services.filter(({ id }) => id !== definition.id).length;
    this.refuse(definition, others, { owners: ownersOf(this.intendedChecks()), binds: bindsOf(services) });
    return this.definitionWrites(definition);
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
    const before = this.intendedService(definition.id);
    const standalone = this.intendedStandalone();
    const writes: OwnWrite[] = [];
    if (JSON.stringify(before) !== JSON.stringify(definition))
      writes.push({ kind: SERVICE, key: definition.id, value: definition });
    const kept = new Set(definition.checks.map((check) => check.id));
    for (const { id } of before?.checks ?? [])
      if (!kept.has(id) && !standalone.has(id)) writes.push({ kind: CHECK, key: id, value: null });
    // A check that was registered beside the definition and is now part of it is one check, not two.
    for (const id of kept)
      if (standalone.has(id)) writes.push({ kind: CHECK_DEFINITION, key: id, value: null });
    for (const check of definition.checks) writes.push(...this.initial(definition.id, check));
    return writes;
  }

  /** A check starts with its initial status; one that is known under the same service goes on with its own. */
  private initial(serviceId: string, check: CheckDefinition): OwnWrite[] {
    const known = this.told(check.id);
    const goesOn = known?.serviceId === serviceId && known.type === check.type;
    if (goesOn && known.name === check.name && known.notes === check.notes) return [];
    const last = goesOn ? known : undefined;
    const value = checkValue(serviceId, check, last?.status ?? check.initialStatus, last?.output ?? '');
    return [{ kind: CHECK, key: check.id, value }];
  }

  /** Writes that take a service and its checks back. `Fault('unknown-service')` when there is none. */
  deregister(id: string): OwnWrite[] {
    if (this.intendedService(id) === undefined)
      throw new Fault('unknown-service', `no service with id "${id}" is registered on this host`, {
        field: 'id',
      });
    const writes: OwnWrite[] = [{ kind: SERVICE, key: id, value: null }];
    for (const [checkId, { serviceId }] of this.intendedValues())
      if (serviceId === id) writes.push({ kind: CHECK, key: checkId, value: null });
    for (const [checkId, { serviceId }] of this.intendedStandalone())
      if (serviceId === id) writes.push({ kind: CHECK_DEFINITION, key: checkId, value: null });
    return writes;
  }

  /** Writes that add a check to a service, or to the host (`serviceId` ''), or replace the one of the same id. */
  registerCheck(serviceId: string, check: CheckDefinition): OwnWrite[] {
    if (serviceId !== '' && this.intendedService(serviceId) === undefined)
      throw new Fault('unknown-service', `no service with id "${serviceId}" is registered on this host`, {
        field: 'ServiceID',
      });
    const checks = this.intendedChecks();
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
    if (this.told(id) === undefined)
      throw new Fault('unknown-check', `no check with id "${id}" is registered on this host`, {
        field: 'id',
      });
    const writes: OwnWrite[] = [{ kind: CHECK, key: id, value: null }];
    if (this.intendedStandalone().has(id)) writes.push({ kind: CHECK_DEFINITION, key: id, value: null });
    for (const service of this.intendedServices()) {
      const checks = service.checks.filter((check) => check.id !== id);
      if (checks.length < service.checks.length)
        writes.push({ kind: SERVICE, key: service.id, value: { ...service, checks } });
    }
    return writes;
  }

  maintenance(serviceId: string, enable: boolean, reason: string): OwnWrite[] {
    if (serviceId !== '' && this.intendedService(serviceId) === undefined)
      throw new Fault('unknown-service', `no service with id "${serviceId}" is registered on this host`, {
        field: 'id',
      });
    const key = maintenanceCheckId(serviceId);
    if (!enable) return this.told(key) !== undefined ? [{ kind: CHECK, key, value: null }] : [];
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
    const known = this.intendedChecks().find((other) => other.check.id === checkId);
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
    this.fileOf = new Map(definitions.map(({ id, source }) => [id, source.slice(fromFile.length)]));
    const wanted = new Set(definitions.map(({ id }) => id));
    const gone = this.intendedServices().filter(
      ({ id, source }) => source.startsWith(fromFile) && !wanted.has(id),
    );
    const replaced = new Set([...wanted, ...gone.map(({ id }) => id)]);
    const others = this.intendedServices().filter(({ id }) => !replaced.has(id));
    const stays = ({ serviceId }: StandaloneCheck): boolean =>
      wanted.has(serviceId) || !replaced.has(serviceId);
    const standalone = [...this.intendedStandalone().values()].filter(stays);
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

/** Each id once: what was registered beside a definition outranks what is part of one. */
function checksAmong(
  services: readonly ServiceDefinition[],
  standalone: ReadonlyMap<string, StandaloneCheck>,
): StandaloneCheck[] {
  const found = new Map<string, StandaloneCheck>();
  for (const one of checksOf(services)) found.set(one.check.id, one);
  for (const [id, one] of standalone) found.set(id, one);
  return [...found.values()];
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
