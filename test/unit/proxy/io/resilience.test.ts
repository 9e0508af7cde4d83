/** Slow, failing and recovering applications behind real proxies: what balancer, ejection and breaker make of them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Agent, request as httpRequest } from 'node:http';
import { type TestContext, test } from 'node:test';
import type { BreakerStatus, DataPlane } from '../../../../src/proxy/dataplane.ts';
import type { BalanceMethod, RetryPolicy, UpstreamPolicy } from '../../../../src/proxy/policy.ts';
import { defaultBalance, defaultUpstream, noTimeouts } from '../../../../src/proxy/policy-defaults.ts';
import {
  cluster,
  destination,
  exchange,
  inboundService,
  portOf,
  startHttpApp,
  startMesh,
  startPlane,
  startTcpApp,
  trafficOf,
  withClusters,
} from '../../../support/mesh.ts';

/** An application of one host, and what it has seen. */
class App {
  seen = 0;
  delayMs = 0;
  status = 200;
  /** Answers that wait for `release`. */
  readonly held: (() => void)[] = [];
  isHolding = false;
  readonly port: Promise<number>;

  constructor(t: TestContext) {
    this.port = startHttpApp(t, (request, response) => {
      this.seen++;
      request.resume();
      const answer = (): void => {
        response.statusCode = this.status;
        response.end('ok');
      };
      if (this.isHolding) this.held.push(answer);
      else if (this.delayMs === 0) answer();
      else setTimeout(answer, this.delayMs);
    });
  }

  release(): void {
    this.isHolding = false;
    for (const answer of this.held.splice(0)) answer();
  }
}

interface Flock {
  readonly caller: DataPlane;
  /** Has the caller's clock stand so much later. */
  pass(ms: number): void;
  readonly port: number;
  readonly apps: readonly App[];
}

/** `web` calls `api`, one instance on each of so many hosts. */
async function flock(
  t: TestContext,
  hosts: number,
  policy: Partial<UpstreamPolicy> = {},
  retry: RetryPolicy | null = null,
  method: BalanceMethod = 'p2c',
): Promise<Flock> {
  const apps = Array.from({ length: hosts }, () => new App(t));
  let passedMs = 0;
  const now = (): number => performance.now() + passedMs;
  const mesh = await startMesh(t, [await apps[0]!.port], { caller: { now } });
  const ports = [mesh.inboundPort];
  for (const app of apps.slice(1)) {
    const plane = startPlane(t);
    const services = [inboundService('api', [await app.port])];
    await plane.apply({ ...mesh.calleeConfig, inbound: { ...mesh.calleeConfig.inbound, services } });
    ports.push(portOf(plane, 'inbound'));
  }
  const api = cluster('api', ports, { balance: { ...defaultBalance, method } });
  const upstreams = { ...defaultUpstream, ...policy };
  await mesh.caller.apply({
    ...mesh.callerConfig,
    clusters: [api],
    destinations: [destination(api, { retry })],
    callers: [{ service: 'web', outbound: noTimeouts, upstreams, overrides: [], zones: [] }],
  });
  const pass = (ms: number): void => {
    passedMs += ms;
  };
  return { caller: mesh.caller, pass, port: mesh.port, apps };
}

/** The status, and why the proxy says so where it answered itself. */
async function ask(port: number, agent: Agent): Promise<string> {
  const request = httpRequest({ host: '127.0.0.1', port, agent });
  request.end();
  const [response] = await once(request, 'response');
  response.resume();
  await once(response, 'end');
  return `${response.statusCode} ${response.headers['x-starling-reason'] ?? ''}`.trim();
}

/** So many requests by so many clients, each of which waits for its answers; how often each answer came. */
async function askMany(
  t: TestContext,
  port: number,
  count: number,
  clients = 8,
): Promise<Map<string, number>> {
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const answers = new Map<string, number>();
  let left = count;
  const client = async (): Promise<void> => {
    while (left-- > 0) {
      const answer = await ask(port, agent);
      answers.set(answer, (answers.get(answer) ?? 0) + 1);
    }
  };
  await Promise.all(Array.from({ length: clients }, client));
  return answers;
}

const breaker = {
  errorPercent: 50,
  minimumRequests: 10,
  windowMs: 10_000,
  openMs: 30_000,
  halfOpenRequests: 2,
};
const passiveHealth = {
  intervalMs: 10_000,
  maxFailures: 5,
  enforcingConsecutive5xx: 100,
  maxEjectionPercent: 50,
  baseEjectionTimeMs: 60_000,
};

test('one slow instance of three gets under a tenth of the requests', async (t) => {
  const { port, apps } = await flock(t, 3);
  apps[1]!.delayMs = 250;
  await askMany(t, port, 400);
  const share = apps[1]!.seen / 400;
  assert.ok(share < 0.1, `${(share * 100).toFixed(1)} %`);
  for (const quick of [apps[0]!, apps[2]!]) assert.ok(quick.seen > 80, `${quick.seen} of 400`);
});

const retry = {
  maxRetries: 3,
  on: ['5xx' as const],
  statusCodes: [],
  backoffMs: 0,
  maxBackoffMs: 0,
};

test('a service that fails all requests sees at most 1.2 times of them, with three retries each', async (t) => {
  const { caller, port, apps } = await flock(t, 3, {}, retry);
  for (const app of apps) app.status = 503;
  const answers = await askMany(t, port, 600);
  assert.deepEqual([...answers], [['503', 600]]);
  const seen = apps.reduce((sum, app) => sum + app.seen, 0);
  assert.ok(seen > 600 && seen <= 720, `${seen} for 600`);
  assert.equal(trafficOf(caller, 'source').retries, seen - 600);
  const { retriesDenied } = caller.stats().clusters![0]!;
  // A request gives up at the first retry that it does not get.
  assert.ok(retriesDenied >= 600 - (seen - 600) / 3 && retriesDenied <= 600, `${retriesDenied} denied`);
});

