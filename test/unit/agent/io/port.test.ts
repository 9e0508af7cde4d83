import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { metricsExporter } from '../../../../src/agent/io/metrics.ts';
import { LocalPort } from '../../../../src/agent/io/port.ts';
import { Fault } from '../../../../src/core.ts';
import { encodeDelta } from '../../../../src/gossip/spread/dissemination.ts';
import type { DataPlaneStats } from '../../../../src/proxy/dataplane.ts';
import { TrafficCounter } from '../../../../src/proxy/observe/traffic.ts';
import { definitionOf } from '../../../support/agent.ts';
import { Flock, type FlockHost } from '../../../support/flock.ts';

/** The port of one host, answered as the shell does. */
function portOf(host: FlockHost): LocalPort {
  const waiting = new Set<number>();
  const port: LocalPort = new LocalPort({
    core: host.core,
    now: () => host.flock.now,
    startedAt: host.flock.now,
    feed: (input) => {
      if (input.type === 'command') waiting.add(input.request);
      host.feed(input);
      for (const request of waiting) {
        const answer = host.answers.get(request);
        if (answer === undefined) continue;
        waiting.delete(request);
        if ('fault' in answer) port.refused(request, answer.fault);
        else port.answered(request, answer.value);
      }
    },
    dataPlane: null,
    facts: () => ({
      conflicts: [],
      damagedEntries: 0,
      missingRootKey: null,
      damagedShares: 0,
      loopLagMs: 0,
      membershipLagMs: 0,
      slowestWritesMs: null,
    }),
    metrics: async () => '',
  });
  return port;
}

test('a command resolves with its answer, and rejects with its fault', async () => {
  const { first } = Flock.founded();
  const port = portOf(first);
  await port.command({ type: 'register-service', definition: definitionOf({ name: 'web' }) });
  assert.deepEqual(
    port.localServices().map(({ id }) => id),
    ['web'],
  );
  await assert.rejects(
    port.command({ type: 'deregister-service', id: 'none' }),
    (error: unknown) => error instanceof Fault && error.code === 'unknown-service',
  );
});

test('an agent says what it is, and is ready once its mesh is there and its disk works', () => {
  const { first } = Flock.founded();
  const port = portOf(first);
  assert.equal(port.self.name, 'first');
  assert.equal(port.ready().ready, true);
  port.stored(new Fault('storage-failed', 'the disk is full'));
  assert.deepEqual(port.ready(), { ready: false, reason: 'the disk is full' });
  assert.ok(port.check().some(({ subject }) => subject === 'store'));
  port.answered(99, null);
  assert.equal(port.ready().ready, false);
  port.stored(null);
  assert.equal(port.ready().ready, true);
  assert.equal(port.roots()[0]?.active, true);
  assert.equal(port.view().host, first.id);
});

test('more commands than may wait for the disk are refused, and the rest answered when it works', async () => {
  const { first } = Flock.founded();
  const port = portOf(first);
  first.disk = 'stalled';
  const commands = Array.from({ length: 10_000 }, () =>
    port.command({ type: 'maintenance', serviceId: '', enable: false, reason: '' }),
  );
  await assert.rejects(
    port.command({ type: 'deregister-service', id: 'x' }),
    (error: unknown) => error instanceof Fault && error.code === 'overloaded',
  );
  first.disk = 'working';
  first.flush();
  for (const [request, answer] of first.answers)
    port.answered(request, 'value' in answer ? answer.value : null);
  assert.equal((await Promise.all(commands)).length, 10_000);
});

test('listeners hear of changes until they stop listening', () => {
  const { first } = Flock.founded();
  const port = portOf(first);
  const heard: string[] = [];
  const stop = port.onChange((topics) => heard.push([...topics].join()));
  port.changed(new Set(['nodes']));
  stop();
  port.changed(new Set(['services']));
  assert.deepEqual(heard, ['nodes']);
});

