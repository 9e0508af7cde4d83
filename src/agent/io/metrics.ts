/** Everything this agent counts, for Prometheus. Counters live where they are counted and are read at scrape. */
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import { type DataPlaneStats, latencyBoundsMs, type TrafficRow } from '../../proxy/dataplane.ts';
import type { AgentCore } from '../core.ts';

interface Counts {
  readonly [name: string]: number;
}

/** What is counted of the connections between agents. */
export interface TransportCounts {
  readonly connections: number;
  readonly refusedConnections: number;
  readonly frames: Counts;
  readonly datagrams: Counts;
}

export interface MetricSources {
  readonly core: AgentCore;
  readonly transport: () => TransportCounts;
  readonly dataPlane: () => DataPlaneStats | null;
  readonly store: () => Counts;
  readonly waitingQueries: () => number;
  readonly now: () => number;
}

type Samples = readonly { readonly labels?: { readonly [name: string]: string }; readonly value: number }[];

/** Gives Prometheus' text form; everything is read from `sources` at that moment. */
export function metricsExporter(sources: MetricSources): () => Promise<string> {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const add = (
    kind: 'counter' | 'gauge',
    name: string,
    help: string,
    labelNames: string[],
    read: () => Samples,
  ): void => {
    const options = {
      name,
      help,
      labelNames,
      registers: [registry],
      collect(this: Counter | Gauge) {
        this.reset();
        for (const { labels, value } of read()) this.inc({ ...labels }, value);
      },
    };
    if (kind === 'counter') new Counter(options);
    else new Gauge(options);
  };
  gossipMetrics(add, sources);
  trustMetrics(add, sources);
  trafficMetrics(add, sources);
  return async () => (await registry.metrics()) + latencyText(sources.dataPlane()?.traffic ?? []);
}

type Add = (
  kind: 'counter' | 'gauge',
  name: string,
  help: string,
  labelNames: string[],
  read: () => Samples,
) => void;

const single = (value: number): Samples => [{ value }];

function byName(label: string, counts: { readonly [name: string]: unknown }): Samples {
  return Object.entries(counts).flatMap(([name, value]) =>
    typeof value === 'number' ? [{ labels: { [label]: name }, value }] : [],
  );
}

function withoutBytes({ bytesReceived: _in, bytesSent: _out, ...frames }: Counts): Counts {
  return frames;
}

function gossipMetrics(add: Add, { core, transport, store, waitingQueries }: MetricSources): void {
  const stats = () => core.gossip.stats();
  add('gauge', 'starling_members', 'Hosts by membership state, this one included.', ['state'], () => {
    const counts = { alive: 0, suspect: 0, down: 0, left: 0 };
    for (const { state } of core.catalog.allHosts()) counts[state]++;
    return byName('state', counts);
  });
  add(
    'counter',
    'starling_membership_events_total',
    'Probes, suspicions and refutations by outcome.',
    ['event'],
    () => {
      const { localHealth: _, withoutDatagrams: __, ...events } = stats().membership;
      return byName('event', events);
    },
  );
  add(
    'gauge',
    'starling_local_health',
    'Lifeguard: 0 is well, more means that this agent itself is slow.',
    [],
    () => single(stats().membership.localHealth),
  );
  add('counter', 'starling_deltas_total', 'Batches of records by direction.', ['direction'], () =>
    byName('direction', { in: stats().deltasIn, out: stats().deltasOut }),
  );
  add('counter', 'starling_records_total', 'Records received by outcome.', ['outcome'], () => {
    const { recordsApplied, recordsKnown, recordsStale } = stats();
    return byName('outcome', { applied: recordsApplied, known: recordsKnown, stale: recordsStale });
  });
  add('counter', 'starling_records_refused_total', 'Records refused by reason.', ['reason'], () =>
    byName('reason', Object.fromEntries(stats().recordsRefused)),
  );
  add(
    'counter',
    'starling_values_malformed_total',
    'Values of admitted hosts that were not of their kind’s shape.',
    [],
    () => single(core.malformedValues),
  );
  add('gauge', 'starling_replica_records', 'Slots in the replica, deletions included.', [], () =>
    single(stats().records),
  );
  add('gauge', 'starling_replica_bytes', 'Bytes of all records in the replica.', [], () =>
    single(stats().recordBytes),
  );
  add('counter', 'starling_sync_bytes_total', 'Anti-entropy by direction.', ['direction'], () =>
    byName('direction', { in: stats().syncBytesIn, out: stats().syncBytesOut }),
  );
  add('counter', 'starling_bad_frames_total', 'Frames and deltas that could not be read.', [], () =>
    single(stats().badFrames),
  );
  add('gauge', 'starling_connections', 'Connected peers.', [], () => single(transport().connections));
  add(
    'counter',
    'starling_connections_refused_total',
    'Connections of peers that are not admitted.',
    [],
    () => single(transport().refusedConnections),
  );
  add('counter', 'starling_frames_total', 'Frames between agents by what became of them.', ['event'], () =>
    byName('event', withoutBytes(transport().frames)),
  );
  add('counter', 'starling_frame_bytes_total', 'Bytes of frames between agents.', ['direction'], () => {
    const { bytesReceived = 0, bytesSent = 0 } = transport().frames;
    return byName('direction', { in: bytesReceived, out: bytesSent });
  });
  add('counter', 'starling_datagrams_total', 'Datagrams by what became of them.', ['event'], () =>
    byName('event', withoutBytes(transport().datagrams)),
  );
  add('counter', 'starling_datagram_bytes_total', 'Bytes of datagrams.', ['direction'], () => {
    const { bytesReceived = 0, bytesSent = 0 } = transport().datagrams;
    return byName('direction', { in: bytesReceived, out: bytesSent });
  });
  add('counter', 'starling_store_events_total', 'The data directory’s database.', ['event'], () =>
    byName('event', store()),
  );
  add('gauge', 'starling_catalog_index', 'The agent-local index of blocking queries.', [], () =>
    single(core.catalog.index),
  );
  add('gauge', 'starling_blocking_queries', 'Queries that wait for a change.', [], () =>
    single(waitingQueries()),
  );
}

