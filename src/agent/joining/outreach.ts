/**
 * When this host introduces itself to another, and to whom: to one that is away, in case that is back and takes all
 * who came meanwhile for strangers. The live members share the work, so that a host that is back hears from one of
 * them about every second, and each sends little in a large mesh. Pure.
 */
import type { HostId, Millis, Random } from '../../core.ts';
import type { Replica } from '../../gossip/replica/replica.ts';
import type { TrustState } from '../../trust/state.ts';
import type { AgentEffect } from '../effects.ts';
import { introductionsOf } from './introduction.ts';

/** All members of a mesh together introduce themselves this often, roughly. */
const meshEveryMs = 1250;
/** What that comes to for one host, at the least and the most. */
const shortestMs = 5000;
const longestMs = 60_000;

export interface OutreachOptions {
  readonly self: HostId;
  readonly random: Random;
  readonly catalog: {
    allHosts(): readonly { readonly id: HostId }[];
    isGone(host: HostId): boolean;
  };
  readonly trust: TrustState;
  readonly replica: Pick<Replica, 'get'>;
}

export class Outreach {
  /** How often this host introduced itself, since start. */
  sent = 0;
  private readonly options: OutreachOptions;
  /** Null before the first `begin`. */
  private at: Millis | null = null;

  constructor(options: OutreachOptions) {
    this.options = options;
  }

  nextWake(): Millis | null {
    return this.at;
  }

  begin(now: Millis): void {
    this.arm(0, now);
  }

  /** Addresses one at random of those that are down or left, if it is time. Who `isLeaving` addresses nobody. */
  wake(isLeaving: boolean, now: Millis): AgentEffect[] {
    if (this.at === null || now < this.at) return [];
    const { self, random, catalog, trust, replica } = this.options;
    const others = catalog.allHosts().filter(({ id }) => id !== self && !trust.isDenied(id));
    const away = others.filter(({ id }) => catalog.isGone(id));
    this.arm(others.length - away.length, now);
    const to = away[Math.floor(random.next() * away.length)];
    if (to === undefined || isLeaving) return [];
    const introductions = introductionsOf(self, trust, (slot) => replica.get(slot));
    if (introductions.length === 0) return [];
    this.sent++;
    return [{ type: 'introduce', to: to.id, introductions }];
  }

  private arm(live: number, now: Millis): void {
    const everyMs = Math.min(longestMs, Math.max(shortestMs, meshEveryMs * live));
    this.at = now + everyMs * (0.5 + this.options.random.next());
  }
}
