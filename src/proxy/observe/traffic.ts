/**
 * Traffic counters of one row: who called whom, by which route, as which side's proxy saw it. A connection finds
 * its row once and keeps the reference: per request there are a few additions to arrays and no lookup.
 */
import type { Millis } from '../../core.ts';
import type { RefusalReason, TrafficRow } from '../dataplane.ts';
import { flagOf, type ResponseFlags } from './flags.ts';
import { durationLayout, Histogram, sizeLayout } from './histogram.ts';
import type { Observer } from './observer.ts';
import { classOf, noGrpcStatus, Outcomes, otherOutcome } from './outcomes.ts';
import { RecentTraffic } from './recent.ts';

/**
 * The most rows kept; they make 30 MB of metrics at worst. Beyond, traffic is counted in one row from `other` to
 * `other`: names come from the mesh.
 */
const maxRows = 1_000;
/** The most rules of one row that are counted apart; there are not more permissions to one intention. */
const maxRules = 256;

export type Reporter = TrafficRow['reporter'];
export type CountedProtocol = TrafficRow['protocol'];

/** What else tells rows apart, and what is known of who they are about. */
export interface RowDetails {
  /** The rule of the route, '' for the default; only where routes are counted apart. */
  readonly route?: string;
  /** The subset that served, '' for the whole service. */
  readonly subset?: string;
  /** SPIFFE IDs; '' where not known. They do not tell rows apart. */
  readonly sourcePrincipal?: string;
  readonly destinationPrincipal?: string;
}

/** Told of every request and connection that a rule denied. */
export type OnDenied = (counter: TrafficCounter, rule: string) => void;

export class TrafficCounter {
  readonly reporter: Reporter;
  readonly source: string;
  readonly destination: string;
  readonly protocol: CountedProtocol;
  readonly route: string;
  readonly subset: string;
  sourcePrincipal = '';
  destinationPrincipal = '';
  /** Null while nobody wants to know of single requests. */
  observer: Observer | null = null;
  onDenied: OnDenied | null = null;
  /** Requests sent again to another endpoint. */
  retries = 0;
  /** Copies sent to a mirror. */
  mirrored = 0;
  /** Copies that policy asked for and that there was no room for. */
  mirrorsSkipped = 0;
  /** From the caller to the callee. */
  bytesSent = 0;
  bytesReceived = 0;
  private readonly outcomes: Outcomes;
  /** By the number of the outcome; grows when an outcome is seen that has a higher one. */
  private counts = new Float64Array(8);
  private openedConnections = 0;
  private readonly durations = new Histogram(durationLayout);
  private readonly requestSizes = new Histogram(sizeLayout);
  private readonly responseSizes = new Histogram(sizeLayout);
  private readonly refused = new Map<RefusalReason, number>();
  private readonly deniedBy = new Map<string, number>();
  private readonly recent = new RecentTraffic();
  private grpcRow: TrafficCounter | null = null;
  /** Finds the row of `grpc`; null where there is none apart. */
  findGrpc: (() => TrafficCounter) | null = null;

  constructor(
    reporter: Reporter,
    source: string,
    destination: string,
    protocol: CountedProtocol,
    details: RowDetails = {},
    outcomes: Outcomes = new Outcomes(),
  ) {
    this.reporter = reporter;
    this.source = source;
    this.destination = destination;
    this.protocol = protocol;
    this.route = details.route ?? '';
    this.subset = details.subset ?? '';
    this.describe(details);
    this.outcomes = outcomes;
  }

  /** The row that counts gRPC between the same two; this one where that is not told apart. */
  get grpc(): TrafficCounter {
    this.grpcRow ??= this.findGrpc?.() ?? this;
    return this.grpcRow;
  }

  /** Takes on what was not known of its two sides before. */
  describe({ sourcePrincipal = '', destinationPrincipal = '' }: RowDetails): void {
    this.sourcePrincipal ||= sourcePrincipal;
    this.destinationPrincipal ||= destinationPrincipal;
  }

  /** Whether anything was ever counted: rows are made before it is known what comes. */
  get isUsed(): boolean {
    const isBegun = this.bytesSent > 0 || this.openedConnections > 0 || this.refused.size > 0;
    return isBegun || this.counts.some((count) => count > 0);
  }

  /** Counts a TCP connection that begins. */
  opened(): void {
    this.openedConnections++;
  }

  /** Counts a finished request, or a TCP connection as status 200. Sizes are of whole messages, heads included. */
  finished(
    status: number,
    durationMs: number,
    flags: ResponseFlags = 0,
    requestBytes = 0,
    responseBytes = 0,
    grpcStatus: number = noGrpcStatus,
  ): void {
    const outcome = this.outcomes.indexOf(status, flags, grpcStatus);
    if (outcome < this.counts.length && this.counts[outcome] !== 0) this.counts[outcome]!++;
    else this.countFirst(outcome);
    this.durations.record(durationMs * 1000);
    this.requestSizes.record(requestBytes);
    this.responseSizes.record(responseBytes);
  }

