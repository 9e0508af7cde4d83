/**
 * A joiner's way to the mesh's records: a connection to its sponsor, asked for again until they have arrived.
 * A sponsor that many join through at once may be too busy to answer the first time. Pure.
 */
import type { HostId, Millis, Random } from '../core.ts';
import type { AgentEffect } from './effects.ts';

/** First and longest wait before the sponsor is dialled again; it doubles, jittered by half. */
const firstWaitMs = 250;
const longestWaitMs = 4000;

export class Approach {
  private readonly random: Random;
  private waitMs = firstWaitMs;
  private nextAt: Millis | null = null;

  constructor(random: Random) {
    this.random = random;
  }

  nextWake(): Millis | null {
    return this.nextAt;
  }

  /** Dials now. */
  begin(sponsor: HostId): AgentEffect[] {
    return [{ type: 'connect', peer: sponsor }];
  }

  /** The sponsor could not be reached, or hung up. */
  failed(now: Millis): void {
    if (this.nextAt !== null) return;
    this.nextAt = now + this.waitMs * (0.5 + this.random.next());
    this.waitMs = Math.min(this.waitMs * 2, longestWaitMs);
  }

  /** `sponsor` is null once its records are here. */
  wake(sponsor: HostId | null, now: Millis): AgentEffect[] {
    if (this.nextAt === null || now < this.nextAt) return [];
    this.nextAt = null;
    return sponsor === null ? [] : this.begin(sponsor);
  }
}
