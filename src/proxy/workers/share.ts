/** The part of a configuration that one of several workers enforces: limits are for all of them together. Pure. */
import type { CallerPolicy, InboundService, ProxyConfig } from '../config.ts';
import type { RateLimit, RateLimitsPolicy, UpstreamPolicy } from '../policy.ts';

/**
 * Connections spread evenly over workers, so each gets an equal part of every limit; parts of what counts whole
 * things are rounded up, lest a small limit become none.
 */
export function shareOf(config: ProxyConfig, workers: number): ProxyConfig {
  if (workers === 1) return config;
  return {
    ...config,
    inbound: {
      ...config.inbound,
      services: config.inbound.services.map((service) => inboundShare(service, workers)),
    },
    callers: config.callers.map((caller) => callerShare(caller, workers)),
  };
}

function inboundShare(service: InboundService, workers: number): InboundService {
  return {
    ...service,
    maxConnections: part(service.maxConnections, workers),
    rateLimits: service.rateLimits === null ? null : ratesShare(service.rateLimits, workers),
  };
}

function ratesShare({ instance, routes, callers }: RateLimitsPolicy, workers: number): RateLimitsPolicy {
  const divided = <T extends RateLimit>(limit: T): T => ({
    ...limit,
    requestsPerSecond: limit.requestsPerSecond / workers,
    burst: part(limit.burst, workers),
  });
  return {
    instance: instance === null ? null : divided(instance),
    routes: routes.map(divided),
    callers: callers.map(divided),
  };
}

function callerShare(caller: CallerPolicy, workers: number): CallerPolicy {
  const divided = <T extends UpstreamPolicy>(policy: T): T => ({
    ...policy,
    limits: {
      maxConnections: part(policy.limits.maxConnections, workers),
      maxPendingRequests: part(policy.limits.maxPendingRequests, workers),
      maxConcurrentRequests: part(policy.limits.maxConcurrentRequests, workers),
    },
  });
  return { ...caller, upstreams: divided(caller.upstreams), overrides: caller.overrides.map(divided) };
}

/** 0 stays 0, which is without limit. */
function part(limit: number, workers: number): number {
  return Math.ceil(limit / workers);
}
