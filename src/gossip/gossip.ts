/**
 * The gossip room as one machine: who is there, and what they say. Composes replica, dissemination and
 * anti-entropy, and keeps in step with membership, which runs apart as the `Swim` machine; the agent and the
 * simulator drive these two classes and nothing behind them.
 */
import {
  assert,
  earliest,
  encodeJson,
  Fault,
  type HostId,
  type Machine,
  type Millis,
  type Random,
  type Signer,
  type Verify,
} from '../core.ts';
import { AntiEntropy } from './antientropy.ts';
import { digestOf, encodeRecord, isAuthentic } from './codec.ts';
import { Dissemination, decodeDelta } from './dissemination.ts';
import { Fellowship } from './fellowship.ts';
import { decodeFrame, encodeFrame, needsStream } from './framecodec.ts';
import type { SyncFrame } from './frames.ts';
import { HybridClock, isClockAhead } from './hlc.ts';
import { Intake, type Verdict } from './intake.ts';
import { type Lifecycle, parseLifecycle } from './lifecycle.ts';
import { defaultGossipParameters, type GossipParameters } from './parameters.ts';
import type { Authority, GossipEffect, GossipInput, Member, Refusal, RelayVerdict, StoreOp } from './port.ts';
import { type Hlc, type Record, slotOf } from './record.ts';
import { digestBytes, type JoinOutcome, Replica } from './replica.ts';
import type { SyncOutcome } from './session.ts';
import { type GossipStats, gossipStats } from './stats.ts';
import { eraseOps, readStored, recordOp } from './stored.ts';

export interface GossipOptions {
  readonly self: HostId;
  readonly signer: Signer;
  readonly verify: Verify;
  readonly authority: Authority;
  readonly random: Random;
  /** How many times this agent has started, counted on disk: every run outranks the ones before. */
  readonly epoch: number;
  readonly parameters?: GossipParameters;
  /** Host-scope kind, key '', whose presence makes its author a member. */
  readonly memberKind?: string;
  /** Host-scope kind, key '', by which a member says that it left, or is back. */
  readonly leftKind?: string;
}

const versionsPerEpoch = 2 ** 32;
/** Epochs beyond would exceed a safe integer. */
const maxEpoch = 2 ** 21 - 1;
/** Everybody collects tombstones at the same hour, so that replicas do not differ meanwhile. */
const collectEveryMs = 3_600_000;
const collectAtOnce = 1000;
/** Quota and floor were minded when the record was written: what is on the disk counts. */
const taken = { slack: Number.POSITIVE_INFINITY, fromAuthor: true };

export class Gossip implements Machine<GossipInput, GossipEffect> {
  readonly replica: Replica;
  private readonly options: GossipOptions;
  private readonly parameters: GossipParameters;
  private readonly leftKind: string;
  private readonly clock = new HybridClock();
  private readonly fellowship: Fellowship;
  private readonly intake: Intake;
  private readonly dissemination: Dissemination;
  private readonly sync: AntiEntropy;
  private readonly counters = { deltasIn: 0, deltasOut: 0, badFrames: 0, syncBytesIn: 0, syncBytesOut: 0 };
  /** What the latest `delta` input was worth. */
  private latestRelayVerdict: RelayVerdict = 'ignore';
  private nextVersion: number;
  private nextCollectAt: Millis | null = null;
  /** Set while parked records wait for the authority to have learnt of those just applied. */
  private retryAt: Millis | null = null;
  private effects: GossipEffect[] = [];

  constructor(options: GossipOptions) {
    const { self, verify, authority, random, epoch } = options;
    if (!Number.isSafeInteger(epoch) || epoch < 0 || epoch > maxEpoch)
      throw new Fault('invalid-epoch', `epoch ${epoch} is outside 0 to ${maxEpoch}`, { field: 'epoch' });
    this.options = options;
    this.parameters = options.parameters ?? defaultGossipParameters;
    this.leftKind = options.leftKind ?? 'lifecycle';
    this.nextVersion = epoch * versionsPerEpoch + 1;
    this.replica = new Replica(this.parameters.replica);
    this.fellowship = new Fellowship({
      self,
      epoch,
      replica: this.replica,
      memberKind: options.memberKind ?? 'admission',
      leftKind: this.leftKind,
      emit: (effect) => this.effects.push(effect),
    });
    this.intake = new Intake({
      replica: this.replica,
      clock: this.clock,
      verify,
      authority,
      parameters: this.parameters,
      onEquivocation: (subject, detail) =>
        this.effects.push({ type: 'alarm', code: 'equivocation', subject, detail }),
    });
    this.dissemination = new Dissemination(this.parameters, random, (bytes) => {
      this.counters.deltasOut++;
      this.effects.push({ type: 'publish', bytes });
    });
    this.sync = new AntiEntropy(this.replica, random, this.parameters.sync, {
      send: (to, frame) => this.sendSync(to, frame),
      accept: (records, from, now) => this.acceptSynced(records, from, now),
    });
  }

