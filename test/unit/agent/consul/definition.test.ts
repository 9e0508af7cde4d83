import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkToConsul, parseCheckRegistration } from '../../../../src/agent/consul/check-definition.ts';
import { parseDefinition, parseDefinitions, toConsul } from '../../../../src/agent/consul/definition.ts';
import { Fault } from '../../../../src/core.ts';
import { checkOf } from '../../../support/agent.ts';

const api = { type: 'api' } as const;
const file = {
  type: 'file',
  path: '/etc/web.yaml',
  uidOfUser: (user: string) => (user === 'www' ? 33 : null),
} as const;

/** Asserts that parsing fails with this code and field. */
function refused(parse: () => unknown, code: string, field: string): Fault {
  try {
    parse();
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
    assert.deepEqual([error.code, error.field], [code, field], error.message);
    assert.equal(error.changed, false);
    return error;
  }
  assert.fail(`accepted, not refused with ${code} at ${field}`);
}

const complete = {
  ID: 'web-1',
  Name: 'web',
  Tags: ['v1', 'blue'],
  Meta: { version: '1' },
  Port: 8080,
  Address: '10.0.0.9',
  Weights: { Passing: 10, Warning: 0 },
  EnableTagOverride: true,
  User: '1001',
  Connect: {
    SidecarService: {
      Proxy: {
        Upstreams: [{ DestinationName: 'api', LocalBindPort: 9191, Datacenter: 'dc2' }],
      },
    },
  },
  Checks: [
    {
      HTTP: 'http://127.0.0.1:8080/health',
      Method: 'post',
      Header: { 'X-Probe': ['1', '2'] },
      Body: '{}',
      Interval: '10s',
      Timeout: '1m30s',
      SuccessBeforePassing: 2,
      FailuresBeforeCritical: 3,
      DeregisterCriticalServiceAfter: '90m',
    },
    { CheckID: 'heartbeat', Name: 'beats', TTL: '15s', Status: 'passing', Notes: 'from the app' },
  ],
};

test('a complete definition in CamelCase is read in full', () => {
  assert.deepEqual(parseDefinition(complete, api), {
    id: 'web-1',
    name: 'web',
    address: '10.0.0.9',
    port: 8080,
    tags: ['v1', 'blue'],
    meta: { version: '1' },
    weights: { passing: 10, warning: 0 },
    enableTagOverride: true,
    user: '1001',
    uid: 1001,
    inMesh: true,
    upstreams: [{ destination: 'api', bindAddress: '127.0.0.1', bindPort: 9191, datacenter: 'dc2' }],
    checks: [
      {
        id: 'service:web-1:1',
        name: "Service 'web' check",
        notes: '',
        type: 'http',
        target: 'http://127.0.0.1:8080/health',
        method: 'POST',
        header: { 'X-Probe': ['1', '2'] },
        body: '{}',
        tlsSkipVerify: false,
        args: [],
        intervalMs: 10_000,
        timeoutMs: 90_000,
        ttlMs: 0,
        successBeforePassing: 2,
        failuresBeforeCritical: 3,
        failuresBeforeWarning: 3,
        deregisterCriticalAfterMs: 5_400_000,
        initialStatus: 'critical',
      },
      checkOf({
        id: 'heartbeat',
        name: 'beats',
        notes: 'from the app',
        ttlMs: 15_000,
        initialStatus: 'passing',
      }),
    ],
    source: 'api',
  });
});

test('the snake_case of files means the same', () => {
  const snake = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(snake);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, held]) => [
        key === 'X-Probe' ? key : key.replace(/([a-z])([A-Z])/g, '$1_$2').toLowerCase(),
        snake(held),
      ]),
    );
  };
  assert.deepEqual(parseDefinition(snake(complete), api), parseDefinition(complete, api));
});

test('a name alone is a definition, with the name for its id', () => {
  const definition = parseDefinition({ name: 'job' }, file);
  assert.deepEqual(
    [definition.id, definition.port, definition.weights],
    ['job', 0, { passing: 1, warning: 1 }],
  );
  assert.equal(definition.source, 'file:/etc/web.yaml');
});

