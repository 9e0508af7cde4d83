/**
 * When this host introduces itself to another, and to whom: to one that is away, in case that is back and takes all
 * who came meanwhile for strangers. The live members share the work: together they address somebody about every second,
 * however many they are, and one that is back hears of it the later the more are away. Pure.
 */
import type { HostId, Millis, Random } from '../../core.ts';
import type { MemberState } from '../../gossip/port.ts';
import type { Replica } from '../../gossip/replica/replica.ts';
import type { TrustState } from '../../trust/state.ts';
import type { HostEntry } from '../catalog/catalog.ts';
import type { AgentEffect } from '../effects.ts';
import { introductionsOf } from './introduction.ts';

/** All members of a mesh together address somebody this often, but none by itself more often than that. */
const meshEveryMs = 1250;
const shortestMs = 5000;
/** How much of a row of sponsors is shown at a time; the next part goes to the next. */
const maxShown = 16;
/** How often it is one that is down, rather than one that has left, where there are both. */
const downShare = 0.75;

export interface OutreachOptions {
  readonly self: HostId;
  readonly random: Random;
  readonly catalog: {
    hostEntries(): Iterable<Pick<HostEntry, 'id' | 'state' | 'value'>>;
  };
  readonly trust: TrustState;
  readonly replica: Pick<Replica, 'get'>;
}

export class Outreach {
  /** Datagrams, since start. */
  sent = 0;
  private turns = 0;
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
    const { self, trust, replica } = this.options;
    const { live, down, left } = this.company();
    this.arm(live, now);
    const to = this.drawn(down, left);
    if (to === undefined || isLeaving) return [];
    const row = introductionsOf(self, trust, (slot) => replica.get(slot));
    const parts = Math.ceil(row.length / maxShown);
    if (parts === 0) return [];
    const part = (this.turns++ % parts) * maxShown;
    const introductions = row.slice(part, part + maxShown);
    this.sent += introductions.length;
    return [{ type: 'introduce', to, introductions }];
  }

  /** All but this host and the denied. Who is away where a live one is now has been followed by that, for good. */
  private company(): { readonly live: number; readonly down: HostId[]; readonly left: HostId[] } {
    const { self, catalog, trust } = this.options;
    const live = new Set<string>();
    const away: Pick<HostEntry, 'id' | 'state' | 'value'>[] = [];
    for (const host of catalog.hostEntries()) {
      if (host.state === 'down' || host.state === 'left') away.push(host);
      else live.add(placeOf(host));
    }
    const open = away.filter(
      (host) => host.id !== self && !live.has(placeOf(host)) && !trust.isDenied(host.id),
    );
    const idsOf = (state: MemberState): HostId[] =>
      open.filter((host) => host.state === state).map(({ id }) => id);
    return { live: live.size, down: idsOf('down'), left: idsOf('left') };
  }

  private drawn(down: readonly HostId[], left: readonly HostId[]): HostId | undefined {
    const { random } = this.options;
    const isDown = left.length === 0 || (down.length > 0 && random.next() < downShare);
    const among = isDown ? down : left;
    return among[Math.floor(random.next() * among.length)];
  }

  private arm(live: number, now: Millis): void {
    const everyMs = Math.max(shortestMs, meshEveryMs * live);
    this.at = now + everyMs * (0.5 + this.options.random.next());
  }
}

function placeOf({ value }: Pick<HostEntry, 'value'>): string {
  return `${value.address} ${value.gossipPort}`;
}