  /** Members other than this agent, whatever their state. */
  members(): Iterable<Member> {
    return this.fellowship.list.all();
  }

  /** One member; undefined for this agent itself and for strangers. */
  member(id: HostId): Member | undefined {
    return this.fellowship.list.get(id);
  }

  neighbours(): Iterable<HostId> {
    return this.fellowship.list.neighbours;
  }

  /** Whether the latest `delta` input is to be relayed. */
  get relayVerdict(): RelayVerdict {
    return this.latestRelayVerdict;
  }

  /** This agent's own incarnation, as far as membership has reported it. */
  get incarnation(): number {
    return this.fellowship.list.incarnation;
  }

  stats(): GossipStats {
    return gossipStats(this.counters, this.fellowship.list, this.intake, this.sync, this.replica);
  }

  nextWake(): Millis | null {
    return earliest(
      this.sync.nextWake(),
      this.dissemination.nextWake(),
      earliest(this.nextCollectAt, this.retryAt),
    );
  }

  step(input: GossipInput, now: Millis): readonly GossipEffect[] {
    this.retryParked(now);
    switch (input.type) {
      case 'wake':
        this.sync.wake(now);
        this.dissemination.wake(now);
        this.collect(now);
        break;
      case 'frame':
        this.receive(input.from, input.bytes, now);
        break;
      case 'delta':
        this.receiveDelta(input.bytes, now);
        break;
      case 'durable':
        this.commit(input.records, now);
        break;
      case 'swim':
        this.fellowship.take(input.report);
        if (input.report.type === 'root') this.sync.heard(input.report.peer, input.report.root, now);
        break;
      case 'connected':
        this.fellowship.order(input);
        this.sync.connected(input.peer, now);
        break;
      case 'disconnected':
        this.sync.disconnected(input.peer, now);
        this.fellowship.order(input);
        break;
      case 'unreachable':
        this.fellowship.order(input);
    }
    return this.drain(now);
  }

  /**
   * Restores the replica from the store, before anything else is asked of this machine. Entries that do not
   * decode are dropped and counted; with `reverify`, so are those whose signature is wrong. Effects tell of
   * the members that there were.
   */
  load(
    entries: Iterable<{ readonly key: string; readonly value: Uint8Array }>,
    now: Millis,
    options: { readonly reverify?: boolean } = {},
  ): { loaded: number; dropped: number; effects: readonly GossipEffect[] } {
    let dropped = 0;
    const records: Record[] = [];
    for (const entry of entries) {
      const stored = readStored(entry.key, entry.value);
      if (stored?.type === 'floor') this.replica.raiseFloor(stored.author, stored.version);
      else if (stored === null) dropped++;
      else if (options.reverify && !isAuthentic(stored.record, this.options.verify)) dropped++;
      else if (this.replica.join(stored.record, taken) === 'applied') records.push(stored.record);
      else dropped++;
    }
    for (const record of records) {
      if (!isClockAhead(record.hlc, now)) this.clock.observe(record.hlc, now);
      this.noteOwnVersion(record);
    }
    this.fellowship.note(records, now);
    return { loaded: records.length, dropped, effects: this.drain(now) };
  }

  /** Once after `load`: an agent that had left says that it is back. */
  start(now: Millis): readonly GossipEffect[] {
    const lifecycle = this.fellowship.comeBack();
    return lifecycle === null ? this.drain(now) : this.sayLifecycle(lifecycle, now).effects;
  }

  /** Says goodbye. The agent has left once the record is durable and the delta is published. */
  leave(now: Millis): { record: Record; effects: readonly GossipEffect[] } {
    return this.sayLifecycle(this.fellowship.goodbye(), now);
  }

  private sayLifecycle(
    lifecycle: Lifecycle,
    now: Millis,
  ): { record: Record; effects: readonly GossipEffect[] } {
    return this.put(this.leftKind, '', encodeJson(lifecycle), now);
  }