test('a service is in the mesh unless it says otherwise or has no port', () => {
  assert.equal(parseDefinition({ name: 'web', port: 80 }, api).inMesh, true);
  assert.equal(parseDefinition({ name: 'web', port: 80, mesh: false }, api).inMesh, false);
  assert.equal(parseDefinition({ name: 'web' }, api).inMesh, false);
});

test('a user is a uid, or a name that is looked up', () => {
  assert.equal(parseDefinition({ name: 'web', user: 'www' }, file).uid, 33);
  assert.equal(parseDefinition({ name: 'web', user: 'www' }, api).uid, null);
  refused(() => parseDefinition({ name: 'web', user: 'nobody-here' }, file), 'invalid-field', 'user');
  refused(() => parseDefinition({ name: 'web', user: '4294967295' }, file), 'invalid-field', 'user');
  refused(() => parseDefinition({ name: 'web', user: 'a b' }, file), 'invalid-field', 'user');
});

test('a file holds a service, services, or one bare definition', () => {
  assert.deepEqual(
    parseDefinitions({ service: { name: 'a' } }, file).map(({ id }) => id),
    ['a'],
  );
  assert.deepEqual(
    parseDefinitions({ services: [{ name: 'a' }, { name: 'a', id: 'a2' }] }, file).map(({ id }) => id),
    ['a', 'a2'],
  );
  assert.deepEqual(
    parseDefinitions({ Name: 'a' }, file).map(({ id }) => id),
    ['a'],
  );
  assert.deepEqual(parseDefinitions({ services: [] }, file), []);
});

test('the id of a single check has no number', () => {
  const check = { tcp: '127.0.0.1:80', interval: '1s' };
  assert.equal(parseDefinition({ name: 'a', check }, api).checks[0]!.id, 'service:a');
  assert.equal(parseDefinition({ name: 'a', checks: [check] }, api).checks[0]!.id, 'service:a');
  assert.deepEqual(
    parseDefinition({ name: 'a', check, checks: [check] }, api).checks.map(({ id }) => id),
    ['service:a:1', 'service:a:2'],
  );
});

test('what clients send to say nothing is accepted', () => {
  const quiet = {
    Kind: '',
    Name: 'web',
    Tags: null,
    Meta: null,
    TaggedAddresses: {},
    SocketPath: '',
    Check: null,
    Checks: null,
    Weights: null,
    Proxy: { Mode: '', MeshGateway: {}, Expose: {} },
    Connect: null,
    Namespace: 'default',
    Partition: 'default',
    Locality: null,
  };
  assert.equal(parseDefinition(quiet, api).name, 'web');
  assert.deepEqual(parseDefinition({ Name: 'web', Check: {} }, api).checks, []);
  assert.deepEqual(parseDefinition({ Name: 'web', Connect: { SidecarService: {} } }, api).upstreams, []);
});

const web = (fields: object) => ({ service: { name: 'web', port: 80, ...fields } });
const checked = (...checks: object[]) => web({ checks });
const upstream = (...upstreams: object[]) => web({ connect: { sidecar_service: { proxy: { upstreams } } } });
const http = { http: 'http://127.0.0.1/', interval: '10s' };

