/**
 * What a host is in the present succession and what it has of it: the chain so far, its word as a trustee, its
 * shares, its view of who should be a trustee. All that must survive a crash is written and read here.
 */
import { Fault, type HostId, type Millis } from '../../core.ts';
import { Acceptor, type AcceptorState, freshAcceptor } from './acceptor.ts';
import type { Design } from './attempt.ts';
import { Backlog } from './backlog.ts';
import { EpochChain, noRefounding } from './chain.ts';
import { genesisShare, type ShareName } from './crypto-port.ts';
import type { EpochDescriptor, EpochPlan } from './descriptor.ts';
import { Electorate, type Justification } from './electorate.ts';
import { Holdings } from './holdings.ts';
import { type EpochMessage, encodeMessage } from './message.ts';
import { coldPlanFor } from './policy.ts';
import {
  type EpochEffect,
  type EpochOptions,
  type EpochStoreOp,
  epochPrefix,
  type SecretToKeep,
} from './port.ts';
import { decodeRecord, type EpochRecord } from './record.ts';
import {
  emptyView,
  judgePlan,
  type TrusteeView,
  wantsOtherCold,
  wantsRefresh,
  wantsRotation,
} from './rules.ts';
import { sameSeats, selectSeats } from './selection.ts';
import { leadersNeeded, Silences } from './silence.ts';

const stateKey = `${epochPrefix}state`;
const recordPrefix = `${epochPrefix}record/`;

/** Padded, so that the store's order is the chain's. */
function recordKey(epoch: number): string {
  return `${recordPrefix}${String(epoch).padStart(16, '0')}`;
}

/** Oldest first. */
function recordsOf(saved: ReadonlyMap<string, Uint8Array>): Uint8Array[] {
  const keys = [...saved.keys()].filter((key) => key.startsWith(recordPrefix)).sort();
  return keys.map((key) => saved.get(key)!);
}

/** So long that the last of a quorum has seen it too: some have to be shown, one dealing each. */
const leastDealingsPassedOver = 15;

/** A host that cheated or was missed in dealings, as this host saw it. */
export interface Reproach {
  readonly host: HostId;
  /** Until when it is not to have a seat; null while it was missed in too few dealings for that. */
  readonly until: Millis | null;
}

/** A message as an effect. */
export function sendTo(to: HostId, message: EpochMessage): EpochEffect {
  return { type: 'send', to, bytes: encodeMessage(message) };
}

export class Office {
  readonly options: EpochOptions;
  readonly self: HostId;
  readonly isWithdrawn: boolean;
  readonly chain: EpochChain;
  readonly holdings: Holdings = new Holdings();
  readonly backlog: Backlog = new Backlog();
  /** Secrets that nothing names: kept just before a crash, or not shredded just after it. */
  readonly orphans: readonly ShareName[];
  /** Shares that were durable once and are not there now. */
  readonly lost: readonly ShareName[];
  electorate: Electorate;
  acceptor: Acceptor;
  view: TrusteeView = emptyView;
  private readonly silences: Silences;
  /** Who is not to have a seat, until when, and whether that was proven to all or is only what this host saw. */
  private readonly passedOver = new Map<HostId, { readonly until: Millis; readonly isProven: boolean }>();

  /** Throws `Fault('epoch-state-broken')` when what the store held does not fit together. */
  constructor(options: EpochOptions) {
    this.options = options;
    this.self = options.signer.publicKey;
    this.isWithdrawn = options.withdrawn === true;
    this.silences = new Silences(options.timings.dealMs);
    // What the disk has was judged when it came.
    let isRestored = false;
    const { refounding = noRefounding } = options;
    this.chain = new EpochChain(options.genesis, options.verify, {
      operatorKey: refounding.operatorKey,
      isEndorsed: (hash) => !isRestored || refounding.isEndorsed(hash),
    });
    const secrets = [...options.secrets];
    const state = this.restore(new Map(options.saved), secrets);
    isRestored = true;
    this.electorate = new Electorate(this.chain.latest, options.verify);
    this.acceptor = new Acceptor(this.electorate, options.signer, options.timings, state);
    this.lost = this.holdings.dropMissing(secrets);
    const needed = this.holdings.names();
    this.orphans = secrets.filter((name) => !needed.includes(name));
  }

