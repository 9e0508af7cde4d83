/**
 * Policy has one meaning: what `intention check` and `explain` say of a call is what becomes of it in the engines, the
 * caller's and the callee's, over connections in memory. `POLICY_SETS=5000` draws more than the default.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { refuseInconsistency, storeAfter } from '../../src/agent/entries/consistency.ts';
import { parseConfigEntry } from '../../src/agent/entries/entry.ts';
import { intentionsOf } from '../../src/agent/entries/service-intentions.ts';
import { policyViewOf } from '../../src/agent/entries/view.ts';
import { checkIntention } from '../../src/agent/policy/intentions.ts';
import type { PolicyStore } from '../../src/agent/port.ts';
import { Fault } from '../../src/core.ts';
import { compile } from '../../src/proxy/compile/compile.ts';
import type { Cluster, ProxyConfig } from '../../src/proxy/config.ts';
import { type Call, type CallTrace, type TargetTrace, traceCall } from '../../src/proxy/explain.ts';
import { RequestHead } from '../../src/proxy/http1/head.ts';
import { RouteTable } from '../../src/proxy/http1/route-table.ts';
import { LocalService, ServiceLimits } from '../../src/proxy/io/inbound-service.ts';
import type { Plane } from '../../src/proxy/io/options.ts';
import { noTimeouts } from '../../src/proxy/policy-defaults.ts';
import type { MeshView, Protocol } from '../../src/proxy/view.ts';
import { storeOf } from '../support/policy.ts';
import { TestEngine } from '../support/transport.ts';
import { instanceView, localInstance, meshView, serviceView } from '../unit/proxy/views.ts';

const runs = Number(process.env.POLICY_SETS ?? 300);
const services = ['web', 'api', 'db', 'new'];
/** Most is about one of them, so that what is drawn meets. */
const name = fc.constantFrom('api', 'api', 'api', ...services);
const subset = fc.constantFrom(undefined, undefined, 'v1', 'v2');
const paths = ['/', '/a', '/a/b', '/b', '/A', '/admin', '/new'];
const aPath = fc.constantFrom(...paths);

/** Fields that are undefined are left out, as in JSON. */
function some<T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> {
  return fc.option(value, { nil: undefined });
}

function entry(fields: { readonly [field: string]: fc.Arbitrary<unknown> }): fc.Arbitrary<object> {
  return fc.record(fields).map((drawn) => JSON.parse(JSON.stringify(drawn)) as object);
}

function kindOf(kind: string) {
  return { Kind: fc.constant(kind), Name: name };
}

const header = fc.oneof(
  entry({
    Name: fc.constantFrom('x-a', 'X-B'),
    Exact: fc.constantFrom('v', 'w'),
    Invert: some(fc.boolean()),
  }),
  entry({ Name: fc.constantFrom('x-a', 'x-b'), Present: fc.constant(true) }),
  entry({ Name: fc.constant('x-a'), Prefix: fc.constant('v'), Invert: some(fc.boolean()) }),
  entry({ Name: fc.constant('x-b'), Regex: fc.constant('[uvw]+') }),
);

const path = fc.oneof(
  entry({ PathExact: aPath }),
  entry({ PathPrefix: aPath }),
  entry({ PathRegex: fc.constantFrom('/a/.*', '/(a|b)', '/.*x') }),
  fc.constant({}),
);

const http = fc
  .tuple(
    path,
    entry({
      Header: some(fc.array(header, { minLength: 1, maxLength: 2 })),
      Methods: some(fc.subarray(['GET', 'POST', 'PUT'], { minLength: 1 })),
    }),
  )
  .map(([where, what]) => ({ ...where, ...what }));

const party = fc.constantFrom('web', 'web', 'web', ...services, '*');
const byAction = entry({ Name: party, Action: fc.constantFrom('allow', 'deny') });
const byRequest = entry({
  Name: party,
  Permissions: fc.array(entry({ Action: fc.constantFrom('allow', 'deny'), HTTP: http }), {
    minLength: 1,
    maxLength: 3,
  }),
});
const sources = (source: fc.Arbitrary<object>) =>
  fc.uniqueArray(source, { minLength: 2, maxLength: 4, selector: (each) => (each as { Name: string }).Name });
const intentions = fc.oneof(
  entry({ ...kindOf('service-intentions'), Sources: sources(byAction) }),
  entry({ ...kindOf('service-intentions'), Sources: sources(byRequest) }),
  entry({ ...kindOf('service-intentions'), Name: fc.constant('*'), Sources: sources(byAction) }),
);

const edits = entry({
  Add: some(fc.constant({ 'x-b': 'u' })),
  Set: some(fc.constantFrom({ 'x-a': 'w' }, { 'x-b': 'v' })),
  Remove: some(fc.constantFrom(['x-a'], ['x-b'])),
});

const destination = { Service: some(name), ServiceSubset: subset, RequestHeaders: some(edits) };
const route = fc.oneof(
  entry({ Match: fc.record({ HTTP: http }), Destination: entry(destination) }),
  entry({
    Match: entry({ HTTP: fc.oneof(entry({ PathExact: aPath }), entry({ PathPrefix: aPath })) }),
    Destination: entry({ ...destination, PrefixRewrite: fc.constantFrom('/', '/new', '/admin') }),
  }),
);

