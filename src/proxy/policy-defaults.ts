/** What holds where no config entry says anything. */
import type { CallerPolicy } from './config.ts';
import type { BalancePolicy, PolicyView, TimeoutPolicy, UpstreamLimits, UpstreamPolicy } from './policy.ts';

/** A mesh in which nobody has written anything. */
export const noPolicy: PolicyView = {
  proxyDefaults: null,
  defaults: [],
  routers: [],
  splitters: [],
  resolvers: [],
};

/** Says nothing about any timeout. */
export const noTimeouts: TimeoutPolicy = { requestMs: null, idleMs: null, perTryMs: null, connectMs: null };

/** How long a connection to another host's proxy may take, milliseconds; Consul's default. */
export const defaultConnectTimeoutMs = 5000;

/** How long one to its application may take a proxy: that one is on the same host, and answers at once or not at all. */
export const defaultLocalConnectTimeoutMs = 1000;

const noLimits: UpstreamLimits = { maxConnections: 0, maxPendingRequests: 0, maxConcurrentRequests: 0 };

/** No limits, no ejection, no breaker. */
export const defaultUpstream: UpstreamPolicy = {
  limits: noLimits,
  passiveHealth: null,
  breaker: null,
  connectTimeoutMs: null,
};

/** How a caller treats a destination: as it says of that one, or of all. */
export function treatmentOf(caller: CallerPolicy | null, service: string): UpstreamPolicy {
  if (caller === null) return defaultUpstream;
  return caller.overrides.find(({ destination }) => destination === service) ?? caller.upstreams;
}

/** Two choices by latency, in this host's zone while it has room. */
export const defaultBalance: BalancePolicy = {
  method: 'p2c',
  choiceCount: 2,
  ringHash: { minimumRingSize: 1024, maximumRingSize: 8192 },
  hash: [],
  zoneAware: true,
  zoneMinimumEndpoints: 0,
  slowStartMs: 0,
  panicPercent: 0,
};