  /**
   * Writes one of this host's own slots; null leaves a tombstone. Nobody sees the write before the
   * `persist` among the effects is durable and its `commit` came back. Throws with nothing changed:
   * `Fault('quota-exceeded')`, `Fault('value-too-large')`, `Fault('invalid-kind')`, `Fault('invalid-key')`.
   */
  put(
    kind: string,
    key: string,
    value: Uint8Array | null,
    now: Millis,
  ): { record: Record; effects: readonly GossipEffect[] } {
    const record = this.writeOwn(kind, key, value, now);
    return { record, effects: this.drain(now) };
  }

  private writeOwn(kind: string, key: string, value: Uint8Array | null, now: Millis): Record {
    const version = this.nextVersion;
    const hlc = this.clock.tick(now);
    const record = encodeRecord({ scope: 'host', kind, key, version, hlc, value }, this.options.signer);
    refuseUnlessApplied(this.replica.preview(record, { slack: 1, fromAuthor: true }));
    this.nextVersion = version + 1;
    this.persistOwn(record);
    return record;
  }

  /** What an operator's key elsewhere should sign to write policy now; hand the record to `putSigned`. */
  nextPolicyFields(now: Millis): { version: number; hlc: Hlc } {
    const hlc = this.clock.tick(now);
    return { version: hlc, hlc };
  }

  /**
   * Writes a record signed by another key, such as an operator's. Durable before visible, like `put`.
   * Throws with nothing changed: `clock-ahead`, `bad-signature`, `known-record`, `stale-record`,
   * `quota-exceeded`, or the authority's own code.
   */
  putSigned(record: Record, now: Millis): { effects: readonly GossipEffect[] } {
    if (isClockAhead(record.hlc, now)) throw new Fault('clock-ahead', 'the record is from the future');
    if (!isAuthentic(record, this.options.verify))
      throw new Fault('bad-signature', 'the author did not sign this record');
    const refusal = this.options.authority.judge(record, now);
    if (refusal !== null) throw new Fault(refusal.code, `the mesh would refuse this record: ${refusal.code}`);
    refuseUnlessApplied(this.replica.preview(record, { slack: 1 }));
    this.persistOwn(record);
    return { effects: this.drain(now) };
  }

  private persistOwn(record: Record): void {
    const then: GossipEffect[] = [{ type: 'commit', records: [record] }];
    this.effects.push({ type: 'persist', ops: [recordOp(record)], sync: true, then });
  }

  /**
   * A record handed over outside of gossip, such as a joiner's admission: judged like any other, and passed
   * on to the mesh if it was news.
   */
  offer(
    bytes: Uint8Array,
    now: Millis,
  ): { outcome: 'applied' | 'known' | 'stale' | Refusal; effects: readonly GossipEffect[] } {
    const verdict = this.intake.accept(bytes, null, now);
    if (verdict.outcome !== 'applied') {
      const { outcome } = verdict;
      const answer = outcome === 'refused' ? { code: verdict.code, later: verdict.later } : outcome;
      return { outcome: answer, effects: this.drain(now) };
    }
    this.announce([verdict.record], now, true);
    this.dissemination.add(verdict.record, now);
    return { outcome: 'applied', effects: this.drain(now) };
  }

  private receive(from: HostId, bytes: Uint8Array, now: Millis): void {
    if (!needsStream(bytes)) {
      this.fellowship.order({ type: 'frame', from, bytes });
      return;
    }
    try {
      const frame = decodeFrame(bytes);
      assert('session' in frame, 'what needs a stream is anti-entropy');
      this.counters.syncBytesIn += bytes.length;
      this.sync.receive(from, frame, now);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.counters.badFrames++;
    }
  }

  private receiveDelta(bytes: Uint8Array, now: Millis): void {
    let records: Uint8Array[];
    try {
      records = decodeDelta(bytes);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.counters.badFrames++;
      this.latestRelayVerdict = 'ignore';
      return;
    }
    this.counters.deltasIn++;
    this.latestRelayVerdict = relayVerdictOf(this.acceptAll(records, null, now));
  }

  /** Takes records in one by one, so that a bad one costs no other, then tells of those that won. */
  private acceptAll(records: readonly Uint8Array[], from: HostId | null, now: Millis): Verdict[] {
    const verdicts = records.map((bytes) => this.intake.accept(bytes, from, now));
    const applied: Record[] = [];
    for (const verdict of verdicts) {
      if (verdict.outcome === 'applied') applied.push(verdict.record);
      else this.buryAgain(verdict, now);
    }
    this.announce(applied, now, true);
    return verdicts;
  }

