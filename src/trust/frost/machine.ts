/**
 * One party's side of a dealing ceremony. Either it ends with a verified share of a key that a quorum holds,
 * or with evidence of who broke it, or with the names of those who were not heard in time; then it is tried
 * anew, with another session, without them.
 *
 * Dealings go to all and shares to each receiver. A receiver that verified everything stores its share, and
 * only then tells all which dealings it is of; a dealer that told two stories is convicted by its own two
 * signatures. Whoever has evidence complains, in public, and everybody judges: a complaint convicts the
 * accused or the accuser. Not hearing is no evidence: it is claimed, in public, and answered in public, and all pass
 * both on (see `Claims`); so what two of them cannot say to each other the others carry, and who says nothing is
 * missed by all.
 */
import { assert, Fault, type HostId, type Machine, type Millis, unreachable } from '../../core.ts';
import { answerKey, decodeClaim, encodeClaim, sealAnswer } from './answer.ts';
import type { Ceremony } from './ceremony.ts';
import type { Absence, CeremonyEffect, CeremonyInput, CeremonySetup } from './ceremony-port.ts';
import { Claims } from './claims.ts';
import { deal, encodeShare, type OwnDealing } from './dealing.ts';
import {
  decodeEnvelope,
  type Envelope,
  encodeEnvelope,
  type MessageType,
  signEnvelope,
  signedBy,
} from './envelope.ts';
import {
  type Blame,
  complaintVerdict,
  type Evidence,
  encodeAccept,
  encodeEvidence,
  judge,
  receiptIn,
} from './evidence.ts';
import type { GroupKey, KeyShare } from './keys.ts';
import type { Seat } from './polynomial.ts';
import { Transcript } from './transcript.ts';

/** Dealers that this party lacked something of, and whom each receiver that claimed in time lacked an answer of. */
interface Lateness {
  readonly missed: readonly Absence[];
  readonly owing: ReadonlyMap<Seat, readonly Seat[]>;
}

type State = 'waiting' | 'running' | 'persisting' | 'accepted' | 'done' | 'failed';

export class CeremonyMachine implements Machine<CeremonyInput, CeremonyEffect> {
  private readonly setup: CeremonySetup;
  private readonly ceremony: Ceremony;
  private readonly dealerSeat: Seat | null;
  private readonly receiverSeat: Seat | null;
  private readonly transcript: Transcript;
  private state: State = 'waiting';
  private dealing: OwnDealing | null = null;
  private claimAt: Millis;
  private hasClaimed = false;
  /** Who had not dealt or answered in time, once that is over. */
  private late: Lateness | null = null;
  private hasTold = false;
  private readonly claims = new Claims();
  /** Receivers that complained: each is heard, and passed on, once. */
  private readonly complained = new Set<Seat>();
  private readonly blamed = new Set<HostId>();
  private group: GroupKey | null = null;
  private share: KeyShare | null = null;
  private effects: CeremonyEffect[] = [];

  constructor(setup: CeremonySetup) {
    const { ceremony, signer, verify } = setup;
    const own = ({ host }: { readonly host: HostId }): boolean => host === signer.publicKey;
    this.setup = setup;
    this.ceremony = ceremony;
    this.dealerSeat = ceremony.terms.dealers.find(own)?.seat ?? null;
    this.receiverSeat = ceremony.terms.receivers.find(own)?.seat ?? null;
    assert(this.dealerSeat !== null || this.receiverSeat !== null, 'only those who take part have a machine');
    this.transcript = new Transcript(ceremony, this.receiverSeat, verify);
    this.claimAt = setup.startedAt + setup.claimAfterMs;
  }

  step(input: CeremonyInput, now: Millis): readonly CeremonyEffect[] {
    this.effects = [];
    switch (input.type) {
      case 'start':
        this.start();
        break;
      case 'message':
        this.receive(input.bytes, now);
        break;
      case 'persisted':
        this.accept(input.receipt);
        break;
      case 'wake':
        this.wake(now);
        break;
      case 'end':
        this.forget();
        this.state = 'failed';
        break;
      default:
        unreachable(input);
    }
    return this.effects;
  }

