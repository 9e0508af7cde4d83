/** What the data plane counts beside the requests themselves, which are told under Istio's names. */

import type { DataPlaneStats, TrafficRow } from '../../proxy/dataplane.ts';
import { type Add, byName, type Samples, single } from './samples.ts';

type Stats = () => DataPlaneStats | null;

const pairLabels = ['reporter', 'source', 'destination'];
const clusterLabels = ['source', 'cluster'];
const endpointLabels = [...clusterLabels, 'endpoint'];

/** `dataPlane` gives what was found at the beginning of a scrape. */
export function trafficMetrics(add: Add, dataPlane: Stats): void {
  rowMetrics(add, dataPlane);
  endpointMetrics(add, dataPlane);
  listenerMetrics(add, dataPlane);
}

/** Samples of every pair: protocols, routes and subsets together. */
function ofPairs(rows: readonly TrafficRow[], samplesOf: (row: TrafficRow) => Samples): Samples {
  const sums = new Map<string, { labels: { [name: string]: string }; value: number }>();
  for (const row of rows)
    for (const { labels, value } of samplesOf(row)) {
      const { reporter, source, destination } = row;
      const all = { reporter, source, destination, ...labels };
      const key = JSON.stringify(all);
      const known = sums.get(key);
      if (known === undefined) sums.set(key, { labels: all, value });
      else known.value += value;
    }
  return [...sums.values()];
}

function rowMetrics(add: Add, dataPlane: Stats): void {
  const read = (samplesOf: (row: TrafficRow) => Samples) => () =>
    ofPairs(dataPlane()?.traffic ?? [], samplesOf);
  add(
    'counter',
    'starling_proxy_refused_total',
    'Requests and connections not served as asked, by reason.',
    [...pairLabels, 'reason'],
    read(({ refused }) => byName('reason', refused)),
  );
  add(
    'counter',
    'starling_proxy_denied_total',
    'Requests and connections denied, by the rule that denied them.',
    [...pairLabels, 'rule'],
    read(({ deniedBy }) => byName('rule', deniedBy)),
  );
  add(
    'counter',
    'starling_proxy_rate_limited_total',
    'Requests refused because a token bucket was empty.',
    pairLabels,
    read(({ refused }) => nonZero(refused['rate-limited'])),
  );
  add(
    'counter',
    'starling_proxy_retries_total',
    'Requests tried again on another endpoint.',
    pairLabels,
    read(({ retries }) => single(retries)),
  );
  add(
    'counter',
    'starling_proxy_mirrored_total',
    'Copies of requests sent to a mirror.',
    pairLabels,
    read(({ mirrored }) => nonZero(mirrored)),
  );
  add(
    'counter',
    'starling_proxy_mirrors_skipped_total',
    'Copies that were to be sent to a mirror and were not: it was too slow or away, or the body too long.',
    pairLabels,
    read(({ mirrorsSkipped }) => nonZero(mirrorsSkipped)),
  );
  add(
    'counter',
    'starling_proxy_bytes_total',
    'Bytes by direction, as the reporter’s proxy saw them.',
    [...pairLabels, 'direction'],
    read(({ bytesSent, bytesReceived }) => [
      { labels: { direction: 'sent' }, value: bytesSent },
      { labels: { direction: 'received' }, value: bytesReceived },
    ]),
  );
}

function nonZero(value: number | undefined): Samples {
  return value === undefined || value === 0 ? [] : single(value);
}

function endpointMetrics(add: Add, dataPlane: Stats): void {
  const endpoints = () =>
    (dataPlane()?.endpoints ?? []).map((status) => {
      const { source, cluster, name } = status;
      return { status, labels: { source, cluster, endpoint: name } };
    });
  const gauge = (name: string, help: string, valueIn: (one: EndpointOf) => number | null): void =>
    add('gauge', name, help, endpointLabels, () =>
      endpoints().flatMap(({ status, labels }) => {
        const value = valueIn(status);
        return value === null ? [] : [{ labels, value }];
      }),
    );
  gauge('starling_proxy_endpoint_active', 'Requests at an endpoint now.', ({ inFlight }) => inFlight);
  gauge(
    'starling_proxy_endpoint_latency_milliseconds',
    'What the balancer expects of an endpoint.',
    ({ latencyMs }) => latencyMs,
  );
  gauge('starling_proxy_endpoint_weight', 'Share of an endpoint by its weight.', ({ weight }) => weight);
  gauge(
    'starling_proxy_endpoint_ejected',
    '1 while outlier detection has taken an endpoint out.',
    ({ ejected }) => (ejected ? 1 : 0),
  );
  add(
    'counter',
    'starling_proxy_ejections_total',
    'How often endpoints were taken out.',
    endpointLabels,
    () => endpoints().map(({ status, labels }) => ({ labels, value: status.ejections })),
  );
  breakerMetrics(add, dataPlane);
  clusterMetrics(add, dataPlane);
}

