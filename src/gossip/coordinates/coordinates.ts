/**
 * Finds this host's coordinate: every measured round trip is a spring between two hosts that pushes or pulls
 * this one a little towards where the estimate would have been right. Source: Dabek et al., "Vivaldi" (2004),
 * section 5; the latency filter, gravity and constants are those of serf, after Ledlie et al., "Network
 * Coordinates in the Wild" (2007). Unlike serf, and because an admitted host may lie, no single observation
 * counts for more than a few times what is usual.
 */
import type { HostId, Random } from '../../core.ts';
import { RecentMap } from '../recent-map.ts';
import {
  type Coordinate,
  dimensions,
  distanceMs,
  estimateMs,
  isValidCoordinate,
  maxError,
  maxRoundTripMs,
  minHeightMs,
  originCoordinate,
  separationMs,
} from './coordinate.ts';
import { LatencyFilter, lowerMedian } from './latency-filter.ts';

/** Share of the way to the right distance that one observation moves this host (Vivaldi's c_c). */
const moveGain = 0.25;
/** Weight of the newest observation in the error estimate (Vivaldi's c_e). */
const errorGain = 0.25;
/** Nobody is surer than this, whatever it claims; keeps weights between two sure hosts defined. */
const minError = 0.01;
/** Clocks tell whole milliseconds: a shorter round trip cannot be estimated wrongly by a larger share. */
const resolutionMs = 1;
/** Observations that the adjustment and the tolerance are taken from. */
const windowSize = 20;
/** Until so many were made nothing is known of what is usual. */
const fewestObservations = 5;
/** The most that one observation may count as wrong, whatever is usual. */
const maxShortfallMs = 400;
/** An observation counts as wrong by at most this many times the usual. */
const toleranceFactor = 4;
/** Tolerated always: a mesh at rest in one room must still follow when a host is moved. */
const minToleranceMs = 5;
/**
 * At this distance from the middle of the space gravity moves a host by 1 ms an observation; at
 * `maxCoordinateMs` by 100, which is more than `maxMoveMs`: so nobody can push this host out of bounds.
 */
const gravityRadiusMs = 1000;
/** Below this two places are one, and no direction leads from one to the other. */
const coincidentMs = 1e-6;

/** Peers whose claims are held; of the one heard from longest ago nothing is known once there are more. */
export const maxKnownPeers = 4096;
/** One observation moves `own` by no more than this, gravity aside, whatever the peer claims. */
export const maxMoveMs: number = moveGain * maxShortfallMs;

/** All grow only. */
export interface CoordinateStats {
  observations: number;
  /** Coordinates that no host may claim. */
  refusedCoordinates: number;
  /** Round trips that are negative, not a number, or beyond `maxRoundTripMs`. */
  refusedRoundTrips: number;
}

export class Coordinates {
  readonly stats: CoordinateStats = { observations: 0, refusedCoordinates: 0, refusedRoundTrips: 0 };
  private readonly self: HostId;
  private readonly random: Random;
  private readonly filter = new LatencyFilter();
  /** Where peers last said they are. */
  private readonly claims = new RecentMap<Coordinate>(maxKnownPeers);
  /** By how much the last estimates fell short of what was then measured; the newest last. */
  private shortfallsMs: readonly number[] = [];
  private place: Coordinate = originCoordinate;

  constructor(self: HostId, random: Random) {
    this.self = self;
    this.random = random;
  }

  /** This host's coordinate: always valid, never changed in place. */
  get own(): Coordinate {
    return this.place;
  }

  /** Where a host last said it is, or where this one is; null for one not heard from. */
  of(host: HostId): Coordinate | null {
    return host === this.self ? this.place : (this.claims.get(host) ?? null);
  }

  /** The round trip to expect between any two hosts; null when one of them was not heard from. */
  estimateMs(a: HostId, b: HostId): number | null {
    const [from, to] = [this.of(a), this.of(b)];
    if (from === null || to === null) return null;
    return a === b ? 0 : estimateMs(from, to);
  }

  /** A peer says where it is. False, and counted, when no host can be there. */
  note(peer: HostId, theirs: Coordinate): boolean {
    const valid = isValidCoordinate(theirs);
    if (valid) this.claims.set(peer, theirs);
    else this.stats.refusedCoordinates++;
    return valid;
  }

