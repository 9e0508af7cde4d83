/**
 * A joiner's way to the mesh's records: a connection to its sponsor, asked for again until they have arrived.
 * A sponsor that many join through at once may be too busy to answer the first time. Once they are here, the
 * connection goes, unless the sponsor happens to be a neighbour: else every host that ever joined would keep
 * one to it. Pure.
 */
import type { HostId, Millis, Random } from '../../core.ts';
import type { AgentEffect } from '../effects.ts';
import type { Knowledge } from '../knowledge.ts';

/** First and longest wait before the sponsor is dialled again; it doubles, jittered by half. */
const firstWaitMs = 250;
const longestWaitMs = 4000;
/** How often it is seen whether the sponsor is still needed. */
const releaseEveryMs = 5000;

/** Who let a host in, and where it is. */
export interface Sponsor {
  readonly id: HostId;
  readonly address: string;
  readonly port: number;
  /** Its signature, hex: see `signWelcome`. Null of a sponsor that gave none. */
  readonly welcome: string | null;
}

/** Where the joiner stands. */
export interface Standing {
  /** Whether the mesh's records, the sponsor's own among them, have arrived. */
  readonly arrived: boolean;
  /** Whether membership chose the sponsor as a neighbour. */
  readonly isNeighbour: boolean;
}

/**
 * Until the sponsor's own records have arrived, the joiner takes its word for where to fetch them, no more. Null
 * once they have, and for a sponsor that is denied, whose records are never taken in.
 */
export function unprovenSponsor(
  sponsor: HostId | undefined,
  { catalog, trust }: Pick<Knowledge, 'catalog' | 'trust'>,
): HostId | null {
  if (sponsor === undefined || trust.isDenied(sponsor)) return null;
  return catalog.host(sponsor) === undefined ? sponsor : null;
}

export class Approach {
  private readonly sponsor: HostId;
  private readonly random: Random;
  private waitMs = firstWaitMs;
  private dialAt: Millis | null = null;
  private releaseAt: Millis | null = null;

  constructor(sponsor: HostId, random: Random) {
    this.sponsor = sponsor;
    this.random = random;
  }

  nextWake(): Millis | null {
    if (this.dialAt === null || this.releaseAt === null) return this.dialAt ?? this.releaseAt;
    return Math.min(this.dialAt, this.releaseAt);
  }

  /** Dials now. */
  begin(now: Millis): AgentEffect[] {
    this.releaseAt = now + releaseEveryMs;
    return [{ type: 'connect', peer: this.sponsor }];
  }

  /** A peer could not be reached, or hung up. */
  lost(peer: HostId, now: Millis): void {
    if (peer !== this.sponsor || this.releaseAt === null || this.dialAt !== null) return;
    this.dialAt = now + this.waitMs * (0.5 + this.random.next());
    this.waitMs = Math.min(this.waitMs * 2, longestWaitMs);
  }

  wake({ arrived, isNeighbour }: Standing, now: Millis): AgentEffect[] {
    const effects: AgentEffect[] = [];
    if (this.dialAt !== null && now >= this.dialAt) {
      this.dialAt = null;
      if (!arrived) effects.push({ type: 'connect', peer: this.sponsor });
    }
    if (this.releaseAt === null || now < this.releaseAt) return effects;
    this.releaseAt = arrived ? null : now + releaseEveryMs;
    if (arrived && !isNeighbour) effects.push({ type: 'disconnect', peer: this.sponsor });
    return effects;
  }
}
