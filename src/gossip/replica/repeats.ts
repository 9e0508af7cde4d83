/**
 * What this host says once more because a peer holds otherwise. Nobody waits for it: what cannot be written is
 * counted, and as long as peers differ they ask again.
 */
import { Fault, type HostId, type Millis, type Verify } from '../../core.ts';
import { Allowance, type Rate, Rates } from '../rates.ts';
import { RecentMap } from '../recent-map.ts';
import { isAuthentic } from './codec.ts';
import { bringerOf, type Way } from './intake.ts';
import { type Record, slotOf } from './record.ts';

/**
 * Deletions said again: the burst is for a straggler that comes back with all that was deleted meanwhile, the rate
 * for whoever replays what this host ever deleted.
 */
const deletionRate: Rate = { perSecond: 5 / 60, burst: 256 };
/**
 * Signatures looked at for it, for each peer of a session and for all deltas together, whose relays cannot help what
 * is in them: others are refused unseen. A forgery must not make this host write, nor keep it from hearing others.
 */
const lookRate: Rate = { perSecond: 5, burst: 512 };
/** Peers whose looks are counted; past this, whoever had one longest ago starts anew. */
const maxLookedFor = 1024;
/**
 * The part of its share that a host fills with deletions said again at the most: each stays for a day, and what it
 * has to say itself needs room.
 */
const shareForDeletions = 3 / 4;
/** A deletion that is on its way to the disk is not said again. */
const underWayMs: Millis = 60_000;

/** All grow only. */
export interface RepeatStats {
  deletions: number;
  /** For want of room or allowance, or because nobody signed what was to be deleted. */
  deletionsRefused: number;
  /** That this host is back after a goodbye, and that it is not gone as an operator said, included. */
  records: number;
  recordsRefused: number;
}

/** Writes one of this host's own slots, filling at most this part of its share; null is a tombstone. Throws `Fault`. */
type Write = (kind: string, key: string, value: Uint8Array | null, now: Millis, share?: number) => void;

export class Repeats {
  readonly stats: RepeatStats = { deletions: 0, deletionsRefused: 0, records: 0, recordsRefused: 0 };
  private readonly self: HostId;
  private readonly verify: Verify;
  private readonly write: Write;
  private readonly deletions = new Allowance(deletionRate);
  private readonly looks = new Rates(lookRate, maxLookedFor);
  /** Slots by when they were deleted again. */
  private readonly underWay = new RecentMap<Millis>(deletionRate.burst);

  constructor(options: { self: HostId; verify: Verify; write: Write }) {
    this.self = options.self;
    this.verify = options.verify;
    this.write = options.write;
  }

  /** Something that is to be in the mesh, and that it has forgotten or never heard. */
  record(kind: string, key: string, value: Uint8Array, now: Millis): void {
    const isWritten = this.tryWrite(kind, key, value, now);
    this.stats[isWritten ? 'records' : 'recordsRefused']++;
  }

  /**
   * Somebody still holds `record`, which may be one of this host that was deleted so long ago that the tombstone is
   * gone: its author is the one who can, and must, say so again.
   */
  deletion(record: Record, way: Way, now: Millis): void {
    if (record.author !== this.self || record.deleted) return;
    const slot = slotOf(record);
    if (now < (this.underWay.get(slot) ?? Number.NEGATIVE_INFINITY) + underWayMs) return;
    const isWritten =
      this.deletions.allows(now) &&
      this.looks.take(bringerOf(way), now) &&
      isAuthentic(record, this.verify) &&
      this.tryWrite(record.kind, record.key, null, now, shareForDeletions);
    this.stats[isWritten ? 'deletions' : 'deletionsRefused']++;
    if (!isWritten) return;
    this.deletions.take(now);
    this.underWay.set(slot, now);
  }

  private tryWrite(
    kind: string,
    key: string,
    value: Uint8Array | null,
    now: Millis,
    share?: number,
  ): boolean {
    try {
      this.write(kind, key, value, now, share);
      return true;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return false;
    }
  }
}
