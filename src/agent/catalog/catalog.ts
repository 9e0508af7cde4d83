/**
 * The read model: which hosts, services, instances and checks there are, derived from records and
 * membership, with the indexes that blocking queries wait on. The one place the API, DNS and the projection
 * read from. Pure; changed only through `record` and `member`.
 */
import { byCodeUnit, type HostId } from '../../core.ts';
import type { Member, MemberState } from '../../gossip/port.ts';
import {
  CHECK,
  type CheckStatus,
  type CheckValue,
  HOST,
  type HostValue,
  SERVICE,
  type ServiceDefinition,
} from '../kinds.ts';

/** What a blocking query can wait on: `nodes`, `services`, `checks`, `config`, `service:<name>`, `node:<name>`. */
export type Topic = string;

export interface HostEntry {
  readonly id: HostId;
  value: HostValue;
  state: MemberState;
  incarnation: number;
  since: number;
  roundTripMs: number | null;
  readonly services: Map<string, ServiceEntry>;
  readonly checks: Map<string, CheckEntry>;
  readonly createIndex: number;
  modifyIndex: number;
}

export interface ServiceEntry {
  readonly host: HostEntry;
  readonly definition: ServiceDefinition;
  readonly createIndex: number;
  readonly modifyIndex: number;
}

export interface CheckEntry {
  readonly id: string;
  readonly value: CheckValue;
  readonly createIndex: number;
  readonly modifyIndex: number;
}

/** The id of the check that speaks for membership, as Consul names it. */
export const hostCheckId = 'serfHealth';

const severity: { readonly [status in CheckStatus]: number } = { passing: 0, warning: 1, critical: 2 };

/** The worse of two statuses. */
export function worse(a: CheckStatus, b: CheckStatus): CheckStatus {
  return severity[a] >= severity[b] ? a : b;
}

/** Topics whose last change is remembered; names come from peers, and may be new each time. */
export const maxTopics = 65_536;
/** Changes of one run, at most, before its indexes reach those of the next: a thousand a second for seven weeks. */
const indexesPerRun = 2 ** 32;

export class Catalog {
  private readonly hosts = new Map<HostId, HostEntry>();
  private readonly byService = new Map<string, Map<string, ServiceEntry>>();
  private readonly topics = new Map<Topic, number>();
  private readonly members = new Map<HostId, Member>();
  /** Index of the last change of any topic that was forgotten. */
  private forgottenAt: number;
  private changed = new Set<Topic>();
  private current: number;

  /**
   * `run` counts the starts of this agent, from 1: an index seen in an earlier run is below those of this one, so
   * that nobody waits, or writes, for having seen what another thing has the number of.
   */
  constructor(run = 1) {
    this.current = 1 + Math.max(0, run - 1) * indexesPerRun;
    this.forgottenAt = this.current;
  }

  /** The agent-local index: grows with every visible change, never goes back, at least 1. */
  get index(): number {
    return this.current;
  }

  /** The index at which a topic last changed, or later if that was long ago; at least 1, never goes back. */
  indexOf(topic: Topic): number {
    return this.topics.get(topic) ?? this.forgottenAt;
  }

  /** Topics that changed since the last call. */
  takeChanged(): ReadonlySet<Topic> {
    const changed = this.changed;
    this.changed = new Set();
    return changed;
  }

  /** Marks topics changed; returns the new index. */
  touch(...topics: Topic[]): number {
    this.current++;
    for (const topic of topics) {
      this.topics.delete(topic);
      this.topics.set(topic, this.current);
      this.changed.add(topic);
    }
    this.forgetTopics();
    return this.current;
  }

  /** Forgets those that changed longest ago, first in the map, once there are too many. */
  private forgetTopics(): void {
    for (const [topic, index] of this.topics) {
      if (this.topics.size <= maxTopics) break;
      this.topics.delete(topic);
      this.forgottenAt = index;
    }
  }

  /** Applies a record's decoded value (null for a tombstone). Kinds that are not the catalog's are ignored. */
  record(author: HostId, kind: string, key: string, value: unknown): void {
    if (kind === HOST) this.hostRecord(author, value as HostValue | null);
    else if (kind === SERVICE) this.serviceRecord(author, key, value as ServiceDefinition | null);
    else if (kind === CHECK) this.checkRecord(author, key, value as CheckValue | null);
  }

