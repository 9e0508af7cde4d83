/**
 * One anti-entropy session, either side. Both keep an outbox that is drawn lazily and only as fast as the
 * peer takes frames in, so a snapshot of a large replica never sits in memory twice.
 */
import { type HostId, type Millis, unreachable } from '../../core.ts';
import { Deadlines } from '../deadlines.ts';
import {
  type BucketParts,
  type Digest,
  maxRangesPerFrame,
  maxRecordsPerFrame,
  maxSlotsPerFrame,
  type RangeListing,
  type SyncEnd,
  type SyncFrame,
} from '../frames.ts';
import type { SyncParameters } from '../parameters.ts';
import { digestBytes } from '../replica/digest.ts';
import type { Record } from '../replica/record.ts';
import type { Replica } from '../replica/replica.ts';
import { partsPerBucket, rangeOfPart, rankOf } from '../replica/slots.ts';

/** Payload of one frame: leaves room for a largest record's overhead below `maxFrameBytes`. */
const chunkBytes = 60 * 1024;
/**
 * A session ends after this long, however lively: nobody keeps this agent's one opening session, or a place
 * among those it answers, for ever. What a large replica still lacks then comes with the next session.
 */
export const maxSessionMs: Millis = 30_000;
/** Queued pieces of work a peer may make this side hold; more than its window ever needs. */
const maxQueued = 64;
const entryBytes = 2 * digestBytes;
const partsBytes = partsPerBucket * digestBytes;
/** A bucket of more slots than this is told in parts first: another half round trip, for a fraction of the bytes. */
const maxListedSlots = 20;

/** A frame that costs one credit of the window. */
type Carrying = SyncFrame & { type: 'sync-listing' | 'sync-parts' | 'sync-want' | 'sync-records' };

export interface Session {
  readonly peer: HostId;
  readonly id: number;
  /** Whether this agent opened it. */
  readonly opener: boolean;
  readonly endsAt: Millis;
  /** Records that this side applied. */
  gained: number;
  inFlight: number;
  /** Frames of this side that the peer took. */
  taken: number;
  /** Wants and listings, or the snapshot, that the peer still has to answer in full. */
  awaited: number;
  /** The opener has seen the last listing. */
  listed: boolean;
  readonly queue: Iterator<Carrying>[];
}

/** What one record of a peer came to; `slot` names it where the peer is to learn something. */
export type SyncOutcome =
  | { readonly outcome: 'applied' | 'kept' | 'known' | 'refused' }
  /** The slot holds a later record, which the peer lacks. */
  | { readonly outcome: 'stale'; readonly slot: Digest }
  /** The slot was collected here; see `Replica.floorOf`. */
  | { readonly outcome: 'collected'; readonly slot: Digest; readonly floor: number };

export interface CollectedSlot {
  readonly slot: Digest;
  readonly floor: number;
}

export interface SyncOwner {
  send(to: HostId, frame: SyncFrame): void;
  /** Takes records in; what became of each. */
  accept(records: readonly Uint8Array[], from: HostId, now: Millis): readonly SyncOutcome[];
  /** The peer does not take these slots' records in: it has collected them. */
  collected(slots: readonly CollectedSlot[], from: HostId, now: Millis): void;
}

interface RunnerOwner extends SyncOwner {
  ended(session: Session, reason: SyncEnd, now: Millis): void;
}

export class SessionRunner {
  private readonly replica: Replica;
  private readonly parameters: SyncParameters;
  private readonly counters: { recordsReceived: number; recordsSent: number };
  private readonly owner: RunnerOwner;
  private readonly sessions = new Map<string, Session>();
  private readonly deadlines = new Deadlines<string>();
  private opening: Session | null = null;

  constructor(
    replica: Replica,
    parameters: SyncParameters,
    counters: { recordsReceived: number; recordsSent: number },
    owner: RunnerOwner,
  ) {
    this.replica = replica;
    this.parameters = parameters;
    this.counters = counters;
    this.owner = owner;
  }

  get size(): number {
    return this.sessions.size;
  }

  /** Whether a session that this agent opened is under way: there is at most one. */
  get isOpening(): boolean {
    return this.opening !== null;
  }

