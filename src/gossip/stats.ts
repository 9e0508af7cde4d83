/** Counters of the gossip room, for metrics and for the simulator's checkers. */

import type { MemberList } from './member-list.ts';
import type { ClockFindings } from './membership/clock-offsets.ts';
import type { Intake } from './replica/intake.ts';
import type { RepeatStats, Repeats } from './replica/repeats.ts';
import type { Replica } from './replica/replica.ts';
import type { AntiEntropy, SyncStats } from './spread/antientropy.ts';
import type { DeltaLatency, DeltaLatencyStats } from './spread/delta-latency.ts';
import type { SwimStats } from './swim-port.ts';

/** All grow only, but the second group, which is as of now. */
export interface GossipStats {
  readonly membership: SwimStats;
  readonly sync: Readonly<SyncStats>;
  readonly syncBytesIn: number;
  readonly syncBytesOut: number;
  readonly deltasIn: number;
  readonly deltasOut: number;
  /** Frames and deltas that were malformed or of a later release. */
  readonly badFrames: number;
  readonly deltaLatency: DeltaLatencyStats;
  readonly recordsApplied: number;
  readonly recordsKnown: number;
  readonly recordsStale: number;
  /** By code. */
  readonly recordsRefused: ReadonlyMap<string, number>;
  readonly parkedDropped: number;
  /** What this host said once more, since peers held otherwise. */
  readonly repeats: Readonly<RepeatStats>;

  /** Whose clock is off, as far as answers to probes tell. */
  readonly clocks: ClockFindings;
  readonly parked: number;
  readonly records: number;
  readonly recordBytes: number;
  readonly members: number;
  readonly syncSessions: number;
}

export interface Counters {
  readonly deltasIn: number;
  readonly deltasOut: number;
  readonly badFrames: number;
  readonly syncBytesIn: number;
  readonly syncBytesOut: number;
}

/** A copy: what the machine counts on does not show in it. */
export function gossipStats(
  counters: Counters,
  members: MemberList,
  intake: Intake,
  sync: AntiEntropy,
  replica: Replica,
  latency: DeltaLatency,
  repeats: Repeats,
): GossipStats {
  return {
    ...counters,
    membership: members.stats,
    clocks: members.clocks.findings(),
    deltaLatency: latency.stats(),
    sync: { ...sync.stats },
    recordsApplied: intake.stats.applied,
    recordsKnown: intake.stats.known,
    recordsStale: intake.stats.stale,
    recordsRefused: new Map(intake.stats.refused),
    parkedDropped: intake.parking.dropped,
    repeats: { ...repeats.stats },
    parked: intake.parking.size,
    records: replica.size,
    recordBytes: replica.totalBytes,
    members: members.count,
    syncSessions: sync.sessions,
  };
}
