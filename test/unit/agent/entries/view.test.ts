/** What the proxy makes of entries: units, defaults, and nothing anew that did not change. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { policyViewOf, unreadEntries } from '../../../../src/agent/entries/view.ts';
import type { StoredEntry } from '../../../../src/agent/port.ts';
import { noPolicy, noTimeouts } from '../../../../src/proxy/policy-defaults.ts';
import { rawStoreOf, storedEntry, storeOf, storeWith } from '../../../support/policy.ts';

const router = (Routes: object[], more: object = {}) => ({
  Kind: 'service-router',
  Name: 'api',
  Routes,
  ...more,
});
const plainDestination = {
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
};

test('a mesh in which nobody wrote anything has no policy', () => {
  assert.deepEqual(policyViewOf(storeOf()), noPolicy);
});

test('a route in snake_case says the same as in PascalCase, durations by Go’s text or in nanoseconds', () => {
  const pascal = router([
    {
      Match: { HTTP: { PathPrefix: '/v2/', CaseInsensitive: true, Methods: ['POST'] } },
      Destination: { Service: 'api-2', PrefixRewrite: '/', RequestTimeout: '1m30s', IdleTimeout: 5e9 },
    },
  ]);
  const snake = {
    kind: 'service-router',
    name: 'api',
    routes: [
      {
        match: { http: { path_prefix: '/v2/', case_insensitive: true, methods: ['post'] } },
        destination: {
          service: 'api-2',
          prefix_rewrite: '/',
          request_timeout: '90s',
          idle_timeout: '5000ms',
        },
      },
    ],
  };
  const [read] = policyViewOf(storeOf(pascal)).routers;
  assert.deepEqual(policyViewOf(storeOf(snake)).routers, [read]);
  assert.deepEqual(read, {
    rule: 'service-router/api',
    service: 'api',
    routes: [
      {
        match: {
          path: { type: 'prefix', value: '/v2/', ignoreCase: true },
          headers: [],
          query: [],
          methods: ['POST'],
        },
        destination: {
          ...plainDestination,
          service: 'api-2',
          prefixRewrite: '/',
          timeouts: { requestMs: 90_000, idleMs: 5000, perTryMs: null, connectMs: null },
        },
      },
    ],
  });
});

test('retries are on what is said, once unless more are asked for; a bare number retries what is safe', () => {
  const retryOf = (Destination: object) =>
    policyViewOf(storeOf(router([{ Destination }]))).routers[0]?.routes[0]?.destination.retry;
  assert.deepEqual(
    retryOf({ RetryOnConnectFailure: true, RetryOn: ['reset'], RetryBackoff: { Base: '100ms' } }),
    {
      maxRetries: 1,
      on: ['reset', 'connect-failure'],
      statusCodes: [],
      backoffMs: 100,
      maxBackoffMs: 1000,
    },
  );
  assert.deepEqual(retryOf({ NumRetries: 3, RetryOnStatusCodes: [502, 503] }), {
    maxRetries: 3,
    on: [],
    statusCodes: [502, 503],
    backoffMs: 25,
    maxBackoffMs: 250,
  });
  assert.deepEqual(retryOf({ NumRetries: 2 })?.on, [
    'connect-failure',
    'refused-stream',
    'unavailable',
    'cancelled',
  ]);
  assert.equal(retryOf({ Service: 'b' }), null);
});

test('a number of retries that is said to be 0 is meant, whatever the conditions', () => {
  for (const more of [
    {},
    { RetryOn: ['5xx'] },
    { RetryOnStatusCodes: [502], RetryBackoff: { Base: '9ms' } },
  ]) {
    const store = storeOf(router([{ Destination: { NumRetries: 0, ...more } }]));
    const [route] = policyViewOf(store).routers[0]!.routes;
    assert.equal(route!.destination.retry!.maxRetries, 0, JSON.stringify(more));
    assert.deepEqual(store.get('service-router', 'api')!.entry.Routes, [
      { Destination: { NumRetries: 0, ...more } },
    ]);
  }
});

test('faults, mirrors, hedges, redirects and header edits come with what is not said of them', () => {
  const destinationOf = (Destination: object) =>
    policyViewOf(storeOf(router([{ Destination }]))).routers[0]?.routes[0]?.destination;
  const forwarded = destinationOf({
    Mirror: { ServiceSubset: 'v2', Percent: 0.5 },
    Fault: { Delay: { Duration: '2s' }, Abort: { Status: 418, Percent: 10 } },
    Hedge: { After: '50ms' },
    RequestHeaders: { Add: { 'X-A': '1' }, Set: { 'X-B': '2' }, Remove: ['X-C'] },
  });
  assert.deepEqual(forwarded, {
    ...plainDestination,
    mirror: { service: 'api', subset: 'v2', percent: 0.5 },
    fault: { delay: { ms: 2000, percent: 100 }, abort: { status: 418, percent: 10 } },
    hedge: { afterMs: 50 },
    requestHeaders: {
      remove: ['x-c'],
      set: [{ name: 'x-b', value: '2' }],
      add: [{ name: 'x-a', value: '1' }],
    },
  });
  assert.deepEqual(destinationOf({ Redirect: { Path: '/new' } })?.redirect, {
    status: 301,
    host: '',
    path: '/new',
    scheme: '',
  });
});

test('weights are hundredths of a percent however they are written', () => {
  const split = (Weight: number, ServiceSubset: string) => ({ Weight, ServiceSubset });
  const entry = {
    Kind: 'service-splitter',
    Name: 'api',
    Splits: [split(33.33, 'a'), split(33.33, 'b'), split(33.34, 'c')],
  };
  assert.deepEqual(
    policyViewOf(storeOf(entry)).splitters[0]?.splits.map(({ weight, subset }) => [subset, weight]),
    [
      ['a', 3333],
      ['b', 3333],
      ['c', 3334],
    ],
  );
});

test('a resolver’s subsets, failover and balancing are read with their defaults', () => {
  const entry = {
    Kind: 'service-resolver',
    Name: 'api',
    DefaultSubset: 'v1',
    ConnectTimeout: '15s',
    Subsets: { v2: { OnlyPassing: true }, v1: { Filter: 'Service.Meta.version == v1' } },
    Failover: {
      '*': { Datacenters: ['dc2', 'dc3'] },
      v2: { Targets: [{ ServiceSubset: 'v1' }, { Service: 'old', Datacenter: 'dc2' }] },
    },
    LoadBalancer: {
      Policy: 'ring_hash',
      RingHashConfig: { MaximumRingSize: 512 },
      ZoneAware: false,
      PanicPercent: 50,
      HashPolicies: [
        { Field: 'header', FieldValue: 'X-User', Terminal: true },
        { Field: 'cookie', FieldValue: 'sid', CookieConfig: { TTL: '1h', Path: '/' } },
        { Field: 'cookie', FieldValue: 'old', CookieConfig: {} },
        { SourceIP: true },
      ],
    },
  };
  assert.deepEqual(policyViewOf(storeOf(entry)).resolvers, [
    {
      rule: 'service-resolver/api',
      service: 'api',
      defaultSubset: 'v1',
      subsets: [
        { name: 'v1', filter: 'Service.Meta.version == v1', onlyPassing: false },
        { name: 'v2', filter: '', onlyPassing: true },
      ],
      redirect: null,
      failover: [
        {
          subset: '*',
          targets: [
            { service: '', subset: '', datacenter: 'dc2' },
            { service: '', subset: '', datacenter: 'dc3' },
          ],
        },
        {
          subset: 'v2',
          targets: [
            { service: '', subset: 'v1', datacenter: '' },
            { service: 'old', subset: '', datacenter: 'dc2' },
          ],
        },
      ],
      connectTimeoutMs: 15_000,
      requestTimeoutMs: null,
      balance: {
        method: 'ring_hash',
        choiceCount: 2,
        ringHash: { minimumRingSize: 512, maximumRingSize: 1024 },
        hash: [
          { type: 'header', name: 'x-user', terminal: true },
          { type: 'cookie', name: 'sid', terminal: false, issue: { ttlMs: 3_600_000, path: '/' } },
          { type: 'cookie', name: 'old', terminal: false, issue: null },
          { type: 'source-ip', terminal: false },
        ],
        zoneAware: false,
        zoneMinimumEndpoints: 0,
        slowStartMs: 0,
        panicPercent: 50,
      },
    },
  ]);
});

test('what is said of one destination is completed by what is said of all, limits one by one', () => {
  const entry = {
    Kind: 'service-defaults',
    Name: 'web',
    RateLimits: {
      InstanceLevel: {
        RequestsPerSecond: 100,
        Routes: [{ PathPrefix: '/slow', RequestsPerSecond: 5, RequestsMaxBurst: 9 }],
      },
      Callers: [{ Name: '*', RequestsPerSecond: 10 }],
    },
    UpstreamConfig: {
      Defaults: { Limits: { MaxConnections: 10, MaxPendingRequests: 20 }, CircuitBreaker: { OpenFor: '1s' } },
      Overrides: [{ Name: 'db', Limits: { MaxPendingRequests: 5 }, PassiveHealthCheck: { MaxFailures: 2 } }],
    },
  };
  const [read] = policyViewOf(storeOf(entry)).defaults;
  const breaker = {
    errorPercent: 50,
    minimumRequests: 20,
    windowMs: 10_000,
    openMs: 1000,
    halfOpenRequests: 3,
  };
  assert.deepEqual(read?.overrides, [
    {
      destination: 'db',
      limits: { maxConnections: 10, maxPendingRequests: 5, maxConcurrentRequests: 0 },
      passiveHealth: {
        intervalMs: 10_000,
        maxFailures: 2,
        enforcingConsecutive5xx: 100,
        maxEjectionPercent: 10,
        baseEjectionTimeMs: 30_000,
      },
      breaker,
      connectTimeoutMs: null,
    },
  ]);
  assert.deepEqual(read?.upstreams.breaker, breaker);
  assert.deepEqual(read?.rateLimits, {
    instance: { requestsPerSecond: 100, burst: 100 },
    routes: [{ path: { type: 'prefix', value: '/slow', ignoreCase: false }, requestsPerSecond: 5, burst: 9 }],
    callers: [{ source: '*', requestsPerSecond: 10, burst: 10 }],
  });
});

test('mesh-wide defaults say what is logged and traced, and what a service speaks that does not say', () => {
  const view = policyViewOf(
    storeOf(
      {
        Kind: 'proxy-defaults',
        Name: 'global',
        Config: { protocol: 'HTTP' },
        AccessLogs: { Enabled: true, Type: 'file', Path: '/var/log/access.log', Sample: 0.1 },
        Tracing: { Endpoint: 'http://127.0.0.1:4318/v1/traces' },
      },
      { Kind: 'service-defaults', Name: 'api' },
      { Kind: 'mesh', TLS: { Incoming: { TLSMinVersion: 'TLSv1_3' } } },
    ),
  );
  assert.deepEqual(view.proxyDefaults, {
    rule: 'proxy-defaults/global',
    protocol: 'http',
    accessLog: { sample: 0.1, file: '/var/log/access.log' },
    tracing: { sample: 1, endpoint: 'http://127.0.0.1:4318/v1/traces' },
  });
  assert.equal(view.defaults[0]?.protocol, 'http');
});

test('entries that did not change give the very same objects, and so does a whole that did not', () => {
  const api = storedEntry(router([{ Destination: { Service: 'b' } }]));
  const web = storedEntry({ ...router([{ Destination: { Service: 'c' } }]), Name: 'web' });
  const resolver = storedEntry({ Kind: 'service-resolver', Name: 'api', ConnectTimeout: '1s' });
  const entries: StoredEntry[] = [api, web, resolver];
  const store = { get: () => undefined, list: (kind: string) => storeWith(entries).list(kind) };
  const first = policyViewOf(store);
  assert.equal(policyViewOf(store), first);
  entries[1] = { ...web, modifyIndex: 10 };
  const second = policyViewOf(store);
  assert.notEqual(second.routers, first.routers);
  assert.equal(second.routers[0], first.routers[0]);
  assert.notEqual(second.routers[1], first.routers[1]);
  assert.equal(second.resolvers, first.resolvers);
});

test('what a newer version wrote has no effect but to be seen', () => {
  const newer = [
    router([{ Destination: { Service: 'b', Teleport: true } }]),
    { Kind: 'service-resolver', Name: 'api', ConnectTimeout: '1s' },
    { Kind: 'service-weather', Name: 'api' },
    { Kind: 'service-intentions', Name: 'api', Sources: [{ Name: 'web', Action: 'allow', OnlyAt: 'night' }] },
  ];
  const view = policyViewOf(rawStoreOf(...newer));
  assert.deepEqual([view.routers.length, view.resolvers.length], [0, 1]);
  assert.deepEqual(
    unreadEntries(newer.map(storedEntry)).map(({ kind, problem }) => `${kind}: ${problem}`),
    [
      'service-router: Routes[0].Destination.Teleport: is not a field',
      'service-weather: is of a kind that this version does not know',
      'service-intentions: Sources[0].OnlyAt: is not a field',
    ],
  );
});