  get answering(): number {
    return this.sessions.size - (this.opening === null ? 0 : 1);
  }

  nextWake(): Millis | null {
    return this.deadlines.next();
  }

  wake(now: Millis): void {
    for (let key = this.deadlines.takeDue(now); key !== undefined; key = this.deadlines.takeDue(now)) {
      const session = this.sessions.get(key);
      if (session !== undefined) this.close(session, now < session.endsAt ? 'timeout' : 'overrun', now);
    }
  }

  /** A replica with next to nothing in it offers all it has and asks for everything. */
  open(peer: HostId, id: number, now: Millis): void {
    const session = this.begin(peer, id, true, now);
    this.opening = session;
    const snapshot = this.replica.totalBytes <= this.parameters.snapshotBytes;
    const buckets = snapshot ? null : this.replica.bucketDigests();
    this.owner.send(peer, { type: 'sync-open', session: id, buckets });
    if (!snapshot) return;
    session.listed = true;
    session.awaited = 1;
    session.queue.push(this.recordFrames(session, this.replica.foundationFirst(), false));
    this.pump(session, now);
  }

  answer(peer: HostId, frame: SyncFrame & { type: 'sync-open' }, now: Millis): void {
    if (this.sessions.has(keyOf(peer, frame.session))) {
      this.turnAway(peer, frame.session);
      return;
    }
    // One session a peer: it has given up an older one, or would take the place of others.
    for (const older of [...this.sessions.values()])
      if (older.peer === peer && !older.opener) this.end(older, 'timeout', now);
    const session = this.begin(peer, frame.session, false, now);
    session.listed = true;
    if (frame.buckets === null)
      session.queue.push(this.recordFrames(session, this.replica.foundationFirst(), true));
    else session.queue.push(this.differenceFrames(session, frame.buckets));
    this.pump(session, now);
  }

  turnAway(peer: HostId, id: number): void {
    this.owner.send(peer, { type: 'sync-close', session: id, reason: 'busy' });
  }

  /** The connection to `peer` is gone. */
  abandon(peer: HostId, now: Millis): void {
    for (const session of [...this.sessions.values()])
      if (session.peer === peer) this.end(session, 'timeout', now);
  }

  receive(from: HostId, frame: Exclude<SyncFrame, { type: 'sync-open' }>, now: Millis): void {
    const session = this.sessions.get(keyOf(from, frame.session));
    if (session === undefined) return;
    const quietUntil = now + this.parameters.timeoutMs;
    this.deadlines.set(keyOf(from, frame.session), Math.min(quietUntil, session.endsAt));
    switch (frame.type) {
      case 'sync-close':
        this.end(session, frame.reason, now);
        return;
      case 'sync-credit':
        if (session.inFlight === 0) break;
        session.inFlight--;
        session.taken++;
        break;
      case 'sync-parts':
        if (session.opener) session.queue.push(this.partListings(session, frame.buckets));
        break;
      case 'sync-listing':
        this.compare(session, frame);
        break;
      case 'sync-want':
        session.queue.push(this.recordFrames(session, this.versionsOf(frame.slots), true));
        break;
      case 'sync-collected':
        this.owner.collected(frame.slots, from, now);
        return;
      case 'sync-records':
        this.takeIn(session, frame, now);
        break;
      default:
        unreachable(frame);
    }
    if (session.queue.length > maxQueued) {
      this.close(session, 'overrun', now);
      return;
    }
    this.pump(session, now);
    // The credit goes last: the opener may close on it, and what was pushed back must be there before.
    if (frame.type !== 'sync-credit') this.owner.send(from, { type: 'sync-credit', session: session.id });
  }

  private begin(peer: HostId, id: number, opener: boolean, now: Millis): Session {
    const counts = { gained: 0, inFlight: 0, taken: 0, awaited: 0 };
    const session: Session = {
      peer,
      id,
      opener,
      endsAt: now + maxSessionMs,
      ...counts,
      listed: false,
      queue: [],
    };
    this.sessions.set(keyOf(peer, id), session);
    this.deadlines.set(keyOf(peer, id), now + this.parameters.timeoutMs);
    return session;
  }

