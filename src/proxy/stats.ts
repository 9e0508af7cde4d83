/**
 * Traffic counters of one (reporter, source, destination) row. A connection finds its row once and keeps the
 * reference: per request there are a few additions and no lookup.
 */
import { latencyBoundsMs, type RefusalReason, type TrafficRow } from './dataplane.ts';

/** The most rows kept. Beyond, traffic is counted in one row from `other` to `other`: names come from the mesh. */
const maxRows = 10_000;

type Reporter = TrafficRow['reporter'];
type CountedProtocol = TrafficRow['protocol'];

export class TrafficCounter {
  readonly reporter: Reporter;
  readonly source: string;
  readonly destination: string;
  readonly protocol: CountedProtocol;
  readonly byClass = [0, 0, 0, 0, 0, 0];
  retries = 0;
  /** From the caller to the callee. */
  bytesSent = 0;
  bytesReceived = 0;
  private readonly latencyCounts = new Array<number>(latencyBoundsMs.length + 1).fill(0);
  private latencySumMs = 0;
  private readonly refused = new Map<RefusalReason, number>();
  private readonly deniedBy = new Map<string, number>();

  constructor(reporter: Reporter, source: string, destination: string, protocol: CountedProtocol) {
    this.reporter = reporter;
    this.source = source;
    this.destination = destination;
    this.protocol = protocol;
  }

  /** Counts a finished request, or a TCP connection as status 200. */
  finished(status: number, durationMs: number): void {
    this.byClass[Math.trunc(status / 100)]!++;
    this.latencySumMs += durationMs;
    let bucket = 0;
    while (bucket < latencyBoundsMs.length && durationMs > latencyBoundsMs[bucket]!) bucket++;
    this.latencyCounts[bucket]!++;
  }

  /** Counts what the proxy would not or could not serve; `rule` is the rule that denied. */
  refuse(reason: RefusalReason, rule: string | null): void {
    this.refused.set(reason, (this.refused.get(reason) ?? 0) + 1);
    if (rule !== null) this.deniedBy.set(rule, (this.deniedBy.get(rule) ?? 0) + 1);
  }

  row(): TrafficRow {
    let sum = 0;
    const latencyBuckets = this.latencyCounts.map((count) => {
      sum += count;
      return sum;
    });
    return {
      reporter: this.reporter,
      source: this.source,
      destination: this.destination,
      protocol: this.protocol,
      byClass: [...this.byClass],
      refused: Object.fromEntries(this.refused),
      deniedBy: Object.fromEntries(this.deniedBy),
      retries: this.retries,
      bytesSent: this.bytesSent,
      bytesReceived: this.bytesReceived,
      latencyBuckets,
      latencySumMs: this.latencySumMs,
    };
  }
}

/** All rows of one data plane. They outlive configurations: counters only grow. */
export class TrafficTable {
  private readonly rows = new Map<string, TrafficCounter>();

  /** The row's counter, made when it is not there yet. Not for the path of every request. */
  counter(
    reporter: Reporter,
    source: string,
    destination: string,
    protocol: CountedProtocol,
  ): TrafficCounter {
    const key = `${reporter} ${source} ${destination} ${protocol}`;
    const known = this.rows.get(key);
    if (known !== undefined) return known;
    if (this.rows.size >= maxRows && source !== 'other')
      return this.counter(reporter, 'other', 'other', protocol);
    const counter = new TrafficCounter(reporter, source, destination, protocol);
    this.rows.set(key, counter);
    return counter;
  }

  snapshot(): TrafficRow[] {
    return [...this.rows.values()].map((counter) => counter.row());
  }
}
