/** What the membership protocol counts; all grow only. */
import type { Purpose } from './prober.ts';

/** `relayed`: helpers reached the target where this agent did not. */
export type ProbeOutcome = 'acked' | 'relayed' | 'failed';

export interface MembershipStats {
  probesSent: number;
  probesAcked: number;
  probesFailed: number;
  /** Answers that came over a connection, since no datagram got through or to be sure. */
  streamAcks: number;
  /** Ended probes by `<purpose> <outcome>`. */
  probeOutcomes: { [kind in `${Purpose} ${ProbeOutcome}`]?: number };
  suspicions: number;
  refutations: number;
  /** Claims of others about which nothing was done, since they claimed too much. */
  claimsIgnored: number;
  /** How often this process found that it had been stopped. */
  stalls: number;
  /** Claims to be alive that the claimed member did not sign. */
  badProofs: number;
  /** Frames that were malformed or of a later release. */
  badFrames: number;
}

export function noMembershipStats(): MembershipStats {
  return {
    probesSent: 0,
    probesAcked: 0,
    probesFailed: 0,
    streamAcks: 0,
    probeOutcomes: {},
    suspicions: 0,
    refutations: 0,
    claimsIgnored: 0,
    stalls: 0,
    badProofs: 0,
    badFrames: 0,
  };
}

export function countOutcome(stats: MembershipStats, purpose: Purpose, outcome: ProbeOutcome): void {
  const kind = `${purpose} ${outcome}` as const;
  stats.probeOutcomes[kind] = (stats.probeOutcomes[kind] ?? 0) + 1;
}
