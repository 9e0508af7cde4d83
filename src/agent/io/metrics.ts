/** Everything this agent counts, for Prometheus. Counters live where they are counted and are read at scrape. */
import { Counter, Gauge, Registry } from 'prom-client';
import type { ThreadHealth } from '../../gossip/io/swim-messages.ts';
import type { DataPlaneStats } from '../../proxy/dataplane.ts';
import { trafficText } from '../../proxy/observe/prometheus.ts';
import type { AgentCore } from '../core.ts';
import { deltaLatencyText, gossipMetrics } from './gossip-metrics.ts';
import { policyMetrics } from './policy-metrics.ts';
import { processMetrics } from './process-metrics.ts';
import type { Add, Counts } from './samples.ts';
import { trafficMetrics } from './traffic-metrics.ts';
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
  readonly dataPlane: () => Promise<DataPlaneStats | null>;
  readonly store: () => Counts;
  /** A quantile of how long writes took lately, milliseconds; null when there were none. */
  readonly writeMs: (quantile: number) => number | null;
  readonly waitingQueries: () => number;
  readonly logLinesLost: () => number;
  readonly now: () => number;
}

/** Gives Prometheus' text form; everything is read from `sources` at that moment. */
export function metricsExporter(sources: MetricSources): () => Promise<string> {
  const registry = new Registry();
  processMetrics(registry);
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
  policyMetrics(add, sources);
  // Taking stock of the traffic has a price: it is taken once a scrape.
  let scraped: DataPlaneStats | null = null;
  trafficMetrics(add, () => scraped);
  return async () => {
    scraped = await sources.dataPlane();
    return (
      (await registry.metrics()) +
      trafficText(scraped?.traffic ?? [], sources.core.options.domain) +
      issuanceText(sources) +
      deltaLatencyText(sources.core.gossip.stats().deltaLatency)
    );
  };
}