  /** The first of its kind in this row makes a new series, if there is room for one. */
  private countFirst(outcome: number): void {
    const isAdmitted = outcome === otherOutcome || this.outcomes.admitSeries();
    const counted = isAdmitted ? outcome : otherOutcome;
    if (counted >= this.counts.length) {
      const counts = new Float64Array(Math.max(counted + 1, 2 * this.counts.length));
      counts.set(this.counts);
      this.counts = counts;
    }
    this.counts[counted]!++;
  }

  /**
   * Counts what the proxy would not or could not serve; `rule` is the rule that denied. Gives the response flag
   * that `finished` is to be told, which is still to be called.
   */
  refuse(reason: RefusalReason, rule: string | null, status = 0): ResponseFlags {
    this.refused.set(reason, (this.refused.get(reason) ?? 0) + 1);
    if (rule !== null) {
      const key = this.deniedBy.has(rule) || this.deniedBy.size < maxRules ? rule : 'other';
      this.deniedBy.set(key, (this.deniedBy.get(key) ?? 0) + 1);
      this.onDenied?.(this, rule);
    }
    return flagOf(reason, status);
  }

  /** See `TrafficRow.byClass`. */
  get byClass(): number[] {
    const classes = [0, 0, 0, 0, 0, 0];
    for (let index = 0; index < this.counts.length; index++) {
      const count = this.counts[index]!;
      if (count !== 0) classes[classOf(this.outcomes.all[index]!)]! += count;
    }
    return classes;
  }

  /** Lets what is recent begin later: at the turn before this one. */
  turn(): void {
    this.recent.turn({ byClass: this.byClass, durations: this.durations.snapshot() });
  }

  /** `recentMs` is how long ago what is recent began. */
  row(recentMs: number): TrafficRow {
    const { byClass } = this;
    const durations = this.durations.snapshot();
    const responses = [...this.counts.keys()]
      .filter((index) => this.counts[index] !== 0)
      .map((index) => ({ ...this.outcomes.all[index]!, count: this.counts[index]! }));
    return {
      reporter: this.reporter,
      source: this.source,
      destination: this.destination,
      protocol: this.protocol,
      route: this.route,
      subset: this.subset,
      sourcePrincipal: this.sourcePrincipal,
      destinationPrincipal: this.destinationPrincipal,
      byClass,
      responses,
      refused: Object.fromEntries(this.refused),
      deniedBy: Object.fromEntries(this.deniedBy),
      opened: this.openedConnections,
      retries: this.retries,
      mirrored: this.mirrored,
      mirrorsSkipped: this.mirrorsSkipped,
      bytesSent: this.bytesSent,
      bytesReceived: this.bytesReceived,
      durations,
      requestSizes: this.requestSizes.snapshot(),
      responseSizes: this.responseSizes.snapshot(),
      recent: { overMs: recentMs, ...this.recent.read({ byClass, durations }) },
    };
  }
}

/** All rows of one data plane. They outlive configurations: counters only grow. */
export class TrafficTable {
  private readonly rows = new Map<string, TrafficCounter>();
  private readonly outcomes = new Outcomes();
  private readonly now: () => Millis;
  private readonly onDenied: OnDenied | null;
  private observer: Observer | null = null;
  /** When the last two turns were. */
  private earlierTurn: Millis;
  private laterTurn: Millis;

  constructor(now: () => Millis, onDenied: OnDenied | null = null) {
    this.now = now;
    this.onDenied = onDenied;
    this.earlierTurn = now();
    this.laterTurn = this.earlierTurn;
  }

  /** The row's counter, made when it is not there yet. Not for the path of every request. */
  counter(
    reporter: Reporter,
    source: string,
    destination: string,
    protocol: CountedProtocol,
    details: RowDetails = {},
  ): TrafficCounter {
    const { route = '', subset = '' } = details;
    const key = [reporter, source, destination, protocol, route, subset].join(' ');
    const known = this.rows.get(key);
    if (known !== undefined) {
      known.describe(details);
      return known;
    }
    if (this.rows.size >= maxRows && source !== 'other')
      return this.counter(reporter, 'other', 'other', protocol);
    const counter = new TrafficCounter(reporter, source, destination, protocol, details, this.outcomes);
    counter.observer = this.observer;
    counter.onDenied = this.onDenied;
    if (protocol === 'http')
      counter.findGrpc = () => this.counter(reporter, source, destination, 'grpc', details);
    this.rows.set(key, counter);
    return counter;
  }

  /** Who is told of single requests from now on; null for nobody. */
  observe(observer: Observer | null): void {
    this.observer = observer;
    for (const counter of this.rows.values()) counter.observer = observer;
  }

  /** Lets what is recent begin later; to be called every `turnEveryMs`. */
  turn(): void {
    this.earlierTurn = this.laterTurn;
    this.laterTurn = this.now();
    for (const counter of this.rows.values()) counter.turn();
  }

  snapshot(): TrafficRow[] {
    const recentMs = this.now() - this.earlierTurn;
    return [...this.rows.values()].filter(({ isUsed }) => isUsed).map((counter) => counter.row(recentMs));
  }
}