  /**
   * Judges the parked records again, in the step after others were applied: the authority learns of those
   * from the effects of the step before.
   */
  private retryParked(now: Millis): void {
    if (this.retryAt === null) return;
    this.retryAt = null;
    this.announce(this.intake.retry(now), now, true);
  }

  /**
   * Somebody still holds a record of this host that was deleted so long ago that the tombstone is gone: its
   * author is the one who can, and must, say so again.
   */
  private buryAgain(verdict: Verdict, now: Millis): void {
    if (verdict.outcome !== 'refused' || verdict.code !== 'below-floor') return;
    const record = verdict.record;
    if (record === null || record.author !== this.options.self || record.deleted) return;
    try {
      this.writeOwn(record.kind, record.key, null, now);
    } catch (error) {
      // The quota is full: the straggler keeps its record until there is room for the tombstone.
      if (!(error instanceof Fault)) throw error;
    }
  }

  private acceptSynced(
    records: readonly Uint8Array[],
    from: HostId,
    now: Millis,
  ): { outcome: SyncOutcome; slot: string | null }[] {
    return this.acceptAll(records, from, now).map(({ outcome, record }) => ({
      outcome,
      slot: outcome === 'stale' && record !== null ? digestOf(slotOf(record)).slice(0, digestBytes) : null,
    }));
  }

  /** Own writes reached the disk: now they count, here and everywhere. */
  private commit(records: readonly Record[], now: Millis): void {
    const applied = records.filter((record) => this.replica.join(record, taken) === 'applied');
    this.announce(applied, now, false);
    for (const record of applied) this.dissemination.add(record, now);
    for (const record of applied) {
      if (record.author !== this.options.self || record.kind !== this.leftKind) continue;
      this.dissemination.flush();
      if (parseLifecycle(record)?.state === 'left') this.fellowship.order({ type: 'leave' });
    }
  }

  private announce(applied: readonly Record[], now: Millis, persist: boolean): void {
    if (applied.length === 0) return;
    this.sync.noteRoot();
    if (this.intake.parking.size > 0) this.retryAt = now;
    for (const record of applied) this.noteOwnVersion(record);
    if (persist) this.effects.push({ type: 'persist', ops: applied.map(recordOp), sync: false, then: [] });
    this.effects.push({ type: 'applied', records: applied });
    this.fellowship.note(applied, now);
  }

  /** A record of this host that this host did not know: the store was set back. Never repeat a version. */
  private noteOwnVersion(record: Record): void {
    if (record.author === this.options.self && record.scope === 'host')
      this.nextVersion = Math.max(this.nextVersion, record.version + 1);
  }

  private collect(now: Millis): void {
    if (this.nextCollectAt === null || now < this.nextCollectAt) return;
    const hour = Math.floor(now / collectEveryMs) * collectEveryMs;
    const { erased, floors } = this.replica.collect(hour, collectAtOnce);
    this.nextCollectAt = erased.length < collectAtOnce ? hour + collectEveryMs : now + 1;
    if (erased.length === 0) return;
    this.sync.noteRoot();
    const ops: StoreOp[] = eraseOps(erased, floors);
    this.effects.push({ type: 'persist', ops, sync: false, then: [] });
  }

  private sendSync(to: HostId, frame: SyncFrame): void {
    const bytes = encodeFrame(frame);
    this.counters.syncBytesOut += bytes.length;
    this.effects.push({ type: 'send', to, bytes });
  }

  private drain(now: Millis): readonly GossipEffect[] {
    this.nextCollectAt ??= Math.floor(now / collectEveryMs) * collectEveryMs + collectEveryMs;
    this.fellowship.tellRoot();
    const effects = this.effects;
    this.effects = [];
    return effects;
  }
}

/** One forged record condemns a delta: its relay verified nothing. One good record is worth passing on. */
function relayVerdictOf(verdicts: readonly Verdict[]): RelayVerdict {
  if (verdicts.some((verdict) => verdict.outcome === 'refused' && verdict.code === 'bad-signature'))
    return 'reject';
  return verdicts.some(({ outcome }) => outcome !== 'refused') ? 'accept' : 'ignore';
}

function refuseUnlessApplied(outcome: JoinOutcome): void {
  if (outcome === 'applied') return;
  if (outcome === 'quota-exceeded')
    throw new Fault('quota-exceeded', 'this author has as many records as the mesh allows one to have');
  throw new Fault(
    outcome === 'known' ? 'known-record' : 'stale-record',
    'the slot holds this or a later record',
  );
}