  /** Takes in what the membership protocol now says of a host. */
  member(member: Member): void {
    this.members.set(member.id, member);
    const host = this.hosts.get(member.id);
    if (host === undefined) return;
    host.roundTripMs = member.roundTripMs;
    if (host.state === member.state && host.incarnation === member.incarnation) return;
    const was = host.state;
    host.state = member.state;
    host.incarnation = member.incarnation;
    host.since = member.since;
    if (was !== member.state) host.modifyIndex = this.touch(...this.topicsOfHost(host));
  }

  private topicsOfHost(host: HostEntry): Topic[] {
    const topics: Topic[] = ['nodes', 'checks', `node:${host.value.name}`];
    const names = new Set<string>();
    for (const service of host.services.values()) names.add(service.definition.name);
    if (names.size > 0) topics.push('services');
    for (const name of names) topics.push(`service:${name}`);
    return topics;
  }

  private hostRecord(id: HostId, value: HostValue | null): void {
    const host = this.hosts.get(id);
    if (value === null) {
      if (host === undefined) return;
      for (const service of host.services.values()) this.unlink(host, service.definition);
      this.hosts.delete(id);
      this.touch(...this.topicsOfHost(host));
      return;
    }
    if (host !== undefined) {
      const before = this.topicsOfHost(host);
      host.value = value;
      host.modifyIndex = this.touch(...before, ...this.topicsOfHost(host));
      return;
    }
    const member = this.members.get(id);
    // Its membership check is new, too.
    const index = this.touch('nodes', 'checks', `node:${value.name}`);
    this.hosts.set(id, {
      id,
      value,
      state: member?.state ?? 'down',
      incarnation: member?.incarnation ?? 0,
      since: member?.since ?? 0,
      roundTripMs: member?.roundTripMs ?? null,
      services: new Map(),
      checks: new Map(),
      createIndex: index,
      modifyIndex: index,
    });
  }

  private serviceRecord(id: HostId, key: string, definition: ServiceDefinition | null): void {
    const host = this.hosts.get(id);
    if (host === undefined) return;
    const was = host.services.get(key);
    if (definition === null) {
      if (was === undefined) return;
      host.services.delete(key);
      this.unlink(host, was.definition);
      this.touch(...topicsOfService(host, was.definition));
      return;
    }
    if (was !== undefined && was.definition.name !== definition.name) {
      this.unlink(host, was.definition);
      this.touch(`service:${was.definition.name}`);
    }
    const index = this.touch(...topicsOfService(host, definition));
    const entry = { host, definition, createIndex: was?.createIndex ?? index, modifyIndex: index };
    host.services.set(key, entry);
    let instances = this.byService.get(definition.name);
    if (instances === undefined) {
      instances = new Map();
      this.byService.set(definition.name, instances);
    }
    instances.set(`${id}/${key}`, entry);
  }

  private unlink(host: HostEntry, definition: ServiceDefinition): void {
    const instances = this.byService.get(definition.name);
    instances?.delete(`${host.id}/${definition.id}`);
    if (instances?.size === 0) this.byService.delete(definition.name);
  }

  private checkRecord(id: HostId, key: string, value: CheckValue | null): void {
    const host = this.hosts.get(id);
    if (host === undefined) return;
    const was = host.checks.get(key);
    if (value === null && was === undefined) return;
    const topics: Topic[] = ['checks', `node:${host.value.name}`];
    // A check may go from one service to another, which matters to both.
    for (const serviceId of new Set([was?.value.serviceId, value?.serviceId])) {
      const service = host.services.get(serviceId ?? '');
      if (service !== undefined) topics.push(`service:${service.definition.name}`);
      else if (serviceId === '') topics.push(...this.topicsOfHost(host));
    }
    const index = this.touch(...topics);
    if (value === null) host.checks.delete(key);
    else host.checks.set(key, { id: key, value, createIndex: was?.createIndex ?? index, modifyIndex: index });
  }