  /** Sends while the window allows; the opener closes once nothing is left on either side. */
  private pump(session: Session, now: Millis): void {
    while (session.inFlight < this.parameters.window && session.queue.length > 0) {
      const next = session.queue[0]!.next();
      if (next.done) {
        session.queue.shift();
        continue;
      }
      session.inFlight++;
      if (next.value.type === 'sync-records') this.counters.recordsSent += next.value.records.length;
      this.owner.send(session.peer, next.value);
    }
    const finished = session.queue.length === 0 && session.inFlight === 0 && session.awaited === 0;
    if (session.opener && session.listed && finished) this.close(session, 'done', now);
  }

  private close(session: Session, reason: SyncEnd, now: Millis): void {
    this.owner.send(session.peer, { type: 'sync-close', session: session.id, reason });
    this.end(session, reason, now);
  }

  private end(session: Session, reason: SyncEnd, now: Millis): void {
    const key = keyOf(session.peer, session.id);
    if (!this.sessions.delete(key)) return;
    this.deadlines.delete(key);
    if (this.opening === session) this.opening = null;
    this.owner.ended(session, reason, now);
  }

  /**
   * What differs, by rank: everything is asked for, pushed and taken in that order, so that nobody has to refuse what
   * comes before that which admits its author. Parts are one exchange more than listings, so that nothing is listed
   * after them. The last frame may be empty.
   */
  private *differenceFrames(session: Session, theirs: Uint8Array): Generator<Carrying> {
    const differing = differences(this.replica.bucketDigests(), theirs);
    let byParts = false;
    for (const rank of [0, 1, 2]) {
      const ofRank = differing.filter((bucket) => rankOf(bucket) === rank);
      const isLarge = (bucket: number): boolean =>
        byParts || this.replica.bucketSize(bucket) > maxListedSlots;
      const large = ofRank.filter(isLarge);
      const small = ofRank.filter((bucket) => !isLarge(bucket));
      byParts ||= large.length > 0;
      yield* this.partsFrames(session, large);
      if (small.length === 0 && rank < 2) continue;
      for (const { ranges, last } of this.listings(small))
        yield { type: 'sync-listing', session: session.id, last: last && rank === 2, ranges };
    }
  }

  /** Large buckets by their parts. */
  private *partsFrames(session: Session, buckets: readonly number[]): Generator<Carrying> {
    let parts: BucketParts[] = [];
    for (const bucket of buckets) {
      if ((parts.length + 1) * (partsBytes + 2) > chunkBytes) {
        yield { type: 'sync-parts', session: session.id, buckets: parts };
        parts = [];
      }
      parts.push({ bucket, digests: this.replica.partDigests(bucket) });
    }
    if (parts.length > 0) yield { type: 'sync-parts', session: session.id, buckets: parts };
  }

  /** Listings of the parts that differ; the peer answers each frame of them. */
  private *partListings(session: Session, buckets: readonly BucketParts[]): Generator<Carrying> {
    const ranges = buckets.flatMap(({ bucket, digests }) =>
      differences(this.replica.partDigests(bucket), digests).map((part) => rangeOfPart(bucket, part)),
    );
    for (const { ranges: listed, last } of this.listings(ranges)) {
      session.awaited++;
      yield { type: 'sync-listing', session: session.id, last, ranges: listed };
    }
  }

  /** Ranges in full, as many as fit a frame. */
  private *listings(ranges: readonly number[]): Generator<{ ranges: RangeListing[]; last: boolean }> {
    let listed: RangeListing[] = [];
    let bytes = 0;
    for (const range of ranges) {
      const entries = [...this.replica.listing(range)]
        .slice(0, maxSlotsPerFrame)
        .map(([slot, record]) => ({ slot, record }));
      const size = 5 + entries.length * entryBytes;
      const full = bytes + size > chunkBytes || listed.length >= maxRangesPerFrame;
      if (listed.length > 0 && full) {
        yield { ranges: listed, last: false };
        listed = [];
        bytes = 0;
      }
      listed.push({ range, entries });
      bytes += size;
    }
    yield { ranges: listed, last: true };
  }

