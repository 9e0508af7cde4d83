/** Everything this agent counts, for Prometheus. Counters live where they are counted and are read at scrape. */
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { ThreadHealth } from '../../gossip/io/swim-messages.ts';
import { type DataPlaneStats, latencyBoundsMs, type TrafficRow } from '../../proxy/dataplane.ts';
import type { AgentCore } from '../core.ts';
import { deltaLatencyText, gossipMetrics } from './gossip-metrics.ts';
import { type Add, byName, type Counts, histogramLines, single } from './samples.ts';
import { issuanceText, trustMetrics } from './trust-metrics.ts';

/** What is counted of the connections between agents. */
export interface TransportCounts {
  readonly connections: number;
  readonly refusedConnections: number;
  readonly frames: Counts;
  readonly datagrams: Counts;
  /** Waiting for streams to peers. */
  readonly queued: { readonly frames: number; readonly bytes: number };
  readonly thread: ThreadHealth;
}

export interface MetricSources {
  readonly core: AgentCore;
  readonly transport: () => TransportCounts;
  readonly dataPlane: () => DataPlaneStats | null;
  readonly store: () => Counts;
  /** A quantile of how long writes took lately, milliseconds; null when there were none. */
  readonly writeMs: (quantile: number) => number | null;
  readonly waitingQueries: () => number;
  readonly now: () => number;
}

/** Gives Prometheus' text form; everything is read from `sources` at that moment. */
export function metricsExporter(sources: MetricSources): () => Promise<string> {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const add: Add = (kind, name, help, labelNames, read) => {
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
  return async () =>
    (await registry.metrics()) +
    latencyText(sources.dataPlane()?.traffic ?? []) +
    issuanceText(sources) +
    deltaLatencyText(sources.core.gossip.stats().deltaLatency);
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
}

/** The hot path counts into buckets of its own: they are written out as they are, in Prometheus' text form. */
function latencyText(rows: readonly TrafficRow[]): string {
  const name = 'starling_request_duration_milliseconds';
  const lines = [`# HELP ${name} Duration of HTTP requests.`, `# TYPE ${name} histogram`];
  for (const row of rows) {
    if (row.protocol !== 'http') continue;
    const labels = `reporter="${row.reporter}",source="${row.source}",destination="${row.destination}"`;
    lines.push(...histogramLines(name, labels, latencyBoundsMs, row.latencyBuckets, row.latencySumMs));
  }
  return `${lines.join('\n')}\n`;
}