  /** The end is woken for even when done: until then late receivers are served. */
  nextWake(): Millis | null {
    const { startedAt, answerUntilMs, tellAfterMs, deadlineMs } = this.setup;
    if (this.state === 'waiting' || this.state === 'failed') return null;
    if (!this.hasClaimed) return this.claimAt;
    if (this.late === null) return startedAt + answerUntilMs;
    if (!this.hasTold) return startedAt + tellAfterMs;
    return this.state === 'done' && this.dealing === null ? null : startedAt + deadlineMs;
  }

  private emit(effect: CeremonyEffect): void {
    this.effects.push(effect);
  }

  private sign(type: MessageType, from: Seat, to: Seat, payload: Uint8Array): Envelope {
    return signEnvelope(this.ceremony, this.setup.signer, { type, from, to, payload });
  }

  /** Signs as the receiver this party is, and tells all. */
  private publish(type: 'accept' | 'complaint' | 'missing', payload: Uint8Array): Envelope {
    assert(this.receiverSeat !== null, 'receivers publish');
    const envelope = this.sign(type, this.receiverSeat, 0, payload);
    this.broadcast(envelope);
    return envelope;
  }

  private broadcast(envelope: Envelope): void {
    this.emit({ type: 'broadcast', bytes: encodeEnvelope(this.ceremony, envelope) });
  }

  /** Nothing to itself. */
  private sendTo(receiver: Seat, envelope: Envelope): void {
    if (receiver === this.receiverSeat) return;
    const { host } = this.ceremony.receiver(receiver)!;
    this.emit({ type: 'send', to: host, bytes: encodeEnvelope(this.ceremony, envelope) });
  }

  private start(): void {
    assert(this.state === 'waiting', 'a ceremony starts once');
    this.state = 'running';
    const seat = this.dealerSeat;
    if (seat === null) return;
    const { share, entropy } = this.setup;
    this.dealing = deal(this.ceremony, seat, share === null ? [] : [share], entropy);
    this.setup.entropy.fill(0);
    const envelope = this.sign('dealing', seat, 0, this.dealing.payload);
    this.broadcast(envelope);
    for (const receiver of this.ceremony.receiverSeats())
      if (receiver !== this.receiverSeat) this.sendTo(receiver, this.shareFor(seat, receiver));
    this.conclude(this.transcript.hearDealing(envelope));
    if (this.receiverSeat !== null)
      this.conclude(this.transcript.hearShare(this.shareFor(seat, this.receiverSeat)));
    this.advance();
  }

  private shareFor(dealer: Seat, receiver: Seat): Envelope {
    assert(this.dealing !== null, 'dealers have dealt');
    return this.sign('share', dealer, receiver, encodeShare(this.dealing, receiver));
  }

  private receive(bytes: Uint8Array, now: Millis): void {
    if (this.state === 'failed') return;
    try {
      if (this.state === 'waiting') throw new Fault('not-started', 'the ceremony has not started here');
      const envelope = decodeEnvelope(this.ceremony, bytes);
      if (this.isFamiliar(envelope)) return;
      if (envelope.type === 'share' && envelope.to !== this.receiverSeat)
        throw new Fault('misdirected', 'a share for somebody else');
      if (signedBy(this.ceremony, envelope, this.setup.verify) === null)
        throw new Fault('unsigned', 'nobody who takes part signed the message');
      this.take(envelope, now);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.emit({ type: 'dropped', fault: error });
    }
  }

  private isFamiliar(envelope: Envelope): boolean {
    if (envelope.type === 'missing') return this.claims.isKnownClaim(envelope);
    if (envelope.type === 'answer') return this.claims.isKnownAnswer(envelope);
    return this.transcript.isFamiliar(envelope);
  }

  private take(envelope: Envelope, now: Millis): void {
    switch (envelope.type) {
      case 'dealing':
        this.conclude(this.transcript.hearDealing(envelope));
        this.passOn(envelope);
        break;
      case 'share':
        this.conclude(this.transcript.hearShare(envelope));
        break;
      case 'accept':
        this.takeAccept(envelope);
        break;
      case 'complaint':
        this.judgeComplaint(envelope);
        break;
      case 'missing':
        this.takeClaim(envelope, now);
        break;
      case 'answer':
        this.takeAnswer(envelope);
        break;
      default:
        unreachable(envelope.type);
    }
    this.advance();
  }

