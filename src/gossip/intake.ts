/**
 * The one way into the replica for what others say: decode, compare, verify, judge, join. Cheap checks come
 * first, because most records that arrive are known already and a signature costs 150 us.
 */
import { Fault, type HostId, type Millis, type Verify } from '../core.ts';
import { decodeRecord, digestOf, isAuthentic } from './codec.ts';
import { type HybridClock, isClockAhead } from './hlc.ts';
import type { GossipParameters } from './parameters.ts';
import { Parking } from './parking.ts';
import type { Authority } from './port.ts';
import { type Record, slotOf } from './record.ts';
import { isEquivocation, type Replica } from './replica.ts';

export type Verdict =
  | { readonly outcome: 'applied' | 'known' | 'stale'; readonly record: Record }
  /** `record` is null when the bytes are none. */
  | {
      readonly outcome: 'refused';
      readonly code: string;
      readonly later: boolean;
      readonly record: Record | null;
    };

export interface IntakeStats {
  applied: number;
  known: number;
  stale: number;
  /** By code. Codes are those of this file, of the codec and of the authority: a closed set. */
  readonly refused: Map<string, number>;
}

/** Equivocating writers that were reported; past this the list starts over. */
const maxReported = 1024;

export class Intake {
  readonly stats: IntakeStats = { applied: 0, known: 0, stale: 0, refused: new Map() };
  readonly parking: Parking;
  private readonly replica: Replica;
  private readonly clock: HybridClock;
  private readonly verify: Verify;
  private readonly authority: Authority;
  private readonly onEquivocation: (author: HostId, slot: string) => void;
  private readonly reported = new Set<HostId>();

  constructor(options: {
    replica: Replica;
    clock: HybridClock;
    verify: Verify;
    authority: Authority;
    parameters: GossipParameters;
    onEquivocation: (author: HostId, slot: string) => void;
  }) {
    this.replica = options.replica;
    this.clock = options.clock;
    this.verify = options.verify;
    this.authority = options.authority;
    this.onEquivocation = options.onEquivocation;
    this.parking = new Parking(options.parameters.maxParked, options.parameters.maxParkedBytes);
  }

  /** Takes in one record from `from`, null when nobody in particular vouches for the delivery. */
  accept(bytes: Uint8Array, from: HostId | null, now: Millis): Verdict {
    const verdict = this.consider(bytes, from, now);
    if (verdict.outcome === 'refused') {
      const { refused } = this.stats;
      refused.set(verdict.code, (refused.get(verdict.code) ?? 0) + 1);
    } else this.stats[verdict.outcome]++;
    return verdict;
  }

  private consider(bytes: Uint8Array, from: HostId | null, now: Millis): Verdict {
    let record: Record;
    try {
      record = decodeRecord(bytes);
    } catch (error) {
      if (error instanceof Fault) return { outcome: 'refused', code: error.code, later: false, record: null };
      throw error;
    }
    if (isClockAhead(record.hlc, now)) return refuse(record, 'clock-ahead');
    const fromAuthor = from === record.author;
    const preview = this.replica.preview(record, { fromAuthor });
    if (preview === 'known') return { outcome: preview, record };
    const held = this.replica.get(slotOf(record));
    const equivocates = held !== undefined && isEquivocation(held, record);
    if (preview === 'stale' && !equivocates) return { outcome: preview, record };
    if (preview === 'quota-exceeded') return refuse(record, preview);
    const hash = digestOf(record.bytes);
    if (this.parking.has(hash)) return refuse(record, 'parked', true);
    if (!isAuthentic(record, this.verify)) return refuse(record, 'bad-signature');
    if (equivocates) this.report(record);
    if (preview !== 'applied')
      return preview === 'stale' ? { outcome: preview, record } : refuse(record, preview);
    const refusal = this.authority.judge(record, now);
    if (refusal === null) return this.enter(record, fromAuthor, now);
    if (refusal.later) this.parking.add(hash, record);
    return refuse(record, refusal.code, refusal.later);
  }

  private enter(record: Record, fromAuthor: boolean, now: Millis): Verdict {
    const outcome = this.replica.join(record, { fromAuthor });
    if (outcome === 'below-floor' || outcome === 'quota-exceeded') return refuse(record, outcome);
    this.clock.observe(record.hlc, now);
    return { outcome, record };
  }

  /** Judges the parked records again. Returns those that won their slot. */
  retry(now: Millis): Record[] {
    const applied: Record[] = [];
    for (const [hash, record] of this.parking.entries()) {
      const refusal = this.authority.judge(record, now);
      if (refusal?.later) continue;
      this.parking.remove(hash);
      if (refusal !== null || this.enter(record, false, now).outcome !== 'applied') continue;
      this.stats.applied++;
      applied.push(record);
    }
    return applied;
  }

  private report(record: Record): void {
    if (this.reported.has(record.author)) return;
    if (this.reported.size >= maxReported) this.reported.clear();
    this.reported.add(record.author);
    this.onEquivocation(record.author, slotOf(record));
  }
}

function refuse(record: Record, code: string, later = false): Verdict {
  return { outcome: 'refused', code, later, record };
}
