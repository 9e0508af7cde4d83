/**
 * One party's side of a dealing ceremony. Either it ends with a verified share of a key that a quorum holds,
 * or with evidence of who broke it, or with the names of those who were not heard in time; then it is tried
 * anew, with another session, without them.
 *
 * Dealings go to all and shares to each receiver. A receiver that verified everything stores its share, and
 * only then tells all which dealings it is of; a dealer that told two stories is convicted by its own two
 * signatures. Whoever has evidence complains, in public, and everybody judges: a complaint convicts the
 * accused or the accuser. Not hearing is no evidence: it is claimed, and the dealer sends again.
 */
import {
  assert,
  Fault,
  type HostId,
  type Machine,
  type Millis,
  type Signer,
  unreachable,
  type Verify,
} from '../../core.ts';
import type { Ceremony } from './ceremony.ts';
import type { ColdBlocks } from './cold.ts';
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
} from './evidence.ts';
import type { GroupKey, KeyShare } from './keys.ts';
import { areSeats } from './keys.ts';
import type { Seat } from './polynomial.ts';
import { Transcript } from './transcript.ts';

export type CeremonyInput =
  | { readonly type: 'start' }
  | { readonly type: 'message'; readonly bytes: Uint8Array }
  /** What the `persist` effect asked for is on disk. */
  | { readonly type: 'persisted' }
  | { readonly type: 'wake' };

/** Something that was not heard in time. `claimedBy` says so; null where this party itself does. No proof. */
export interface Absence {
  readonly host: HostId;
  readonly of: 'dealing' | 'share' | 'accept';
  readonly claimedBy: HostId | null;
}

export type CeremonyEffect =
  /** To every other host that takes part. */
  | { readonly type: 'broadcast'; readonly bytes: Uint8Array }
  /** Secret: over a channel that is encrypted and authenticated to that host, and nowhere else. */
  | { readonly type: 'send'; readonly to: HostId; readonly bytes: Uint8Array }
  /** To be durable before `persisted` is fed: others will count on this share. */
  | {
      readonly type: 'persist';
      readonly group: GroupKey;
      readonly share: KeyShare;
      /** What the dealers sealed for the cold seats of the group. */
      readonly cold: ColdBlocks;
    }
  /**
   * A quorum holds shares, as far as was heard here: whether others heard so too, and which key counts, is
   * agreed elsewhere. `share` is null for a dealer that receives nothing.
   */
  | {
      readonly type: 'done';
      readonly group: GroupKey;
      readonly share: KeyShare | null;
      readonly acceptedBy: readonly Seat[];
    }
  /** It is over without a key: what was persisted is to be destroyed. */
  | { readonly type: 'failed'; readonly blame: Blame | null; readonly absences: readonly Absence[] }
  /** These were not heard to the end within the time that it should take. It goes on: they may be late. */
  | { readonly type: 'unheard'; readonly absences: readonly Absence[] }
  /** Somebody was convicted after it was done. */
  | { readonly type: 'blamed'; readonly blame: Blame }
  /** A message that proves nothing against anybody and was not taken in. */
  | { readonly type: 'dropped'; readonly fault: Fault };

export interface CeremonySetup {
  readonly ceremony: Ceremony;
  /** Of a host that takes part. */
  readonly signer: Signer;
  readonly verify: Verify;
  /** Of the previous group, for a dealer of a resharing; else null. */
  readonly share: KeyShare | null;
  /**
   * `dealingEntropyBytes` fresh random bytes for a dealer, which are overwritten; not read for others. A dealer
   * that loses its machine stays away from the session: dealing in it once more would be equivocation.
   */
  readonly entropy: Uint8Array;
  readonly startedAt: Millis;
  /** After this long a receiver says what it lacks. */
  readonly claimAfterMs: number;
  /** After this long it is said who was not heard. Between the two, so that claims have come by then. */
  readonly tellAfterMs: number;
  /** After this long it is over. */
  readonly deadlineMs: number;
}

/** How often a dealer sends anew to one receiver that says it lacks something. */
export const maxResends = 3;

type State = 'waiting' | 'running' | 'persisting' | 'accepted' | 'done' | 'failed';

