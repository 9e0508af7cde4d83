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
import { Fellowship } from './fellowship.ts';
import { decodeFrame, encodeFrame, needsStream } from './framecodec.ts';
import type { SyncFrame } from './frames.ts';
import { defaultGossipParameters, type GossipParameters } from './parameters.ts';
import type { Authority, GossipEffect, GossipInput, Member, Refusal, RelayVerdict } from './port.ts';
import { RecentMap } from './recent-map.ts';
import { encodeRecord, isAuthentic } from './replica/codec.ts';
import { Collection, isLive } from './replica/collection.ts';
import { HybridClock, isClockAhead } from './replica/hlc.ts';
import { Intake, relayVerdictOf, syncOutcomeOf, type Verdict, type Way } from './replica/intake.ts';
import { parseLifecycle } from './replica/lifecycle.ts';
import { OwnVersions } from './replica/own-versions.ts';
import { type Hlc, hlcMillis, type Record, slotOf } from './replica/record.ts';
import { Repeats } from './replica/repeats.ts';
import { type Collected, Replica } from './replica/replica.ts';
import { highestOf } from './replica/sequence.ts';
import { eraseOps, readStored, recordOps } from './replica/stored.ts';
import { AntiEntropy } from './spread/antientropy.ts';
import { DeltaLatency } from './spread/delta-latency.ts';
import { Dissemination, decodeDelta } from './spread/dissemination.ts';
import type { CollectedSlot } from './spread/session.ts';
import { type GossipStats, gossipStats } from './stats.ts';

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
  /** Host-scope kinds that a host must be able to write even where its users filled its share, beside `leftKind`. */
  readonly vitalKinds?: readonly string[];
  /** The mesh's own, from `digestKeyOf`; all its agents must have the same. */
  readonly digestKey?: Uint8Array;
}