const router = entry({
  ...kindOf('service-router'),
  Routes: fc.array(route, { minLength: 1, maxLength: 3 }),
});

const splitter = entry({
  ...kindOf('service-splitter'),
  Splits: fc.oneof(
    fc.tuple(entry({ Weight: fc.constant(100), Service: some(name), ServiceSubset: subset })),
    fc.tuple(
      entry({
        Weight: fc.constant(50),
        Service: some(name),
        ServiceSubset: subset,
        RequestHeaders: some(edits),
      }),
      entry({ Weight: fc.constant(50), Service: some(name), ServiceSubset: subset }),
    ),
  ),
});

const subsets = {
  v1: { Filter: 'Service.Meta.version == v1' },
  v2: { Filter: 'Service.Meta.version == v2' },
};
const failover = fc.constantFrom({ '*': { Service: 'new' } }, { v1: { ServiceSubset: 'v2' } });
const resolver = fc.oneof(
  {
    weight: 3,
    arbitrary: entry({
      ...kindOf('service-resolver'),
      Subsets: fc.constant(subsets),
      DefaultSubset: subset,
      Failover: some(failover),
    }),
  },
  {
    weight: 1,
    arbitrary: entry({
      ...kindOf('service-resolver'),
      Redirect: entry({ Service: name, ServiceSubset: subset }),
    }),
  },
);

const defaults = entry({
  ...kindOf('service-defaults'),
  Protocol: fc.constantFrom('http', 'http', 'http', 'tcp'),
});

/** In an order in which they may be written, more or less; what is refused was never in force. */
const written = fc
  .tuple(
    fc.array(defaults, { maxLength: 1 }),
    fc.array(resolver, { minLength: 1, maxLength: 4 }),
    fc.array(splitter, { maxLength: 2 }),
    fc.array(router, { minLength: 1, maxLength: 3 }),
    fc.array(intentions, { minLength: 1, maxLength: 4 }),
  )
  .map((kinds) => inForce(kinds.flat()));

function inForce(inputs: readonly object[]): PolicyStore {
  let store = storeOf();
  for (const input of inputs) {
    try {
      const changes = [parseConfigEntry(input)];
      refuseInconsistency(store, changes);
      store = storeAfter(store, changes);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
    }
  }
  return store;
}

const versions = fc.subarray(['', 'v1', 'v2']);

const call: fc.Arbitrary<Call> = fc.record({
  source: fc.constantFrom('web', 'web', ...services),
  destination: fc.constantFrom('api', 'api', 'api', ...services, 'nobody'),
  method: fc.constantFrom('GET', 'POST', 'PUT'),
  path: fc.constantFrom(...paths, '/a?x=1', '/x/../admin', '//a', '/%61', '/a%2fb', '/b/./a'),
  headers: fc.subarray([
    { name: 'x-a', value: 'v' },
    { name: 'x-b', value: 'w' },
    { name: 'x-b', value: 'u' },
  ]),
});

/** The mesh as every host sees it, and what runs on one of them. */
function viewOf(
  store: PolicyStore,
  running: readonly (readonly string[])[],
  defaultIntention: 'allow' | 'deny',
): MeshView {
  const policy = policyViewOf(store);
  const protocolOf = (service: string): Protocol =>
    policy.defaults.find((each) => each.service === service)?.protocol ?? 'http';
  const intended = intentionsOf(store.list('service-intentions'));
  return meshView({
    defaultIntention,
    policy,
    intentions: intended,
    services: services.map((service, at) => {
      const instances = running[at]!.map((version) =>
        instanceView('a', { id: `${service}-${version}`, meta: version === '' ? {} : { version } }),
      );
      return serviceView(service, instances, { protocol: protocolOf(service) });
    }),
    local: services.flatMap((service, at) =>
      running[at]!.map((version) => localInstance(service, { id: `${service}-${version}` })),
    ),
  });
}

interface Outcome {
  /** Which cluster's endpoint the request was sent to; null where it was sent nowhere. */
  readonly cluster: string | null;
  /** The request as it came out at the caller's proxy. */
  readonly sent: string;
  /** What the application got at once. */
  readonly status: number;
}

/** The request through the engine of the caller's proxy. */
function callBy(config: ProxyConfig, { destination, method, path: target, headers }: Call): Outcome {
  const engine = new TestEngine([]);
  const wanted = config.destinations.find(({ service }) => service === destination)!;
  const groupOf = (id: string) => {
    const cluster = config.clusters.find((each) => each.id === id)!;
    return engine.groupOf(cluster.endpoints.map(() => id));
  };
  const table = new RouteTable(wanted, noTimeouts, engine.counter, (id) => {
    const { failover } = config.clusters.find((each) => each.id === id)!;
    return engine.targetOf([id, ...failover].map(groupOf));
  });
  const router = { route: table.route.bind(table), clientAddress: '', unread: engine.counter };
  const { client } = engine.acceptBy(router);
  const lines = headers.map((each) => `${each.name}: ${each.value}\r\n`).join('');
  client.receive(
    `${method} ${target} HTTP/1.1\r\nhost: ${destination}.mesh\r\ncontent-length: 0\r\n${lines}\r\n`,
  );
  const [dialed] = engine.dialed;
  if (dialed !== undefined) return { cluster: dialed.id, sent: dialed.transport.take(), status: 0 };
  return { cluster: null, sent: '', status: Number(client.take().slice(9, 12)) };
}

