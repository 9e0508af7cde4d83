/** One service of this host as a caller: its clusters, and the routes to all that it has asked for. */

import { RequestHasher } from '../balance/hash-key.ts';
import { type Locality, noLocality } from '../balance/zones.ts';
import type { CallerPolicy, Cluster, Destination } from '../config.ts';
import { Refusal } from '../http1/refusal.ts';
import { type Reach, RouteTable } from '../http1/route-table.ts';
import type { BreakerPolicy, UpstreamPolicy } from '../policy.ts';
import { defaultConnectTimeoutMs, noTimeouts, treatmentOf } from '../policy-defaults.ts';
import { leastStandingMs, standingMsOf } from '../relay/tcp.ts';
import { UpstreamGroup } from '../upstream/upstreams.ts';
import type { GroupMemory } from '../workers/memory.ts';
import type { Plane } from './options.ts';
import { OutboundCluster } from './outbound-cluster.ts';
import type { ServiceContext } from './tls-contexts.ts';

/** The configuration of the moment. */
export interface ClusterSource {
  /** Where this host is. */
  readonly zone: string;
  readonly datacenter: string;
  /** The network's round trips to hosts that are some way off, milliseconds. */
  readonly roundTrips: ReadonlyMap<string, number>;
  clusterOf(id: string): Cluster | null;
  /** What threads share of the way of a service of this host to a cluster, with such a breaker. */
  memoryOf(source: string, cluster: string, breaker: BreakerPolicy | null): GroupMemory;
}

export class OutboundCaller {
  private readonly source: string;
  private readonly config: ClusterSource;
  private readonly plane: Plane;
  private policy: CallerPolicy | null;
  private identity: ServiceContext;
  /** Both by what is asked for, made when it is asked for first. */
  private readonly byId = new Map<string, OutboundCluster>();
  private readonly tables = new Map<string, RouteTable>();

  constructor(
    source: string,
    policy: CallerPolicy | null,
    identity: ServiceContext,
    config: ClusterSource,
    plane: Plane,
  ) {
    this.source = source;
    this.policy = policy;
    this.identity = identity;
    this.config = config;
    this.plane = plane;
  }

  get clusters(): Iterable<OutboundCluster> {
    return this.byId.values();
  }

  /** Takes on a new configuration; without an identity nothing is left. Returns what nothing is sent to any more. */
  update(policy: CallerPolicy | null, identity: ServiceContext | null): OutboundCluster[] {
    const gone: OutboundCluster[] = [];
    this.policy = policy;
    this.identity = identity ?? this.identity;
    this.tables.clear();
    for (const [id, known] of this.byId) {
      const cluster = identity === null ? null : this.config.clusterOf(id);
      if (cluster !== null) {
        const treatment = treatmentOf(policy, cluster.service);
        const timed = this.timed(cluster, treatment);
        const memory = this.config.memoryOf(this.source, id, treatment.breaker);
        known.update(timed, this.identity, treatment, this.localityOf(cluster), memory);
        continue;
      }
      known.retire();
      this.byId.delete(id);
      gone.push(known);
    }
    return gone;
  }

  tableFor(destination: Destination): RouteTable {
    const known = this.tables.get(destination.id);
    if (known !== undefined) return known;
    const outbound = this.policy?.outbound ?? noTimeouts;
    const counter = this.plane.traffic.counter('source', this.source, destination.service, 'http');
    const table = new RouteTable(destination, outbound, counter, (id, rule) => this.reach(id, rule));
    this.tables.set(destination.id, table);
    return table;
  }

  /** A cluster, and those that take over from it. */
  private reach(id: string, rule: string): Reach {
    const cluster = this.config.clusterOf(id);
    if (cluster === null) return this.nowhere(id);
    const others = cluster.failover.map((other) => this.config.clusterOf(other));
    const clusters = [cluster, ...others.filter((other) => other !== null)];
    const opened = clusters.map((each) => this.open(each));
    const standingMs = Math.max(...clusters.map((each) => standingMsOf(each.localConnectTimeoutMs)));
    const groups = opened.map(({ group }) => group);
    const { hash } = cluster.balance;
    const hasher = hash.length === 0 ? null : new RequestHasher(hash);
    const unavailable = (groupIndex: number): Refusal => opened[groupIndex]!.unavailable();
    return { ...opened[0]!.counters(rule), groups, hasher, standingMs, unavailable };
  }

  private open(cluster: Cluster): OutboundCluster {
    const known = this.byId.get(cluster.id);
    if (known !== undefined) return known;
    const treatment = treatmentOf(this.policy, cluster.service);
    const opened = new OutboundCluster(
      this.source,
      this.timed(cluster, treatment),
      this.identity,
      treatment,
      this.localityOf(cluster),
      this.config.memoryOf(this.source, cluster.id, treatment.breaker),
      this.plane,
    );
    this.byId.set(cluster.id, opened);
    return opened;
  }

  /** A route may name a cluster that the configuration lacks only by mistake; its requests are refused. */
  private nowhere(id: string): Reach {
    const { traffic, context } = this.plane;
    return {
      counter: traffic.counter('source', this.source, id, 'http'),
      tcpCounter: traffic.counter('source', this.source, id, 'tcp'),
      groups: [new UpstreamGroup(context.random)],
      hasher: null,
      standingMs: leastStandingMs,
      unavailable: () => new Refusal(503, 'no-route', `no cluster ${id}`),
    };
  }

  /** Zones of another datacenter are none of this one's, whatever they are called. */
  private localityOf({ datacenter }: Cluster): Locality {
    const { config, policy } = this;
    const { roundTrips } = config;
    return datacenter === config.datacenter && policy !== null
      ? { zone: config.zone, callers: policy.zones, roundTrips }
      : { ...noLocality, roundTrips };
  }

  /**
   * The cluster with this caller's connect timeout: what it says of its upstreams outweighs the cluster's own, as
   * in Consul; what it says of all its calls stands in where the cluster has but the default. 0 is without limit.
   */
  private timed(cluster: Cluster, treatment: UpstreamPolicy): Cluster {
    const isDefault = cluster.connectTimeoutMs === defaultConnectTimeoutMs;
    const general = isDefault ? this.policy?.outbound.connectMs : null;
    const timeoutMs = treatment.connectTimeoutMs ?? general ?? cluster.connectTimeoutMs;
    return { ...cluster, connectTimeoutMs: timeoutMs === 0 ? Infinity : timeoutMs };
  }
}
