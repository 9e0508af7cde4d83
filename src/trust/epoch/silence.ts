/**
 * Trustees that are here and say nothing while shares are made. A new key is dealt by all who will hold it, so one
 * that does not deal, whether it is broken or wants it so, would keep the others from it for ever; after a few
 * dealings it is passed over like one that was proven to have cheated, and its seat is another's.
 *
 * That must not be a way to be rid of honest trustees. Silence cannot be proven to third parties, so nobody's word
 * is taken for it: a host counts only what it missed itself, over its own channel, in dealings that it took part in
 * to the end of their time and while the other was alive to it throughout. Whoever leads can make an honest trustee
 * look silent, by not asking it to deal; so dealings count by who led them, each leader once, and there must be more
 * of these than may lie (`leadersNeeded`). A trustee leads often enough by itself: a dealing that came to
 * nothing lets another lead. And then all is as ever: a threshold of trustees, each by what it saw itself, has to
 * vote for the epoch without it, at most n - k leave at once, and whoever takes the seat is the senior of those who
 * may, not the leader's choice.
 *
 * Not all see it at once: who misses too few dealings objects to an epoch without it, and then those who are convinced
 * lead one with it, until a quorum has seen the same. To an epoch with it nobody objects: a host that was cut off from
 * one other may be the only one that missed it.
 *
 * Nobody is silent towards a few only: what those lack they claim in public, and all see whether it is answered (see
 * `Claims` of a dealing).
 */
import type { HostId, Millis } from '../../core.ts';
import type { Seats } from './selection.ts';

/** Dealings longer ago than so many times the time of one count no more. */
const rememberedDealings = 15;

/**
 * Of how many leaders' dealings somebody must have been missed. Agreement survives 2k - n - 1 liars, who lead each
 * what it likes; one dealing may always fail for other reasons. A founder decides alone.
 */
export function leadersNeeded({ threshold, trustees }: Seats): number {
  return threshold === 1 ? 1 : Math.max(2, 2 * threshold - trustees.length);
}

export class Silences {
  private readonly rememberMs: Millis;
  /** Who was not heard: in the dealings of which leaders, and when last. In memory only: a restart forgives. */
  private readonly missed = new Map<HostId, Map<HostId, Millis>>();

  constructor(dealMs: Millis) {
    this.rememberMs = dealMs * rememberedDealings;
  }

  /** `host` was not heard in a dealing that `leader` led. What it leads itself says nothing. */
  note(host: HostId, leader: HostId, now: Millis): void {
    if (host === leader) return;
    const by = this.missed.get(host) ?? new Map<HostId, Millis>();
    for (const [earlier, at] of by) if (now >= at + this.rememberMs) by.delete(earlier);
    this.missed.set(host, by.set(leader, now));
  }

  /** What it did not say had its consequence. */
  forget(host: HostId): void {
    this.missed.delete(host);
  }

  /** In the dealings of how many leaders it was not heard lately. */
  count(host: HostId, now: Millis): number {
    const times = [...(this.missed.get(host)?.values() ?? [])];
    return times.filter((at) => now < at + this.rememberMs).length;
  }

  hosts(): HostId[] {
    return [...this.missed.keys()];
  }
}