const faults: readonly (readonly [why: string, input: unknown, code: string, field: string])[] = [
  ['a list', [], 'invalid-field', ''],
  ['no name', { service: {} }, 'missing-field', 'service.Name'],
  ['no name, in the style of the file', { service: { port: 1 } }, 'missing-field', 'service.name'],
  ['a name that is no DNS label', web({ name: 'Web_App' }), 'invalid-field', 'service.name'],
  ['a name of the wrong type', web({ name: 7 }), 'invalid-field', 'service.name'],
  ['an id with a space', web({ id: 'a b' }), 'invalid-field', 'service.id'],
  ['an unknown field', web({ prot: 80 }), 'unknown-field', 'service.prot'],
  ['an unknown field beside services', { services: [], extra: 1 }, 'unknown-field', 'extra'],
  ['one field in two spellings', web({ Port: 80 }), 'conflicting-fields', 'service.Port'],
  ['a port too large', web({ port: 65536 }), 'invalid-field', 'service.port'],
  ['a negative port', web({ port: -1 }), 'invalid-field', 'service.port'],
  ['a port in quotes', web({ port: '80' }), 'invalid-field', 'service.port'],
  ['a broken port', web({ port: 80.5 }), 'invalid-field', 'service.port'],
  ['an address that is none', web({ address: 'http://x' }), 'invalid-field', 'service.address'],
  ['tags that are no list', web({ tags: 'a' }), 'invalid-field', 'service.tags'],
  ['a tag that is no string', web({ tags: ['a', 1] }), 'invalid-field', 'service.tags[1]'],
  ['a meta value that is no string', web({ meta: { n: 1 } }), 'invalid-field', 'service.meta.n'],
  ['a meta key with a dot', web({ meta: { 'a.b': '' } }), 'invalid-field', 'service.meta.a.b'],
  [
    'too many meta pairs',
    web({ meta: Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`k${i}`, ''])) }),
    'invalid-field',
    'service.meta',
  ],
  ['weight 0', web({ weights: { passing: 0 } }), 'invalid-field', 'service.weights.passing'],
  ['a kind of Consul', web({ kind: 'connect-proxy' }), 'unsupported', 'service.kind'],
  ['a namespace', web({ namespace: 'team-a' }), 'unsupported', 'service.namespace'],
  ['a proxy', web({ proxy: { destination_service_name: 'x' } }), 'unsupported', 'service.proxy'],
  ['a token', web({ token: 'secret' }), 'unsupported', 'service.token'],
  ['a locality', web({ locality: { region: 'eu' } }), 'unsupported', 'service.locality'],
  [
    'tagged addresses',
    web({ tagged_addresses: { wan: { address: '1.2.3.4' } } }),
    'unsupported',
    'service.tagged_addresses',
  ],
  [
    'two services with one id',
    { services: [{ name: 'a' }, { name: 'b', id: 'a' }] },
    'duplicate-id',
    'services[1].id',
  ],
  [
    'two checks with one id',
    checked({ id: 'x', ...http }, { id: 'x', ...http }),
    'duplicate-id',
    'service.checks[1].id',
  ],
  ['a check that does nothing', checked({ interval: '1s' }), 'missing-field', 'service.checks[0].http'],
  [
    'a check that does two things',
    checked({ ...http, tcp: 'a:1' }),
    'conflicting-fields',
    'service.checks[0].tcp',
  ],
  [
    'a ttl check that also runs',
    checked({ ...http, ttl: '1s' }),
    'conflicting-fields',
    'service.checks[0].ttl',
  ],
  [
    'a ttl with an interval',
    checked({ ttl: '1s', interval: '1s' }),
    'conflicting-fields',
    'service.checks[0].interval',
  ],
  [
    'a ttl with a timeout',
    checked({ ttl: '1s', timeout: '1s' }),
    'conflicting-fields',
    'service.checks[0].timeout',
  ],
  [
    'a ttl with a threshold',
    checked({ ttl: '1s', failures_before_critical: 2 }),
    'conflicting-fields',
    'service.checks[0].failures_before_critical',
  ],
  ['no interval', checked(http, { tcp: 'a:1' }), 'missing-field', 'service.checks[1].interval'],
  [
    'an interval without unit',
    checked({ ...http, interval: 10 }),
    'invalid-field',
    'service.checks[0].interval',
  ],
  [
    'an interval of no duration',
    checked({ ...http, interval: '10 sec' }),
    'invalid-field',
    'service.checks[0].interval',
  ],
  [
    'an interval too short',
    checked({ ...http, interval: '1ms' }),
    'invalid-field',
    'service.checks[0].interval',
  ],
  [
    'an interval too long',
    checked({ ...http, interval: '1000000h' }),
    'invalid-field',
    'service.checks[0].interval',
  ],
  ['a timeout too long', checked({ ...http, timeout: '1h' }), 'invalid-field', 'service.checks[0].timeout'],
  ['a URL that is none', checked({ ...http, http: 'ftp://x' }), 'invalid-field', 'service.checks[0].http'],
  [
    'a target without port',
    checked({ tcp: 'localhost', interval: '1s' }),
    'invalid-field',
    'service.checks[0].tcp',
  ],
  [
    'a target with port 0',
    checked({ tcp: 'localhost:0', interval: '1s' }),
    'invalid-field',
    'service.checks[0].tcp',
  ],
  [
    'a method for a TCP check',
    checked({ tcp: 'a:1', interval: '1s', method: 'GET' }),
    'conflicting-fields',
    'service.checks[0].method',
  ],
  [
    'a header name that is none',
    checked({ ...http, header: { 'a b': ['c'] } }),
    'invalid-field',
    'service.checks[0].header',
  ],
  [
    'a header value with a line break',
    checked({ ...http, header: { a: ['b\r\nc: d'] } }),
    'invalid-field',
    'service.checks[0].header',
  ],
  [
    'a status that is none',
    checked({ ...http, status: 'fine' }),
    'invalid-field',
    'service.checks[0].status',
  ],
  [
    'a warning threshold beyond the critical one',
    checked({ ...http, failures_before_warning: 3, failures_before_critical: 2 }),
    'conflicting-fields',
    'service.checks[0].failures_before_warning',
  ],
  [
    'a gRPC check without a port',
    checked({ grpc: '127.0.0.1/api', interval: '1s' }),
    'invalid-field',
    'service.checks[0].grpc',
  ],
  [
    'gRPC’s TLS on an http check',
    checked({ ...http, grpc_use_tls: true }),
    'conflicting-fields',
    'service.checks[0].grpc_use_tls',
  ],
  ['a shell script', checked({ script: 'true', interval: '1s' }), 'unsupported', 'service.checks[0].script'],
  [
    'an unknown field of a check',
    checked({ ...http, intervall: '1s' }),
    'unknown-field',
    'service.checks[0].intervall',
  ],
  [
    'an upstream without destination',
    upstream({ local_bind_port: 1 }),
    'missing-field',
    'service.connect.sidecar_service.proxy.upstreams[0].destination_name',
  ],
  [
    'an upstream without port',
    upstream({ destination_name: 'a' }),
    'missing-field',
    'service.connect.sidecar_service.proxy.upstreams[0].local_bind_port',
  ],
  [
    'an upstream open to the network',
    upstream({ destination_name: 'a', local_bind_port: 1, local_bind_address: '0.0.0.0' }),
    'invalid-field',
    'service.connect.sidecar_service.proxy.upstreams[0].local_bind_address',
  ],
  [
    'a prepared query',
    upstream({ destination_name: 'a', local_bind_port: 1, destination_type: 'prepared_query' }),
    'invalid-field',
    'service.connect.sidecar_service.proxy.upstreams[0].destination_type',
  ],
  [
    'an upstream of what is no datacenter',
    upstream({ destination_name: 'a', local_bind_port: 1, datacenter: 'dc_2' }),
    'invalid-field',
    'service.connect.sidecar_service.proxy.upstreams[0].datacenter',
  ],
  [
    'two upstreams on one port',
    upstream({ destination_name: 'a', local_bind_port: 1 }, { destination_name: 'b', local_bind_port: 1 }),
    'conflicting-fields',
    'service.connect.sidecar_service.proxy.upstreams[1]',
  ],
  [
    'one destination twice',
    upstream({ destination_name: 'a', local_bind_port: 1 }, { destination_name: 'a', local_bind_port: 2 }),
    'conflicting-fields',
    'service.connect.sidecar_service.proxy.upstreams[1]',
  ],
  ['a native service', web({ connect: { native: true } }), 'unsupported', 'service.connect.native'],
  [
    'a sidecar port',
    web({ connect: { sidecar_service: { port: 20000 } } }),
    'unsupported',
    'service.connect.sidecar_service.port',
  ],
  [
    'more than is gossiped',
    web({
      tags: Array.from({ length: 128 }, (_, i) => `${i}`.padEnd(255, 'x')),
      meta: {},
      check: { ...http, body: 'x'.repeat(8192) },
    }),
    'too-large',
    'service',
  ],
];