  /** Complains of whom the evidence convicts. */
  private conclude(evidence: Evidence | null): void {
    if (evidence === null) return;
    const blame = judge(this.ceremony, evidence, this.setup.verify);
    assert(blame !== null, 'what a transcript gathers convicts');
    const seat = this.receiverSeat;
    if (seat !== null && !this.complained.has(seat)) {
      this.complained.add(seat);
      this.publish('complaint', encodeEvidence(this.ceremony, evidence));
    }
    this.convict(blame);
  }

  /** Passed on, for whoever complains may have told nobody else. */
  private judgeComplaint(envelope: Envelope): void {
    if (this.complained.has(envelope.from)) return;
    this.complained.add(envelope.from);
    this.broadcast(envelope);
    const { verify } = this.setup;
    const blame =
      complaintVerdict(this.ceremony, envelope.payload, verify) ??
      judge(this.ceremony, { type: 'bad-message', message: envelope }, verify);
    assert(blame !== null, 'a complaint convicts the accused or the accuser');
    this.convict(blame);
  }

  /** What is done stays done: a quorum holds shares, and who is trusted next is for others to say. */
  private convict(blame: Blame): void {
    if (this.state !== 'done') this.fail(blame, []);
    else if (!this.blamed.has(blame.host)) {
      this.blamed.add(blame.host);
      this.emit({ type: 'blamed', blame });
    }
  }

  private fail(blame: Blame | null, absences: readonly Absence[]): void {
    this.forget();
    this.state = 'failed';
    this.share = null;
    this.emit({ type: 'failed', blame, absences });
  }

  /** Drops the polynomial, which nothing needs any more, and the keys of answers. */
  private forget(): void {
    this.dealing = null;
    this.setup.answerSeed.fill(0);
  }

  /** Goes on as far as what was heard allows. */
  private advance(): void {
    if (this.transcript.lackingDealings().length > 0) return;
    if (this.state === 'running' && this.receiverSeat === null) {
      this.group = this.transcript.group();
      this.state = 'accepted';
    } else if (this.state === 'running' && this.transcript.lackingShares().length === 0) {
      this.group = this.transcript.group();
      this.share = this.transcript.share();
      assert(this.share.belongsTo(this.group), 'verified shares add up');
      this.state = 'persisting';
      this.emit({
        type: 'persist',
        group: this.group,
        share: this.share,
        cold: this.transcript.coldBlocks(),
      });
    }
    const acceptedBy = this.transcript.accepted();
    if (this.state !== 'accepted' || acceptedBy.length < this.ceremony.terms.quorum) return;
    this.state = 'done';
    this.emit({ type: 'done', group: this.group!, share: this.share, acceptedBy });
  }

  private accept(receipt: Uint8Array): void {
    if (this.state !== 'persisting') return;
    this.state = 'accepted';
    if (this.dealing === null) this.setup.answerSeed.fill(0);
    const envelope = this.publish('accept', encodeAccept(this.transcript.allHeads(), receipt));
    assert(this.transcript.hearAccept(envelope) === null, 'own dealings agree');
    this.advance();
  }

  private wake(now: Millis): void {
    const { startedAt, answerUntilMs, tellAfterMs, deadlineMs } = this.setup;
    if (this.state === 'failed' || this.state === 'waiting') return;
    if (!this.hasClaimed && now >= this.claimAt) {
      this.hasClaimed = true;
      if (this.receiverSeat !== null && !this.isComplete()) this.claim();
    }
    if (this.late === null && now >= startedAt + answerUntilMs) this.late = this.lateness();
    if (!this.hasTold && now >= startedAt + tellAfterMs) {
      this.hasTold = true;
      this.emit({ type: 'unheard', absences: this.absences() });
    }
    if (now < startedAt + deadlineMs) return;
    if (this.state === 'done') this.forget();
    else this.fail(null, this.absences());
  }

  /** Whether everybody has said that it holds its share. */
  private isComplete(): boolean {
    return (
      this.state === 'done' && this.transcript.accepted().length === this.ceremony.terms.receivers.length
    );
  }

  private claim(): void {
    const { ceremony, setup, transcript } = this;
    const payload = encodeClaim(setup.answerSeed, ceremony, transcript.lackingShares());
    const envelope = this.publish('missing', payload);
    this.claims.hearClaim(envelope, decodeClaim(ceremony, payload), true);
  }

