/** What operators are told: the code, and the path of the field in their own spelling. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfigEntry } from '../../../../src/agent/entries/entry.ts';
import { Fault } from '../../../../src/core.ts';

function refusalOf(input: unknown): Fault {
  try {
    parseConfigEntry(input);
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
    return error;
  }
  assert.fail(`accepted: ${JSON.stringify(input)}`);
}

type Case = readonly [why: string, fields: object, code: string, field: string, says?: RegExp];

function refusals(kind: string, name: string, cases: readonly Case[]): void {
  for (const [why, fields, code, field, says] of cases)
    test(`${kind}: ${why}: ${code}`, () => {
      const isSnake = !/[A-Z]/.test(Object.keys(fields).join(''));
      const head = isSnake ? { kind, name } : { Kind: kind, Name: name };
      const fault = refusalOf({ ...head, ...fields });
      assert.deepEqual([fault.code, fault.field], [code, field], fault.message);
      if (says !== undefined) assert.match(fault.message, says);
    });
}

refusals('service-defaults', 'api', [
  ['a protocol that is none', { protocol: 'udp' }, 'invalid-field', 'protocol', /none of auto, tcp, http/],
  [
    'a misspelt field',
    { max_inbound_conections: 5 },
    'unknown-field',
    'max_inbound_conections',
    /did you mean "max_inbound_connections"/,
  ],
  ['a transparent proxy', { TransparentProxy: { DialedDirectly: true } }, 'unsupported', 'TransparentProxy'],
  [
    'a bare number for a time',
    { Outbound: { RequestTimeout: 30 } },
    'invalid-field',
    'Outbound.RequestTimeout',
    /with its unit/,
  ],
  ['less than a millisecond', { Outbound: { IdleTimeout: '10us' } }, 'invalid-field', 'Outbound.IdleTimeout'],
  [
    'no connection at all',
    { UpstreamConfig: { Defaults: { Limits: { MaxConnections: 0 } } } },
    'invalid-field',
    'UpstreamConfig.Defaults.Limits.MaxConnections',
  ],
  [
    'an override of nobody',
    { UpstreamConfig: { Overrides: [{ ConnectTimeoutMs: 5 }] } },
    'missing-field',
    'UpstreamConfig.Overrides[0].Name',
  ],
  [
    'an override of nothing',
    { upstream_config: { overrides: [{ name: 'db' }] } },
    'without-effect',
    'upstream_config.overrides[0].name',
  ],
  [
    'a burst without a rate',
    { RateLimits: { InstanceLevel: { RequestsMaxBurst: 5 } } },
    'missing-field',
    'RateLimits.InstanceLevel.RequestsPerSecond',
  ],
  [
    'a caller twice',
    {
      RateLimits: {
        Callers: [
          { Name: 'a', RequestsPerSecond: 1 },
          { Name: 'a', RequestsPerSecond: 2 },
        ],
      },
    },
    'conflicting-fields',
    'RateLimits.Callers',
  ],
  [
    'a rate for no path',
    { RateLimits: { InstanceLevel: { Routes: [{ RequestsPerSecond: 1 }] } } },
    'missing-field',
    'RateLimits.InstanceLevel.Routes[0].PathPrefix',
  ],
  [
    'rates of connections',
    { Protocol: 'tcp', RateLimits: { InstanceLevel: { RequestsPerSecond: 1 } } },
    'without-effect',
    'RateLimits',
  ],
  ['defaults of another namespace', { Namespace: 'team' }, 'unsupported', 'Namespace'],
]);

const routes = (...all: object[]) => ({ Routes: all });
const to = (Destination: object, Match?: object) => routes({ ...(Match && { Match }), Destination });
refusals('service-router', 'api', [
  ['no routes', { Routes: [] }, 'missing-field', 'Routes'],
  [
    'two paths',
    to({}, { HTTP: { PathExact: '/a', PathPrefix: '/b' } }),
    'conflicting-fields',
    'Routes[0].Match.HTTP.PathPrefix',
  ],
  [
    'a path with a query',
    to({}, { HTTP: { PathExact: '/a?b' } }),
    'invalid-field',
    'Routes[0].Match.HTTP.PathExact',
  ],
  [
    'a regular expression that is none',
    to({}, { HTTP: { PathRegex: '/(a' } }),
    'invalid-regex',
    'Routes[0].Match.HTTP.PathRegex',
  ],
  [
    'a back reference',
    to({}, { HTTP: { PathRegex: '/(a)\\1' } }),
    'invalid-regex',
    'Routes[0].Match.HTTP.PathRegex',
  ],
  [
    'two tests of a header',
    to({}, { HTTP: { Header: [{ Name: 'x', Exact: 'a', Prefix: 'b' }] } }),
    'conflicting-fields',
    'Routes[0].Match.HTTP.Header[0].Prefix',
  ],
  [
    'no test of a header',
    to({}, { HTTP: { Header: [{ Name: 'x' }] } }),
    'missing-field',
    'Routes[0].Match.HTTP.Header[0].Name',
  ],
  [
    'a method twice',
    to({}, { HTTP: { Methods: ['GET', 'get'] } }),
    'conflicting-fields',
    'Routes[0].Match.HTTP.Methods',
  ],
  [
    'a method that is none',
    to({}, { HTTP: { Methods: ['FETCH'] } }),
    'invalid-field',
    'Routes[0].Match.HTTP.Methods[0]',
  ],
  ['a rewrite of nothing', to({ PrefixRewrite: '/x' }), 'without-effect', 'Routes[0].Destination'],
  [
    'a route after the one that matches all',
    routes({ Destination: { Service: 'a' } }, { Match: { HTTP: { PathPrefix: '/b' } } }),
    'without-effect',
    'Routes[1]',
    /never decides: \[0\]/,
  ],
  [
    'a path that an earlier route takes',
    routes(
      { Match: { HTTP: { PathPrefix: '/a' } }, Destination: { Service: 'a' } },
      { Match: { HTTP: { PathExact: '/a/b', Methods: ['GET'] } }, Destination: { Service: 'b' } },
    ),
    'without-effect',
    'Routes[1]',
  ],
  ['nothing but the default', routes({}), 'without-effect', 'Routes'],
  [
    'a retry condition that is none',
    to({ RetryOn: ['6xx'] }),
    'invalid-field',
    'Routes[0].Destination.RetryOn[0]',
  ],
  [
    'Envoy’s own condition',
    to({ RetryOn: ['envoy-ratelimited'] }),
    'unsupported',
    'Routes[0].Destination.RetryOn[0]',
    /429/,
  ],
  [
    'a backoff of nothing',
    to({ RetryBackoff: { Base: '1s' } }),
    'without-effect',
    'Routes[0].Destination.RetryBackoff',
  ],
  [
    'a backoff of no retries',
    to({ NumRetries: 0, RetryBackoff: { Base: '1s' } }),
    'without-effect',
    'Routes[0].Destination.RetryBackoff',
  ],
  [
    'a try as long as the request',
    to({ RequestTimeout: '1s', PerTryTimeout: '1000ms' }),
    'without-effect',
    'Routes[0].Destination.PerTryTimeout',
  ],
  [
    'a redirect that is forwarded',
    to({ Redirect: { Host: 'x.org' }, NumRetries: 2 }),
    'conflicting-fields',
    'Routes[0].Destination.NumRetries',
  ],
  [
    'a redirect to the same place',
    to({ Redirect: { Status: 302 } }),
    'without-effect',
    'Routes[0].Destination.Redirect.Status',
  ],
  [
    'a fault that never happens',
    to({ Fault: { Abort: { Status: 503, Percent: 0 } } }),
    'without-effect',
    'Routes[0].Destination.Fault.Abort.Percent',
  ],
  ['an empty fault', to({ Fault: {} }), 'without-effect', 'Routes[0].Destination.Fault'],
  [
    'a mirror to nowhere',
    to({ Mirror: { Percent: 5 } }),
    'missing-field',
    'Routes[0].Destination.Mirror.Service',
  ],
  [
    'an identity header',
    to({ RequestHeaders: { Set: { 'X-Forwarded_Client-Cert': 'me' } } }),
    'unsupported',
    'Routes[0].Destination.RequestHeaders.Set',
  ],
  [
    'a header in two spellings',
    to({ RequestHeaders: { Add: { 'x-a': '1', 'X-A': '2' } } }),
    'conflicting-fields',
    'Routes[0].Destination.RequestHeaders.Add',
  ],
  [
    'a header that ends its line',
    to({ RequestHeaders: { Add: { 'x-a': '1\r\nx-b: 2' } } }),
    'invalid-field',
    'Routes[0].Destination.RequestHeaders.Add.x-a',
  ],
]);

const splits = (...all: object[]) => ({ splits: all });
refusals('service-splitter', 'api', [
  ['no splits', splits(), 'missing-field', 'splits', /no splits configured/],
  [
    '99 percent',
    splits({ weight: 90 }, { weight: 9, service_subset: 'v2' }),
    'invalid-field',
    'splits',
    /must be 100, not 99/,
  ],
  [
    'one destination twice',
    splits({ weight: 50 }, { weight: 50, service: 'api' }),
    'conflicting-fields',
    'splits[1]',
  ],
  ['more than all', splits({ weight: 101 }), 'invalid-field', 'splits[0].weight'],
  ['no weight', splits({ service: 'b' }), 'missing-field', 'splits[0].weight'],
  ['everything to itself', splits({ weight: 100 }), 'without-effect', 'splits'],
]);

const balance = (LoadBalancer: object) => ({ LoadBalancer });
const v1 = { Subsets: { v1: { Filter: 'Service.Meta.version == v1' } } };
refusals('service-resolver', 'api', [
  [
    'a filter that is none',
    { Subsets: { v1: { Filter: 'version is 1' } } },
    'invalid-filter',
    'Subsets.v1.Filter',
  ],
  [
    'a filter of what is not there',
    { Subsets: { v1: { Filter: 'Service.Moon == full' } } },
    'invalid-filter',
    'Subsets.v1.Filter',
  ],
  [
    'a default that is no subset',
    { ...v1, DefaultSubset: 'v2' },
    'unknown-subset',
    'DefaultSubset',
    /is not a valid subset/,
  ],
  ['a redirect to nowhere', { Redirect: {} }, 'without-effect', 'Redirect', /Redirect is empty/],
  ['a redirect to itself', { Redirect: { Service: 'api' } }, 'circular-reference', 'Redirect'],
  ['a redirect and subsets', { ...v1, Redirect: { Service: 'b' } }, 'conflicting-fields', 'Subsets'],
  ['a redirect to a peer', { Redirect: { Service: 'b', Peer: 'x' } }, 'unsupported', 'Redirect.Peer'],
  [
    'failover from what is no subset',
    { Failover: { v1: { Service: 'b' } } },
    'unknown-subset',
    'Failover.v1',
  ],
  [
    'failover to what is no subset',
    { Failover: { '*': { ServiceSubset: 'v9' } } },
    'unknown-subset',
    'Failover.*',
  ],
  ['failover to nowhere', { Failover: { '*': {} } }, 'without-effect', 'Failover.*'],
  [
    'two kinds of targets',
    { Failover: { '*': { Service: 'b', Targets: [{ Service: 'c' }] } } },
    'conflicting-fields',
    'Failover.*.Service',
  ],
  [
    'a ring for p2c',
    balance({ RingHashConfig: { MinimumRingSize: 8 } }),
    'conflicting-fields',
    'LoadBalancer.RingHashConfig',
  ],
  [
    'hashes for random',
    balance({ Policy: 'random', HashPolicies: [{ SourceIP: true }] }),
    'conflicting-fields',
    'LoadBalancer.HashPolicies',
  ],
  [
    'a size from which zones matter that never do',
    balance({ ZoneAware: false, ZoneMinClusterSize: 3 }),
    'conflicting-fields',
    'LoadBalancer.ZoneMinClusterSize',
  ],
  ['a ring without hashes', balance({ Policy: 'ring_hash' }), 'missing-field', 'LoadBalancer.HashPolicies'],
  ['a policy that is none', balance({ Policy: 'fastest' }), 'invalid-field', 'LoadBalancer.Policy', /p2c/],
  [
    'two things to hash',
    balance({ Policy: 'maglev', HashPolicies: [{ SourceIP: true, Field: 'header' }] }),
    'conflicting-fields',
    'LoadBalancer.HashPolicies[0].SourceIP',
  ],
  [
    'a field without its name',
    balance({ Policy: 'maglev', HashPolicies: [{ Field: 'header' }] }),
    'missing-field',
    'LoadBalancer.HashPolicies[0].FieldValue',
  ],
  [
    'a cookie of a header',
    balance({ Policy: 'maglev', HashPolicies: [{ Field: 'header', FieldValue: 'x', CookieConfig: {} }] }),
    'conflicting-fields',
    'LoadBalancer.HashPolicies[0].CookieConfig',
  ],
  [
    'a session that expires',
    balance({
      Policy: 'maglev',
      HashPolicies: [{ Field: 'cookie', FieldValue: 'x', CookieConfig: { Session: true, TTL: '5s' } }],
    }),
    'conflicting-fields',
    'LoadBalancer.HashPolicies[0].CookieConfig.TTL',
  ],
]);

const sources = (...all: object[]) => ({ sources: all });
const permissions = (...all: object[]) => sources({ name: 'web', permissions: all });
refusals('service-intentions', 'api', [
  ['no sources', sources(), 'missing-field', 'sources'],
  ['a source without action', sources({ name: 'web' }), 'missing-field', 'sources[0].action'],
  ['an action that is none', sources({ name: 'web', action: 'ask' }), 'invalid-field', 'sources[0].action'],
  ['a partial wildcard', sources({ name: 'web*', action: 'deny' }), 'invalid-field', 'sources[0].name'],
  [
    'a source twice',
    sources({ name: 'web', action: 'deny' }, { name: 'web', action: 'allow' }),
    'conflicting-fields',
    'sources[1]',
  ],
  [
    'an action and permissions',
    sources({ name: 'web', action: 'deny', permissions: [{ action: 'allow', http: { path_prefix: '/' } }] }),
    'conflicting-fields',
    'sources[0].action',
  ],
  [
    'a permission of nothing',
    permissions({ action: 'allow' }),
    'missing-field',
    'sources[0].permissions[0].http',
  ],
  [
    'an empty permission',
    permissions({ action: 'allow', http: {} }),
    'without-effect',
    'sources[0].permissions[0].http',
  ],
  [
    'a permission by token',
    permissions({ action: 'allow', http: { path_prefix: '/' }, jwt: { providers: [{}, { name: 'x' }] } }),
    'unsupported',
    'sources[0].permissions[0].jwt',
  ],
  [
    'a denial after the allowance of all that it denies',
    permissions(
      { action: 'allow', http: { path_prefix: '/' } },
      { action: 'deny', http: { path_exact: '/admin' } },
    ),
    'without-effect',
    'sources[0]',
    /Permissions\[1\] never decides: \[0\]/,
  ],
  ['a peer', sources({ name: 'web', action: 'deny', peer: 'x' }), 'unsupported', 'sources[0].peer'],
  [
    'JWT',
    { jwt: { providers: [{ name: 'x' }] }, sources: [{ name: 'web', action: 'deny' }] },
    'unsupported',
    'jwt',
  ],
  [
    'a misspelt action',
    sources({ name: 'web', acton: 'deny' }),
    'unknown-field',
    'sources[0].acton',
    /did you mean "action"/,
  ],
]);
test('what comes after something narrower decides, and is accepted', () => {
  const matches = [
    { PathExact: '/a' },
    { PathPrefix: '/b', Methods: ['GET'] },
    { PathPrefix: '/b', Header: [{ Name: 'x', Exact: '1' }] },
    { PathPrefix: '/B', CaseInsensitive: true },
    { PathPrefix: '/b/c', CaseInsensitive: true, QueryParam: [{ Name: 'q', Present: true }] },
    { PathRegex: '/r.*' },
    { PathPrefix: '/' },
  ];
  const entry = (all: object[]) => ({
    Kind: 'service-router',
    Name: 'api',
    Routes: all.map((HTTP) => ({ Match: { HTTP }, Destination: { Service: 'b' } })),
  });
  const hidden = refusalOf(entry(matches));
  assert.equal(hidden.field, 'Routes[4]', hidden.message);
  parseConfigEntry(entry(matches.filter((_, i) => i !== 4)));
});

refusals('service-intentions', '*', [
  [
    'permissions for every service',
    permissions({ action: 'allow', http: { path_prefix: '/' } }),
    'unsupported',
    'sources[0]',
  ],
]);

refusals('proxy-defaults', 'global', [
  [
    'Envoy’s settings',
    { config: { envoy_prometheus_bind_addr: '0.0.0.0:9102' } },
    'unknown-field',
    'config.envoy_prometheus_bind_addr',
  ],
  ['a sample of no log', { AccessLogs: { Sample: 0.5 } }, 'without-effect', 'AccessLogs.Sample'],
  ['a log in no file', { AccessLogs: { Enabled: true, Type: 'file' } }, 'missing-field', 'AccessLogs.Path'],
  [
    'a path without a log in a file',
    { AccessLogs: { Enabled: true, Path: '/a' } },
    'without-effect',
    'AccessLogs.Path',
  ],
  [
    'a path that depends on where the agent was started',
    { AccessLogs: { Enabled: true, Type: 'file', Path: 'access.log' } },
    'invalid-field',
    'AccessLogs.Path',
  ],
  ['no port', { Tracing: { Endpoint: 'http://a:99999' } }, 'invalid-field', 'Tracing.Endpoint'],
  ['traces sent nowhere', { Tracing: { Sample: 0.1 } }, 'missing-field', 'Tracing.Endpoint'],
]);
refusals('proxy-defaults', 'local', [['another name', {}, 'invalid-field', 'name']]);
refusals('mesh', 'mesh', [
  [
    'old TLS',
    { TLS: { Incoming: { TLSMinVersion: 'TLSv1_1' } } },
    'invalid-field',
    'TLS.Incoming.TLSMinVersion',
  ],
]);
