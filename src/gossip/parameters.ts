/** Every number that tunes the gossip room, with why it has the value it has. */
import type { Millis } from '../core.ts';
import { defaultReplicaLimits, type ReplicaLimits } from './replica/replica.ts';
import { defaultViewParameters, type ViewParameters } from './spread/view.ts';

/**
 * Aim: a killed process (its connections close, then refuse) is known to all of a small mesh within a second, an
 * unplugged host in about two, a process that stops for a second and goes on is not found down, and a tenth of
 * all frames lost makes nobody's death. `npm run sim -- --study lifeguard` and `growth` show what became of it.
 */
export interface SwimParameters {
  /** One member of the round is probed each interval (SWIM's protocol period). */
  readonly probeIntervalMs: Millis;
  /** Wait for one direct answer: well above the round trip between any two zones. */
  readonly probeTimeoutMs: Millis;
  /** Helpers asked when the direct probe fails (SWIM's k). */
  readonly indirectProbes: number;
  /** Members asked to probe at once whom this agent suspects. */
  readonly corroborators: number;
  /**
   * Shortest suspicion, times log10 of the mesh's size: long enough for the suspect to hear and refute. Who only
   * stands still is kept from a verdict by the check that everybody makes, which takes longer than this.
   */
  readonly suspicionMinMs: Millis;
  /** How much longer a suspicion lasts that nobody confirms. */
  readonly suspicionMaxFactor: number;
  /** Independent confirmations that bring a suspicion down to its shortest. */
  readonly confirmations: number;
  /** Direct probes this agent makes itself before it finds anybody down; all must fail. 0 trusts the accusers. */
  readonly checkAttempts: number;
  /** While there is something to tell, `rumorFanout` random members are told each interval. */
  readonly rumorIntervalMs: Millis;
  readonly rumorFanout: number;
  /** Each rumor is told this many times log10 of the mesh's size (SWIM's lambda). */
  readonly rumorMultiplier: number;
  /** Ten rumors are 1,050 bytes: with all else an ack holds, sealed, it stays within `maxDatagramBytes`. */
  readonly rumorsPerFrame: number;
  /** The local health multiplier's ceiling. */
  readonly worstHealth: number;
  /** One random down member is probed about this often, for ever, so that partitions heal. */
  readonly downProbeIntervalMs: Millis;
  /** The same, once one of them has answered: the others are likely back too. */
  readonly healProbeIntervalMs: Millis;
  /** A wake this late means that this process was stopped, and that its timeouts prove nothing. */
  readonly stallMs: Millis;
  readonly view: ViewParameters;
}

export const defaultSwimParameters: SwimParameters = {
  probeIntervalMs: 700,
  probeTimeoutMs: 200,
  indirectProbes: 3,
  corroborators: 4,
  suspicionMinMs: 250,
  suspicionMaxFactor: 6,
  confirmations: 3,
  checkAttempts: 3,
  rumorIntervalMs: 50,
  rumorFanout: 3,
  rumorMultiplier: 4,
  rumorsPerFrame: 10,
  worstHealth: 8,
  downProbeIntervalMs: 5000,
  healProbeIntervalMs: 150,
  stallMs: 200,
  view: defaultViewParameters,
};

export interface SyncParameters {
  /** A difference is left alone this long, jittered, in case a delta on its way explains it. */
  readonly graceMs: Millis;
  /** The same for a peer without a connection, which the session would have to dial. */
  readonly strangerGraceMs: Millis;
  /** At least this long between two sessions that this agent opens. */
  readonly gapMs: Millis;
  /** First and longest wait between two sessions with one peer; doubles while they bring nothing. */
  readonly peerGapMs: Millis;
  readonly maxPeerGapMs: Millis;
  /** Sessions answered at once, and how soon one peer may open the next. */
  readonly maxAnswered: number;
  readonly answerGapMs: Millis;
  /** A session without any progress ends. */
  readonly timeoutMs: Millis;
  /** Frames on their way to a peer that it has not taken in yet. */
  readonly window: number;
  /** A replica up to this size sends all it has and asks for everything. */
  readonly snapshotBytes: number;
}

export const defaultSyncParameters: SyncParameters = {
  graceMs: 400,
  strangerGraceMs: 3000,
  gapMs: 300,
  peerGapMs: 1000,
  maxPeerGapMs: 60_000,
  maxAnswered: 4,
  answerGapMs: 200,
  timeoutMs: 5000,
  window: 4,
  snapshotBytes: 16 * 1024,
};

/** How deltas spread: gossipsub 1.1, in brackets what its specification calls each. */
export interface SpreadParameters {
  /** Peers that a delta is pushed to at once (D), the fewest (D_lo) and the most of them (D_hi). */
  readonly degree: number;
  readonly minDegree: number;
  readonly maxDegree: number;
  /** Of a mesh that is cut back to `degree`: kept for their score (D_score), and dialled from here (D_out). */
  readonly scoreDegree: number;
  readonly outboundDegree: number;
  /** Others that are told of recent deltas, each heartbeat (D_lazy), and what share of them at least. */
  readonly lazyDegree: number;
  readonly lazyShare: number;
  readonly heartbeatMs: Millis;
  /** Heartbeats for which a delta can be asked for (mcache_len), and for which it is offered (mcache_gossip). */
  readonly keptHeartbeats: number;
  readonly offeredHeartbeats: number;
  /** How long a delta is remembered, so that a late copy of it is not delivered twice (seen_ttl). */
  readonly seenMs: Millis;
}

/** Degree 3 to 4: a delta crosses 1,000 hosts in some eight hops, and each copy too many costs CPU. */
export const defaultSpreadParameters: SpreadParameters = {
  degree: 3,
  minDegree: 3,
  maxDegree: 4,
  scoreDegree: 2,
  outboundDegree: 1,
  lazyDegree: 2,
  lazyShare: 0.25,
  // A new neighbour gets nothing relayed before it is grafted, at the next heartbeat.
  heartbeatMs: 300,
  // Then anti-entropy has it.
  keptHeartbeats: 6,
  offeredHeartbeats: 2,
  seenMs: 150_000,
};

export interface GossipParameters {
  readonly swim: SwimParameters;
  readonly sync: SyncParameters;
  readonly replica: ReplicaLimits;
  /** One delta of own writes follows another after this long, uniformly at random between the two. */
  readonly minBatchMs: Millis;
  readonly maxBatchMs: Millis;
  /** A batch is sent early once its records reach this size. */
  readonly batchBytes: number;
  /** Records kept that may enter once more is known, oldest dropped first. */
  readonly maxParked: number;
  readonly maxParkedBytes: number;
}

export const defaultGossipParameters: GossipParameters = {
  swim: defaultSwimParameters,
  sync: defaultSyncParameters,
  replica: defaultReplicaLimits,
  minBatchMs: 20,
  maxBatchMs: 50,
  batchBytes: 16 * 1024,
  maxParked: 1024,
  maxParkedBytes: 8 * 1024 * 1024,
};
