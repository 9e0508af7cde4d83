/**
 * The parameters of somebody else's failure detector, to tell whether the simulated network may be believed: a
 * mesh of our members with these must take as long to find a death as real serf agents do.
 */
import { defaultSwimParameters, type SwimParameters } from '../../src/gossip/parameters.ts';

/** `own`: what agents run with. `serf`: what serf runs with, and nothing that it lacks. */
export const parameterSets = ['own', 'serf'] as const;
export type ParameterSet = (typeof parameterSets)[number];

/**
 * What hashicorp/memberlist has for a local network (`DefaultLANConfig` in config.go), which serf takes over:
 * SWIM with Lifeguard, but nobody is asked to corroborate and a verdict needs no last look of one's own.
 */
const memberlistLan: SwimParameters = {
  ...defaultSwimParameters,
  probeIntervalMs: 1_000,
  probeTimeoutMs: 500,
  indirectProbes: 3,
  corroborators: 0,
  /** SuspicionMult 4 times the probe interval. */
  suspicionMinMs: 4_000,
  suspicionMaxFactor: 6,
  /** SuspicionMult less 2. */
  confirmations: 2,
  checkAttempts: 0,
  rumorIntervalMs: 200,
  rumorFanout: 3,
  rumorMultiplier: 4,
  worstHealth: 8,
  /** As serf's reconnect interval. */
  downProbeIntervalMs: 30_000,
  /** It does not notice that it was stopped. */
  stallMs: Number.POSITIVE_INFINITY,
};

/** What members of a light mesh run with. Those of memberlist keep no connections. */
export function memberOptions(set: ParameterSet): {
  readonly parameters: SwimParameters;
  readonly connections: boolean;
} {
  const isOwn = set === 'own';
  return { parameters: isOwn ? defaultSwimParameters : memberlistLan, connections: isOwn };
}