test('who waits for the mesh’s records is told when they come, or that they did not', async (t: TestContext) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const { flock, first } = Flock.founded();
  await portOf(first).synchronised(1000);
  const second = flock.admit('second', first, flock.token(first));
  first.isCut = true;
  second.start();
  const port = portOf(second);
  assert.equal(port.ready().ready, false);
  const late = assert.rejects(
    port.synchronised(1000),
    (error: unknown) => error instanceof Fault && error.code === 'not-synchronised',
  );
  t.mock.timers.tick(1000);
  await late;
  const inTime = port.synchronised(1000);
  first.isCut = false;
  flock.run(15_000);
  port.changed(new Set(['nodes']));
  await inTime;
});

test('a host whose records say that it is denied waits for nothing, and says what is left to it', async () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  flock.deny(first, second, 'its disk was stolen');
  const { bytes } = first.core.gossip.replica.get(`policy/deny/host/${second.id}`)!;
  second.feed({ type: 'delta', bytes: encodeDelta([bytes]) });
  await assert.rejects(
    portOf(second).synchronised(1000),
    (error: unknown) =>
      error instanceof Fault &&
      error.code === 'host-denied' &&
      /empty its data directory.*\(its disk was stolen\)$/.test(error.message),
  );
});

/** What a row counts after five requests that went well, two that were denied, and three retries. */
function countedRow(protocol: 'http' | 'tcp') {
  const counter = new TrafficCounter('source', 'web', 'api', protocol);
  for (let served = 0; served < 5; served++) counter.finished(200, 3, 0, 100, 1000);
  for (let denied = 0; denied < 2; denied++)
    counter.finished(403, 0.4, counter.refuse('denied', 'service-intentions/"x"\n'), 100, 90);
  counter.opened();
  counter.retries = 3;
  counter.bytesSent = 10;
  counter.bytesReceived = 20;
  return counter.row(1000);
}

const dataPlane: DataPlaneStats = {
  traffic: [countedRow('http'), countedRow('tcp')],
  listeners: [
    { id: 'inbound', address: '10.0.0.1', port: 1, error: null },
    { id: 'outbound', address: '127.0.0.1', port: 2, error: 'EACCES' },
  ],
  activeConnections: 6,
  handshakeFailures: { 'svid-expired': 2 },
  violations: { 'http2-broken': 3 },
  deniedPeers: [],
  breakers: [{ source: 'web', cluster: 'v2.api', state: 'half-open', opened: 2, rejected: 30 }],
  clusters: [
    {
      ...{ source: 'web', cluster: 'api', isPanicking: false, panics: 0, stayed: 0, crossed: 0 },
      overflows: { connections: 0, pending: 0, requests: 6 },
      retriesDenied: 7,
    },
  ],
};

function exporter(host: FlockHost, stats: () => DataPlaneStats | null) {
  return metricsExporter({
    core: host.core,
    transport: () => ({
      connections: 2,
      refusedConnections: 1,
      frames: { framesSent: 3, bytesSent: 300, bytesReceived: 200 },
      datagrams: { sent: 5, bytesSent: 500, bytesReceived: 400 },
      queued: { frames: 8, bytes: 800 },
      thread: { lagMs: 12, waitingReports: 1 },
    }),
    dataPlane: async () => stats(),
    store: () => ({ writes: 9, damaged: 0 }),
    writeMs: (quantile) => (quantile === 0.99 ? 200 : 5),
    waitingQueries: () => 4,
    logLinesLost: () => 0,
    now: () => host.flock.now,
  });
}

