/**
 * Where the threads of a data plane count together what policy limits, so that limits hold for all of them as for
 * one. The agent's thread keeps the memory and sends it along with every configuration: what was counted outlives
 * configurations as long as the limit is there. Limits for which there is no memory any more are divided, and
 * circuit breakers are each thread's own. So are, always, what each learns of single endpoints: how busy and quick
 * they are, whose turn it is, and who is ejected, of whom no thread has more than the share that policy allows; and
 * the budget for retries.
 */
import type { CallerPolicy, InboundService, ProxyConfig } from '../config.ts';
import type { RateLimit, RateLimitsPolicy, UpstreamLimits, UpstreamPolicy } from '../policy.ts';
import { treatmentOf } from '../policy-defaults.ts';
import { breakerBytes } from '../resilience/breaker.ts';
import { ratesBytes } from '../resilience/rate-limiter.ts';
import { groupBytes } from '../upstream/upstream-group.ts';
import { breakerKey, inboundKey, outboundKey, ratesKey, type SharedMemory } from './memory.ts';
import { talliesBytes } from './tally.ts';

/** Pieces of memory, each for a kind of limit of one service, or of one caller for one cluster. */
export const maxSharedMemories = 8192;

interface Need {
  readonly key: string;
  readonly bytes: number;
}

export class LimitSharing {
  /** How many services and callers have their limits divided. */
  divided = 0;
  private readonly workers: number;
  private readonly most: number;
  private known: ReadonlyMap<string, SharedMemory> = new Map();
  private granted = new Map<string, SharedMemory>();
  private lastId = 0;

  constructor(workers: number, most: number = maxSharedMemories) {
    this.workers = workers;
    this.most = most;
  }

  /** The configuration as each worker is to apply it. */
  share(config: ProxyConfig): ProxyConfig {
    if (this.workers === 1) return config;
    this.divided = 0;
    this.known = this.granted;
    this.granted = new Map();
    const services = config.inbound.services.map((service) =>
      this.grants(inboundNeeds(service)) ? service : this.dividedService(service),
    );
    const callers = config.callers.map((caller) =>
      this.grants(outboundNeeds(caller, config)) ? caller : this.dividedCaller(caller),
    );
    return { ...config, inbound: { ...config.inbound, services }, callers, shared: this.granted };
  }

  /** Whether there is memory for all of them; what was there before stays where it is. */
  private grants(needs: readonly Need[]): boolean {
    const wanted = needs.filter(({ key }) => !this.granted.has(key));
    if (this.granted.size + wanted.length > this.most) return false;
    for (const need of wanted) this.granted.set(need.key, this.memoryFor(need));
    return true;
  }

  private memoryFor({ key, bytes }: Need): SharedMemory {
    const known = this.known.get(key);
    if (known !== undefined && known.buffer.byteLength >= bytes) return known;
    return { id: ++this.lastId, buffer: new SharedArrayBuffer(bytes) };
  }

  private dividedService(service: InboundService): InboundService {
    this.divided++;
    return {
      ...service,
      maxConnections: part(service.maxConnections, this.workers),
      rateLimits: service.rateLimits && dividedRates(service.rateLimits, this.workers),
    };
  }

  private dividedCaller(caller: CallerPolicy): CallerPolicy {
    this.divided++;
    const divided = <T extends UpstreamPolicy>(policy: T): T => ({
      ...policy,
      limits: dividedLimits(policy.limits, this.workers),
    });
    return { ...caller, upstreams: divided(caller.upstreams), overrides: caller.overrides.map(divided) };
  }
}

function inboundNeeds({ service, maxConnections, rateLimits }: InboundService): Need[] {
  const needs: Need[] = [];
  if (maxConnections > 0) needs.push({ key: inboundKey(service), bytes: talliesBytes(1) });
  if (rateLimits !== null) needs.push({ key: ratesKey(service), bytes: ratesBytes(rateLimits) });
  return needs;
}

function outboundNeeds(caller: CallerPolicy, { clusters }: ProxyConfig): Need[] {
  if (![caller.upstreams, ...caller.overrides].some((policy) => isLimiting(policy) || policy.breaker))
    return [];
  return clusters.flatMap(({ id, service }) => groupNeeds(caller.service, id, treatmentOf(caller, service)));
}

function groupNeeds(source: string, cluster: string, policy: UpstreamPolicy): Need[] {
  const { breaker } = policy;
  const needs: Need[] = [];
  if (isLimiting(policy)) needs.push({ key: outboundKey(source, cluster), bytes: groupBytes });
  if (breaker !== null) needs.push({ key: breakerKey(source, cluster, breaker), bytes: breakerBytes });
  return needs;
}

function isLimiting({ limits }: UpstreamPolicy): boolean {
  return limits.maxConnections + limits.maxPendingRequests + limits.maxConcurrentRequests > 0;
}

function dividedRates({ instance, routes, callers }: RateLimitsPolicy, workers: number): RateLimitsPolicy {
  const divided = <T extends RateLimit>(limit: T): T => ({
    ...limit,
    requestsPerSecond: limit.requestsPerSecond / workers,
    burst: part(limit.burst, workers),
  });
  return {
    instance: instance && divided(instance),
    routes: routes.map(divided),
    callers: callers.map(divided),
  };
}

function dividedLimits(limits: UpstreamLimits, workers: number): UpstreamLimits {
  return {
    maxConnections: part(limits.maxConnections, workers),
    maxPendingRequests: part(limits.maxPendingRequests, workers),
    maxConcurrentRequests: part(limits.maxConcurrentRequests, workers),
  };
}

/** Rounded up, lest a small limit become none: 0 is without limit. */
function part(limit: number, workers: number): number {
  return Math.ceil(limit / workers);
}