  host(id: HostId): HostEntry | undefined {
    return this.hosts.get(id);
  }

  /** A host that has not left, by name; of several with one name one that is not down, then the lowest id. */
  hostNamed(name: string): HostEntry | undefined {
    let found: HostEntry | undefined;
    for (const host of this.hosts.values())
      if (host.value.name === name && host.state !== 'left' && (found === undefined || precedes(host, found)))
        found = host;
    return found;
  }

  /** Every host with a `host` record, those that left included, by name. */
  allHosts(): HostEntry[] {
    return [...this.hosts.values()].sort(
      (a, b) => byCodeUnit(a.value.name, b.value.name) || byCodeUnit(a.id, b.id),
    );
  }

  /** In no order. */
  hostEntries(): Iterable<HostEntry> {
    return this.hosts.values();
  }

  /** Whether a host is down or has left, as far as is known here. */
  isGone(host: HostId): boolean {
    const state = this.host(host)?.state;
    return state === 'left' || state === 'down';
  }

  /** Hosts that belong to the catalog: alive, suspect or down, but not left. By name. */
  presentHosts(): HostEntry[] {
    return this.allHosts().filter((host) => host.state !== 'left');
  }

  /** Names of services with at least one instance on a present host, sorted. */
  serviceNames(): string[] {
    const names: string[] = [];
    for (const [name, instances] of this.byService)
      for (const entry of instances.values())
        if (entry.host.state !== 'left') {
          names.push(name);
          break;
        }
    return names.sort(byCodeUnit);
  }

  /** Instances of a service on present hosts, by host name, then id. */
  instances(service: string): ServiceEntry[] {
    const found: ServiceEntry[] = [];
    for (const entry of this.byService.get(service)?.values() ?? [])
      if (entry.host.state !== 'left') found.push(entry);
    return found.sort(
      (a, b) =>
        byCodeUnit(a.host.value.name, b.host.value.name) ||
        byCodeUnit(a.host.id, b.host.id) ||
        byCodeUnit(a.definition.id, b.definition.id),
    );
  }

  /** The membership protocol's verdict on a host, in the form of a check. */
  hostCheck(host: HostEntry): CheckEntry {
    const alive = host.state === 'alive' || host.state === 'suspect';
    return {
      id: hostCheckId,
      value: {
        name: 'Serf Health Status',
        status: alive ? 'passing' : 'critical',
        notes: '',
        output: alive ? 'Agent alive and reachable' : 'Agent not live or unreachable',
        serviceId: '',
        type: 'ttl',
      },
      createIndex: host.createIndex,
      modifyIndex: host.modifyIndex,
    };
  }

  /** Checks of the host itself, membership's first, then by id. */
  checksOfHost(host: HostEntry): CheckEntry[] {
    const own = [...host.checks.values()].filter((check) => check.value.serviceId === '');
    return [this.hostCheck(host), ...own.sort((a, b) => byCodeUnit(a.id, b.id))];
  }

  /** Checks of one service instance, by id. */
  checksOfService(entry: ServiceEntry): CheckEntry[] {
    const own = [...entry.host.checks.values()].filter(
      (check) => check.value.serviceId === entry.definition.id,
    );
    return own.sort((a, b) => byCodeUnit(a.id, b.id));
  }

  /** The worst of the host's and the instance's checks. */
  statusOf(entry: ServiceEntry): CheckStatus {
    let status = this.hostCheck(entry.host).value.status;
    for (const check of entry.host.checks.values())
      if (check.value.serviceId === '' || check.value.serviceId === entry.definition.id)
        status = worse(status, check.value.status);
    return status;
  }
}

/** Which of two hosts with one name answers to it. */
function precedes(a: HostEntry, b: HostEntry): boolean {
  const isOneDown = (a.state === 'down') !== (b.state === 'down');
  return isOneDown ? b.state === 'down' : a.id < b.id;
}

/** An instance that comes, changes or goes takes its checks along. */
function topicsOfService(host: HostEntry, { name }: ServiceDefinition): Topic[] {
  return ['services', 'checks', `service:${name}`, `node:${host.value.name}`];
}