test('metrics are Prometheus’ text, read at the moment of the scrape, and never counted twice', async () => {
  const { flock, first } = Flock.founded();
  first.register('web');
  flock.run(1000);
  const scrape = exporter(first, () => dataPlane);
  await scrape();
  const text = await scrape();
  for (const line of [
    'starling_members{state="alive"} 1',
    'starling_proxy_retries_total{reporter="source",source="web",destination="api"} 6',
    'starling_proxy_denied_total{reporter="source",source="web",destination="api",rule="service-intentions/\\"x\\"\\n"} 4',
    'starling_proxy_refused_total{reporter="source",source="web",destination="api",reason="denied"} 4',
    'starling_listener_up{listener="outbound"} 0',
    'starling_handshake_failures_total{reason="svid-expired"} 2',
    'starling_proxy_violations_total{kind="http2-broken"} 3',
    'starling_proxy_breaker_state{source="web",cluster="v2.api",state="half-open"} 1',
    'starling_proxy_breaker_state{source="web",cluster="v2.api",state="open"} 0',
    'starling_proxy_breaker_opened_total{source="web",cluster="v2.api"} 2',
    'starling_proxy_breaker_rejected_total{source="web",cluster="v2.api"} 30',
    'starling_proxy_overflow_total{source="web",cluster="api",limit="requests"} 6',
    'starling_proxy_retries_denied_total{source="web",cluster="api"} 7',
    'starling_blocking_queries 4',
    'starling_frames_total{event="framesSent"} 3',
    'starling_frame_bytes_total{direction="out"} 300',
    'starling_store_events_total{event="writes"} 9',
    'starling_store_write_milliseconds{quantile="0.99"} 200',
    'starling_queued{queue="frames"} 8',
    'starling_queued{queue="reports"} 1',
    'starling_queued_frame_bytes 800',
    'starling_membership_lag_milliseconds 12',
    'starling_suspects 0',
    'starling_delta_latency_milliseconds_bucket{le="+Inf"} 0',
    'starling_delta_latency_milliseconds_count 0',
    'starling_certificate_problems 0',
  ])
    assert.ok(text.includes(`${line}\n`), line);
  assert.match(text, /starling_certificate_expiry_seconds\{service="web"\} 43\d{3}/);
});

test('every line is a comment or a sample with a number, and every counter is named a total', async () => {
  const { first } = Flock.founded();
  const text = await exporter(first, () => dataPlane)();
  for (const line of text.split('\n').filter((one) => /starling_|istio_/.test(one)))
    assert.match(line, /^(# (HELP|TYPE) \w+ .+|\w+(\{.*\})? -?[\d.e+-]+)$/);
  const types = [...text.matchAll(/# TYPE ((?:starling|istio)_\w+) (\w+)/g)];
  assert.ok(types.length > 20);
  for (const [, name, type] of types) assert.equal(type === 'counter', name?.endsWith('_total'), name);
});

test('metrics tell of probes by outcome, of the largest writers by name, and of gaps in policy', async () => {
  const { flock, first } = Flock.founded();
  flock.join('second', first, flock.token(first)).register('web');
  flock.run(10_000);
  const text = await exporter(first, () => null)();
  assert.match(text, /starling_probes_total\{purpose="round",outcome="acked"\} \d+/);
  assert.match(text, /starling_replica_writer_bytes\{writer="second",scope="host"\} \d+/);
  assert.match(text, /starling_replica_writer_records\{writer="first",scope="host"\} \d+/);
  assert.match(text, /starling_policy_gaps\{operator="[0-9a-f]{8}"\} 0/);
  assert.match(text, /starling_delta_latency_milliseconds_count [1-9]/);
});

test('an agent without a data plane has metrics all the same', async () => {
  const { first } = Flock.founded();
  const text = await exporter(first, () => null)();
  assert.match(text, /starling_proxy_connections 0\n/);
  assert.doesNotMatch(text, /istio_requests_total\{/);
});

test('metrics tell how certificates came, who holds the root, and whether they can sign', async () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  second.register('api');
  flock.run(1000);
  first.isCut = true;
  const word = { detail: 'it promised the same nonces twice', evidence: '', at: flock.now };
  second.core.knowledge.trustFacts.accused(second.id, `twin/${first.id}`, word);
  second.register('web');
  flock.run(20_000);
  assert.equal(second.core.credentials?.alarms().length, 1, 'one host’s word, which proves nothing');
  const text = await exporter(second, () => null)();
  for (const line of [
    'starling_issuance_total{code="issued"} 1',
    'starling_issuance_duration_milliseconds_count 1',
    'starling_issuance_duration_milliseconds_bucket{le="10"} 1',
    'starling_ca_epoch 0',
    'starling_ca_trustees 1',
    'starling_ca_trustees_alive 0',
    'starling_ca_quorum 0',
    'starling_ca_share_held 0',
    'starling_ca_roots{state="active"} 1',
    'starling_ca_log_equivocations 0',
  ])
    assert.ok(text.includes(`${line}\n`), line);
  assert.match(text, /^starling_issuance_total\{code="unreachable"\} [1-9]/m);
});
