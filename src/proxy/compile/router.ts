/** Pass 2, routers: the routes of a destination, each with its split; the last one matches everything. */
import type { Route, SplitTarget } from '../config.ts';
import type { RoutePolicy } from '../policy.ts';
import type { Entries } from './entries.ts';
import { type Leg, split, wholeOf } from './splitter.ts';

/** Says where a service, or a subset of it, is. */
export type Find = (service: string, subset: string) => { readonly id: string; readonly service: string };

/** The routes of a service; what carries byte streams has one alone, and is not split. */
export function routesOf(entries: Entries, service: string, find: Find): Route[] {
  const policies = entries.carriesRequests(service) ? (entries.routers.get(service)?.routes ?? []) : [];
  const routes = policies.map((policy, i) => routeOf(entries, service, policy, i, find));
  return [...routes, everything(entries, service, find)];
}

/** What no route of the router matched, which is everything where there is no router. */
function everything(entries: Entries, service: string, find: Find): Route {
  const { targets, requestTimeoutMs } = divided(entries, split(entries, service), find);
  return {
    rule: '',
    match: null,
    split: targets,
    prefixRewrite: null,
    timeouts: { requestMs: requestTimeoutMs, idleMs: null, perTryMs: null },
    retry: null,
    hedge: null,
    requestHeaders: null,
    responseHeaders: null,
    mirror: null,
    fault: null,
    redirect: null,
  };
}

function routeOf(entries: Entries, service: string, policy: RoutePolicy, index: number, find: Find): Route {
  const { destination } = policy;
  const legs = legsOf(entries, destination.service || service, destination.subset);
  const { targets, requestTimeoutMs } = divided(entries, legs, find);
  const { mirror, timeouts } = destination;
  return {
    rule: `${entries.routers.get(service)!.rule}#${index}`,
    match: policy.match,
    split: targets,
    prefixRewrite: destination.prefixRewrite,
    timeouts: {
      requestMs: timeouts.requestMs ?? requestTimeoutMs,
      idleMs: timeouts.idleMs,
      perTryMs: timeouts.perTryMs,
    },
    retry: destination.retry,
    hedge: destination.hedge,
    requestHeaders: destination.requestHeaders,
    responseHeaders: destination.responseHeaders,
    mirror:
      mirror === null
        ? null
        : { cluster: find(mirror.service || service, mirror.subset).id, percent: mirror.percent },
    fault: destination.fault,
    redirect: destination.redirect,
  };
}

/** A route to a subset goes there; only what is for a service as a whole is split. */
export function legsOf(entries: Entries, service: string, subset: string): Leg[] {
  return subset === '' ? split(entries, service) : [wholeOf(service, subset)];
}

/** Legs with their clusters, and the request timeout of their resolvers: the longest, if every one says one. */
function divided(
  entries: Entries,
  legs: readonly Leg[],
  find: Find,
): { targets: SplitTarget[]; requestTimeoutMs: number | null } {
  const timeouts: (number | null)[] = [];
  const targets = legs.map(({ weight, service, subset, rule, requestHeaders, responseHeaders }) => {
    const target = find(service, subset);
    timeouts.push(entries.resolvers.get(target.service)?.requestTimeoutMs ?? null);
    return { weight, cluster: target.id, rule, requestHeaders, responseHeaders };
  });
  return { targets, requestTimeoutMs: longest(timeouts) };
}

/** 0 is without limit, which is longer than any; null where one of them says nothing. */
function longest(timeoutsMs: readonly (number | null)[]): number | null {
  let most = 0;
  for (const timeoutMs of timeoutsMs) {
    if (timeoutMs === null) return null;
    if (timeoutMs === 0) return 0;
    most = Math.max(most, timeoutMs);
  }
  return most;
}
