/**
 * What receivers say in public that they lack, and what was answered in public. Nobody can be silent to one alone:
 * whoever hears a claim passes it on, so that the dealer knows; whoever hears an answer, or what else the claimant
 * lacks, passes that on, so that it has it. Who goes without after that was answered by nobody, or says nothing itself,
 * and all see which.
 */
import { answeredKey, type Claim } from './answer.ts';
import { digestOf, type Envelope } from './envelope.ts';
import type { Seat } from './polynomial.ts';

interface HeardClaim {
  readonly claim: Claim;
  readonly digest: Uint8Array;
  /** It came so early that there was time to answer it. */
  readonly isTimely: boolean;
}

/** Takes messages whose signatures were verified. At most one claim of each receiver, and one answer to it of each dealer. */
export class Claims {
  private readonly heard = new Map<Seat, HeardClaim>();
  /** Receivers that claimed two things: neither counts. */
  private readonly contradicted = new Set<Seat>();
  /** By receiver and dealer. */
  private readonly answers = new Map<Seat, Map<Seat, Envelope>>();

  /** Whether a claim, verified or not, can tell nothing new. */
  isKnownClaim({ from, payload }: Envelope): boolean {
    const known = this.heard.get(from);
    if (known === undefined) return false;
    return this.contradicted.has(from) || Buffer.compare(known.digest, digestOf(payload)) === 0;
  }

  /** True for the first claim of a receiver, which is the one that is answered. */
  hearClaim({ from, payload }: Envelope, claim: Claim, isTimely: boolean): boolean {
    if (this.heard.has(from)) {
      this.contradicted.add(from);
      return false;
    }
    this.heard.set(from, { claim, digest: digestOf(payload), isTimely });
    // What came before the claim was perhaps for another one.
    for (const answer of this.answers.get(from)?.values() ?? [])
      if (!this.isForClaim(answer)) this.answers.get(from)!.delete(answer.from);
    return true;
  }

  isKnownAnswer({ from, to }: Envelope): boolean {
    return this.answers.get(to)?.has(from) === true;
  }

  /** True where it answers what its receiver claimed, as far as that is known. Throws `Fault('malformed')`. */
  hearAnswer(envelope: Envelope): boolean {
    const { from, to, payload } = envelope;
    answeredKey(payload);
    if (this.heard.has(to) && !this.isForClaim(envelope)) return false;
    const answers = this.answers.get(to) ?? new Map<Seat, Envelope>();
    this.answers.set(to, answers.set(from, envelope));
    return true;
  }

  private isForClaim({ from, to, payload }: Envelope): boolean {
    const key = this.heard.get(to)?.claim.get(from);
    return key !== undefined && Buffer.compare(key, answeredKey(payload)) === 0;
  }

  answersTo(receiver: Seat): Iterable<Envelope> {
    return this.answers.get(receiver)?.values() ?? [];
  }

  /** Receivers that lack something, and what. */
  all(): Iterable<readonly [Seat, Claim]> {
    return [...this.heard].map(([receiver, { claim }]) => [receiver, claim] as const);
  }

  /**
   * Dealers that owe `receiver` an answer, or with all others their dealing, as those of `lacking` do; none where it has no
   * excuse: it claimed nothing, too late, or two things.
   */
  owing(receiver: Seat, lacking: readonly Seat[]): Seat[] {
    const heard = this.heard.get(receiver);
    if (heard === undefined || !heard.isTimely || this.contradicted.has(receiver)) return [];
    const answered = this.answers.get(receiver);
    return [...heard.claim.keys()].filter(
      (dealer) => answered?.has(dealer) !== true || lacking.includes(dealer),
    );
  }
}
