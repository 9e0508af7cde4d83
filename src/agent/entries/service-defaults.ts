/** `service-defaults`: what a service speaks, how it is protected, and how it treats those it calls. */
import type {
  BreakerPolicy,
  PassiveHealthPolicy,
  RateLimitsPolicy,
  ServiceDefaultsPolicy,
  UpstreamPolicy,
} from '../../proxy/policy.ts';
import { defaultUpstream } from '../../proxy/policy-defaults.ts';
import type { Protocol } from '../../proxy/view.ts';
import { type Fields, fault } from '../consul/fields.ts';
import {
  entryFields,
  milliseconds,
  optionalMilliseconds,
  peers,
  places,
  refuseLateTry,
  serviceName,
  timeout,
} from './common.ts';
import {
  amount,
  beyond,
  described,
  duration,
  list,
  needed,
  object,
  percent,
  type Read,
  type Reading,
  refused,
  text,
  word,
} from './form.ts';
import { coversPath, pathFieldNames, pathFields, pathMatch, shadowed } from './matches.ts';

export const protocol = described(
  word(['auto', 'tcp', 'http', 'http2', 'grpc'] as const satisfies readonly Protocol[], { anyCase: true }),
  'auto recognises HTTP by a client’s first bytes; all else is TCP, and so is 300ms of silence. Say tcp where ' +
    'clients begin with a bare word and wait: that may still become HTTP.',
);

/** Consul's fields that only Envoy, gateways or transparent proxies have a use for. */
export const elsewhere = {
  BalanceInboundConnections: refused('the kernel spreads connections over the threads of --proxy-workers'),
  EnvoyExtensions: refused('there is no Envoy in the data plane'),
  Expose: refused('paths are not exposed past the mesh; let health checks call the application itself'),
  MeshGateway: refused('there are no mesh gateways', [{ Mode: 'none' }]),
  Mode: refused('there is no transparent proxy mode', ['direct']),
  MutualTLSMode: refused('every connection between hosts is mutual TLS', ['strict', 'default']),
  TransparentProxy: refused('there is no transparent proxy mode'),
};

const connections = amount({ least: 1, most: 1_000_000 });
const milliseconds24h = amount({ least: 1, most: 24 * 3_600_000, zeroIsUnset: true });
const failures = amount({ least: 1, most: 10_000, zeroIsUnset: true });

const limits = object({
  MaxConnections: described(
    connections,
    'Under way at once, requests too: they share connections between hosts. More are refused, none waits.',
  ),
  MaxPendingRequests: described(connections, 'Waiting at once for a connection to be made.'),
  MaxConcurrentRequests: described(connections, 'Under way at once.'),
});

const passiveHealthCheck = object(
  {
    Interval: described(duration({ mostMs: 3_600_000 }), '10s if not said.'),
    MaxFailures: described(failures, 'In a row; 5 if not said.'),
    EnforcingConsecutive5xx: described(percent(), 'How likely such an endpoint is ejected; 100 if not said.'),
    MaxEjectionPercent: described(
      percent(),
      'Of all endpoints, at once; 10 if not said, and one always may be.',
    ),
    BaseEjectionTime: described(duration({ mostMs: 24 * 3_600_000 }), '30s if not said; longer each time.'),
  },
  { empty: 'kept' },
);

const circuitBreaker = object(
  {
    ErrorPercent: described(
      amount({ least: 1, most: 100, fractional: true, zeroIsUnset: true }),
      'Opens at this share of failures; 50 if not said ...',
    ),
    MinimumRequests: described(failures, '... of at least so many requests; 20 if not said ...'),
    Window: described(duration({ mostMs: 3_600_000 }), '... within this time; 10s if not said.'),
    OpenFor: described(duration({ mostMs: 3_600_000 }), 'Then probes are let through; 5s if not said.'),
    HalfOpenRequests: described(failures, 'How many probes must succeed to close it; 3 if not said.'),
  },
  { empty: 'kept' },
);

const upstreamFields = {
  ConnectTimeoutMs: milliseconds24h,
  Limits: described(
    limits,
    'What does not fit fails at once (flag UO), as in Envoy: at a Failover target it would be too much as well.',
  ),
  PassiveHealthCheck: passiveHealthCheck,
  CircuitBreaker: beyond(
    circuitBreaker,
    'Opens for a destination as a whole by its share of failures. Then its Failover targets are asked, for it fails; without any, calls fail at once (flag UO).',
  ),
  Protocol: refused('is said by the destination’s own service-defaults'),
  MeshGateway: elsewhere.MeshGateway,
  BalanceOutboundConnections: elsewhere.BalanceInboundConnections,
  EnvoyListenerJSON: elsewhere.EnvoyExtensions,
  EnvoyClusterJSON: elsewhere.EnvoyExtensions,
};

