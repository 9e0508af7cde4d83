/** `service-resolver`: which instances a service's name stands for, and how load is spread over them. */
import type {
  BalanceMethod,
  BalancePolicy,
  FailoverPolicy,
  HashPolicy,
  ResolverPolicy,
  TargetPolicy,
} from '../../proxy/policy.ts';
import { defaultBalance } from '../../proxy/policy-defaults.ts';
import { type Fields, fault } from '../consul/fields.ts';
import {
  entryFields,
  milliseconds,
  optionalMilliseconds,
  peers,
  places,
  serviceName,
  subsetName,
  timeout,
} from './common.ts';
import { instanceFilter } from './expressions.ts';
import {
  amount,
  beyond,
  described,
  duration,
  flag,
  list,
  mapOf,
  object,
  percent,
  type Read,
  type Reading,
  refused,
  text,
  word,
} from './form.ts';

const datacenter = serviceName;
const subsetKey = {
  key: /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/,
  what: 'the name of a subset: a-z, 0-9 and -',
};

const subset = object(
  { Filter: instanceFilter, OnlyPassing: described(flag(), 'Leave out instances in a warning state.') },
  { empty: 'kept' },
);

const redirect = object(
  { Service: serviceName, ServiceSubset: subsetName, Datacenter: datacenter, ...places, ...peers },
  { empty: { refusal: 'Redirect is empty' } },
);

const target = object(
  { Service: serviceName, ServiceSubset: subsetName, Datacenter: datacenter, ...places, ...peers },
  { empty: { refusal: 'names no Service, ServiceSubset or Datacenter' } },
);

const failover = object(
  {
    Service: serviceName,
    ServiceSubset: subsetName,
    Datacenters: list(datacenter, 16),
    Targets: list(target, 16),
    Policy: refused('targets are tried in the order in which they are written', [{ Mode: 'default' }]),
    Namespace: places.Namespace,
    SamenessGroup: peers.SamenessGroup,
  },
  {
    empty: { refusal: 'one of Service, ServiceSubset, Targets, or Datacenters is required' },
    check(read, fields) {
      if (read.Targets === undefined) return;
      for (const name of ['Datacenters', 'ServiceSubset', 'Service'])
        if (name in read)
          throw fields.fault('conflicting-fields', name, `Targets cannot be set with ${name}`);
    },
  },
);

const cookieConfig = object(
  {
    Session: flag(),
    TTL: duration(),
    Path: text({ most: 256, pattern: /^\/[^\s;\p{Cc}]*$/u, what: 'a path that starts with /' }),
  },
  {
    empty: 'kept',
    check(read, fields) {
      if (read.Session && read.TTL !== undefined)
        throw fields.fault('conflicting-fields', 'TTL', 'a session cookie cannot have an associated TTL');
    },
  },
);

const hashPolicy = object(
  {
    Field: word(['header', 'cookie', 'query_parameter']),
    FieldValue: text({ most: 256, pattern: /^[^\s;,=\p{Cc}]+$/u, what: 'a name' }),
    CookieConfig: cookieConfig,
    SourceIP: flag(),
    Terminal: flag(),
  },
  { empty: 'kept', check: checkHashPolicy },
);

function checkHashPolicy(read: { readonly [field: string]: unknown }, fields: Fields): void {
  const { Field, FieldValue, SourceIP, CookieConfig } = read;
  if (SourceIP && Field !== undefined)
    throw fields.fault(
      'conflicting-fields',
      'SourceIP',
      `a single hash policy cannot hash both a source address and a "${Field}"`,
    );
  if (SourceIP && FieldValue !== undefined)
    throw fields.fault(
      'conflicting-fields',
      'FieldValue',
      'a FieldValue cannot be specified when hashing SourceIP',
    );
  if (Field === undefined && !SourceIP) throw fields.missing('Field', 'say a Field, or SourceIP');
  if (Field !== undefined && FieldValue === undefined)
    throw fields.missing('FieldValue', `Field "${Field}" was specified without a FieldValue`);
  if (CookieConfig !== undefined && Field !== 'cookie')
    throw fields.fault('conflicting-fields', 'CookieConfig', 'is for the Field "cookie" only');
}

const methods = ['p2c', 'round_robin', 'least_request', 'ring_hash', 'maglev', 'random'] as const;
const hashing: readonly BalanceMethod[] = ['ring_hash', 'maglev'];
const ringSize = amount({ least: 1, most: 65_536, zeroIsUnset: true });