/** Whether the callee's proxy lets a request, or a byte stream, of `source` in. */
function isLetIn(config: ProxyConfig, cluster: Cluster, source: string, sent: string | null): boolean {
  const { context } = new TestEngine([]);
  const inbound = config.inbound.services.find(({ sni }) => sni === cluster.sni)!;
  const service = new LocalService(inbound, new ServiceLimits(), {
    context,
    log: () => {},
  } as unknown as Plane);
  if (sent === null) return service.streamRefusal(source) === null;
  const access = service.accessOf(source);
  if (access.type === 'refused') return false;
  const bytes = Buffer.from(sent, 'latin1');
  const head = new RequestHead();
  assert.equal(head.parse(bytes, 0, bytes.length), bytes.length, 'the callee reads what the caller wrote');
  return access.admission === null || access.admission.refusal(bytes, head, 0) === null;
}

/** The request that was sent, as somebody would ask about it. */
function askedOf(sent: string) {
  const [line = '', ...fields] = sent.trimEnd().split('\r\n');
  const [method = '', target = ''] = line.split(' ');
  const headers = fields.map((field) => {
    const colon = field.indexOf(':');
    return { name: field.slice(0, colon), value: field.slice(colon + 1).trim() };
  });
  return { method, path: target, headers };
}

const seen = { forwarded: 0, denied: 0, unanswerable: 0, streams: 0, byRequest: 0 };

function agree(store: PolicyStore, view: MeshView, config: ProxyConfig, made: Call): void {
  const trace = traceCall(config, view, made);
  const wanted = config.destinations.find(({ service }) => service === made.destination);
  if (wanted === undefined) {
    assert.deepEqual([trace.verdict, trace.destination], ['refused', null]);
    return;
  }
  const judged = (target: TargetTrace, sent: string | null): boolean => {
    const { cluster } = target;
    const allowed = isLetIn(config, cluster!, made.source, sent);
    const asked = sent === null ? null : askedOf(sent);
    const checked = checkIntention(store, view.defaultIntention, made.source, cluster!.service, asked);
    if (sent !== null || !checked.byRequest)
      assert.equal(checked.allowed, allowed, 'intention check and the proxy');
    if (checked.byRequest) seen.byRequest++;
    return allowed;
  };
  if (wanted.protocol === 'tcp') {
    for (const target of trace.targets.filter(({ cluster }) => cluster !== null))
      assert.equal(target.authorization.allowed, judged(target, null), 'explain and the proxy, of a stream');
    seen.streams++;
    return;
  }
  compareRequest(trace, callBy(config, made), judged);
}

function compareRequest(
  trace: CallTrace,
  { cluster, sent, status }: Outcome,
  judged: (target: TargetTrace, sent: string) => boolean,
): void {
  if (trace.route === null) {
    assert.deepEqual([trace.verdict, cluster], ['refused', null]);
    assert.ok([400, 404, 414].includes(status), `${status}: ${trace.why}`);
    seen.unanswerable++;
    return;
  }
  const taken = trace.targets.filter(
    (target) => (target.cluster?.id ?? null) === cluster && target.share > 0,
  );
  assert.ok(taken.length > 0, `the engine went to ${cluster}, explain says ${trace.why}`);
  if (cluster === null) {
    assert.equal(status, 503);
    if (trace.targets.every((target) => target.cluster === null)) assert.equal(trace.verdict, 'refused');
    seen.unanswerable++;
    return;
  }
  assert.equal(askedOf(sent).path, trace.route.forwardedPath);
  const allowed = judged(taken[0]!, sent);
  const said = new Set(taken.map(({ authorization }) => authorization.allowed));
  assert.ok(said.has(allowed), `the callee ${allowed ? 'allows' : 'denies'} it, explain says ${trace.why}`);
  if (trace.verdict === 'forwarded') assert.ok(allowed);
  if (trace.verdict === 'denied') assert.ok(!allowed);
  seen[allowed ? 'forwarded' : 'denied']++;
}

test(`intention check, explain and the proxies agree on ${runs} drawn policies and calls`, () => {
  fc.assert(
    fc.property(
      written,
      fc.tuple(versions, versions, versions, versions),
      fc.constantFrom('allow' as const, 'deny' as const),
      fc.array(call, { minLength: 8, maxLength: 12 }),
      (store, running, defaultIntention, calls) => {
        const view = viewOf(store, running, defaultIntention);
        const config = compile(view);
        for (const made of calls) agree(store, view, config, made);
      },
    ),
    { numRuns: runs },
  );
  for (const [what, count] of Object.entries(seen))
    assert.ok(count > runs / 50, `${what} was drawn ${count} times`);
});
