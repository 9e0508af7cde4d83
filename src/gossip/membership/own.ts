/**
 * What this agent says about itself: an incarnation that only it can raise, which it does to refute whoever
 * believes it suspect, down or gone. Source: SWIM (Das et al. 2002), section 4.2.
 */
import type { HostId, Millis } from '../../core.ts';
import type { Belief, Rumor } from '../frames.ts';
import { Allowance, type Rate } from '../rates.ts';

/** How far above its own incarnation a claim about itself is believed: its store may have been set back. */
const maxIncarnationLeap = 2 ** 24;
/** Never raised beyond: no host starts so often, and a claim that it had is somebody's malice. */
const maxIncarnation = 2 ** 52;
/**
 * Refutations: one is enough for all who believe the same, and whoever waits a second for it looks for itself
 * before it believes anything worse.
 */
const refutationRate: Rate = { perSecond: 1, burst: 8 };
/**
 * Leaps to an incarnation of which nothing is known here but somebody's word: one is enough for an agent whose
 * store was set back, and some more for one in whose name somebody else told each of the others another one.
 */
const leapRate: Rate = { perSecond: 1, burst: 8 };
/** How far such leaps go in all: at this rate liars need eighty years to take an agent to the last incarnation. */
const climbRate: Rate = { perSecond: 0.1 * maxIncarnationLeap, burst: 4 * maxIncarnationLeap };

export class OwnStanding {
  private readonly self: HostId;
  private readonly prove: (incarnation: number) => Uint8Array;
  private readonly refutations = new Allowance(refutationRate);
  private readonly leaps = new Allowance(leapRate);
  private readonly climbs = new Allowance(climbRate);
  private current: number;
  private isLeaving = false;
  private told: Rumor | null = null;

  constructor(self: HostId, incarnation: number, prove: (incarnation: number) => Uint8Array) {
    this.self = self;
    this.current = incarnation;
    this.prove = prove;
  }

  /** Never falls. */
  get incarnation(): number {
    return this.current;
  }

  /** Whether this agent is going: it no longer refutes, probes or accuses. */
  get leaving(): boolean {
    return this.isLeaving;
  }

  leave(): void {
    this.isLeaving = true;
  }

  /** Back after having left at `leftAt`, hence above it. */
  rejoin(leftAt: number): void {
    this.isLeaving = false;
    this.current = Math.max(this.current, Math.min(leftAt, maxIncarnation) + 1);
  }

  /** An operator signed that this agent is gone at this incarnation; true when that had to be refuted. */
  outlive(incarnation: number): boolean {
    if (this.isLeaving || incarnation < this.current || incarnation > maxIncarnation) return false;
    this.current = incarnation + 1;
    return true;
  }

  /** Weighs what somebody believes about this agent; true when it had to be refuted. */
  heed({ state, incarnation }: Belief, now: Millis): boolean {
    if (state === 'unknown' || this.isLeaving) return false;
    if (incarnation > Math.min(this.current + maxIncarnationLeap, maxIncarnation)) return false;
    const raised = state === 'alive' ? incarnation : incarnation + 1;
    if (raised <= this.current) return false;
    if (!this.allowsRise(incarnation - this.current, now)) return false;
    this.current = raised;
    return state !== 'alive';
  }

  /** Whether a claim of an incarnation so much above the own, or of the own itself, may be answered now. */
  private allowsRise(above: number, now: Millis): boolean {
    if (above <= 0) return this.refutations.take(now);
    return this.climbs.allows(now, above) && this.leaps.take(now) && this.climbs.take(now, above);
  }

  /** "I am alive at this incarnation", signed. */
  rumor(): Rumor {
    if (this.told?.incarnation !== this.current) {
      const incarnation = this.current;
      this.told = { state: 'alive', id: this.self, incarnation, proof: this.prove(incarnation) };
    }
    return this.told;
  }
}