  /**
   * Somebody lacks something: that is passed on, as is to it what it lacks and is here; and this dealer answers. Throws
   * `Fault('malformed')`.
   */
  private takeClaim(envelope: Envelope, now: Millis): void {
    const { ceremony, claims, dealerSeat, setup } = this;
    const receiver = envelope.from;
    const claim = decodeClaim(ceremony, envelope.payload);
    // Not all begin at once: whoever did late claims with the others.
    this.claimAt = Math.min(this.claimAt, Math.max(now, setup.startedAt + setup.claimLeastMs));
    const isFirst = claims.hearClaim(envelope, claim, now < setup.startedAt + setup.heedUntilMs);
    this.broadcast(envelope);
    if (!isFirst) return;
    for (const dealer of claim.keys()) {
      const dealing = this.transcript.dealingOf(dealer);
      if (dealing !== null) this.sendTo(receiver, dealing);
    }
    for (const answer of claims.answersTo(receiver)) this.sendTo(receiver, answer);
    for (const accept of this.transcript.acceptsHeard())
      if (accept.from !== receiver) this.sendTo(receiver, accept);
    const key = dealerSeat === null ? undefined : claim.get(dealerSeat);
    if (key !== undefined) this.answer(dealerSeat!, receiver, key);
  }

  /** In public, so that all see that it was given, and can pass it on. */
  private answer(dealer: Seat, receiver: Seat, key: Uint8Array): void {
    const { dealing, ceremony, setup } = this;
    if (dealing === null) return;
    const value = dealing.polynomial.evaluate(receiver);
    const payload = sealAnswer(setup.answerSeed, ceremony, dealer, receiver, key, value);
    const envelope = this.sign('answer', dealer, receiver, payload);
    this.claims.hearAnswer(envelope);
    this.broadcast(envelope);
  }

  private takeAnswer(envelope: Envelope): void {
    const { claims, ceremony, setup } = this;
    const { from, to } = envelope;
    if (!claims.hearAnswer(envelope)) throw new Fault('unasked', 'it answers what was not claimed');
    // To all, who else may think that it was not answered.
    this.broadcast(envelope);
    if (to === this.receiverSeat && this.hasClaimed && this.state === 'running')
      this.conclude(this.transcript.hearAnswer(envelope, answerKey(setup.answerSeed, ceremony, from)));
  }

  private takeAccept(envelope: Envelope): void {
    const { from, payload } = envelope;
    const evidence = this.transcript.hearAccept(envelope);
    this.conclude(evidence);
    if (evidence !== null) return;
    const { host } = this.ceremony.receiver(from)!;
    this.emit({ type: 'accepted', host, receipt: receiptIn(this.ceremony, payload) });
    this.passOn(envelope);
  }

  /** To those that said they lack something: a dealing if it is that, whatever else in any case. */
  private passOn(envelope: Envelope): void {
    if (this.state === 'failed') return;
    for (const [receiver, claim] of this.claims.all())
      if (receiver !== envelope.from && (envelope.type !== 'dealing' || claim.has(envelope.from)))
        this.sendTo(receiver, envelope);
  }

  private lateness(): Lateness {
    const { ceremony, transcript, claims } = this;
    const host = (seat: Seat): HostId => ceremony.dealer(seat)!.host;
    const dealings = transcript.lackingDealings();
    const shares = transcript.lackingShares().filter((seat) => !dealings.includes(seat));
    return {
      missed: [
        ...dealings.map((seat) => ({ host: host(seat), of: 'dealing' }) as const),
        ...shares.map((seat) => ({ host: host(seat), of: 'share' }) as const),
      ],
      owing: new Map(ceremony.receiverSeats().map((seat) => [seat, claims.owing(seat, dealings)])),
    };
  }

  private absences(): Absence[] {
    const { ceremony, transcript } = this;
    if (this.isComplete()) return [];
    const { missed, owing } = this.late ?? this.lateness();
    const absences = [...missed];
    const accepted = transcript.accepted();
    for (const { seat, host } of ceremony.terms.receivers) {
      if (seat === this.receiverSeat || accepted.includes(seat)) continue;
      const dealers = owing.get(seat) ?? [];
      if (dealers.length === 0) absences.push({ host, of: 'accept' });
      else for (const one of dealers) absences.push({ host: ceremony.dealer(one)!.host, of: 'answer' });
    }
    return absences;
  }
}
