/** How often, and by how many connections, the callee of a call may be called: what each of its hosts holds it to. */
import { type Call, settledPath } from '../../proxy/explain.ts';
import { pathTest } from '../../proxy/http1/match.ts';
import type { CallerRateLimit, RateLimit, RouteRateLimit } from '../../proxy/policy.ts';
import type { MeshView } from '../../proxy/view.ts';

export interface ExplainedLimits {
  /** At once, from all callers together; null for without limit. */
  readonly maxInboundConnections: number | null;
  /** For all callers together. */
  readonly instance: RateLimit | null;
  /** For the caller by itself: its own limit, or that of every other. */
  readonly caller: CallerRateLimit | null;
  /** In the order in which they are tried: only the first that matches counts. */
  readonly routes: readonly ExplainedRouteLimit[];
}

export interface ExplainedRouteLimit extends RouteRateLimit {
  /** Whether it is the one for the path of this call. */
  readonly holds: boolean;
}

/** `call` has the path that goes on to the callee. Null where nothing is limited. */
export function limitsOf({ policy }: MeshView, call: Call, service: string): ExplainedLimits | null {
  const defaults = policy.defaults.find((one) => one.service === service);
  const rates = defaults?.rateLimits ?? null;
  const connections = defaults?.maxInboundConnections ?? 0;
  if (rates === null && connections === 0) return null;
  const { instance = null, routes = [], callers = [] } = rates ?? {};
  const wanted = settledPath(call);
  const first = routes.findIndex((route) => wanted !== null && pathTest(route.path)(wanted));
  return {
    maxInboundConnections: connections === 0 ? null : connections,
    instance,
    caller:
      callers.find((one) => one.source === call.source) ?? callers.find((one) => one.source === '*') ?? null,
    routes: routes.map((route, i) => ({ ...route, holds: i === first })),
  };
}
