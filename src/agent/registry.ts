/**
 * What this host says of its own services and checks, and which records a change to them takes. Pure: reads
 * the catalog and the standalone checks, returns writes; the caller makes them durable in one go.
 */
import { Fault, type HostId } from '../core.ts';
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
  private readonly standalone = new Map<string, StandaloneCheck>();

  constructor(selfId: HostId, catalog: Catalog) {
    this.selfId = selfId;
    this.catalog = catalog;
  }

  /** Takes in an own `check-definition` record. */
  checkDefinition(id: string, value: StandaloneCheck | null): void {
    if (value === null) this.standalone.delete(id);
    else this.standalone.set(id, value);
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

  /** Every check of this host that somebody or something must carry out, with its service. */
  checks(): StandaloneCheck[] {
    const found = this.services().flatMap((service) =>
      service.checks.map((check) => ({ serviceId: service.id, check })),
    );
    return [...found, ...this.standalone.values()];
  }

  /** Writes that register a definition, or replace the one of the same id; none when nothing would change. */
  register(definition: ServiceDefinition): OwnWrite[] {
    const before = this.service(definition.id);
    if (before === undefined && this.services().length >= maxServicesPerHost)
      throw new Fault('too-many-services', `this host has ${maxServicesPerHost} services already`);
    this.refuseTakenChecks(definition);
    const writes: OwnWrite[] = [];
    if (JSON.stringify(before) !== JSON.stringify(definition))
      writes.push({ kind: SERVICE, key: definition.id, value: definition });
    const kept = new Set(definition.checks.map((check) => check.id));
    for (const check of before?.checks ?? [])
      if (!kept.has(check.id)) writes.push({ kind: CHECK, key: check.id, value: null });
    for (const check of definition.checks) writes.push(...this.initial(definition.id, check));
    return writes;
  }

  private refuseTakenChecks(definition: ServiceDefinition): void {
    const others = this.checks().filter((other) => other.serviceId !== definition.id);
    const owners = new Map(others.map((other) => [other.check.id, other.serviceId]));
    definition.checks.forEach((check, index) => {
      const owner = owners.get(check.id);
      if (owner !== undefined)
        throw new Fault('duplicate-check-id', `check id "${check.id}" belongs to "${owner}" already`, {
          field: `service.checks[${index}].id`,
        });
    });
    if (owners.size + definition.checks.length > maxChecksPerHost)
      throw new Fault('too-many-checks', `this host has ${maxChecksPerHost} checks already`);
  }

  /** A check starts with its initial status, unless it is known already under the same service. */
  private initial(serviceId: string, check: CheckDefinition): OwnWrite[] {
    const known = this.host?.checks.get(check.id);
    if (known?.value.serviceId === serviceId && known.value.name === check.name) return [];
    return [
      {
        kind: CHECK,
        key: check.id,
        value: checkValue(serviceId, check, check.initialStatus, known?.value.output ?? ''),
      },
    ];
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

  registerCheck(serviceId: string, check: CheckDefinition): OwnWrite[] {
    if (serviceId !== '' && this.service(serviceId) === undefined)
      throw new Fault('unknown-service', `no service with id "${serviceId}" is registered on this host`, {
        field: 'ServiceID',
      });
    const owner = this.checks().find((other) => other.check.id === check.id);
    if (owner !== undefined && owner.serviceId !== serviceId)
      throw new Fault(
        'duplicate-check-id',
        `check id "${check.id}" belongs to "${owner.serviceId}" already`,
        {
          field: 'CheckID',
        },
      );
    if (owner === undefined && this.checks().length >= maxChecksPerHost)
      throw new Fault('too-many-checks', `this host has ${maxChecksPerHost} checks already`);
    const value: StandaloneCheck = { serviceId, check };
    return [{ kind: CHECK_DEFINITION, key: check.id, value }, ...this.initial(serviceId, check)];
  }

  deregisterCheck(id: string): OwnWrite[] {
    if (this.host?.checks.get(id) === undefined)
      throw new Fault('unknown-check', `no check with id "${id}" is registered on this host`, {
        field: 'id',
      });
    const writes: OwnWrite[] = [{ kind: CHECK, key: id, value: null }];
    if (this.standalone.has(id)) writes.push({ kind: CHECK_DEFINITION, key: id, value: null });
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
    const now = this.host?.checks.get(checkId)?.value;
    const clipped = output.slice(0, maxOutputLength);
    if (now?.status === status && now.output === clipped) return [];
    return [{ kind: CHECK, key: checkId, value: checkValue(known.serviceId, known.check, status, clipped) }];
  }

  /** Writes that make the services which came from files equal to `definitions`, whatever the API registered. */
  files(definitions: readonly ServiceDefinition[]): OwnWrite[] {
    const wanted = new Set(definitions.map((definition) => definition.id));
    const gone = this.services().filter(({ id, source }) => source.startsWith('file:') && !wanted.has(id));
    return [
      ...gone.flatMap(({ id }) => this.deregister(id)),
      ...definitions.flatMap((definition) => this.register(definition)),
    ];
  }
}

function checkValue(
  serviceId: string,
  check: CheckDefinition,
  status: CheckStatus,
  output: string,
): CheckValue {
  return { name: check.name, status, notes: check.notes, output, serviceId, type: check.type };
}
