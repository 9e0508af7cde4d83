/** All ways out of this host: what each of its services may ask for, and what becomes of it. */
import type { Caller } from '../caller.ts';
import type { CallerPolicy, Cluster, Destination, ProxyConfig } from '../config.ts';
import { Refusal } from '../http1/refusal.ts';
import type { RefusedRoute } from '../http1/route.ts';
import type { RouteTable } from '../http1/route-table.ts';
import type { TrafficCounter } from '../observe/traffic.ts';
import type { BreakerPolicy } from '../policy.ts';
import { addStatuses, type GroupStatuses } from '../upstream/group-statuses.ts';
import { type GroupMemory, groupMemory, notShared, type SharedLimits } from '../workers/memory.ts';
import type { Plane } from './options.ts';
import { type ClusterSource, OutboundCaller } from './outbound-caller.ts';
import type { OutboundCluster } from './outbound-cluster.ts';
import type { ServiceContext } from './tls-contexts.ts';

/** In the counters, for a caller or a destination that is no service. */
const unknown = 'unknown';

export class OutboundRoutes implements ClusterSource {
  /** Changes with every configuration: whoever remembers a route asks again. */
  generation = 0;
  zone = '';
  datacenter = '';
  roundTrips: ReadonlyMap<string, number> = new Map();
  private readonly plane: Plane;
  private domainSuffix = '';
  private clusters: ReadonlyMap<string, Cluster> = new Map();
  private destinations: ReadonlyMap<string, Destination> = new Map();
  private policies: ReadonlyMap<string, CallerPolicy> = new Map();
  private contexts: ReadonlyMap<string, ServiceContext> = new Map();
  private shared: SharedLimits | null = null;
  private readonly callers = new Map<string, OutboundCaller>();
  private retired: OutboundCluster[] = [];

  constructor(plane: Plane) {
    this.plane = plane;
  }

  apply(config: ProxyConfig, contexts: ReadonlyMap<string, ServiceContext>): void {
    this.generation++;
    this.zone = config.zone;
    this.datacenter = config.datacenter;
    this.roundTrips = new Map(config.roundTrips.map(({ host, ms }) => [host, ms]));
    this.domainSuffix = `.${config.domain}`;
    this.clusters = new Map(config.clusters.map((cluster) => [cluster.id, cluster]));
    this.destinations = new Map(config.destinations.map((each) => [each.id, each]));
    this.policies = new Map(config.callers.map((caller) => [caller.service, caller]));
    this.contexts = contexts;
    this.shared = config.shared ?? null;
    this.retired = this.retired.filter((cluster) => !cluster.isUnused);
    for (const [source, caller] of this.callers) {
      const identity = contexts.get(source);
      this.retired.push(...caller.update(this.policies.get(source) ?? null, identity ?? null));
      if (identity === undefined) this.callers.delete(source);
    }
  }

  clusterOf(id: string): Cluster | null {
    return this.clusters.get(id) ?? null;
  }

  memoryOf(source: string, cluster: string, breaker: BreakerPolicy | null): GroupMemory {
    return this.shared === null ? notShared : groupMemory(this.shared, source, cluster, breaker);
  }

  /** What a caller may do with what it asks of `destination`; a refusal when that is nothing. */
  find(caller: Caller, destination: string): RouteTable | RefusedRoute {
    const source = caller.service;
    const wanted = this.destinations.get(destination);
    // What is not in the mesh has no row of its own: a caller could name anything.
    if (wanted === undefined)
      return this.refused(404, 'no-route', `no service ${destination} in the mesh`, source, unknown);
    if (source === null) return this.refused(403, 'no-caller', caller.problem, source, wanted.service);
    const table = this.callerFor(source)?.tableFor(wanted);
    return (
      table ?? this.refused(503, 'no-identity', `${source} has no certificate yet`, source, wanted.service)
    );
  }

  private callerFor(source: string): OutboundCaller | null {
    const known = this.callers.get(source);
    if (known !== undefined) return known;
    const identity = this.contexts.get(source);
    if (identity === undefined) return null;
    const caller = new OutboundCaller(source, this.policies.get(source) ?? null, identity, this, this.plane);
    this.callers.set(source, caller);
    return caller;
  }

  /** As `find`, by what a Host header says: `api.mesh`, `api.service.mesh`, either with a port. */
  findHost(caller: Caller, host: string): RouteTable | RefusedRoute {
    const service = this.serviceIn(host);
    return service === null
      ? this.refused(404, 'no-route', `${host || 'no host'} names no service`, caller.service, unknown)
      : this.find(caller, service);
  }

  private serviceIn(host: string): string | null {
    const name = host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '');
    if (!name.endsWith(this.domainSuffix)) return null;
    const labels = name.slice(0, -this.domainSuffix.length).replace(/\.service$/, '');
    return labels === '' || labels.includes('.') ? null : labels;
  }

  private refused(
    status: number,
    reason: 'no-route' | 'no-caller' | 'no-identity',
    detail: string,
    source: string | null,
    destination: string,
  ): RefusedRoute {
    const counter = this.plane.traffic.counter('source', source ?? unknown, destination, 'http');
    return { refusal: new Refusal(status, reason, detail), counter };
  }

  /** Where to count what is no request of anybody's to anybody. */
  unreadCounter(source: string | null, destination: string | null): TrafficCounter {
    const service = destination === null ? unknown : this.serviceOf(destination);
    return this.plane.traffic.counter('source', source ?? unknown, service, 'http');
  }

  /** How counters call a destination: other datacenters have no rows of their own. */
  serviceOf(destination: string): string {
    return this.destinations.get(destination)?.service ?? destination;
  }

  /** How a service of the mesh is to be spoken to; what is not known is found out. */
  protocolOf(destination: string): Cluster['protocol'] {
    return this.destinations.get(destination)?.protocol ?? 'auto';
  }

  /** What every caller of this host knows of the endpoints that it asked. */
  statuses(): GroupStatuses {
    const now = this.plane.context.now();
    const statuses: GroupStatuses = { endpoints: [], breakers: [], clusters: [] };
    for (const caller of this.callers.values())
      for (const { source, id, group } of caller.clusters)
        addStatuses(statuses, source, id, group.snapshot(now));
    return statuses;
  }

  private *allClusters(): Iterable<OutboundCluster> {
    for (const caller of this.callers.values()) yield* caller.clusters;
    yield* this.retired;
  }

  cutDenied(): void {
    for (const cluster of this.allClusters()) cluster.cutDenied();
  }

  destroy(): void {
    for (const cluster of this.allClusters()) cluster.destroy();
  }
}
