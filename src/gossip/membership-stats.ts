/** What the membership protocol counts; all grow only. */

export interface MembershipStats {
  probesSent: number;
  probesAcked: number;
  probesFailed: number;
  /** Answers that came over a connection, since no datagram got through or to be sure. */
  streamAcks: number;
  suspicions: number;
  refutations: number;
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
    suspicions: 0,
    refutations: 0,
    stalls: 0,
    badProofs: 0,
    badFrames: 0,
  };
}