  private restore(saved: ReadonlyMap<string, Uint8Array>, secrets: readonly ShareName[]): AcceptorState {
    if (this.isWithdrawn) {
      this.salvageChain(saved);
      return freshAcceptor(this.chain.latest.plan.epoch + 1);
    }
    try {
      this.restoreChain(saved);
      const epoch = this.chain.latest.plan.epoch + 1;
      const bytes = saved.get(stateKey);
      if (bytes !== undefined) {
        const state = this.holdings.decode(bytes);
        if (state.epoch !== epoch) throw new Fault('malformed', 'the state is of another epoch');
        return state;
      }
      if (epoch > 1) throw new Fault('malformed', 'records without a state');
      if (secrets.includes(genesisShare))
        this.holdings.shares.push({ epoch: 0, generation: 0, name: genesisShare });
      return freshAcceptor(epoch);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      throw new Fault('epoch-state-broken', `what was saved of the epochs: ${error.message}`, {
        cause: error,
      });
    }
  }

  private restoreChain(saved: ReadonlyMap<string, Uint8Array>): void {
    for (const bytes of recordsOf(saved)) {
      const record = decodeRecord(bytes);
      const verdict = this.chain.judge(record);
      if (verdict !== 'next' && verdict !== 'leap') throw new Fault('malformed', 'a record out of order');
      this.chain.add(record);
    }
  }

  /** Each record proves itself: those that are whole name the roots that this host goes on believing. */
  private salvageChain(saved: ReadonlyMap<string, Uint8Array>): void {
    for (const bytes of recordsOf(saved)) {
      try {
        const record = decodeRecord(bytes);
        const verdict = this.chain.judge(record);
        if (verdict === 'next' || verdict === 'leap') this.chain.add(record);
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
      }
    }
  }

  get current(): EpochDescriptor {
    return this.chain.latest;
  }

  get isTrustee(): boolean {
    return !this.isWithdrawn && this.electorate.has(this.self);
  }

  /** This host's share of the key in force. */
  share(): ShareName | null {
    return this.holdings.shareOf(this.current.plan.epoch);
  }

  lacksShare(): boolean {
    return this.isTrustee && this.share() === null;
  }

  entered(): EpochEffect {
    return { type: 'entered', descriptor: this.current, share: this.share() };
  }

  /** Trustees see to it that everybody learns of their epoch. */
  publication(): EpochEffect[] {
    const record = this.chain.records.at(-1);
    if (record === undefined || !this.isTrustee) return [];
    return [{ type: 'publish', epoch: this.current.plan.epoch, bytes: record.bytes }];
  }

  /** What this host led in an earlier life it leads no more: the others need not wait for it. */
  giveUpLost(): EpochEffect[] {
    const { electorate, acceptor, isTrustee, self } = this;
    const { promised: ballot } = acceptor.state;
    if (!isTrustee || ballot === 0 || electorate.leaderOf(ballot) !== self) return [];
    const { epoch } = electorate;
    const others = electorate.members.filter((host) => host !== self);
    return others.map((to) => sendTo(to, { type: 'released', epoch, ballot }));
  }

  /**
   * Everything that must survive, written before `then`, which rests on it, happens. A write may fail: what the
   * state needs beside itself goes with each until one is known to be durable.
   */
  persist(
    then: readonly EpochEffect[],
    more: { readonly ops?: readonly EpochStoreOp[]; readonly secrets?: readonly SecretToKeep[] } = {},
  ): EpochEffect {
    if (this.isWithdrawn) return { type: 'persist', ops: [], secrets: [], sync: true, then };
    const { backlog, holdings } = this;
    backlog.add(more.ops ?? [], more.secrets ?? []);
    const isConfirmed = backlog.isEmpty;
    const { write, ops, secrets } = backlog.next(holdings.names());
    ops.push({ type: 'put', key: stateKey, value: holdings.encode(this.acceptor.state) });
    if (isConfirmed) return { type: 'persist', ops, secrets, sync: true, then };
    const written = sendTo(this.self, { type: 'written', epoch: this.electorate.epoch, write });
    return { type: 'persist', ops, secrets, sync: true, then: [written, ...then] };
  }

  /** A refusal rests on nothing; every other answer leaves after what it says is durable. */
  reply(to: HostId, message: EpochMessage): EpochEffect[] {
    const answer = sendTo(to, message);
    return message.type === 'refused' ? [answer] : [this.persist([answer])];
  }

  /** Whether another is known here to be away. */
  isAway(host: HostId): boolean {
    const known = this.view.candidates.find((candidate) => candidate.host === host);
    return known !== undefined && known.absentSince !== null;
  }

  /** `host` was proven to have cheated in a dealing, to everybody who took part. */
  distrust(host: HostId, now: Millis): void {
    this.passOver(host, true, now);
  }

