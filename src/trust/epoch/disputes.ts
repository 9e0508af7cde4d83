/**
 * Trustees between whom shares go missing. One says, to all, that it lacks what another was to deal to it, and says so
 * in dealing after dealing: either the other keeps it from that one alone, or that one lies, or the path between the
 * two is cut. Nobody else can tell which, and nobody needs to: a new key is dealt by all who will hold it, so it is
 * made without either.
 *
 * That must not be a way to be rid of honest trustees. Whoever is at odds with several is likely at fault, and of those
 * it is at odds with nobody is passed over; of two that are at odds with each other alone, either. So a liar takes at most one
 * honest trustee with it for a time. Nobody of the two is believed on a dealing that it led, and leaders count as they do
 * for silence (`leadersNeeded`). The two know better: who is accused by a liar passes over the liar alone, and who was
 * given nothing the one that gave nothing. All others go along with an epoch without either, so that the honest one's
 * vote is what decides.
 */
import type { HostId, Millis } from '../../core.ts';
import { rememberedDealings } from './silence.ts';

/** In a dealing: `claimant` lacks what `accused` was to deal to it, or says so. */
export interface Dispute {
  readonly accused: HostId;
  readonly claimant: HostId;
}

/** Two hosts that were at odds, or one with all: in the dealings of which leaders, and when last. */
interface Quarrel {
  readonly hosts: readonly HostId[];
  readonly leaders: Map<HostId, Millis>;
}

/** Of all dealings that are remembered. More than the pairs of any quorum; beyond, the oldest is forgotten. */
const maxQuarrels = 1024;

export class Disputes {
  private readonly rememberMs: Millis;
  /** By the hosts' names, in order. In memory only: a restart forgives. */
  private readonly quarrels = new Map<string, Quarrel>();

  constructor(dealMs: Millis) {
    this.rememberMs = dealMs * rememberedDealings;
  }

  /**
   * What was claimed in a dealing that `leader` led. Who claims to lack the shares of more dealers than a quorum can do
   * without, `spared`, is at odds with all: so many cannot be at fault at once.
   */
  note(claims: readonly Dispute[], spared: number, leader: HostId, now: Millis): void {
    this.forget(now);
    for (const { accused, claimant } of claims) {
      const count = claims.filter((one) => one.claimant === claimant).length;
      const hosts = count > spared ? [claimant] : [accused, claimant].sort();
      if (hosts.includes(leader)) continue;
      const key = hosts.join();
      const quarrel = this.quarrels.get(key) ?? { hosts, leaders: new Map() };
      quarrel.leaders.set(leader, now);
      this.quarrels.set(key, quarrel);
    }
    for (const key of this.quarrels.keys()) {
      if (this.quarrels.size <= maxQuarrels) break;
      this.quarrels.delete(key);
    }
  }

  private forget(now: Millis): void {
    for (const [key, { leaders }] of this.quarrels) {
      for (const [leader, at] of leaders) if (now >= at + this.rememberMs) leaders.delete(leader);
      if (leaders.size === 0) this.quarrels.delete(key);
    }
  }

  /**
   * Who is to be passed over: with how many each is at odds, infinitely many for one that is with all. Only who is so
   * in the dealings of `needed` leaders, and nobody that is at odds with one who is with more, or with one of `known`,
   * whose fault it is.
   */
  atFault(needed: number, known: (host: HostId) => boolean, now: Millis): ReadonlyMap<HostId, number> {
    this.forget(now);
    let open = [...this.quarrels.values()].filter(({ hosts }) => !hosts.some(known));
    const isReady = (host: HostId): boolean =>
      open.some(({ hosts, leaders }) => hosts.includes(host) && leaders.size >= needed);
    const fault = new Map<HostId, number>();
    while (open.length > 0) {
      const degrees = degreesOf(open);
      const most = Math.max(...degrees.values());
      const worst = [...degrees].filter(([, degree]) => degree === most).map(([host]) => host);
      for (const host of worst) if (isReady(host)) fault.set(host, most);
      open = open.filter(({ hosts }) => !hosts.some((host) => worst.includes(host)));
    }
    return fault;
  }
}

function degreesOf(quarrels: readonly Quarrel[]): Map<HostId, number> {
  const degrees = new Map<HostId, number>();
  for (const { hosts } of quarrels)
    for (const host of hosts)
      degrees.set(host, (degrees.get(host) ?? 0) + (hosts.length === 1 ? Number.POSITIVE_INFINITY : 1));
  return degrees;
}