  /** Records in frames; `answering` marks the last one as the end of an answer, even if it is empty. */
  private *recordFrames(session: Session, source: Iterable<Record>, answering: boolean): Generator<Carrying> {
    let records: Uint8Array[] = [];
    let bytes = 0;
    for (const record of source) {
      const size = record.text.length;
      const full = bytes + size > chunkBytes || records.length >= maxRecordsPerFrame;
      if (records.length > 0 && full) {
        yield { type: 'sync-records', session: session.id, last: false, records };
        records = [];
        bytes = 0;
      }
      records.push(record.bytes);
      bytes += size;
    }
    if (answering || records.length > 0)
      yield { type: 'sync-records', session: session.id, last: answering, records };
  }

  private *wantFrame(session: Session, slots: readonly Digest[]): Generator<Carrying> {
    yield { type: 'sync-want', session: session.id, slots };
  }

  /** All versions of these slots, drawn when it is their turn. */
  private *versionsOf(slots: Iterable<Digest>): Generator<Record> {
    for (const slot of slots) yield* this.replica.versionsNamed(slot);
  }

  /**
   * Wants what differs or is missing here; pushes what is missing there. Of policy that differs both sides
   * may hold versions that the other lacks, so it goes both ways.
   */
  private compare(session: Session, frame: SyncFrame & { type: 'sync-listing' }): void {
    const wanted: Digest[] = [];
    const pushed: Digest[] = [];
    let last = -1;
    for (const { range, entries } of frame.ranges) {
      // In order and each once, so that a frame costs at most one walk through the replica.
      if (range <= last) break;
      last = range;
      const ours = this.replica.listing(range);
      const theirs = new Set<Digest>();
      for (const { slot, record } of entries) {
        theirs.add(slot);
        const held = ours.get(slot);
        if (held === record) continue;
        wanted.push(slot);
        if (held !== undefined && this.isPolicy(slot)) pushed.push(slot);
      }
      for (const slot of ours.keys()) if (!theirs.has(slot)) pushed.push(slot);
    }
    for (let start = 0; start < wanted.length; start += maxSlotsPerFrame) {
      session.awaited++;
      session.queue.push(this.wantFrame(session, wanted.slice(start, start + maxSlotsPerFrame)));
    }
    // The side that opened waits for an end of this answer, which comes after the wants.
    const answering = !session.opener;
    if (session.opener) session.listed ||= frame.last;
    if (pushed.length > 0 || answering)
      session.queue.push(this.recordFrames(session, this.versionsOf(pushed), answering));
  }

  private isPolicy(slot: Digest): boolean {
    for (const { scope } of this.replica.versionsNamed(slot)) return scope === 'policy';
    return false;
  }

  /**
   * A record that is stale here means that the peer lacks this side's winner: it is pushed back. Of one that
   * was collected here the peer is told so.
   */
  private takeIn(session: Session, frame: SyncFrame & { type: 'sync-records' }, now: Millis): void {
    this.counters.recordsReceived += frame.records.length;
    if (frame.last) session.awaited = Math.max(0, session.awaited - 1);
    const newer = new Set<Digest>();
    const collected: CollectedSlot[] = [];
    for (const result of this.owner.accept(frame.records, session.peer, now)) {
      if (result.outcome === 'applied' || result.outcome === 'kept') session.gained++;
      if (result.outcome === 'stale') newer.add(result.slot);
      if (result.outcome === 'collected') collected.push({ slot: result.slot, floor: result.floor });
    }
    if (newer.size > 0) session.queue.push(this.recordFrames(session, this.versionsOf(newer), false));
    if (collected.length > 0)
      this.owner.send(session.peer, { type: 'sync-collected', session: session.id, slots: collected });
  }
}

/** Positions at which two rows of digests of the same length differ. */
function differences(ours: Uint8Array, theirs: Uint8Array): number[] {
  const places: number[] = [];
  for (let start = 0; start < ours.length; start += digestBytes) {
    const end = start + digestBytes;
    if (Buffer.compare(ours.subarray(start, end), theirs.subarray(start, end)) !== 0)
      places.push(start / digestBytes);
  }
  return places;
}

function keyOf(peer: HostId, session: number): string {
  return `${peer}/${session}`;
}