const loadBalancerShape = {
  Policy: described(word(methods), 'p2c, two choices by latency, if not said; Consul has no p2c.'),
  RingHashConfig: object({ MinimumRingSize: ringSize, MaximumRingSize: ringSize }),
  LeastRequestConfig: object({ ChoiceCount: amount({ least: 2, most: 64, zeroIsUnset: true }) }),
  HashPolicies: list(hashPolicy, 16),
  ZoneAware: beyond(
    flag(true),
    'Calls stay in the caller’s zone as far as its endpoints have capacity for the callers there; the rest goes to zones with capacity to spare, as Envoy’s zone aware routing. Without zones p2c prefers the nearest endpoints by network coordinates, as `explain` shows, while they answer no later than others would, fail nothing and turn nothing away; connections of bytes are spread by number.',
  ),
  ZoneMinClusterSize: beyond(
    amount({ least: 0, most: 65_535 }),
    'With fewer endpoints in good order, neither zones nor distances are looked at; 0 if not said (Envoy’s min_cluster_size is 6 then).',
  ),
  SlowStart: beyond(
    duration({ mostMs: 3_600_000 }),
    'A new endpoint grows to its full share over this time.',
  ),
  PanicPercent: beyond(
    percent(),
    'With a smaller share that neither failed to connect nor is ejected, all are asked, in all zones; 0 if not said. Instances whose checks are critical are never asked.',
  ),
};

type LoadBalancer = Reading<typeof loadBalancerShape>;

const loadBalancer = object(loadBalancerShape, { check: checkLoadBalancer });

function checkLoadBalancer(read: LoadBalancer, fields: Fields): void {
  const { Policy = 'p2c', RingHashConfig, LeastRequestConfig, HashPolicies, SlowStart } = read;
  const { ZoneAware, ZoneMinClusterSize } = read;
  const incompatible = (name: string) =>
    fields.fault('conflicting-fields', name, `is for another load balancing policy than "${Policy}"`);
  if (RingHashConfig !== undefined && Policy !== 'ring_hash') throw incompatible('RingHashConfig');
  if (LeastRequestConfig !== undefined && Policy !== 'least_request')
    throw incompatible('LeastRequestConfig');
  if (HashPolicies !== undefined && !hashing.includes(Policy)) throw incompatible('HashPolicies');
  if (SlowStart !== undefined && hashing.includes(Policy)) throw incompatible('SlowStart');
  if (ZoneMinClusterSize !== undefined && hashing.includes(Policy)) throw incompatible('ZoneMinClusterSize');
  if (ZoneMinClusterSize !== undefined && ZoneAware === false)
    throw fields.fault('conflicting-fields', 'ZoneMinClusterSize', 'has no effect without ZoneAware');
  if (hashing.includes(Policy) && HashPolicies === undefined)
    throw fields.missing(
      'HashPolicies',
      `"${Policy}" needs to know what to hash, such as [{SourceIP: true}]`,
    );
  const { MinimumRingSize: least = 0, MaximumRingSize: most = 65_536 } = RingHashConfig ?? {};
  if (least > most)
    throw fields.fault(
      'conflicting-fields',
      'RingHashConfig',
      'has a MinimumRingSize above its MaximumRingSize',
    );
  const last = (HashPolicies ?? []).findIndex(({ Terminal }) => Terminal);
  // A terminal policy that applies ends the list; one that always applies ends it always.
  if (last >= 0 && last < HashPolicies!.length - 1 && HashPolicies![last]!.SourceIP)
    throw fields.fault('without-effect', 'HashPolicies', `[${last}] always applies and ends the list`);
}

