/** Reads the per-request log that `h2load --log-file` writes. */
import { quantile } from '../statistics.ts';

export interface LatencyResult {
  readonly requests: number;
  /** Answers with another status than 200, and requests that got no answer. */
  readonly failed: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/**
 * h2load reads the status of an HTTP/1.1 answer together with its reason phrase; an answer that has none, as of
 * a proxy that got it over HTTP/2, is logged as 0. The status of such answers is checked elsewhere.
 */
const answered = ['200', '0'];

/**
 * Columns, by tab: start in microseconds since the epoch, status code (-1 for a failed one), microseconds until
 * the end of the answer. Failed requests count as failed and stay out of the quantiles. Throws on a line of any
 * other shape, and when nothing succeeded.
 */
export function parseH2loadLog(text: string): LatencyResult {
  const latenciesMs: number[] = [];
  let failed = 0;
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const match = /^\d+\t(-?\d+)\t(\d+)(?:\t|$)/.exec(line);
    if (match === null) throw new Error(`not a line of an h2load log: ${line.slice(0, 80)}`);
    if (answered.includes(match[1]!)) latenciesMs.push(Number(match[2]) / 1000);
    else failed++;
  }
  if (latenciesMs.length === 0) throw new Error(`h2load logged no answered request (${failed} failed)`);
  return {
    requests: latenciesMs.length + failed,
    failed,
    p50Ms: quantile(latenciesMs, 0.5),
    p99Ms: quantile(latenciesMs, 0.99),
  };
}
