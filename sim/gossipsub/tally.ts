/** Counts what becomes of a trial's publications, the same way whoever spreads them. */
import type { World } from '../world.ts';
import { deltaOf, drainMs, numberOf, type Trial } from './trial.ts';

/** How publications spread. Plain data, so that it can be handed to another process. */
export interface Spread {
  /** Milliseconds until a delta was at a host, for each delta and each host but its own. */
  readonly delivery: readonly number[];
  /** Until it was at all of them, for each delta that was. */
  readonly convergence: readonly number[];
  /** Deliveries that there should have been and were not. */
  readonly missing: number;
  /** Deltas sent, repeated ones among them, for each host and delta. */
  readonly copies: number;
  /** What each host sent for a delta, on average, control messages included. */
  readonly bytesPerDelta: readonly number[];
  /** Peers to whom a host relays at once, on average. */
  readonly meshPeers: number;
  /** Equal for equal runs: every delivery and its time. */
  readonly traceHash: string;
}

export class Tally {
  private readonly trial: Trial;
  private readonly world: World;
  private readonly publishedAt: number[] = [];
  private readonly reached: number[];
  private readonly delivery: number[] = [];
  private readonly convergence: number[] = [];
  private readonly sentBytes: Float64Array;
  private copies = 0;

  constructor(trial: Trial, world: World) {
    this.trial = trial;
    this.world = world;
    this.reached = trial.publications.map(() => 0);
    this.sentBytes = new Float64Array(trial.hosts);
  }

  published(number: number): void {
    this.publishedAt[number] = this.world.now;
  }

  /** A host has a delta of another for the first time. */
  delivered(host: number, delta: Uint8Array): void {
    const number = numberOf(delta);
    const tookMs = this.world.now - this.publishedAt[number]!;
    this.delivery.push(tookMs);
    this.world.trace.integer(host).integer(number).double(tookMs);
    if (++this.reached[number]! === this.trial.hosts - 1) this.convergence.push(tookMs);
  }

  /** Once there is a publication: what it takes to form the mesh is no part of it. */
  sent(host: number, bytes: number, deltas: number): void {
    if (this.publishedAt.length === 0) return;
    this.sentBytes[host]! += bytes;
    this.copies += deltas;
  }

  spread(meshPeers: number): Spread {
    const { hosts, publications } = this.trial;
    return {
      delivery: this.delivery,
      convergence: this.convergence,
      missing: publications.length * (hosts - 1) - this.delivery.length,
      copies: this.copies / publications.length / hosts,
      bytesPerDelta: [...this.sentBytes].map((bytes) => bytes / publications.length),
      meshPeers,
      traceHash: this.world.trace.digest(),
    };
  }
}

/** Has every publication made at its time, counted from now. Returns when the trial is over. */
export function schedule(
  { publications }: Trial,
  world: World,
  tally: Tally,
  publish: (host: number, delta: Uint8Array) => void,
): number {
  const startedAt = world.now;
  publications.forEach(({ host, atMs }, number) => {
    world.at(startedAt + atMs, () => {
      tally.published(number);
      publish(host, deltaOf(number));
    });
  });
  return startedAt + publications.at(-1)!.atMs + drainMs;
}