for (const [why, input, code, field] of faults)
  test(`a definition with ${why} is refused with ${code}`, () => {
    refused(() => parseDefinitions(input, file), code, field);
  });

test('an unknown field comes with the nearest that is known, in the style of the file', () => {
  const snake = refused(
    () => parseDefinitions(web({ enable_tag_overide: true }), file),
    'unknown-field',
    'service.enable_tag_overide',
  );
  assert.match(snake.message, /did you mean "enable_tag_override"\?/);
  const camel = refused(() => parseDefinition({ Name: 'web', Tag: [] }, api), 'unknown-field', 'Tag');
  assert.match(camel.message, /did you mean "Tags"\?/);
  const far = refused(() => parseDefinition({ Name: 'web', Zebra: 1 }, api), 'unknown-field', 'Zebra');
  assert.doesNotMatch(far.message, /did you mean/);
});

test('a check that runs a program comes from a file only', () => {
  const script = { name: 'web', check: { args: ['/bin/true'], interval: '1s' } };
  assert.deepEqual(parseDefinition(script, file).checks[0]!.args, ['/bin/true']);
  refused(() => parseDefinition(script, api), 'script-refused', 'check.args');
  refused(
    () => parseCheckRegistration({ Name: 'x', ScriptArgs: ['/bin/true'], Interval: '1s' }, api),
    'script-refused',
    'ScriptArgs',
  );
});

