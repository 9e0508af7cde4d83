/** What groups of endpoints know, in the words of the data plane's stats. */
import type { BreakerStatus, ClusterStatus, EndpointStatus } from '../dataplane.ts';
import type { GroupSnapshot } from './upstream-group.ts';

export interface GroupStatuses {
  readonly endpoints: EndpointStatus[];
  readonly breakers: BreakerStatus[];
  readonly clusters: ClusterStatus[];
}

/** Adds what one caller's group for one cluster knows. */
export function addStatuses(
  statuses: GroupStatuses,
  source: string,
  cluster: string,
  { endpoints, breaker, isPanicking, overflows, picks, retriesDenied }: GroupSnapshot,
): void {
  for (const endpoint of endpoints)
    statuses.endpoints.push({
      source,
      cluster,
      endpoint: endpoint.id,
      name: endpoint.hostName,
      inFlight: endpoint.inflight,
      latencyMs: endpoint.ewmaMs === 0 ? null : endpoint.ewmaMs,
      weight: endpoint.weight,
      ejected: endpoint.ejectedUntil !== null,
      ejections: endpoint.ejections,
      nearest: endpoint.isNearest,
    });
  const { panicked: panics, stayed, crossed } = picks;
  statuses.clusters.push({
    source,
    cluster,
    isPanicking,
    panics,
    overflows,
    stayed,
    crossed,
    retriesDenied,
  });
  if (breaker !== null) statuses.breakers.push({ source, cluster, ...breaker });
}