const upstreamDefaults = object(upstreamFields);
const upstreamOverride = object(
  { Name: needed(serviceName), ...upstreamFields, ...places, ...peers },
  {
    check(read, fields) {
      if (Object.keys(read).length === 1)
        throw fields.fault('without-effect', 'Name', 'is said and nothing about it; leave it out');
    },
  },
);

const rate = {
  RequestsPerSecond: needed(amount({ least: 1, most: 10_000_000 })),
  RequestsMaxBurst: described(
    amount({ least: 1, most: 10_000_000, zeroIsUnset: true }),
    'At once after a rest; what a second brings if not said.',
  ),
};

const routeRate = object({ ...pathFields, ...rate }, { check: onePath });
const instanceRate = object(
  {
    RequestsPerSecond: amount({ least: 1, most: 10_000_000, zeroIsUnset: true }),
    RequestsMaxBurst: rate.RequestsMaxBurst,
    Routes: list(routeRate, 64),
  },
  {
    check(read, fields) {
      if (read.RequestsMaxBurst !== undefined && read.RequestsPerSecond === undefined)
        throw fields.missing('RequestsPerSecond', 'is required beside RequestsMaxBurst');
      const hidden = shadowed(read.Routes ?? [], coversPath);
      if (hidden !== null)
        throw fault(
          'without-effect',
          `${fields.at('Routes')}[${hidden.at}]`,
          `never counts: [${hidden.by}] comes before it and matches all that it does`,
        );
    },
  },
);
const party = text({
  most: 63,
  pattern: /^(\*|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$/,
  what: 'a service name or "*"',
});
const callerRate = object({ Name: needed(party), ...rate });

function onePath(read: object, fields: Fields): void {
  const said = pathFieldNames.filter((name) => name in read);
  if (said.length === 0) throw fields.missing('PathPrefix', 'say one of PathExact, PathPrefix, PathRegex');
  if (said.length > 1)
    throw fields.fault('conflicting-fields', said[1]!, `only one of ${said.join(', ')} can hold`);
}

const rateLimits = object(
  {
    InstanceLevel: described(instanceRate, 'For all callers together, on each host.'),
    Callers: beyond(list(callerRate, 256), 'For each caller by itself; * for those that are not named.'),
  },
  {
    check(read, fields) {
      const names = (read.Callers ?? []).map(({ Name }) => Name);
      const twin = names.find((name, i) => names.indexOf(name) < i);
      if (twin !== undefined) throw fields.fault('conflicting-fields', 'Callers', `names "${twin}" twice`);
    },
  },
);

const serviceDefaultsShape = {
  ...entryFields('service-defaults', serviceName),
  Protocol: protocol,
  MaxInboundConnections: described(
    amount({ least: 1, most: 1_000_000, zeroIsUnset: true }),
    'Served at once on one host.',
  ),
  LocalConnectTimeoutMs: milliseconds24h,
  LocalRequestTimeoutMs: milliseconds24h,
  RateLimits: rateLimits,
  Outbound: beyond(
    object(
      { RequestTimeout: timeout, IdleTimeout: timeout, PerTryTimeout: timeout, ConnectTimeout: timeout },
      { check: refuseLateTry },
    ),
    'Timeouts of this service’s own calls where no route or resolver sets them.',
  ),
  UpstreamConfig: object({ Defaults: upstreamDefaults, Overrides: list(upstreamOverride, 256) }),
  ...elsewhere,
  Destination: refused('there are no gateways to what is outside of the mesh'),
  ExternalSNI: refused('there are no gateways to what is outside of the mesh'),
};

export type ServiceDefaults = Reading<typeof serviceDefaultsShape>;

export const serviceDefaults = object(serviceDefaultsShape, { check: checkDefaults });

type Upstream = Read<typeof upstreamDefaults>;

function checkDefaults(read: ServiceDefaults, fields: Fields): void {
  const names = (read.UpstreamConfig?.Overrides ?? []).map(({ Name }) => Name);
  const twin = names.find((name, i) => names.indexOf(name) < i);
  if (twin !== undefined)
    throw fields.fault('conflicting-fields', 'UpstreamConfig', `overrides "${twin}" twice`);
  if (read.Protocol !== 'tcp') return;
  if (read.RateLimits !== undefined)
    throw fields.fault(
      'without-effect',
      'RateLimits',
      'count requests, which the Protocol "tcp" does not have',
    );
  if (read.LocalRequestTimeoutMs !== undefined)
    throw fields.fault('without-effect', 'LocalRequestTimeoutMs', 'the Protocol "tcp" has no requests');
}

/** `otherwise` is the protocol of a service that names none. */
export function serviceDefaultsPolicy(entry: ServiceDefaults, otherwise: Protocol): ServiceDefaultsPolicy {
  const { Outbound = {}, UpstreamConfig = {} } = entry;
  const upstreams = upstreamPolicy(UpstreamConfig.Defaults, defaultUpstream);
  return {
    rule: `${entry.Kind}/${entry.Name}`,
    service: entry.Name,
    protocol: entry.Protocol ?? otherwise,
    maxInboundConnections: entry.MaxInboundConnections ?? 0,
    localConnectTimeoutMs: entry.LocalConnectTimeoutMs ?? 0,
    localRequestTimeoutMs: entry.LocalRequestTimeoutMs ?? 0,
    rateLimits: rateLimitsPolicy(entry.RateLimits),
    outbound: {
      requestMs: optionalMilliseconds(Outbound.RequestTimeout),
      idleMs: optionalMilliseconds(Outbound.IdleTimeout),
      perTryMs: optionalMilliseconds(Outbound.PerTryTimeout),
      connectMs: optionalMilliseconds(Outbound.ConnectTimeout),
    },
    upstreams,
    overrides: (UpstreamConfig.Overrides ?? [])
      .map(({ Name, ...written }) => ({ destination: Name, ...upstreamPolicy(written, upstreams) }))
      .sort((a, b) => (a.destination < b.destination ? -1 : 1)),
  };
}

/** What is not said of one destination holds as for every destination; limits one by one. */
function upstreamPolicy(written: Upstream | undefined, otherwise: UpstreamPolicy): UpstreamPolicy {
  if (written === undefined) return otherwise;
  const { Limits = {}, PassiveHealthCheck, CircuitBreaker } = written;
  return {
    limits: {
      maxConnections: Limits.MaxConnections ?? otherwise.limits.maxConnections,
      maxPendingRequests: Limits.MaxPendingRequests ?? otherwise.limits.maxPendingRequests,
      maxConcurrentRequests: Limits.MaxConcurrentRequests ?? otherwise.limits.maxConcurrentRequests,
    },
    passiveHealth:
      PassiveHealthCheck === undefined ? otherwise.passiveHealth : passiveHealth(PassiveHealthCheck),
    breaker: CircuitBreaker === undefined ? otherwise.breaker : breaker(CircuitBreaker),
    connectTimeoutMs: written.ConnectTimeoutMs ?? otherwise.connectTimeoutMs,
  };
}

/** Envoy's defaults, as Consul leaves what is not said to it. */
function passiveHealth(written: Read<typeof passiveHealthCheck>): PassiveHealthPolicy {
  return {
    intervalMs: optionalMilliseconds(written.Interval) ?? 10_000,
    maxFailures: written.MaxFailures ?? 5,
    enforcingConsecutive5xx: written.EnforcingConsecutive5xx ?? 100,
    maxEjectionPercent: written.MaxEjectionPercent ?? 10,
    baseEjectionTimeMs: optionalMilliseconds(written.BaseEjectionTime) ?? 30_000,
  };
}

function breaker(written: Read<typeof circuitBreaker>): BreakerPolicy {
  return {
    errorPercent: written.ErrorPercent ?? 50,
    minimumRequests: written.MinimumRequests ?? 20,
    windowMs: written.Window === undefined ? 10_000 : milliseconds(written.Window),
    openMs: written.OpenFor === undefined ? 5_000 : milliseconds(written.OpenFor),
    halfOpenRequests: written.HalfOpenRequests ?? 3,
  };
}

function rateLimitsPolicy(written: Read<typeof rateLimits> | undefined): RateLimitsPolicy | null {
  if (written === undefined) return null;
  const { InstanceLevel, Callers = [] } = written;
  return {
    instance:
      InstanceLevel?.RequestsPerSecond === undefined
        ? null
        : bucket({ ...InstanceLevel, RequestsPerSecond: InstanceLevel.RequestsPerSecond }),
    routes: (InstanceLevel?.Routes ?? []).map((route) => ({
      path: pathMatch(route, false)!,
      ...bucket(route),
    })),
    callers: Callers.map((caller) => ({ source: caller.Name, ...bucket(caller) })),
  };
}

/** Without a burst a bucket holds what a second brings, as in Consul. */
function bucket(written: { readonly RequestsPerSecond: number; readonly RequestsMaxBurst?: number }) {
  const { RequestsPerSecond, RequestsMaxBurst = RequestsPerSecond } = written;
  return { requestsPerSecond: RequestsPerSecond, burst: RequestsMaxBurst };
}
