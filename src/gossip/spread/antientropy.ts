/**
 * Finds and repairs the differences between two replicas, whatever deltas were lost: bucket digests, then
 * part digests of the buckets that differ, then listings of the parts that differ, then the records, pulled
 * and pushed in one session. Cost grows with the difference, not with the mesh (a Merkle tree of three wide
 * levels; cf. Dynamo, DeCandia et al. 2007, section 4.7).
 */
import { earliest, type HostId, type Millis, type Random } from '../../core.ts';
import type { Digest, SyncEnd, SyncFrame } from '../frames.ts';
import type { SyncParameters } from '../parameters.ts';
import { RecentMap } from '../recent-map.ts';
import type { Replica } from '../replica/replica.ts';
import { type Session, SessionRunner, type SyncOwner } from './session.ts';

/** Peers waiting for a session, and peers whose last session is remembered. */
const maxCandidates = 64;
const maxRemembered = 256;
/** Frames that an honest peer takes in a whole session's time at the very least, however slow its disk is. */
const minTaken = 30;
/** How long a peer is not answered again that took fewer. */
const overrunPauseMs = 30_000;
/** Own digests remembered: whoever is at one of them is only behind. */
const maxHistory = 256;

interface Memory {
  notBefore: Millis;
  gapMs: Millis;
  /** When this peer last opened a session here. */
  answeredAt: Millis;
}

/** A peer to open a session with. */
interface Candidate {
  readonly due: Millis;
  /** Its digest when it was last heard of; null for a new connection. */
  root: Digest | null;
}

export interface SyncStats {
  opened: number;
  answered: number;
  completed: number;
  failed: number;
  recordsReceived: number;
  recordsSent: number;
}

export class AntiEntropy {
  readonly stats: SyncStats = {
    opened: 0,
    answered: 0,
    completed: 0,
    failed: 0,
    recordsReceived: 0,
    recordsSent: 0,
  };
  private readonly replica: Replica;
  private readonly random: Random;
  private readonly parameters: SyncParameters;
  private readonly runner: SessionRunner;
  private readonly history = new RecentMap<true>(maxHistory);
  private readonly candidates = new Map<HostId, Candidate>();
  private readonly connections = new Set<HostId>();
  private readonly memories = new RecentMap<Memory>(maxRemembered);
  private nextOpenAt: Millis = 0;
  private everSynced = false;

  constructor(replica: Replica, random: Random, parameters: SyncParameters, owner: SyncOwner) {
    this.replica = replica;
    this.random = random;
    this.parameters = parameters;
    this.runner = new SessionRunner(replica, parameters, this.stats, {
      ...owner,
      ended: (session, reason, now) => this.ended(session, reason, now),
    });
    this.noteRoot();
  }

  /** Sessions under way. */
  get sessions(): number {
    return this.runner.size;
  }

  nextWake(): Millis | null {
    return earliest(this.runner.nextWake(), this.runner.isOpening ? null : this.nextCandidate());
  }

  private nextCandidate(): Millis | null {
    let due: Millis | null = null;
    for (const candidate of this.candidates.values()) due = earliest(due, candidate.due);
    return due === null ? null : Math.max(due, this.nextOpenAt);
  }

  /** To be called whenever the replica may have changed. */
  noteRoot(): void {
    this.history.set(this.replica.root(), true);
  }

  /**
   * A peer said what its replica's digest is. One this replica has been at means that the peer is behind,
   * and will come by itself; any other starts a session after a jittered grace, which is longer for a peer
   * that would have to be dialled: what it knows mostly comes by a neighbour before.
   */
  heard(peer: HostId, root: Digest, now: Millis): void {
    if (this.history.has(root)) {
      this.candidates.delete(peer);
      return;
    }
    const { graceMs, strangerGraceMs } = this.parameters;
    const longestMs = this.connections.has(peer) ? graceMs : strangerGraceMs;
    this.consider(peer, root, now, this.everSynced ? longestMs * (0.5 + this.random.next()) : 0);
  }

  /** A new connection: an agent that has synced with nobody since its start does so at once. */
  connected(peer: HostId, now: Millis): void {
    this.connections.add(peer);
    if (!this.everSynced) this.consider(peer, null, now, 0);
  }

  disconnected(peer: HostId, now: Millis): void {
    this.connections.delete(peer);
    this.candidates.delete(peer);
    this.runner.abandon(peer, now);
  }

  private consider(peer: HostId, root: Digest | null, now: Millis, delayMs: Millis): void {
    const candidate = this.candidates.get(peer);
    if (candidate !== undefined) candidate.root = root;
    if (candidate !== undefined || this.candidates.size >= maxCandidates) return;
    const notBefore = this.memories.get(peer)?.notBefore ?? 0;
    this.candidates.set(peer, { due: Math.max(now + delayMs, notBefore), root });
  }

  wake(now: Millis): void {
    this.runner.wake(now);
    if (this.runner.isOpening || now < this.nextOpenAt) return;
    let chosen: HostId | undefined;
    let least = Number.POSITIVE_INFINITY;
    for (const [peer, { due, root }] of this.candidates) {
      if (due > now || due >= least) continue;
      if (root !== null && this.history.has(root)) {
        // What it knew has come by another way.
        this.candidates.delete(peer);
        continue;
      }
      chosen = peer;
      least = due;
    }
    if (chosen === undefined) return;
    this.candidates.delete(chosen);
    this.nextOpenAt = now + this.parameters.gapMs * (0.5 + this.random.next());
    this.stats.opened++;
    this.runner.open(chosen, Math.floor(this.random.next() * 0x1_0000_0000), now);
  }

  receive(from: HostId, frame: SyncFrame, now: Millis): void {
    if (frame.type !== 'sync-open') {
      this.runner.receive(from, frame, now);
      return;
    }
    const memory = this.memory(from);
    const tooSoon = now - memory.answeredAt < this.parameters.answerGapMs;
    if (tooSoon || this.runner.answering >= this.parameters.maxAnswered) {
      this.runner.turnAway(from, frame.session);
      return;
    }
    memory.answeredAt = now;
    this.stats.answered++;
    this.runner.answer(from, frame, now);
  }

  /**
   * Sessions that change nothing, because one side refuses what the other holds, grow rarer. One that
   * failed or was turned away is tried again after a while. Whoever used up the time of a session that it opened,
   * and took little, lets others have a place first.
   */
  private ended(session: Session, reason: SyncEnd, now: Millis): void {
    const complete = reason === 'done';
    if (complete) this.stats.completed++;
    else this.stats.failed++;
    if (!session.opener) {
      const dawdled = now >= session.endsAt && session.taken < minTaken;
      if (dawdled) this.memory(session.peer).answeredAt = now + overrunPauseMs;
      return;
    }
    this.everSynced ||= complete;
    const { peerGapMs, maxPeerGapMs } = this.parameters;
    const memory = this.memory(session.peer);
    memory.gapMs =
      session.gained > 0 ? peerGapMs : Math.min(maxPeerGapMs, Math.max(peerGapMs, memory.gapMs * 2));
    memory.notBefore = now + memory.gapMs * (0.5 + this.random.next());
    if (!complete && !this.everSynced) this.consider(session.peer, null, now, 0);
  }

  private memory(peer: HostId): Memory {
    const memory = this.memories.get(peer) ?? {
      notBefore: 0,
      gapMs: 0,
      answeredAt: Number.NEGATIVE_INFINITY,
    };
    this.memories.set(peer, memory);
    return memory;
  }
}
