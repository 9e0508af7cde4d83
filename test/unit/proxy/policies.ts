/** Builders of policy for tests of the compiler: entries in which every field can be overridden. */
import type {
  PolicyView,
  RequestMatch,
  ResolverPolicy,
  RouteDestination,
  RoutePolicy,
  RouterPolicy,
  ServiceDefaultsPolicy,
  SplitPolicy,
  SplitterPolicy,
  SubsetPolicy,
} from '../../../src/proxy/policy.ts';
import { defaultUpstream, noPolicy, noTimeouts } from '../../../src/proxy/policy-defaults.ts';

/** Sorts nothing: the compiler must not depend on it. */
export function policyView(fields: Partial<PolicyView> = {}): PolicyView {
  return { ...noPolicy, ...fields };
}

export function serviceDefaults(
  service: string,
  fields: Partial<ServiceDefaultsPolicy> = {},
): ServiceDefaultsPolicy {
  return {
    rule: `service-defaults/${service}`,
    service,
    protocol: 'auto',
    maxInboundConnections: 0,
    localConnectTimeoutMs: 0,
    localRequestTimeoutMs: 0,
    rateLimits: null,
    outbound: noTimeouts,
    upstreams: defaultUpstream,
    overrides: [],
    ...fields,
  };
}

export function pathPrefix(value: string): RequestMatch {
  return { path: { type: 'prefix', value, ignoreCase: false }, headers: [], query: [], methods: [] };
}

export function route(
  destination: Partial<RouteDestination>,
  match: RequestMatch = pathPrefix('/'),
): RoutePolicy {
  return {
    match,
    destination: {
      service: '',
      subset: '',
      prefixRewrite: null,
      timeouts: noTimeouts,
      retry: null,
      hedge: null,
      requestHeaders: null,
      responseHeaders: null,
      mirror: null,
      fault: null,
      redirect: null,
      ...destination,
    },
  };
}

export function router(service: string, ...routes: RoutePolicy[]): RouterPolicy {
  return { rule: `service-router/${service}`, service, routes };
}

/** Weights in percent. */
export function splitter(
  service: string,
  ...splits: (Partial<SplitPolicy> & { percent: number })[]
): SplitterPolicy {
  return {
    rule: `service-splitter/${service}`,
    service,
    splits: splits.map(({ percent, ...fields }) => ({
      weight: Math.round(percent * 100),
      service: '',
      subset: '',
      requestHeaders: null,
      responseHeaders: null,
      ...fields,
    })),
  };
}

export function resolver(service: string, fields: Partial<ResolverPolicy> = {}): ResolverPolicy {
  return {
    rule: `service-resolver/${service}`,
    service,
    defaultSubset: '',
    subsets: [],
    redirect: null,
    failover: [],
    connectTimeoutMs: null,
    requestTimeoutMs: null,
    balance: null,
    ...fields,
  };
}

/** A subset of the instances whose `version` is its name. */
export function version(name: string, fields: Partial<SubsetPolicy> = {}): SubsetPolicy {
  return { name, filter: `Service.Meta.version == ${name}`, onlyPassing: false, ...fields };
}

export function target(service: string, subset = '', datacenter = ''): ResolverPolicy['redirect'] & object {
  return { service, subset, datacenter };
}
