/** What one party has heard of a ceremony: signed, checked and free of contradiction, or else evidence. */
import { assert, type Verify } from '../../core.ts';
import { openAnswer } from './answer.ts';
import type { Ceremony } from './ceremony.ts';
import type { ColdBlocks } from './cold.ts';
import { checkDealing, checkShare, type Dealing } from './dealing.ts';
import { digestOf, type Envelope, type Head, headOf } from './envelope.ts';
import { acceptedHeads, type Evidence } from './evidence.ts';
import { type Element, type Scalar, scalars, sum } from './group.ts';
import { GroupKey, KeyShare } from './keys.ts';
import type { Seat } from './polynomial.ts';

interface HeardDealing {
  readonly envelope: Envelope;
  readonly dealing: Dealing;
}

/** Takes envelopes whose signatures were verified. Holds at most one of each kind from each party. */
export class Transcript {
  private readonly ceremony: Ceremony;
  private readonly verify: Verify;
  /** Null for a dealer that receives nothing. */
  private readonly receiver: Seat | null;
  private readonly heads = new Map<Seat, Head>();
  private readonly dealings = new Map<Seat, HeardDealing>();
  /** Shares whose dealings are yet to come, and answers in their place. */
  private readonly waiting = new Map<Seat, Envelope>();
  private readonly waitingAnswers = new Map<Seat, { readonly envelope: Envelope; readonly key: Scalar }>();
  private readonly shares = new Map<Seat, Scalar>();
  private readonly accepts = new Map<Seat, Envelope>();

  constructor(ceremony: Ceremony, receiver: Seat | null, verify: Verify) {
    this.ceremony = ceremony;
    this.receiver = receiver;
    this.verify = verify;
  }

  /** Whether an envelope, verified or not, can tell nothing new. */
  isFamiliar(envelope: Envelope): boolean {
    const { type, from, payload } = envelope;
    if (type === 'share') return this.shares.has(from) || this.waiting.has(from);
    if (type === 'accept') return this.accepts.has(from);
    const heard = type === 'dealing' ? this.dealings.get(from) : undefined;
    return heard !== undefined && Buffer.compare(heard.dealing.digest, digestOf(payload)) === 0;
  }

  /** Evidence against the dealer, or null. */
  hearDealing(envelope: Envelope): Evidence | null {
    const { from } = envelope;
    const conflict = this.noteHead(from, headOf(envelope));
    if (conflict !== null) return conflict;
    const checked = checkDealing(this.ceremony, from, envelope.payload);
    if (checked.type === 'flawed') return { type: 'bad-dealing', dealing: envelope };
    this.dealings.set(from, { envelope, dealing: checked.value });
    const share = this.waiting.get(from);
    const answer = this.waitingAnswers.get(from);
    this.waiting.delete(from);
    this.waitingAnswers.delete(from);
    const evidence = share === undefined ? null : this.hearShare(share);
    return evidence ?? (answer === undefined ? null : this.hearAnswer(answer.envelope, answer.key));
  }

  /** Evidence against the dealer, or null. The share must be for this receiver. */
  hearShare(envelope: Envelope): Evidence | null {
    const { from, to, payload } = envelope;
    assert(to === this.receiver, 'shares are heard by whom they are for');
    const heard = this.dealings.get(from);
    if (heard === undefined) {
      this.waiting.set(from, envelope);
      return null;
    }
    const checked = checkShare(heard.dealing, to, payload);
    if (checked.type === 'flawed') return { type: 'bad-share', dealing: heard.envelope, share: envelope };
    this.shares.set(from, checked.value);
    return null;
  }

  /** Evidence against the dealer, or null. `key`: this receiver's secret for the dealer. */
  hearAnswer(envelope: Envelope, key: Scalar): Evidence | null {
    const { from, to, payload } = envelope;
    assert(to === this.receiver, 'answers are opened by whom they are for');
    if (this.shares.has(from)) return null;
    const heard = this.dealings.get(from);
    if (heard === undefined) {
      this.waitingAnswers.set(from, { envelope, key });
      return null;
    }
    const opened = openAnswer(this.ceremony, heard.dealing, from, to, payload, key);
    if (opened?.type === 'flawed')
      return { type: 'bad-answer', dealing: heard.envelope, answer: envelope, key };
    if (opened !== null) this.shares.set(from, opened.value);
    return null;
  }

  /** Evidence against the receiver that accepted, or against a dealer that told it something else; or null. */
  hearAccept(envelope: Envelope): Evidence | null {
    const heads = acceptedHeads(this.ceremony, envelope.payload, this.verify, this.heads);
    if (heads === null) return { type: 'bad-message', message: envelope };
    for (const [dealer, head] of heads) {
      const conflict = this.noteHead(dealer, head);
      if (conflict !== null) return conflict;
    }
    this.accepts.set(envelope.from, envelope);
    return null;
  }

  private noteHead(dealer: Seat, head: Head): Evidence | null {
    const known = this.heads.get(dealer);
    if (known === undefined) {
      this.heads.set(dealer, head);
      return null;
    }
    if (Buffer.compare(known.digest, head.digest) === 0) return null;
    return { type: 'two-dealings', dealer, heads: [known, head] };
  }

  /** Dealers whose dealings have not come. */
  lackingDealings(): Seat[] {
    return this.ceremony.dealerSeats().filter((seat) => !this.dealings.has(seat));
  }

  /** Dealers whose shares have not come, or cannot be checked yet. */
  lackingShares(): Seat[] {
    if (this.receiver === null) return [];
    return this.ceremony.dealerSeats().filter((seat) => !this.shares.has(seat));
  }

  /** Receivers that hold a verified share of the very same dealings. */
  accepted(): readonly Seat[] {
    return [...this.accepts.keys()].sort((a, b) => a - b);
  }

  /** As they were signed: whoever has them can pass them on. */
  acceptsHeard(): Iterable<Envelope> {
    return this.accepts.values();
  }

  /** As it was signed; null where it has not come. */
  dealingOf(dealer: Seat): Envelope | null {
    return this.dealings.get(dealer)?.envelope ?? null;
  }

  /** The heads of all dealings, by seat; all must have come. */
  allHeads(): Head[] {
    return this.ceremony.dealerSeats().map((seat) => headOf(this.dealings.get(seat)!.envelope));
  }

  /** The key that all dealings add up to; all must have come. */
  group(): GroupKey {
    const { threshold, previous, cold } = this.ceremony.terms;
    const dealings = this.ceremony.dealerSeats().map((seat) => this.dealings.get(seat)!.dealing);
    const commitments = Array.from(
      { length: threshold },
      (_, i): Element => sum(dealings.map((dealing) => dealing.commitments[i]!)),
    );
    const group = new GroupKey(this.ceremony.receiverSeats(), commitments, cold?.seats ?? []);
    assert(previous === null || group.publicKey === previous.publicKey, 'a resharing keeps the key');
    return group;
  }

  /** What each dealer sealed for the cold seats, by the seats of the dealers; all dealings must have come. */
  coldBlocks(): ColdBlocks {
    if (this.ceremony.terms.cold === null) return new Map();
    return new Map(this.ceremony.dealerSeats().map((seat) => [seat, this.dealings.get(seat)!.dealing.cold]));
  }

  /** This receiver's share of the new key; all shares must have come. */
  share(): KeyShare {
    assert(this.receiver !== null && this.lackingShares().length === 0, 'all shares have come');
    return new KeyShare(
      this.receiver,
      [...this.shares.values()].reduce((total, value) => scalars.add(total, value), 0n),
    );
  }
}