/** What Envoy tells of a cluster's load balancing and circuit breaking. */
function clusterMetrics(add: Add, dataPlane: Stats): void {
  const clusters = (samplesOf: (status: ClusterOf) => Samples) => (): Samples =>
    (dataPlane()?.clusters ?? []).flatMap((status) =>
      samplesOf(status).map(({ labels, value }) => ({
        labels: { source: status.source, cluster: status.cluster, ...labels },
        value,
      })),
    );
  add(
    'gauge',
    'starling_proxy_panic',
    '1 while so few endpoints are in good order that all are asked.',
    clusterLabels,
    clusters(({ isPanicking }) => single(isPanicking ? 1 : 0)),
  );
  add(
    'counter',
    'starling_proxy_panic_picks_total',
    'Endpoints chosen in panic, as Envoy’s lb_healthy_panic.',
    clusterLabels,
    clusters(({ panics }) => single(panics)),
  );
  add(
    'counter',
    'starling_proxy_overflow_total',
    'Requests and connections turned away by a limit of the caller’s, as Envoy’s upstream_cx_overflow and upstream_rq_pending_overflow.',
    [...clusterLabels, 'limit'],
    clusters(({ overflows }) => byName('limit', overflows)),
  );
  add(
    'counter',
    'starling_proxy_zone_picks_total',
    'Endpoints chosen where zones are looked at: in the zone of this host, or in another.',
    [...clusterLabels, 'zone'],
    clusters(({ stayed, crossed }) => byName('zone', { own: stayed, other: crossed })),
  );
  add(
    'counter',
    'starling_proxy_retries_denied_total',
    'Second tries that were not made, for the budget was spent, as Envoy’s upstream_rq_retry_overflow.',
    clusterLabels,
    clusters(({ retriesDenied }) => single(retriesDenied)),
  );
}

type ClusterOf = NonNullable<DataPlaneStats['clusters']>[number];
type BreakerOf = NonNullable<DataPlaneStats['breakers']>[number];
type EndpointOf = NonNullable<DataPlaneStats['endpoints']>[number];

function breakerMetrics(add: Add, dataPlane: Stats): void {
  const breakers = () => dataPlane()?.breakers ?? [];
  const counted = (countIn: (one: BreakerOf) => number) => (): Samples =>
    breakers().map((one) => ({
      labels: { source: one.source, cluster: one.cluster },
      value: countIn(one),
    }));
  add(
    'gauge',
    'starling_proxy_breaker_state',
    'Circuit breakers: 1 at the state each is in.',
    [...clusterLabels, 'state'],
    () =>
      breakers().flatMap(({ source, cluster, state }) =>
        (['closed', 'half-open', 'open'] as const).map((one) => ({
          labels: { source, cluster, state: one },
          value: one === state ? 1 : 0,
        })),
      ),
  );
  add(
    'counter',
    'starling_proxy_breaker_opened_total',
    'How often circuit breakers opened.',
    clusterLabels,
    counted(({ opened }) => opened),
  );
  add(
    'counter',
    'starling_proxy_breaker_rejected_total',
    'Requests and connections that an open circuit turned away.',
    clusterLabels,
    counted(({ rejected }) => rejected),
  );
}

function listenerMetrics(add: Add, dataPlane: Stats): void {
  add('gauge', 'starling_proxy_connections', 'Connections open in the data plane.', [], () =>
    single(dataPlane()?.activeConnections ?? 0),
  );
  add(
    'gauge',
    'starling_listener_up',
    '1 where a listener of the data plane accepts, 0 where it could not be opened.',
    ['listener'],
    () =>
      (dataPlane()?.listeners ?? []).map(({ id, error }) => ({
        labels: { listener: id },
        value: error === null ? 1 : 0,
      })),
  );
  add(
    'counter',
    'starling_handshake_failures_total',
    'TLS handshakes on the inbound port that failed, by reason.',
    ['reason'],
    () => byName('reason', dataPlane()?.handshakeFailures ?? {}),
  );
  add(
    'counter',
    'starling_proxy_violations_total',
    'Connections ended because their other end broke the rules of its protocol, by kind.',
    ['kind'],
    () => byName('kind', { ...dataPlane()?.violations }),
  );
  add(
    'counter',
    'starling_denied_peers_total',
    'TLS connections refused at the handshake, or cut while open, because an operator denied the peer.',
    ['direction', 'stage', 'reason'],
    () =>
      (dataPlane()?.deniedPeers ?? []).map(({ direction, stage, reason, count }) => ({
        labels: { direction, stage, reason },
        value: count,
      })),
  );
  add(
    'counter',
    'starling_proxy_records_lost_total',
    'Access log lines, spans and requests for taps that there was no room for.',
    ['kind'],
    () => byName('kind', { ...dataPlane()?.lost }),
  );
  add(
    'counter',
    'starling_proxy_rate_limit_crowded_total',
    'Requests whose caller shared a token bucket with others, for there were too many callers.',
    [],
    () => single(dataPlane()?.coarseLimits?.crowded ?? 0),
  );
  add(
    'gauge',
    'starling_proxy_divided_limits',
    'Services and callers whose limits each thread keeps a part of, for there were too many to be shared.',
    [],
    () => single(dataPlane()?.coarseLimits?.divided ?? 0),
  );
}