test('a circuit ends a storm of retries, and counts what it keeps away', async (t) => {
  const { caller, port, apps } = await flock(t, 3, { breaker }, retry);
  for (const app of apps) app.status = 503;
  const answers = await askMany(t, port, 600);
  const seen = apps.reduce((sum, app) => sum + app.seen, 0);
  assert.ok(seen >= breaker.minimumRequests && seen < 60, `${seen} for 600`);
  const [{ state, opened, rejected }] = caller.stats().breakers as [BreakerStatus];
  assert.deepEqual([state, opened], ['open', 1]);
  assert.ok(rejected >= answers.get('503 circuit-open')! && rejected > 500, `${rejected} turned away`);
});

test('an instance that fails is ejected, and shows so', async (t) => {
  const { caller, port, apps } = await flock(t, 2, { passiveHealth }, null, 'round_robin');
  apps[0]!.status = 500;
  const answers = await askMany(t, port, 200, 1);
  assert.equal(apps[0]!.seen, 5);
  assert.deepEqual(Object.fromEntries(answers), { '200': 195, '500': 5 });
  const statuses = caller.stats().endpoints!.map(({ ejected, ejections }) => [ejected, ejections]);
  assert.deepEqual(statuses, [
    [true, 1],
    [false, 0],
  ]);
});

test('the circuit opens while a service fails, and closes when it is well again', async (t) => {
  const { caller, port, apps, pass } = await flock(t, 1, { breaker });
  const state = (): string =>
    caller.stats().breakers!.map((one) => `${one.source} ${one.cluster} ${one.state}`)[0]!;
  const app = apps[0]!;
  app.status = 500;
  const answers = await askMany(t, port, 100, 1);
  assert.equal(state(), 'web api open');
  assert.deepEqual([answers.get('500'), app.seen], [10, 10]);
  assert.equal(answers.get('503 circuit-open'), 90);
  assert.equal(caller.stats().breakers![0]!.rejected, 90);
  app.status = 200;
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  pass(breaker.openMs);
  assert.equal(state(), 'web api half-open');
  for (let i = 0; i < 2; i++) assert.equal(await ask(port, agent), '200');
  assert.equal(state(), 'web api closed');
  assert.equal((await askMany(t, port, 50)).get('200'), 50);
  assert.equal(caller.stats().breakers![0]!.opened, 1);
});

/** So many byte streams, one after the other; how many brought nothing back. */
async function countUnserved(port: number, streams: number): Promise<number> {
  let unserved = 0;
  for (let i = 0; i < streams; i++) if ((await exchange(port, 'hello')).text === '') unserved++;
  return unserved;
}

test('an instance that takes byte streams and breaks them is ejected', async (t) => {
  const good = await startTcpApp(t, (socket) => socket.once('data', () => socket.end('here')));
  const breaks = await startTcpApp(t, (socket) => socket.once('data', () => socket.resetAndDestroy()));
  const mesh = await startMesh(t, [breaks], { inbound: { protocol: 'tcp' } });
  const plane = startPlane(t);
  const services = [inboundService('api', [good], { protocol: 'tcp' })];
  await plane.apply({ ...mesh.calleeConfig, inbound: { ...mesh.calleeConfig.inbound, services } });
  const balance = { ...defaultBalance, method: 'round_robin' as const };
  const ports = [mesh.inboundPort, portOf(plane, 'inbound')];
  const upstreams = { ...defaultUpstream, passiveHealth };
  await mesh.caller.apply({
    ...withClusters(mesh.callerConfig, [cluster('api', ports, { protocol: 'tcp', balance })]),
    callers: [{ service: 'web', outbound: noTimeouts, upstreams, overrides: [], zones: [] }],
  });
  assert.equal(await countUnserved(mesh.port, 40), passiveHealth.maxFailures);
  assert.deepEqual(
    mesh.caller.stats().endpoints!.map(({ ejections }) => ejections),
    [1, 0],
  );
});

test('the circuit opens for byte streams, whatever share of them is to fail', async (t) => {
  const app = await startTcpApp(t, (socket) => socket.once('data', () => socket.resetAndDestroy()));
  const tcp = { inbound: { protocol: 'tcp' }, cluster: { protocol: 'tcp' } } as const;
  const mesh = await startMesh(t, [app], tcp);
  const upstreams = { ...defaultUpstream, breaker: { ...breaker, errorPercent: 100 } };
  await mesh.caller.apply({
    ...mesh.callerConfig,
    callers: [{ service: 'web', outbound: noTimeouts, upstreams, overrides: [], zones: [] }],
  });
  assert.equal(await countUnserved(mesh.port, 20), 20);
  const [status] = mesh.caller.stats().breakers!;
  assert.deepEqual([status!.state, status!.opened], ['open', 1]);
});

test('requests beyond the limit are turned away at once', async (t) => {
  const limits = { maxConnections: 0, maxPendingRequests: 0, maxConcurrentRequests: 3 };
  const { port, apps } = await flock(t, 1, { limits });
  const app = apps[0]!;
  app.isHolding = true;
  const agent = new Agent({ keepAlive: true });
  t.after(() => agent.destroy());
  const turnedAway: string[] = [];
  const answers = Array.from({ length: 10 }, async () => {
    const answer = await ask(port, agent);
    if (answer !== '200') turnedAway.push(answer);
    if (turnedAway.length === 7) app.release();
    return answer;
  });
  assert.deepEqual((await Promise.all(answers)).sort(), [
    ...new Array(3).fill('200'),
    ...new Array(7).fill('503 overflow'),
  ]);
  assert.equal(app.seen, 3);
});
