/** The ways of balancing that draw lots: weighted, and mostly the better of some draws. */
import type { Millis, Random } from '../../core.ts';
import type { Chooser } from './chooser.ts';
import type { BalancedEndpoint } from './endpoint.ts';
import { Sampler } from './sampler.ts';

/** Draws of the excluded endpoint that are put up with before the others are looked at in turn. */
const redraws = 4;
/** More draws a pick than this are not worth their time. */
export const maxChoices = 64;
/** Latencies that differ by less than this factor are taken to be equal: then the less busy one wins, ... */
const alikeFactor = 2;
/** ... and so are those of a few milliseconds: added to each, because that much is chance. */
const chanceMs = 5;

/** `random`: one draw. The others build on it. There is at least one endpoint. */
export class RandomChooser implements Chooser {
  protected readonly endpoints: readonly BalancedEndpoint[];
  private readonly random: Random;
  private readonly sampler: Sampler;

  constructor(endpoints: readonly BalancedEndpoint[], random: Random) {
    this.endpoints = endpoints;
    this.random = random;
    this.sampler = new Sampler(endpoints.map((endpoint) => endpoint.share));
  }

  choose(_now: Millis, exclude: string | undefined, _hash: number): BalancedEndpoint | null {
    const index = this.draw(exclude);
    return index < 0 ? null : this.endpoints[index]!;
  }

  /** The index of an endpoint that is not called `exclude`; -1 where there is none. */
  protected draw(exclude: string | undefined): number {
    if (this.endpoints.length === 1) return this.endpoints[0]!.id === exclude ? -1 : 0;
    for (let i = 0; i <= redraws; i++) {
      const index = this.sampler.sample(this.random);
      if (exclude === undefined || this.endpoints[index]!.id !== exclude) return index;
    }
    return this.sampler.another(
      this.random,
      this.endpoints.findIndex(({ id }) => id === exclude),
    );
  }

  /**
   * A second index to compare the first with, -1 where there is none to compare. Among equals it is always
   * another one. Where weights differ it may be the same: an endpoint of little weight must not be compared
   * with, and win, more often than its weight says.
   */
  protected drawRival(first: number, exclude: string | undefined): number {
    if (this.endpoints.length === 1) return -1;
    if (!this.sampler.isUniform) {
      const again = this.sampler.sample(this.random);
      return again === first ? this.sampler.sample(this.random) : again;
    }
    const rival = this.sampler.another(this.random, first);
    return exclude !== undefined && this.endpoints[rival]!.id === exclude ? -1 : rival;
  }
}

/** `least_request`: the least busy of some draws. */
export class LeastRequestChooser extends RandomChooser {
  private readonly choiceCount: number;

  constructor(endpoints: readonly BalancedEndpoint[], random: Random, choiceCount: number) {
    super(endpoints, random);
    this.choiceCount = Math.min(choiceCount, maxChoices);
  }

  override choose(_now: Millis, exclude: string | undefined, _hash: number): BalancedEndpoint | null {
    const first = this.draw(exclude);
    if (first < 0) return null;
    let best = this.endpoints[first]!;
    for (let i = 1; i < this.choiceCount; i++) {
      const index = this.drawRival(first, exclude);
      if (index < 0) continue;
      const rival = this.endpoints[index]!;
      if (rival.id !== exclude && rival.load < best.load) best = rival;
    }
    return best;
  }
}

/**
 * `p2c`: of two draws the one that is expected to answer sooner, by its latency times what is under way there
 * (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001; latency as Finagle's
 * PeakEwma). An endpoint that nobody has measured is taken to be as quick as the other, but for the way there; where
 * neither is measured, as for connections of bytes, only what is under way counts.
 *
 * With `nearest`, a choice that is not among them has to be better than one of them, too, unless that one fails or
 * turns requests away.
 */
export class LatencyChooser extends RandomChooser {
  private readonly near: LatencyChooser | null;
  private readonly nearest: ReadonlySet<BalancedEndpoint>;

  constructor(
    endpoints: readonly BalancedEndpoint[],
    random: Random,
    nearest: readonly BalancedEndpoint[] | null = null,
  ) {
    super(endpoints, random);
    this.near = nearest && new LatencyChooser(nearest, random);
    this.nearest = new Set(nearest);
  }

  override choose(now: Millis, exclude: string | undefined, hash: number): BalancedEndpoint | null {
    const best = this.better(now, exclude);
    if (best === null || this.near === null || this.nearest.has(best)) return best;
    const near = this.near.choose(now, exclude, hash);
    if (near?.isWilling(now) !== true) return best;
    return slownessOf(near, best, now) * near.load <= best.load ? near : best;
  }

  /** Of two draws. */
  private better(now: Millis, exclude: string | undefined): BalancedEndpoint | null {
    const first = this.draw(exclude);
    if (first < 0) return null;
    const index = this.drawRival(first, exclude);
    const drawn = this.endpoints[first]!;
    if (index < 0) return drawn;
    const rival = this.endpoints[index]!;
    return rival.id !== exclude && isSooner(rival, drawn, now) ? rival : drawn;
  }
}

/** Whether `a` is expected to answer clearly sooner than `b`. */
function isSooner(a: BalancedEndpoint, b: BalancedEndpoint, now: Millis): boolean {
  const slowness = slownessOf(a, b, now);
  const areAlike = slowness < alikeFactor && slowness > 1 / alikeFactor;
  return areAlike ? a.load < b.load : slowness * a.load < b.load;
}

/** How long `a` takes for a request, relative to `b`; 1 where nobody has measured either. */
function slownessOf(a: BalancedEndpoint, b: BalancedEndpoint, now: Millis): number {
  const aMs = a.latencyMs(now);
  const bMs = b.latencyMs(now);
  if (aMs === 0 && bMs === 0) return 1;
  return ((aMs || unmeasuredMs(a, b, bMs)) + chanceMs) / ((bMs || unmeasuredMs(b, a, aMs)) + chanceMs);
}

/** How soon an endpoint answers that nobody has measured: as `other`, from where it is. */
function unmeasuredMs(endpoint: BalancedEndpoint, other: BalancedEndpoint, otherMs: number): number {
  if (endpoint.roundTripMs === null || other.roundTripMs === null) return otherMs;
  return endpoint.roundTripMs + Math.max(otherMs - other.roundTripMs, 0);
}
