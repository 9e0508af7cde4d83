/**
 * One anti-entropy session, either side. Both keep an outbox that is drawn lazily and only as fast as the
 * peer takes frames in, so a snapshot of a large replica never sits in memory twice.
 */
import { type HostId, type Millis, unreachable } from '../core.ts';
import { Deadlines } from './deadlines.ts';
import {
  type BucketListing,
  type Digest,
  maxRecordsPerFrame,
  maxSlotsPerFrame,
  type SyncEnd,
  type SyncFrame,
} from './frames.ts';
import type { SyncParameters } from './parameters.ts';
import { bucketCount, digestBytes, type Entry, type Replica } from './replica.ts';

/** Payload of one frame: leaves room for a largest record's overhead below `maxFrameBytes`. */
const chunkBytes = 60 * 1024;
/** Queued pieces of work a peer may make this side hold; more than its window ever needs. */
const maxQueued = 64;
const entryBytes = 2 * digestBytes;

/** A frame that costs one credit of the window. */
type Carrying = SyncFrame & { type: 'sync-buckets' | 'sync-want' | 'sync-records' };

export interface Session {
  readonly peer: HostId;
  readonly id: number;
  /** Whether this agent opened it. */
  readonly opener: boolean;
  /** Records that this side applied. */
  gained: number;
  inFlight: number;
  /** Wants, or the snapshot, that the peer still has to answer in full. */
  awaited: number;
  /** The opener has seen the last listing. */
  listed: boolean;
  readonly queue: Iterator<Carrying>[];
}

/** What one record of a peer came to. */
export type SyncOutcome = 'applied' | 'known' | 'stale' | 'refused';

export interface SyncOwner {
  send(to: HostId, frame: SyncFrame): void;
  /** Takes records in; for each, what became of it and its slot's digest, null if it is none. */
  accept(
    records: readonly Uint8Array[],
    from: HostId,
    now: Millis,
  ): readonly { readonly outcome: SyncOutcome; readonly slot: Digest | null }[];
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
      if (session !== undefined) this.close(session, 'timeout', now);
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
    session.queue.push(this.recordFrames(session, this.everyEntry(), false));
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
    if (frame.buckets === null) session.queue.push(this.recordFrames(session, this.everyEntry(), true));
    else session.queue.push(this.bucketFrames(session, this.differing(frame.buckets)));
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
    this.deadlines.set(keyOf(from, frame.session), now + this.parameters.timeoutMs);
    switch (frame.type) {
      case 'sync-close':
        this.end(session, frame.reason, now);
        return;
      case 'sync-credit':
        session.inFlight = Math.max(0, session.inFlight - 1);
        break;
      case 'sync-buckets':
        if (session.opener) this.compare(session, frame);
        break;
      case 'sync-want':
        session.queue.push(this.recordFrames(session, this.entriesOf(frame.slots), true));
        break;
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
    const session = { peer, id, opener, gained: 0, inFlight: 0, awaited: 0, listed: false, queue: [] };
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

  private differing(theirs: Uint8Array): number[] {
    const ours = this.replica.bucketDigests();
    const buckets: number[] = [];
    for (let bucket = 0; bucket < bucketCount; bucket++) {
      const start = bucket * digestBytes;
      const end = start + digestBytes;
      if (Buffer.compare(ours.subarray(start, end), theirs.subarray(start, end)) !== 0) buckets.push(bucket);
    }
    return buckets;
  }

  /** Listings of whole buckets, as many as fit a frame; the last frame may be empty. */
  private *bucketFrames(session: Session, buckets: readonly number[]): Generator<Carrying> {
    let listings: BucketListing[] = [];
    let bytes = 0;
    for (const bucket of buckets) {
      const entries = [...this.replica.bucket(bucket).values()]
        .slice(0, maxSlotsPerFrame)
        .map((entry) => ({ slot: entry.slotDigest, record: entry.hash.slice(0, digestBytes) }));
      const size = 4 + entries.length * entryBytes;
      if (bytes > 0 && bytes + size > chunkBytes) {
        yield { type: 'sync-buckets', session: session.id, last: false, buckets: listings };
        listings = [];
        bytes = 0;
      }
      listings.push({ bucket, entries });
      bytes += size;
    }
    yield { type: 'sync-buckets', session: session.id, last: true, buckets: listings };
  }

  /** Records in frames; `answering` marks the last one as the end of an answer, even if it is empty. */
  private *recordFrames(session: Session, entries: Iterable<Entry>, answering: boolean): Generator<Carrying> {
    let records: Uint8Array[] = [];
    let bytes = 0;
    for (const { record } of entries) {
      const full = bytes + record.bytes.length > chunkBytes || records.length >= maxRecordsPerFrame;
      if (records.length > 0 && full) {
        yield { type: 'sync-records', session: session.id, last: false, records };
        records = [];
        bytes = 0;
      }
      records.push(record.bytes);
      bytes += record.bytes.length;
    }
    if (answering || records.length > 0)
      yield { type: 'sync-records', session: session.id, last: answering, records };
  }

  private *wantFrame(session: Session, slots: readonly Digest[]): Generator<Carrying> {
    yield { type: 'sync-want', session: session.id, slots };
  }

  private *everyEntry(): Generator<Entry> {
    for (let bucket = 0; bucket < bucketCount; bucket++) yield* this.replica.bucket(bucket).values();
  }

  private *entriesOf(slots: Iterable<Digest>): Generator<Entry> {
    for (const slot of slots) {
      const entry = this.replica.entryByDigest(slot);
      if (entry !== undefined) yield entry;
    }
  }

  /** Wants what differs or is missing here; pushes what is missing there. */
  private compare(session: Session, frame: SyncFrame & { type: 'sync-buckets' }): void {
    session.listed ||= frame.last;
    const wanted: Digest[] = [];
    const missing: Digest[] = [];
    for (const { bucket, entries } of frame.buckets) {
      const ours = this.replica.bucket(bucket);
      const theirs = new Set<Digest>();
      for (const { slot, record } of entries) {
        theirs.add(slot);
        if (ours.get(slot)?.hash.slice(0, digestBytes) !== record) wanted.push(slot);
      }
      for (const slot of ours.keys()) if (!theirs.has(slot)) missing.push(slot);
    }
    for (let start = 0; start < wanted.length; start += maxSlotsPerFrame) {
      session.awaited++;
      session.queue.push(this.wantFrame(session, wanted.slice(start, start + maxSlotsPerFrame)));
    }
    if (missing.length > 0) session.queue.push(this.recordFrames(session, this.entriesOf(missing), false));
  }

  /** A record that is stale here means that the peer lacks this side's winner: it is pushed back. */
  private takeIn(session: Session, frame: SyncFrame & { type: 'sync-records' }, now: Millis): void {
    this.counters.recordsReceived += frame.records.length;
    if (frame.last) session.awaited = Math.max(0, session.awaited - 1);
    const newer = new Set<Digest>();
    for (const { outcome, slot } of this.owner.accept(frame.records, session.peer, now)) {
      if (outcome === 'applied') session.gained++;
      if (outcome === 'stale' && slot !== null) newer.add(slot);
    }
    if (newer.size > 0) session.queue.push(this.recordFrames(session, this.entriesOf(newer), false));
  }
}

function keyOf(peer: HostId, session: number): string {
  return `${peer}/${session}`;
}
