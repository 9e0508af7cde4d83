/** Traffic through this host's proxy as `stat` shows it: rates, shares and quantiles instead of counts of cells. */
import type { DataPlaneStats, TrafficRow } from '../proxy/dataplane.ts';
import { flagText } from '../proxy/observe/flags.ts';
import { durationLayout, type HistogramCounts, quantileOf } from '../proxy/observe/histogram.ts';
import { noGrpcStatus } from '../proxy/observe/outcomes.ts';

/** Of some requests: how many went well, and how long they took. Null where there were none. */
export interface TrafficQuality {
  readonly requests: number;
  /** 0 to 1: what is not the server's or the mesh's failure, as Istio counts it. */
  readonly successRate: number | null;
  readonly p50Ms: number | null;
  readonly p95Ms: number | null;
  readonly p99Ms: number | null;
}

type Told =
  | 'reporter'
  | 'source'
  | 'destination'
  | 'protocol'
  | 'route'
  | 'subset'
  | 'byClass'
  | 'refused'
  | 'deniedBy'
  | 'opened'
  | 'retries'
  | 'mirrored'
  | 'mirrorsSkipped'
  | 'bytesSent'
  | 'bytesReceived';

export interface TrafficLine extends Pick<TrafficRow, Told>, TrafficQuality {
  readonly responses: readonly {
    readonly status: number;
    /** Envoy's, such as `UF,URX`; `-` for none. */
    readonly flags: string;
    readonly grpcStatus: number | null;
    readonly count: number;
  }[];
  /** The last half minute to minute. */
  readonly recent: TrafficQuality & { readonly overMs: number; readonly requestsPerSecond: number };
}

/** What one rule denied one caller. */
export interface DenialLine {
  readonly reporter: TrafficRow['reporter'];
  readonly source: string;
  readonly destination: string;
  readonly rule: string;
  readonly count: number;
}

export interface TrafficReport extends Omit<DataPlaneStats, 'traffic'> {
  readonly traffic: readonly TrafficLine[];
  /** The most frequent first. */
  readonly denied: readonly DenialLine[];
}

export function trafficReport(stats: DataPlaneStats): TrafficReport {
  return { ...stats, traffic: stats.traffic.map(lineOf), denied: denialsOf(stats.traffic) };
}

function lineOf(row: TrafficRow): TrafficLine {
  const { durations, requestSizes, responseSizes, sourcePrincipal, destinationPrincipal, ...told } = row;
  const { overMs } = row.recent;
  const recent = qualityOf(row.recent.byClass, row.recent.durations);
  return {
    ...told,
    ...qualityOf(row.byClass, durations),
    responses: row.responses.map(({ status, flags, grpcStatus, count }) => ({
      status,
      flags: flagText(flags),
      grpcStatus: grpcStatus === noGrpcStatus ? null : grpcStatus,
      count,
    })),
    recent: {
      ...recent,
      overMs: Math.round(overMs),
      requestsPerSecond: overMs > 0 ? (recent.requests * 1000) / overMs : 0,
    },
  };
}

function qualityOf(byClass: readonly number[], durations: HistogramCounts): TrafficQuality {
  const requests = byClass.reduce((sum, count) => sum + count, 0);
  const quantileMs = (quantile: number): number | null => {
    const micros = quantileOf(durationLayout, durations, quantile);
    return micros === null ? null : micros / 1000;
  };
  return {
    requests,
    successRate: requests === 0 ? null : 1 - byClass[5]! / requests,
    p50Ms: quantileMs(0.5),
    p95Ms: quantileMs(0.95),
    p99Ms: quantileMs(0.99),
  };
}

function denialsOf(rows: readonly TrafficRow[]): DenialLine[] {
  const lines = new Map<string, DenialLine>();
  for (const { reporter, source, destination, deniedBy } of rows)
    for (const [rule, more] of Object.entries(deniedBy)) {
      const key = [reporter, source, destination, rule].join(' ');
      const count = (lines.get(key)?.count ?? 0) + more;
      lines.set(key, { reporter, source, destination, rule, count });
    }
  return [...lines.values()].sort((a, b) => b.count - a.count);
}