/** Operators who write here at the same time, at most. */
const maxNumbered = 64;
/** Quota and floor were minded when the record was written: what is on the disk counts. */
const taken = { slack: Number.POSITIVE_INFINITY, ignoreFloor: true };

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
  private readonly collection: Collection;
  private readonly latency = new DeltaLatency();
  private readonly counters = { deltasIn: 0, deltasOut: 0, badFrames: 0, syncBytesIn: 0, syncBytesOut: 0 };
  /** What the latest `delta` input was worth. */
  private latestRelayVerdict: RelayVerdict = 'ignore';
  private readonly versions: OwnVersions;
  private readonly repeats: Repeats;
  /** The latest number given to each operator, which may not be durable yet. */
  private readonly numbered = new RecentMap<number>(maxNumbered);
  /** Set while parked records wait for the authority to have learnt of those just applied. */
  private retryAt: Millis | null = null;
  private effects: GossipEffect[] = [];

  constructor(options: GossipOptions) {
    const { self, verify, authority, random, epoch } = options;
    this.options = options;
    this.parameters = options.parameters ?? defaultGossipParameters;
    this.leftKind = options.leftKind ?? 'lifecycle';
    this.versions = new OwnVersions(epoch);
    this.replica = new Replica({
      limits: this.parameters.replica,
      digestKey: options.digestKey,
      finality: authority.finality,
      expiryOf: authority.expiryOf,
      isLive: (author) => isLive(this.member(author)),
    });
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
      vitalKinds: new Set([this.leftKind, ...(options.vitalKinds ?? [])]),
    });
    this.repeats = new Repeats({ self, verify, write: (...write) => this.writeOwn(...write) });
    this.dissemination = new Dissemination(this.parameters, random, (bytes) => {
      this.counters.deltasOut++;
      this.effects.push({ type: 'publish', bytes });
    });
    this.sync = new AntiEntropy(this.replica, random, this.parameters.sync, {
      send: (to, frame) => this.sendSync(to, frame),
      accept: (records, peer, now) =>
        this.acceptAll(records, now, { peer }).map((verdict) => syncOutcomeOf(verdict, this.replica)),
      collected: (slots, _from, now) => this.follow(slots, now),
    });
    this.collection = new Collection({
      replica: this.replica,
      self,
      firstVersion: this.versions.next,
      member: (id) => this.member(id),
      members: () => this.members(),
      expelledSince: (id) => this.fellowship.expelledSince(id),
      isSaidGone: (id) => this.fellowship.isSaidGone(id),
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

  /** The round trip to expect between two hosts, milliseconds; null where one's place is not known as well as that. */
  estimateMs(a: HostId, b: HostId, mostError?: number): number | null {
    return this.fellowship.list.estimateMs(a, b, mostError);
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
    return gossipStats(
      this.counters,
      this.fellowship.list,
      this.intake,
      this.sync,
      this.replica,
      this.latency,
      this.repeats,
    );
  }

  nextWake(): Millis | null {
    return earliest(
      this.sync.nextWake(),
      this.dissemination.nextWake(),
      earliest(this.collection.nextWake(), this.retryAt),
    );
  }

  step(input: GossipInput, now: Millis): readonly GossipEffect[] {
    this.retryParked(now);
    switch (input.type) {
      case 'wake':
        this.sync.wake(now);
        this.dissemination.wake(now);
        this.forget(this.collection.wake(now));
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
        this.fellowship.take(input.report, now);
        if (this.fellowship.isGoodbyeOutdated) this.renewGoodbye(now);
        this.denyDeparture(now);
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
      if (stored?.type === 'dead-floor') this.replica.raiseDeadFloor(stored.author, stored.version);
      if (stored === null) dropped++;
      if (stored?.type !== 'record' && stored?.type !== 'history') continue;
      for (const record of stored.type === 'record' ? [stored.record] : stored.records) {
        if (options.reverify && !isAuthentic(record, this.options.verify)) dropped++;
        else {
          const outcome = this.replica.join(record, taken);
          if (outcome === 'applied') records.push(record);
          else if (stored.type === 'record' && outcome !== 'kept') dropped++;
        }
      }
    }
    for (const record of records) {
      if (!isClockAhead(record.hlc, now)) this.clock.observe(record.hlc, now);
      this.noteOwnVersion(record);
    }
    this.fellowship.note(records, now);
    return { loaded: records.length, dropped, effects: this.drain(now) };
  }

  /** Once after `load`: an agent that had left says that it is back, by its incarnation until it can in writing. */
  start(now: Millis): readonly GossipEffect[] {
    this.fellowship.comeBack();
    this.denyDeparture(now);
    return this.drain(now);
  }

  private denyDeparture(now: Millis): void {
    const lifecycle = this.fellowship.denyDeparture(now);
    if (lifecycle !== null) this.repeats.record(this.leftKind, '', encodeJson(lifecycle), now);
  }

  /** Says goodbye. The agent has left once the record is durable and the delta is published. */
  leave(now: Millis): { record: Record; effects: readonly GossipEffect[] } {
    return { record: this.writeGoodbye(now), effects: this.drain(now) };
  }

  private writeGoodbye(now: Millis): Record {
    return this.fellowship.goodbye((said) => this.writeOwn(this.leftKind, '', encodeJson(said), now));
  }

  /** Membership refuted more accusations than the goodbye allowed for: said as it was, it would count for nothing. */
  private renewGoodbye(now: Millis): void {
    try {
      this.writeGoodbye(now);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      const { self: subject } = this.options;
      this.effects.push({ type: 'alarm', code: 'goodbye-lost', subject, detail: error.message });
    }
  }

  /**
   * Writes one of this host's own slots; null leaves a tombstone. Nobody sees the write before the
   * `persist` among the effects is durable and its `commit` came back. Throws with nothing changed:
   * `Fault('quota-exceeded')`, `Fault('rate-exceeded')`, `Fault('value-too-large')`, `Fault('invalid-kind')`,
   * `Fault('invalid-key')`; `Fault('stale-record')` for a slot that is lost, see `noteOwnVersion`.
   */
  put(
    kind: string,
    key: string,
    value: Uint8Array | null,
    now: Millis,
  ): { record: Record; effects: readonly GossipEffect[] } {
    return { record: this.writeOwn(kind, key, value, now), effects: this.drain(now) };
  }

  private writeOwn(kind: string, key: string, value: Uint8Array | null, now: Millis, slack?: number): Record {
    const version = this.versions.next;
    const hlc = this.clock.tick(now);
    const record = encodeRecord({ scope: 'host', kind, key, version, hlc, value }, this.options.signer);
    this.intake.checkOwn(record, now, { ignoreFloor: true, slack });
    this.versions.used(version);
    this.persistOwn(record);
    return record;
  }

  /** What the operator `author` should sign to write policy now; hand the record to `putSigned`. */
  nextPolicyFields(author: HostId, now: Millis): { version: number; hlc: Hlc } {
    const highest = highestOf(author, this.replica.policyVersions());
    // Numbers end where integers do: a last one that is used twice hides nothing, see `sequencesOf`.
    const used = Math.max(highest, this.numbered.get(author) ?? 0);
    const version = Math.min(used + 1, Number.MAX_SAFE_INTEGER);
    this.numbered.set(author, version);
    return { version, hlc: this.clock.tick(now) };
  }

  /**
   * Writes a record signed by another key, such as an operator's. Durable before visible, like `put`.
   * Throws with nothing changed: `clock-ahead`, `bad-signature`, `known-record`, `stale-record`,
   * `quota-exceeded`, `rate-exceeded`, or the authority's own code.
   */
  putSigned(record: Record, now: Millis): { effects: readonly GossipEffect[] } {
    if (isClockAhead(record.hlc, now)) throw new Fault('clock-ahead', 'the record is from the future');
    if (!isAuthentic(record, this.options.verify))
      throw new Fault('bad-signature', 'the author did not sign this record');
    const refusal = this.options.authority.judge(record, now);
    if (refusal !== null) throw new Fault(refusal.code, `the mesh would refuse this record: ${refusal.code}`);
    this.intake.checkOwn(record, now);
    this.persistOwn(record);
    return { effects: this.drain(now) };
  }

  private persistOwn(record: Record): void {
    const then: GossipEffect[] = [{ type: 'commit', records: [record] }];
    this.effects.push({ type: 'persist', ops: recordOps(record, this.replica), sync: true, then });
  }

  /**
   * A record handed over outside of gossip, such as a joiner's admission: judged like any other, and passed
   * on to the mesh if it was news. `way` says who is charged for one that is refused.
   */
  offer(
    bytes: Uint8Array,
    now: Millis,
    way: Way = 'offer',
  ): { outcome: 'applied' | 'known' | 'stale' | Refusal; effects: readonly GossipEffect[] } {
    const [verdict] = this.acceptAll([bytes], now, way);
    assert(verdict !== undefined, 'one verdict a record');
    if (verdict.outcome === 'refused')
      return { outcome: { code: verdict.code, later: verdict.later }, effects: this.drain(now) };
    const { outcome, record } = verdict;
    if (outcome === 'applied' || outcome === 'kept') this.dissemination.add(record, now);
    return { outcome: outcome === 'kept' ? 'stale' : outcome, effects: this.drain(now) };
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
    const verdicts = this.acceptAll(records, now, 'delta');
    this.latestRelayVerdict = relayVerdictOf(verdicts);
    for (const { outcome, record } of verdicts)
      if (outcome === 'applied' && record !== null) this.latency.note(now - hlcMillis(record.hlc));
  }

  /** Takes records in, then tells of those that won. */
  private acceptAll(records: readonly Uint8Array[], now: Millis, way: Way): Verdict[] {
    const verdicts = this.intake.acceptAll(records, now, way);
    const entered: Record[] = [];
    for (const verdict of verdicts) {
      if (verdict.outcome === 'applied' || verdict.outcome === 'kept') entered.push(verdict.record);
      else if (verdict.outcome === 'refused' && verdict.code === 'below-floor' && verdict.record !== null)
        this.repeats.deletion(verdict.record, way, now);
    }
    this.announce(entered, now);
    return verdicts;
  }

  /** What the authority judges by has changed otherwise than by records: the parked ones are judged again. */
  reconsider(): void {
    if (this.intake.parking.size > 0) this.retryAt = 0;
  }

  /**
   * Judges the parked records again, in the step after others were applied: the authority learns of those
   * from the effects of the step before.
   */
  private retryParked(now: Millis): void {
    if (this.retryAt === null) return;
    this.retryAt = null;
    this.announce(this.intake.retry(now), now);
  }

  /** A peer has collected these slots: follows it where their authors are dead, and repeats what is its own. */
  private follow(slots: readonly CollectedSlot[], now: Millis): void {
    const { collected, repeat } = this.collection.follow(slots, now);
    this.forget(collected);
    for (const { record, floor } of repeat) {
      this.versions.climbAbove(floor);
      this.repeats.record(record.kind, record.key, record.value, now);
    }
  }

  /** Own writes reached the disk: now they count, here and everywhere. */
  private commit(records: readonly Record[], now: Millis): void {
    const applied = records.filter((record) => {
      const outcome = this.replica.join(record, taken);
      return outcome === 'applied' || outcome === 'kept';
    });
    // Of policy, other versions may have come while this one was on its way to the disk.
    const policies = applied.filter(({ scope }) => scope === 'policy');
    this.announce(applied, now, policies);
    for (const record of applied) this.dissemination.add(record, now);
    for (const record of applied) {
      if (record.author !== this.options.self || record.kind !== this.leftKind) continue;
      this.dissemination.flush(now);
      if (parseLifecycle(record)?.state === 'left') this.fellowship.order({ type: 'leave' });
    }
  }

  /** Persists what entered the replica, unless it is durable already, and tells of what won. */
  private announce(entered: readonly Record[], now: Millis, unsaved = entered): void {
    if (entered.length === 0) return;
    this.sync.noteRoot();
    if (this.intake.parking.size > 0) this.retryAt = now;
    for (const record of entered) this.noteOwnVersion(record);
    const ops = unsaved.flatMap((record) => recordOps(record, this.replica));
    if (ops.length > 0) this.effects.push({ type: 'persist', ops, sync: false, then: [] });
    const winners = entered.filter((record) => this.replica.get(slotOf(record)) === record);
    if (winners.length === 0) return;
    this.effects.push({ type: 'applied', records: winners });
    this.fellowship.note(winners, now);
  }

  /** Of a version so high that hardly any are left only the slot is lost, and the operator is told. */
  private noteOwnVersion(record: Record): void {
    const { self } = this.options;
    if (record.author !== self || record.scope !== 'host' || this.versions.used(record.version)) return;
    this.effects.push({ type: 'alarm', code: 'version-exhausted', subject: self, detail: slotOf(record) });
  }

  private forget(collected: Collected | null): void {
    if (collected === null || collected.records.length === 0) return;
    this.sync.noteRoot();
    this.effects.push({ type: 'persist', ops: eraseOps(collected), sync: false, then: [] });
    this.effects.push({ type: 'forgotten', records: collected.records });
    this.fellowship.forget(collected.records);
  }

  private sendSync(to: HostId, frame: SyncFrame): void {
    const bytes = encodeFrame(frame);
    this.counters.syncBytesOut += bytes.length;
    this.effects.push({ type: 'send', to, bytes });
  }

  private drain(now: Millis): readonly GossipEffect[] {
    this.collection.begin(now);
    this.fellowship.tellRoot();
    const effects = this.effects;
    this.effects = [];
    return effects;
  }
}