function trustMetrics(add: Add, { core, now }: MetricSources): void {
  add(
    'gauge',
    'starling_certificate_expiry_seconds',
    'Time left until a service’s certificate expires; negative once it has.',
    ['service'],
    () =>
      core
        .identities(now())
        .map(({ service, notAfter }) => ({ labels: { service }, value: (notAfter - now()) / 1000 })),
  );
  add(
    'gauge',
    'starling_certificate_problems',
    'Services whose certificate is missing or could not be renewed.',
    [],
    () => single(core.identities(now()).filter(({ problem }) => problem !== null).length),
  );
}

const pair = ({ reporter, source, destination }: TrafficRow) => ({ reporter, source, destination });
const pairLabels = ['reporter', 'source', 'destination'];

function trafficMetrics(add: Add, { dataPlane }: MetricSources): void {
  const rows = () => dataPlane()?.traffic ?? [];
  add(
    'counter',
    'starling_requests_total',
    'HTTP requests by class of the answer.',
    [...pairLabels, 'class'],
    () =>
      rows()
        .filter(({ protocol }) => protocol === 'http')
        .flatMap((row) =>
          row.byClass.flatMap((value, index) =>
            value > 0 ? [{ labels: { ...pair(row), class: `${index}xx` }, value }] : [],
          ),
        ),
  );
  add('counter', 'starling_tcp_connections_total', 'TCP connections relayed.', pairLabels, () =>
    rows()
      .filter(({ protocol }) => protocol === 'tcp')
      .map((row) => ({ labels: pair(row), value: row.byClass[2] ?? 0 })),
  );
  add(
    'counter',
    'starling_refused_total',
    'Requests and connections not served as asked, by reason.',
    [...pairLabels, 'reason'],
    () =>
      rows().flatMap((row) =>
        Object.entries(row.refused).map(([reason, value]) => ({ labels: { ...pair(row), reason }, value })),
      ),
  );
  add(
    'counter',
    'starling_denied_total',
    'Requests and connections denied, by the rule that denied them.',
    [...pairLabels, 'rule'],
    () =>
      rows().flatMap((row) =>
        Object.entries(row.deniedBy).map(([rule, value]) => ({ labels: { ...pair(row), rule }, value })),
      ),
  );
  add('counter', 'starling_retries_total', 'Requests tried again on another endpoint.', pairLabels, () =>
    rows().map((row) => ({ labels: pair(row), value: row.retries })),
  );
  add(
    'counter',
    'starling_bytes_total',
    'Payload bytes by direction, as the reporter’s proxy saw them.',
    [...pairLabels, 'direction'],
    () =>
      rows().flatMap((row) => [
        { labels: { ...pair(row), direction: 'sent' }, value: row.bytesSent },
        { labels: { ...pair(row), direction: 'received' }, value: row.bytesReceived },
      ]),
  );
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
}

/** The hot path counts into buckets of its own: they are written out as they are, in Prometheus' text form. */
function latencyText(rows: readonly TrafficRow[]): string {
  const name = 'starling_request_duration_milliseconds';
  const lines = [`# HELP ${name} Duration of HTTP requests.`, `# TYPE ${name} histogram`];
  for (const row of rows) {
    if (row.protocol !== 'http') continue;
    const labels = `reporter="${row.reporter}",source="${row.source}",destination="${row.destination}"`;
    row.latencyBuckets.forEach((count, index) => {
      lines.push(`${name}_bucket{${labels},le="${latencyBoundsMs[index] ?? '+Inf'}"} ${count}`);
    });
    lines.push(`${name}_sum{${labels}} ${row.latencySumMs}`);
    lines.push(`${name}_count{${labels}} ${row.latencyBuckets.at(-1) ?? 0}`);
  }
  return `${lines.join('\n')}\n`;
}