test('a check may be registered by itself, for a service or for the host', () => {
  const ofService = parseCheckRegistration({ ID: 'm', Name: 'Memory', ServiceID: 'web', TTL: '30s' }, api);
  assert.deepEqual([ofService.serviceId, ofService.check.id, ofService.check.ttlMs], ['web', 'm', 30_000]);
  const ofHost = parseCheckRegistration({ Name: 'Disk use', TTL: '30s' }, api);
  assert.deepEqual([ofHost.serviceId, ofHost.check.id, ofHost.check.name], ['', 'Disk-use', 'Disk use']);
  refused(() => parseCheckRegistration({ TTL: '30s' }, api), 'missing-field', 'Name');
});

test('a gRPC check names an address, a service and whether it is asked by TLS, and survives being written', () => {
  const read = (fields: object) =>
    parseCheckRegistration({ Name: 'c', Interval: '1s', ...fields }, { type: 'api' }).check;
  for (const [fields, target, skips] of [
    [{ GRPC: '127.0.0.1:9000', GRPCUseTLS: false }, '127.0.0.1:9000', false],
    [{ GRPC: '[::1]:9000/shop.v1.Cart' }, '[::1]:9000/shop.v1.Cart', false],
    [{ GRPC: 'app:9000/x', GRPCUseTLS: true, TLSSkipVerify: true }, 'https://app:9000/x', true],
  ] as const) {
    const check = read(fields);
    assert.deepEqual(
      [check.type, check.target, check.tlsSkipVerify, check.intervalMs],
      ['grpc', target, skips, 1000],
    );
    assert.deepEqual(read(checkToConsul(check)), check);
  }
  assert.equal(read({ HTTP: 'http://a/', GRPCUseTLS: false }).type, 'http');
});

test('a definition survives being written and read again', () => {
  const definition = parseDefinition(complete, api);
  assert.deepEqual(parseDefinition(toConsul(definition), api), definition);
});

test('keys that JavaScript treats specially are keys like any other', () => {
  const input: unknown = JSON.parse('{"Name":"web","Meta":{"__proto__":"a","constructor":"b"}}');
  const { meta } = parseDefinition(input, api);
  assert.deepEqual(Object.entries(meta), [
    ['__proto__', 'a'],
    ['constructor', 'b'],
  ]);
  refused(
    () => parseDefinition(JSON.parse('{"Name":"web","__proto__":{}}'), api),
    'unknown-field',
    '__proto__',
  );
});
