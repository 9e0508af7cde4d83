/** The counters of several workers as those of one data plane. Pure. */
import type {
  BreakerStatus,
  ClusterStatus,
  DataPlaneStats,
  DeniedPeerCount,
  EndpointStatus,
  ListenerStatus,
  ObservationLosses,
} from '../dataplane.ts';
import { mergeTraffic } from '../observe/rows.ts';

export const noLosses: ObservationLosses = { logLines: 0, spans: 0, taps: 0 };

export const noStats: DataPlaneStats = {
  traffic: [],
  listeners: [],
  activeConnections: 0,
  handshakeFailures: {},
  deniedPeers: [],
  endpoints: [],
  breakers: [],
  clusters: [],
  lost: noLosses,
  coarseLimits: { crowded: 0, divided: 0 },
};

/**
 * What was counted is added, what is a state is the worst of all. `divided` of `CoarseLimits` is known to whoever
 * started the workers.
 */
export function mergeStats(all: readonly DataPlaneStats[], divided = 0): DataPlaneStats {
  const every = <T>(read: (stats: DataPlaneStats) => readonly T[] | undefined): T[] =>
    all.flatMap((stats) => read(stats) ?? []);
  return {
    traffic: mergeTraffic(every((stats) => stats.traffic)),
    listeners: combined(
      every((stats) => stats.listeners),
      ({ id }) => id,
      worseListener,
    ),
    activeConnections: sum(all.map((stats) => stats.activeConnections)),
    handshakeFailures: all.map((stats) => stats.handshakeFailures).reduce(addNamed, {}),
    violations: all.map((stats) => stats.violations ?? {}).reduce(addNamed, {}),
    deniedPeers: combined(
      every((stats) => stats.deniedPeers),
      deniedKey,
      (a, b) => ({
        ...a,
        count: a.count + b.count,
      }),
    ),
    endpoints: combined(
      every((stats) => stats.endpoints),
      endpointKey,
      addEndpoints,
    ),
    breakers: combined(
      every((stats) => stats.breakers),
      clusterKey,
      worseBreaker,
    ),
    clusters: combined(
      every((stats) => stats.clusters),
      clusterKey,
      addClusters,
    ),
    lost: {
      logLines: sum(all.map((stats) => stats.lost?.logLines ?? 0)),
      spans: sum(all.map((stats) => stats.lost?.spans ?? 0)),
      taps: sum(all.map((stats) => stats.lost?.taps ?? 0)),
    },
    coarseLimits: { crowded: sum(all.map((stats) => stats.coarseLimits?.crowded ?? 0)), divided },
  };
}

/** One row for each key, in the order in which the keys came first. */
function combined<T>(rows: readonly T[], key: (row: T) => string, add: (a: T, b: T) => T): T[] {
  const byKey = new Map<string, T>();
  for (const row of rows) {
    const name = key(row);
    const known = byKey.get(name);
    byKey.set(name, known === undefined ? row : add(known, row));
  }
  return [...byKey.values()];
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

type Named = Readonly<{ [name: string]: number | undefined }>;

function addNamed(a: Named, b: Named): { [name: string]: number } {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return Object.fromEntries([...names].map((name) => [name, (a[name] ?? 0) + (b[name] ?? 0)]));
}

function worseListener(a: ListenerStatus, b: ListenerStatus): ListenerStatus {
  return a.error === null ? b : a;
}

function deniedKey({ direction, stage, reason }: DeniedPeerCount): string {
  return JSON.stringify([direction, stage, reason]);
}

function endpointKey({ source, cluster, endpoint }: EndpointStatus): string {
  return JSON.stringify([source, cluster, endpoint]);
}

function addEndpoints(a: EndpointStatus, b: EndpointStatus): EndpointStatus {
  return {
    ...a,
    inFlight: a.inFlight + b.inFlight,
    latencyMs: meanLatency(a.latencyMs, b.latencyMs),
    ejected: a.ejected || b.ejected,
    ejections: a.ejections + b.ejections,
    nearest: a.nearest || b.nearest,
  };
}

function meanLatency(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return (a + b) / 2;
}

function clusterKey({ source, cluster }: ClusterStatus | BreakerStatus): string {
  return JSON.stringify([source, cluster]);
}

function addClusters(a: ClusterStatus, b: ClusterStatus): ClusterStatus {
  return {
    ...a,
    isPanicking: a.isPanicking || b.isPanicking,
    panics: a.panics + b.panics,
    overflows: {
      connections: a.overflows.connections + b.overflows.connections,
      pending: a.overflows.pending + b.overflows.pending,
      requests: a.overflows.requests + b.overflows.requests,
    },
    stayed: a.stayed + b.stayed,
    crossed: a.crossed + b.crossed,
    retriesDenied: a.retriesDenied + b.retriesDenied,
  };
}

const severity: readonly BreakerStatus['state'][] = ['closed', 'half-open', 'open'];

function worseBreaker(a: BreakerStatus, b: BreakerStatus): BreakerStatus {
  const state = severity.indexOf(a.state) >= severity.indexOf(b.state) ? a.state : b.state;
  return { ...a, state, opened: a.opened + b.opened, rejected: a.rejected + b.rejected };
}