  /** A peer that says it is at `theirs` answered after `rttMs`. What cannot be is counted and ignored. */
  observe(peer: HostId, theirs: Coordinate, rttMs: number): void {
    if (!this.note(peer, theirs)) return;
    if (!(rttMs >= 0 && rttMs <= maxRoundTripMs)) {
      this.stats.refusedRoundTrips++;
      return;
    }
    this.stats.observations++;
    this.follow(theirs, this.filter.median(peer, rttMs));
  }

  /** Drops what is held of a peer that left. Where this host is does not change. */
  forget(peer: HostId): void {
    this.filter.forget(peer);
    this.claims.delete(peer);
  }

  private follow(theirs: Coordinate, rttMs: number): void {
    const own = this.place;
    const shortfallMs = clamp(rttMs - distanceMs(own, theirs), maxShortfallMs);
    const boundedMs = clamp(shortfallMs, this.toleranceMs());
    const weight = own.error / (own.error + Math.max(theirs.error, minError));
    this.shortfallsMs = [...this.shortfallsMs, shortfallMs].slice(-windowSize);

    const pushed = this.push(own, theirs, moveGain * weight * boundedMs);
    const wrongness = Math.abs(boundedMs) / Math.max(rttMs, resolutionMs);
    this.place = {
      vectorMs: gravitate(pushed.vectorMs),
      heightMs: pushed.heightMs,
      adjustmentMs: this.adjustmentMs(),
      error: blendError(own.error, wrongness, errorGain * weight),
    };
  }

  /** An observation that is wrong by a few times the usual is believed; of more, only so much of it. */
  private toleranceMs(): number {
    if (this.shortfallsMs.length < fewestObservations) return maxShortfallMs;
    const usualMs = lowerMedian(this.shortfallsMs.map(Math.abs));
    return Math.min(maxShortfallMs, Math.max(minToleranceMs, toleranceFactor * usualMs));
  }

  /** Half the usual shortfall, the peer's adjustment being the other half. The median, for liars are few. */
  private adjustmentMs(): number {
    return this.shortfallsMs.length < fewestObservations ? 0 : lowerMedian(this.shortfallsMs) / 2;
  }

  /**
   * Moves away from `theirs` by `forceMs`, or towards it if negative, along the line between them, of which
   * the heights are a part (Vivaldi, section 5.4). Hosts in one place part in a random direction.
   */
  private push(
    own: Coordinate,
    theirs: Coordinate,
    forceMs: number,
  ): Pick<Coordinate, 'vectorMs' | 'heightMs'> {
    const apartMs = separationMs(own.vectorMs, theirs.vectorMs);
    if (apartMs <= coincidentMs) {
      const direction = this.randomDirection();
      return { ...own, vectorMs: own.vectorMs.map((value, i) => value + forceMs * direction[i]!) };
    }
    const heightsMs = own.heightMs + theirs.heightMs;
    const share = forceMs / (apartMs + heightsMs);
    return {
      vectorMs: own.vectorMs.map((value, i) => value + share * (value - theirs.vectorMs[i]!)),
      heightMs: Math.max(minHeightMs, own.heightMs + share * heightsMs),
    };
  }

  private randomDirection(): number[] {
    const vector = Array.from({ length: dimensions }, () => this.random.next() - 0.5);
    const length = Math.hypot(...vector);
    if (length <= coincidentMs) return vector.map((_, i) => (i === 0 ? 1 : 0));
    return vector.map((value) => value / length);
  }
}

/** The error after an estimate that was wrong by `wrongness`, relative to what was measured. */
function blendError(error: number, wrongness: number, gain: number): number {
  return clamp(gain * wrongness + (1 - gain) * error, maxError, minError);
}

/**
 * Pulls towards the middle, so that the mesh as a whole does not drift away. Grows with the square of the
 * distance and is far below any real force within a mesh's diameter (Ledlie et al. 2007, on drift). Heights
 * have no middle and are left alone, unlike in serf.
 */
function gravitate(vectorMs: readonly number[]): readonly number[] {
  const fromMiddleMs = Math.hypot(...vectorMs);
  if (fromMiddleMs <= coincidentMs) return vectorMs;
  const pullMs = Math.min(fromMiddleMs, (fromMiddleMs / gravityRadiusMs) ** 2);
  return vectorMs.map((value) => value * (1 - pullMs / fromMiddleMs));
}

function clamp(value: number, most: number, least: number = -most): number {
  return Math.max(least, Math.min(most, value));
}