  /**
   * Its seat is another's, where there is another, for as long as one may be away. In memory only: who forgets it is
   * cheated, or kept waiting, once more.
   */
  private passOver(host: HostId, isProven: boolean, now: Millis): void {
    const { policy, timings } = this.options;
    const forMs = Math.max(policy.replaceAfterMs, timings.dealMs * leastDealingsPassedOver);
    if (host !== this.self) this.passedOver.set(host, { until: now + forMs, isProven });
  }

  /** This host missed something of `host`, which is here, in a dealing that `leader` led; see `Silences`. */
  missed(host: HostId, leader: HostId, now: Millis): EpochEffect[] {
    const known = this.view.candidates.find((candidate) => candidate.host === host);
    const { aliveSince = null } = known ?? {};
    if (aliveSince === null || aliveSince > now - this.options.timings.dealMs) return [];
    if (!this.isTrustee || this.passedOver.has(host)) return [];
    this.silences.note(host, leader, now);
    const leaders = this.silences.count(host, now);
    if (leaders < leadersNeeded(this.current.plan)) return [];
    this.silences.forget(host);
    this.passOver(host, false, now);
    const detail = `is here, and said nothing in dealings that ${leaders} led: its seat is to be another's`;
    return [{ type: 'alarm', code: 'silent', subject: host, detail }];
  }

  /** Who is not to have a seat for what it did or did not do, and who was missed in dealings, but not in enough. */
  reproached(now: Millis): Reproach[] {
    this.forgive(now);
    const missed = this.silences.hosts().filter((host) => this.silences.count(host, now) > 0);
    return [
      ...[...this.passedOver].map(([host, { until }]) => ({ host, until })),
      ...missed.filter((host) => !this.passedOver.has(host)).map((host) => ({ host, until: null })),
    ];
  }

  private forgive(now: Millis): void {
    for (const [host, { until }] of this.passedOver) if (now >= until) this.passedOver.delete(host);
  }

  /** What this host sees, and what it has been shown. */
  private seen(now: Millis): TrusteeView {
    this.forgive(now);
    if (this.passedOver.size === 0) return this.view;
    const candidates = this.view.candidates.map((candidate) => {
      const { isProven } = this.passedOver.get(candidate.host) ?? {};
      if (isProven === undefined) return candidate;
      return isProven ? { ...candidate, eligible: false } : { ...candidate, silent: true };
    });
    return { ...this.view, candidates };
  }

  /** The seats this host would have; null when all is as it should be. `forgiving`: with nothing against anybody. */
  design(repair: boolean, forgiving: boolean, now: Millis): Design | null {
    const { current } = this;
    const view = forgiving ? this.view : this.seen(now);
    const passesOver = view !== this.view;
    // A new key is dealt by all who will hold it, so that nobody can wait for the absent.
    const rotates = current.plan.threshold > 1 && wantsRotation(view, current);
    const seats = selectSeats(current.plan, view.candidates, this.options.policy, now, rotates);
    const isSame = sameSeats(seats, current.plan);
    const cold = coldPlanFor(view.cold, seats.threshold);
    if (current.plan.threshold === 1) return isSame ? null : { ...seats, kind: 'generate', cold, passesOver };
    if (rotates) return { ...seats, kind: 'generate', cold, passesOver };
    if (isSame && !repair && !wantsRefresh(view, current) && !wantsOtherCold(view, current)) return null;
    return { ...seats, kind: 'reshare', cold, passesOver };
  }

  /** Throws a `Fault` unless this host would have it so; see `judgePlan` for the codes. */
  approve(plan: EpochPlan, justification: Justification, now: Millis): void {
    const repair = justification.promises.some((promise) => !promise.holdsShare);
    judgePlan(plan, this.current, this.seen(now), this.options.policy, repair, now);
  }

  /** Moves on to the epoch of a record that the chain let in; gives the write to make and what to shred then. */
  enter(record: EpochRecord): { readonly ops: EpochStoreOp[]; readonly shredded: ShareName[] } {
    const dropped = this.chain.add(record);
    const shredded = this.holdings.enter(this.chain);
    const { signer, verify, timings } = this.options;
    this.electorate = new Electorate(this.current, verify);
    this.acceptor = new Acceptor(this.electorate, signer, timings, freshAcceptor(this.electorate.epoch));
    const ops: EpochStoreOp[] = [
      { type: 'put', key: recordKey(this.current.plan.epoch), value: record.bytes },
    ];
    if (dropped !== null) ops.push({ type: 'delete', key: recordKey(dropped) });
    return { ops, shredded };
  }
}
