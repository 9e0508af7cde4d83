/** The way of one local service to one cluster: its endpoints, sessions and counters. */
import type { Locality } from '../balance/zones.ts';
import type { Cluster, Endpoint } from '../config.ts';
import { Refusal } from '../http1/refusal.ts';
import type { TrafficCounter } from '../observe/traffic.ts';
import type { UpstreamPolicy } from '../policy.ts';
import { Upstream, UpstreamGroup } from '../upstream/upstreams.ts';
import type { GroupMemory } from '../workers/memory.ts';
import type { Plane } from './options.ts';
import { SessionPool } from './pool.ts';
import type { ServiceContext } from './tls-contexts.ts';

interface RemoteUpstream {
  readonly endpoint: Endpoint;
  readonly pool: SessionPool;
  readonly upstream: Upstream;
}

export class OutboundCluster {
  readonly group: UpstreamGroup;
  readonly source: string;
  private readonly sourcePrincipal: string;
  private readonly plane: Plane;
  private cluster: Cluster;
  private remotes: readonly RemoteUpstream[] = [];
  private readonly abandoned = new Set<SessionPool>();

  constructor(
    source: string,
    cluster: Cluster,
    identity: ServiceContext,
    policy: UpstreamPolicy,
    locality: Locality,
    memory: GroupMemory,
    plane: Plane,
  ) {
    this.plane = plane;
    this.cluster = cluster;
    this.sourcePrincipal = identity.identity.spiffeId;
    this.group = new UpstreamGroup(plane.context.random);
    this.source = source;
    this.update(cluster, identity, policy, locality, memory);
  }

  get id(): string {
    return this.cluster.id;
  }

  /** Takes on a new configuration; sessions to endpoints that stay are kept. */
  update(
    cluster: Cluster,
    identity: ServiceContext,
    policy: UpstreamPolicy,
    locality: Locality,
    memory: GroupMemory,
  ): void {
    const before = this.remotes;
    this.remotes = cluster.endpoints.map((endpoint) => {
      const known = before.find((remote) => remote.endpoint.id === endpoint.id);
      if (known === undefined || !isReachedAlike(this.cluster, known.endpoint, cluster, endpoint))
        return this.remoteFor(cluster, endpoint, identity);
      known.pool.renew(identity);
      return { ...known, endpoint };
    });
    this.cluster = cluster;
    this.group.configure(cluster.balance, policy, locality, memory);
    this.group.update(
      this.remotes.map(({ endpoint: { weight, zone }, upstream }) => ({ upstream, weight, zone })),
    );
    const kept = new Set(this.remotes.map((remote) => remote.pool));
    for (const { pool } of before) if (!kept.has(pool)) this.abandon(pool);
  }

  /** The rows of what takes a route of this rule, '' for the default. */
  counters(rule: string): { readonly counter: TrafficCounter; readonly tcpCounter: TrafficCounter } {
    const { service, subset, spiffeId } = this.cluster;
    const details = {
      route: rule,
      subset,
      sourcePrincipal: this.sourcePrincipal,
      destinationPrincipal: spiffeId,
    };
    const { traffic } = this.plane;
    return {
      counter: traffic.counter('source', this.source, service, 'http', details),
      tcpCounter: traffic.counter('source', this.source, service, 'tcp', details),
    };
  }

  private remoteFor(cluster: Cluster, endpoint: Endpoint, identity: ServiceContext): RemoteUpstream {
    const pool = new SessionPool(cluster, endpoint, identity, this.plane, {
      onReady: () => this.group.settle(),
      onRetired: () => upstream.renew(),
    });
    const upstream = new Upstream(endpoint.id, pool, this.plane.context, endpoint.hostName);
    return { endpoint, pool, upstream };
  }

  /** Sessions finish what they carry; they are remembered only to be ended with the data plane. */
  private abandon(pool: SessionPool): void {
    pool.retire();
    for (const earlier of this.abandoned) if (earlier.connectionCount === 0) this.abandoned.delete(earlier);
    if (pool.connectionCount > 0) this.abandoned.add(pool);
  }

  /** Nothing new is sent this way. */
  retire(): void {
    this.group.update([]);
    for (const { pool } of this.remotes) this.abandon(pool);
    this.remotes = [];
  }

  /** Ends every session with a host that is denied now, even those that were only finishing what they carry. */
  cutDenied(): void {
    for (const { pool } of this.remotes) pool.cutDenied();
    for (const pool of this.abandoned) pool.cutDenied();
  }

  /** Ends every session at once. */
  destroy(): void {
    for (const { pool } of this.remotes) pool.destroy();
    for (const pool of this.abandoned) pool.destroy();
  }

  get isUnused(): boolean {
    for (const pool of this.abandoned) if (pool.connectionCount > 0) return false;
    return this.remotes.length === 0;
  }

  /** Why the group gave nobody. */
  unavailable(): Refusal {
    const { refusal } = this.group;
    if (refusal === 'overflow')
      return new Refusal(503, refusal, `as many requests to ${this.cluster.id} are under way as may be`);
    if (refusal === 'circuit-open')
      return new Refusal(503, refusal, `${this.cluster.id} fails so often that it is left alone for a while`);
    const { service, outOfRotation, endpoints } = this.cluster;
    const detail =
      endpoints.length === 0
        ? `${service} has no instance in rotation (${outOfRotation} out of rotation)`
        : `no other host serves ${service}`;
    return new Refusal(503, 'no-healthy-upstream', detail);
  }
}

/** Whether a session made for one would do for the other. */
function isReachedAlike(a: Cluster, at: Endpoint, b: Cluster, bt: Endpoint): boolean {
  return (
    a.sni === b.sni &&
    a.spiffeId === b.spiffeId &&
    a.connectTimeoutMs === b.connectTimeoutMs &&
    at.address === bt.address &&
    at.port === bt.port
  );
}
