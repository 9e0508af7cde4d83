/**
 * What this agent says about itself: an incarnation that only it can raise, which it does to refute whoever
 * believes it suspect, down or gone. Source: SWIM (Das et al. 2002), section 4.2.
 */
import type { HostId } from '../core.ts';
import type { Belief, Rumor } from './frames.ts';

/** How far above its own incarnation a claim about itself is believed: its store may have been set back. */
const maxIncarnationLeap = 2 ** 24;
/** Never raised beyond: no host starts so often, and a claim that it had is somebody's malice. */
const maxIncarnation = 2 ** 52;

export class OwnStanding {
  private readonly self: HostId;
  private readonly prove: (incarnation: number) => Uint8Array;
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

  /** Weighs what somebody believes about this agent; true when it had to be refuted. */
  heed(belief: Belief): boolean {
    if (belief.state === 'unknown' || this.isLeaving) return false;
    if (belief.incarnation > Math.min(this.current + maxIncarnationLeap, maxIncarnation)) return false;
    if (belief.state === 'alive') {
      this.current = Math.max(this.current, belief.incarnation);
      return false;
    }
    if (belief.incarnation < this.current) return false;
    this.current = belief.incarnation + 1;
    return true;
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
