/**
 * The one way into the replica for what others say: decode, compare, verify, judge, join. Cheap checks come
 * first, because most records that arrive are known already and a signature costs 150 us. Also the gate for
 * this host's own writes, which are held to half of what is taken from others.
 */
import { Fault, type HostId, type Millis, type Verify } from '../../core.ts';
import type { GossipParameters } from '../parameters.ts';
import type { Authority, RelayVerdict } from '../port.ts';
import { type Rate, Rates } from '../rates.ts';
import type { SyncOutcome } from '../spread/session.ts';
import { decodeRecord, isAuthentic } from './codec.ts';
import { type HybridClock, isClockAhead } from './hlc.ts';
import { Parking } from './parking.ts';
import { type Record, type Scope, slotOf } from './record.ts';
import { isEquivocation, type JoinOptions, othersSlack, type Replica } from './replica.ts';

export type Verdict =
  | { readonly outcome: 'applied' | 'kept' | 'known' | 'stale'; readonly record: Record }
  /** `record` is null when the bytes are none. */
  | {
      readonly outcome: 'refused';
      readonly code: string;
      readonly later: boolean;
      readonly record: Record | null;
    };

/**
 * How records came here: by a delta, whoever relayed it; from a peer of a session; from a joiner or this host itself;
 * or from a stranger for whom a sponsor gave its word.
 */
export type Way = 'delta' | 'offer' | { readonly peer: HostId } | { readonly sponsor: HostId };

/** Who brought it, by that way. */
export function bringerOf(way: Way): string {
  if (typeof way === 'string') return way;
  return 'peer' in way ? `peer/${way.peer}` : `sponsor/${way.sponsor}`;
}

export interface IntakeStats {
  applied: number;
  kept: number;
  known: number;
  stale: number;
  /** By code. Codes are those of this file, of the codec and of the authority: a closed set. */
  readonly refused: Map<string, number>;
}

/**
 * Authors whose rates are remembered; past this, whoever wrote longest ago starts anew. Only admitted authors get
 * here, so keys made up by the thousand displace nobody.
 */
const maxRatedAuthors = 16_384;
/**
 * Who is charged for a record that was refused, where it is not its author: nothing is held of that one, so it may
 * be any key. A relay of deltas cannot help it, a peer of a session can. What would admit its author is counted apart,
 * so that records of made-up keys keep nobody from joining.
 */
const strangers = 'strangers';
const newcomers = 'newcomers';
const joiners = 'joiners';
/**
 * Authentic records that are verified, then refused: the burst is for a replica to which an admission comes after
 * what it admits, the rate is what verifying costs three hundredths of a core.
 */
const refusalRate: Rate = { perSecond: 200, burst: 4096 };

/** How many times its share a host may fill with what it has to be able to say; others grant `othersSlack`. */
const vitalSlack = 1.5;

/** Equivocating writers that were reported; past this the list starts over. */
const maxReported = 1024;

export class Intake {
  readonly stats: IntakeStats = { applied: 0, kept: 0, known: 0, stale: 0, refused: new Map() };
  readonly parking: Parking;
  private readonly replica: Replica;
  private readonly clock: HybridClock;
  private readonly verify: Verify;
  private readonly authority: Authority;
  private readonly onEquivocation: (author: HostId, slot: string) => void;
  private readonly reported = new Set<HostId>();
  private readonly rates: { readonly [scope in Scope]: Rates };
  /** How often somebody signs, or passes on, what may not enter; see `chargedFor`. */
  private readonly refusals = new Rates(refusalRate, maxRatedAuthors);
  private readonly vitalKinds: ReadonlySet<string>;
  private readonly ownRates: { readonly [scope in Scope]: Rates };

  constructor(options: {
    replica: Replica;
    clock: HybridClock;
    verify: Verify;
    authority: Authority;
    parameters: GossipParameters;
    onEquivocation: (author: HostId, slot: string) => void;
    /** What this host must be able to write even where its users filled its share. */
    vitalKinds: ReadonlySet<string>;
  }) {
    this.vitalKinds = options.vitalKinds;
    this.replica = options.replica;
    this.clock = options.clock;
    this.verify = options.verify;
    this.authority = options.authority;
    this.onEquivocation = options.onEquivocation;
    this.parking = new Parking(options.parameters.maxParked, options.parameters.maxParkedBytes);
    const { hostRate, policyRate } = options.replica.limits;
    const generous = (rate: Rate): Rates =>
      new Rates({ ...rate, burst: othersSlack * rate.burst }, maxRatedAuthors);
    this.rates = { host: generous(hostRate), policy: generous(policyRate) };
    this.ownRates = {
      host: new Rates(hostRate, maxRatedAuthors),
      policy: new Rates(policyRate, maxRatedAuthors),
    };
  }

  /**
   * Takes in the records of one message one by one, so that a bad one costs no other. But no honest peer passes
   * a forgery on: what comes after one is not looked at, since each would cost a verification.
   */
  acceptAll(records: readonly Uint8Array[], now: Millis, way: Way = 'delta'): Verdict[] {
    const verdicts: Verdict[] = [];
    for (const bytes of records) {
      const verdict = this.accept(bytes, now, way);
      verdicts.push(verdict);
      if (isForged(verdict)) break;
    }
    while (verdicts.length < records.length) verdicts.push(unread);
    return verdicts;
  }

  /** Takes in one record, whoever passed it on. */
  accept(bytes: Uint8Array, now: Millis, way: Way = 'delta'): Verdict {
    const verdict = this.consider(bytes, now, way);
    if (verdict.outcome === 'refused') {
      const { refused } = this.stats;
      refused.set(verdict.code, (refused.get(verdict.code) ?? 0) + 1);
    } else this.stats[verdict.outcome]++;
    return verdict;
  }