export class CeremonyMachine implements Machine<CeremonyInput, CeremonyEffect> {
  private readonly setup: CeremonySetup;
  private readonly ceremony: Ceremony;
  private readonly dealerSeat: Seat | null;
  private readonly receiverSeat: Seat | null;
  private readonly transcript: Transcript;
  private state: State = 'waiting';
  private dealing: OwnDealing | null = null;
  private dealingBytes: Uint8Array | null = null;
  private acceptBytes: Uint8Array | null = null;
  private hasClaimed = false;
  private hasTold = false;
  private readonly claims = new Map<Seat, readonly Seat[]>();
  private readonly resends = new Map<Seat, number>();
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
  }

  step(input: CeremonyInput, now: Millis): readonly CeremonyEffect[] {
    this.effects = [];
    switch (input.type) {
      case 'start':
        this.start();
        break;
      case 'message':
        this.receive(input.bytes);
        break;
      case 'persisted':
        this.accept();
        break;
      case 'wake':
        this.wake(now);
        break;
      default:
        unreachable(input);
    }
    return this.effects;
  }

  /** The end is woken for even when done: until then late receivers are served. */
  nextWake(): Millis | null {
    const { startedAt, claimAfterMs, tellAfterMs, deadlineMs } = this.setup;
    if (this.state === 'waiting' || this.state === 'failed') return null;
    if (!this.hasClaimed && this.state !== 'done') return startedAt + claimAfterMs;
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
    this.emit({ type: 'broadcast', bytes: encodeEnvelope(this.ceremony, envelope) });
    return envelope;
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
    this.dealingBytes = encodeEnvelope(this.ceremony, envelope);
    this.emit({ type: 'broadcast', bytes: this.dealingBytes });
    for (const receiver of this.ceremony.receiverSeats())
      if (receiver !== this.receiverSeat) this.sendShare(seat, receiver);
    this.conclude(this.transcript.hearDealing(envelope));
    if (this.receiverSeat !== null)
      this.conclude(this.transcript.hearShare(this.shareFor(seat, this.receiverSeat)));
    this.advance();
  }

  private shareFor(dealer: Seat, receiver: Seat): Envelope {
    assert(this.dealing !== null, 'dealers have dealt');
    return this.sign('share', dealer, receiver, encodeShare(this.dealing, receiver));
  }

  private sendShare(dealer: Seat, receiver: Seat): void {
    const bytes = encodeEnvelope(this.ceremony, this.shareFor(dealer, receiver));
    this.emit({ type: 'send', to: this.ceremony.receiver(receiver)!.host, bytes });
  }

  private receive(bytes: Uint8Array): void {
    if (this.state === 'failed') return;
    try {
      if (this.state === 'waiting') throw new Fault('not-started', 'the ceremony has not started here');
      const envelope = decodeEnvelope(this.ceremony, bytes);
      if (this.transcript.isFamiliar(envelope)) return;
      if (envelope.type === 'share' && envelope.to !== this.receiverSeat)
        throw new Fault('misdirected', 'a share for somebody else');
      if (signedBy(this.ceremony, envelope, this.setup.verify) === null)
        throw new Fault('unsigned', 'nobody who takes part signed the message');
      this.take(envelope);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.emit({ type: 'dropped', fault: error });
    }
  }

  private take(envelope: Envelope): void {
    switch (envelope.type) {
      case 'dealing':
        this.conclude(this.transcript.hearDealing(envelope));
        break;
      case 'share':
        this.conclude(this.transcript.hearShare(envelope));
        break;
      case 'accept':
        this.conclude(this.transcript.hearAccept(envelope));
        break;
      case 'complaint':
        this.judgeComplaint(envelope);
        break;
      case 'missing':
        this.takeClaim(envelope);
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
    this.emit({ type: 'broadcast', bytes: encodeEnvelope(this.ceremony, envelope) });
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

  /** Drops the polynomial, which nothing needs any more. */
  private forget(): void {
    this.dealing = null;
    this.dealingBytes = null;
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

  private accept(): void {
    if (this.state !== 'persisting') return;
    this.state = 'accepted';
    const envelope = this.publish('accept', encodeAccept(this.transcript.allHeads()));
    this.acceptBytes = encodeEnvelope(this.ceremony, envelope);
    assert(this.transcript.hearAccept(envelope) === null, 'own dealings agree');
    this.advance();
  }

  private wake(now: Millis): void {
    const { startedAt, claimAfterMs, tellAfterMs, deadlineMs } = this.setup;
    if (this.state === 'failed' || this.state === 'waiting') return;
    if (now >= startedAt + tellAfterMs && !this.hasTold) {
      this.hasTold = true;
      const absences = this.absences();
      if (absences.length > 0) this.emit({ type: 'unheard', absences });
    }
    if (now >= startedAt + deadlineMs) {
      if (this.state === 'done') this.forget();
      else this.fail(null, this.absences());
    } else if (now >= startedAt + claimAfterMs && !this.hasClaimed) {
      this.hasClaimed = true;
      if (this.receiverSeat !== null && this.state !== 'done')
        this.publish('missing', Uint8Array.from(this.transcript.lackingShares()));
    }
  }

  /** Sends again what `envelope` says its receiver lacks, and what it may. Throws `Fault('malformed')`. */
  private takeClaim(envelope: Envelope): void {
    const lacking = [...envelope.payload];
    if (!areSeats(lacking) || lacking.some((seat) => this.ceremony.dealer(seat) === null))
      throw new Fault('malformed', 'a claim names dealers');
    this.claims.set(envelope.from, lacking);
    const resends = this.resends.get(envelope.from) ?? 0;
    if (resends >= maxResends) return;
    this.resends.set(envelope.from, resends + 1);
    const { host } = this.ceremony.receiver(envelope.from)!;
    if (this.acceptBytes !== null) this.emit({ type: 'send', to: host, bytes: this.acceptBytes });
    const seat = this.dealerSeat;
    if (seat === null || this.dealingBytes === null || !lacking.includes(seat)) return;
    this.emit({ type: 'send', to: host, bytes: this.dealingBytes });
    this.sendShare(seat, envelope.from);
  }

  private absences(): Absence[] {
    const dealer = (seat: Seat): HostId => this.ceremony.dealer(seat)!.host;
    const dealings = this.transcript.lackingDealings();
    const absences: Absence[] = dealings.map((seat) => ({
      host: dealer(seat),
      of: 'dealing',
      claimedBy: null,
    }));
    for (const seat of this.transcript.lackingShares())
      if (!dealings.includes(seat)) absences.push({ host: dealer(seat), of: 'share', claimedBy: null });
    const accepted = this.transcript.accepted();
    for (const { seat, host } of this.ceremony.terms.receivers) {
      if (seat === this.receiverSeat || accepted.includes(seat)) continue;
      const claim = this.claims.get(seat);
      if (claim === undefined || claim.length === 0) absences.push({ host, of: 'accept', claimedBy: null });
      else for (const lacked of claim) absences.push({ host: dealer(lacked), of: 'share', claimedBy: host });
    }
    return absences;
  }
}
