/**
 * What the claims of others can make this agent do. Whoever says that a member is not well makes this agent suspect
 * it, tell others and look for itself; so each has a budget, which only claims that turn out false use up, and what
 * is beyond it is ignored. Deaths need no claim: every agent's own rounds come upon them.
 */
import type { HostId, Millis } from '../../core.ts';
import type { Rumor } from '../frames.ts';
import type { MemberStatus } from '../port.ts';
import { Allowance, type Rate, Rates } from '../rates.ts';
import { RecentMap } from '../recent-map.ts';

export type Accusation = Extract<Rumor, { accuser: HostId }>;

/** A claim that was let through, until it is known whether it was true. */
export interface Charge {
  /** Who said it: the peer that sent it, which cannot be forged, as the accuser named can. */
  readonly teller: HostId;
  readonly kind: Kind;
}

/** `death`: the teller's own finding. `suspicion`: the teller's own, too. `hearsay`: in the name of another. */
type Kind = 'death' | 'suspicion' | 'hearsay';

/** What one says in its own name. The burst is a rack that dies at once, told by one. */
const ownWord: Rate = { perSecond: 1, burst: 64 };
/** What one passes on. It is as large as what all together make of many liars' words. */
const hearsay: Rate = { perSecond: 8, burst: 256 };
/** What all pass on, lest a liar's words multiply on their way. The burst is a zone that is lost at once. */
const allHearsay: Rate = { perSecond: 16, burst: 512 };
/** Deaths that one may claim of the living before it is named: no honest member finds so many but one cut off. */
const falseDeaths: Rate = { perSecond: 1 / 60, burst: 8 };
/** How long a member is named after its last false claim. */
const namedForMs = 10 * 60_000;
const excusedForMs = 60_000;
/** Tellers remembered, and of those who claim false deaths. */
const maxTellers = 4096;
const maxNamed = 16;

export class Claims {
  private readonly ownWords = new Rates(ownWord, maxTellers);
  private readonly hearsays = new Rates(hearsay, maxTellers);
  private readonly allHearsay = new Allowance(allHearsay);
  private readonly falseDeaths = new Rates(falseDeaths, maxTellers);
  private readonly excusedUntil = new RecentMap<Millis>(maxTellers);
  private readonly named = new RecentMap<Millis>(maxNamed);

  /** What `teller` is charged for this claim; null when its budget is spent, and nothing may follow. */
  charge(teller: HostId, claim: Accusation, now: Millis): Charge | null {
    if (claim.accuser === teller)
      return this.ownWords.take(teller, now)
        ? { teller, kind: claim.state === 'down' ? 'death' : 'suspicion' }
        : null;
    if (!this.allHearsay.allows(now) || !this.hearsays.take(teller, now)) return null;
    this.allHearsay.take(now);
    return { teller, kind: 'hearsay' };
  }

  /** Whether `teller` may have this agent look at a member, or dial it, without claiming anything. */
  allowsRequest(teller: HostId, now: Millis): boolean {
    return this.ownWords.take(teller, now);
  }

  /** It is known now whether a member is well: what was true costs nothing. */
  settle(charges: readonly Charge[], isWell: boolean, now: Millis): void {
    for (const charge of charges)
      if (isWell) this.refuted(charge, now);
      else this.confirmed(charge, now);
  }

  private confirmed({ teller, kind }: Charge, now: Millis): void {
    if (kind !== 'hearsay') {
      this.ownWords.giveBack(teller, now);
      return;
    }
    this.hearsays.giveBack(teller, now);
    this.allHearsay.giveBack(now);
  }

  private refuted({ teller, kind }: Charge, now: Millis): void {
    if (kind !== 'death' || now < (this.excusedUntil.get(teller) ?? 0)) return;
    if (!this.falseDeaths.take(teller, now)) this.named.set(teller, now);
  }

  /** Who is down, or was a moment ago, is cut off, and may well find everybody else down. */
  excuse({ id, state }: MemberStatus, now: Millis): void {
    this.excusedUntil.set(id, state === 'down' ? Number.POSITIVE_INFINITY : now + excusedForMs);
  }

  forget(teller: HostId): void {
    this.named.delete(teller);
  }

  /** Members that claim deaths of the living: cut off from them, or lying. At most 16. */
  discredited(now: Millis): HostId[] {
    return [...this.named.all()].filter(([, at]) => now - at < namedForMs).map(([teller]) => teller);
  }
}