  /**
   * Whether a record written on this host may be made durable, and joined then. `Fault`, with nothing
   * changed: `known-record`, `stale-record`, `quota-exceeded`, `rate-exceeded`. `ignoreFloor` for its own slots;
   * `slack` for how much of its share it may fill: unless told all of it, and with vital kinds more. Those have no
   * rate either: this host's users must not use it up.
   */
  checkOwn(record: Record, now: Millis, options: JoinOptions = {}): void {
    const isVital = this.vitalKinds.has(record.kind);
    const slack = options.slack ?? (isVital ? vitalSlack : 1);
    const outcome = this.replica.preview(record, { ...options, slack });
    if (outcome === 'quota-exceeded')
      throw new Fault('quota-exceeded', 'this author has as many records as the mesh allows one to have');
    if (outcome === 'known') throw new Fault('known-record', 'the slot holds this very record');
    if (outcome !== 'applied') throw new Fault('stale-record', 'the slot holds, or held, a later record');
    if (!isVital && !this.ownRates[record.scope].take(record.author, now))
      throw new Fault('rate-exceeded', 'this author writes faster than the mesh allows one to write');
  }

  private consider(bytes: Uint8Array, now: Millis, way: Way): Verdict {
    let record: Record;
    try {
      record = decodeRecord(bytes);
    } catch (error) {
      if (error instanceof Fault) return { outcome: 'refused', code: error.code, later: false, record: null };
      throw error;
    }
    if (isClockAhead(record.hlc, now)) return refuse(record, 'clock-ahead');
    const preview = this.replica.preview(record);
    if (preview === 'known') return { outcome: preview, record };
    if (preview === 'quota-exceeded' || preview === 'below-floor') return refuse(record, preview);
    const held = this.replica.get(slotOf(record));
    const equivocates = held !== undefined && isEquivocation(held, record);
    // Who is known to sign two truths is not worth a verification for every further one.
    const isNews = equivocates && !this.reported.has(record.author);
    if (preview === 'stale' && !isNews) return { outcome: preview, record };
    if (this.parking.has(record)) return refuse(record, 'parked', true);
    // Before the signature, which is what costs; anti-entropy brings the record again.
    const source = this.chargedFor(record, way);
    const isOverRate =
      !this.rates[record.scope].allows(record.author, now) || !this.refusals.allows(source, now);
    if (isOverRate) return refuse(record, 'rate-exceeded', true);
    if (!isAuthentic(record, this.verify)) return refuse(record, 'bad-signature');
    if (equivocates) this.report(record);
    if (preview === 'stale') return { outcome: preview, record };
    const refusal = this.authority.judge(record, now);
    if (refusal === null) return this.enter(record, now);
    this.refusals.take(source, now);
    if (refusal.later) this.parking.add(record);
    return refuse(record, refusal.code, refusal.later);
  }

  /** Whose refusals a refusal of this record is counted among. */
  private chargedFor(record: Record, way: Way): string {
    if (way === 'offer') return joiners;
    if (way !== 'delta') return bringerOf(way);
    if (this.replica.knows(record.author)) return record.author;
    return this.replica.rankOf(record) === 1 ? newcomers : strangers;
  }

  private enter(record: Record, now: Millis): Verdict {
    const outcome = this.replica.join(record);
    if (outcome === 'below-floor' || outcome === 'quota-exceeded') return refuse(record, outcome);
    if (outcome === 'applied' || outcome === 'kept') this.rates[record.scope].take(record.author, now);
    this.clock.observe(record.hlc, now);
    return { outcome, record };
  }

  /** Judges the parked records again. Returns those that changed the replica. */
  retry(now: Millis): Record[] {
    const entered: Record[] = [];
    for (const record of this.parking.entries()) {
      const refusal = this.authority.judge(record, now);
      if (refusal?.later) continue;
      this.parking.remove(record);
      if (refusal !== null) continue;
      const { outcome } = this.enter(record, now);
      if (outcome !== 'applied' && outcome !== 'kept') continue;
      this.stats[outcome]++;
      entered.push(record);
    }
    return entered;
  }

  private report(record: Record): void {
    if (this.reported.has(record.author)) return;
    if (this.reported.size >= maxReported) this.reported.clear();
    this.reported.add(record.author);
    this.onEquivocation(record.author, slotOf(record));
  }
}

/** What came after a forgery. */
const unread: Verdict = { outcome: 'refused', code: 'unread', later: true, record: null };

function isForged(verdict: Verdict): boolean {
  return verdict.outcome === 'refused' && verdict.code === 'bad-signature';
}

function refuse(record: Record, code: string, later = false): Verdict {
  return { outcome: 'refused', code, later, record };
}

/** What anti-entropy is to make of a verdict. */
export function syncOutcomeOf(verdict: Verdict, replica: Replica): SyncOutcome {
  const { outcome, record } = verdict;
  if (outcome === 'stale') return { outcome, slot: replica.slotDigest(slotOf(record)) };
  if (outcome !== 'refused') return { outcome };
  if (record === null || verdict.code !== 'below-floor') return { outcome };
  const slot = replica.slotDigest(slotOf(record));
  return { outcome: 'collected', slot, floor: replica.floorOf(record.author) };
}

/** One forged record condemns a delta: its relay verified nothing. One good record is worth passing on. */
export function relayVerdictOf(verdicts: readonly Verdict[]): RelayVerdict {
  if (verdicts.some(isForged)) return 'reject';
  return verdicts.some(({ outcome }) => outcome !== 'refused') ? 'accept' : 'ignore';
}