const serviceResolverShape = {
  ...entryFields('service-resolver', serviceName),
  DefaultSubset: described(subsetName, 'For whoever names no subset.'),
  Subsets: mapOf(subset, { most: 32, ...subsetKey }),
  Redirect: described(redirect, 'Who asks for this service is sent there instead.'),
  Failover: described(
    mapOf(failover, {
      most: 33,
      key: /^(\*|[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$/,
      what: 'a subset or *',
    }),
    'Asked in order: while nobody before is in good order or the circuit there is open, and by a request after two tries in one of them failed.',
  ),
  ConnectTimeout: timeout,
  RequestTimeout: timeout,
  LoadBalancer: loadBalancer,
  PrioritizeByLocality: refused('is LoadBalancer.ZoneAware here, which is on unless it says false', [
    { Mode: 'failover' },
  ]),
};

export type ServiceResolver = Reading<typeof serviceResolverShape>;

export const serviceResolver = object(serviceResolverShape, { check: checkResolver });

function checkResolver(read: ServiceResolver, fields: Fields): void {
  const { Name, DefaultSubset, Subsets = {}, Redirect, Failover = {} } = read;
  const isSubset = (name: string) => Object.hasOwn(Subsets, name);
  const isOwn = (service: string | undefined) => service === undefined || service === Name;
  if (DefaultSubset !== undefined && !isSubset(DefaultSubset))
    throw fields.fault('unknown-subset', 'DefaultSubset', `"${DefaultSubset}" is not a valid subset`);
  if (Redirect !== undefined) checkRedirect(read, Redirect, fields);
  const at = fields.at('Failover');
  for (const [from, { Service, ServiceSubset, Targets = [] }] of Object.entries(Failover)) {
    const path = `${at}.${from}`;
    if (from !== '*' && !isSubset(from)) throw fault('unknown-subset', path, 'is not a valid subset');
    for (const one of [{ Service, ServiceSubset }, ...Targets])
      if (one.ServiceSubset !== undefined && isOwn(one.Service) && !isSubset(one.ServiceSubset))
        throw fault(
          'unknown-subset',
          path,
          `ServiceSubset "${one.ServiceSubset}" is not a valid subset of "${Name}"`,
        );
  }
}

/** Whoever asks for the service is sent away before the rest of the entry is looked at. */
function checkRedirect(
  read: ServiceResolver,
  { Service, ServiceSubset, Datacenter }: Read<typeof redirect>,
  fields: Fields,
): void {
  for (const name of Object.keys(read))
    if (!['Kind', 'Name', 'Meta', 'Redirect'].includes(name))
      throw fields.fault(
        'conflicting-fields',
        name,
        'has no effect beside Redirect, which sends every caller away',
      );
  if (ServiceSubset !== undefined && Service === undefined)
    throw fields.fault(
      'conflicting-fields',
      'Redirect',
      'Redirect.ServiceSubset defined without Redirect.Service',
    );
  if (Service === read.Name && Datacenter === undefined)
    throw fields.fault('circular-reference', 'Redirect', 'leads to the service itself');
}

export function resolverPolicy(entry: ServiceResolver): ResolverPolicy {
  const { Subsets = {}, Redirect, Failover = {} } = entry;
  return {
    rule: `${entry.Kind}/${entry.Name}`,
    service: entry.Name,
    defaultSubset: entry.DefaultSubset ?? '',
    subsets: Object.entries(Subsets).map(([name, { Filter = '', OnlyPassing = false }]) => ({
      name,
      filter: Filter,
      onlyPassing: OnlyPassing,
    })),
    redirect: Redirect === undefined ? null : targetPolicy(Redirect),
    failover: Object.entries(Failover).map(
      ([from, written]): FailoverPolicy => ({ subset: from, targets: failoverTargets(written) }),
    ),
    connectTimeoutMs: optionalMilliseconds(entry.ConnectTimeout),
    requestTimeoutMs: optionalMilliseconds(entry.RequestTimeout),
    balance: entry.LoadBalancer === undefined ? null : balancePolicy(entry.LoadBalancer),
  };
}

function targetPolicy({
  Service = '',
  ServiceSubset = '',
  Datacenter = '',
}: Read<typeof target>): TargetPolicy {
  return { service: Service, subset: ServiceSubset, datacenter: Datacenter };
}

function failoverTargets({
  Service,
  ServiceSubset,
  Datacenters,
  Targets,
}: Read<typeof failover>): TargetPolicy[] {
  if (Targets !== undefined) return Targets.map(targetPolicy);
  const { service, subset } = targetPolicy({
    ...(Service === undefined ? {} : { Service }),
    ...(ServiceSubset === undefined ? {} : { ServiceSubset }),
  });
  return (Datacenters ?? ['']).map((one) => ({ service, subset, datacenter: one }));
}

function balancePolicy(written: LoadBalancer): BalancePolicy {
  const { ringHash } = defaultBalance;
  const { MinimumRingSize = ringHash.minimumRingSize, MaximumRingSize = ringHash.maximumRingSize } =
    written.RingHashConfig ?? {};
  return {
    method: written.Policy ?? defaultBalance.method,
    choiceCount: written.LeastRequestConfig?.ChoiceCount ?? defaultBalance.choiceCount,
    ringHash: {
      // What is said wins over what is not: a small maximum takes the default minimum down with it.
      minimumRingSize: Math.min(MinimumRingSize, MaximumRingSize),
      maximumRingSize: Math.max(MinimumRingSize, MaximumRingSize),
    },
    hash: (written.HashPolicies ?? []).map(hashOf),
    zoneAware: written.ZoneAware ?? defaultBalance.zoneAware,
    zoneMinimumEndpoints: written.ZoneMinClusterSize ?? defaultBalance.zoneMinimumEndpoints,
    slowStartMs: optionalMilliseconds(written.SlowStart) ?? defaultBalance.slowStartMs,
    panicPercent: written.PanicPercent ?? defaultBalance.panicPercent,
  };
}

function hashOf({
  Field,
  FieldValue: name = '',
  CookieConfig,
  Terminal = false,
}: Read<typeof hashPolicy>): HashPolicy {
  switch (Field) {
    case undefined:
      return { type: 'source-ip', terminal: Terminal };
    case 'header':
      return { type: 'header', name: name.toLowerCase(), terminal: Terminal };
    case 'query_parameter':
      return { type: 'query', name, terminal: Terminal };
    case 'cookie':
      return { type: 'cookie', name, terminal: Terminal, issue: cookieIssue(CookieConfig) };
  }
}

/** Only clients that have a cookie of that name, unless the entry says how one is made. */
function cookieIssue(written: Read<typeof cookieConfig> | undefined): { ttlMs: number; path: string } | null {
  if (written === undefined || (!written.Session && written.TTL === undefined)) return null;
  return { ttlMs: written.TTL === undefined ? 0 : milliseconds(written.TTL), path: written.Path ?? '' };
}
