/** A host that an operator denies, under load: nobody talks to it any more, and nobody else notices. */
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { type Bird, Flock, until } from '../../demo/flock.ts';
import { Load } from '../../demo/load.ts';
import {
  apiPort,
  curl,
  metric,
  passing,
  register,
  registerApi,
  registerWeb,
  startService,
  upstreamPort,
} from './mesh.ts';
import { callMutually } from './mutual-tls.ts';
import { startEcho, type TcpService } from './tcp-service.ts';

/** Certificates are renewed within half of it. */
const svidTtlMs = 30_000;
const extra = ['--trustee-settle', '2s', '--svid-ttl', `${svidTtlMs}ms`];
const jobPort = 9200;

interface Ca {
  readonly roots: readonly { readonly generation: number; readonly active: boolean }[];
  readonly trustees: readonly { readonly name: string }[];
  readonly identities: readonly { readonly service: string; readonly notAfter: number }[];
}

const flock = new Flock();
const echoes: TcpService[] = [];
/** `web` calls `api`, on two and three, and `echo`, on three; `job`, on three, calls `sink`, on two. */
let one: Bird;
let two: Bird;
let three: Bird;

const caOf = (bird: Bird) => bird.get<Ca>('/v1/mesh/ca');
const refusedAt = (bird: Bird) => metric(bird, 'starling_connections_refused_total');
const expiryOf = async (bird: Bird, service: string): Promise<number> =>
  (await caOf(bird)).identities.find((identity) => identity.service === service)?.notAfter ?? 0;

async function serveEcho(bird: Bird, name: string): Promise<void> {
  const echo = await startEcho(bird.address);
  echoes.push(echo);
  await register(flock, bird, { name, address: bird.address, port: echo.port });
}

before(async () => {
  const hosts = ['one', 'two', 'three'].map((name, i) => ({ n: 31 + i, name, extra }));
  [one, two, three] = (await flock.start(hosts)) as [Bird, Bird, Bird];
  await startService(flock, 'web', `${one.address}:9000`);
  for (const bird of [two, three]) {
    await startService(flock, 'api', `${bird.address}:${apiPort}`);
    await registerApi(flock, bird);
  }
  await serveEcho(two, 'sink');
  await serveEcho(three, 'echo');
  await registerWeb(flock, one, 'api', 'echo');
  const upstream = { destination_name: 'sink', local_bind_address: three.address, local_bind_port: jobPort };
  const connect = { sidecar_service: { proxy: { upstreams: [upstream] } } };
  await register(flock, three, { name: 'job', address: three.address, port: 9300, connect });
  for (const [source, destination] of ['web api', 'web echo', 'job sink', 'job api'].map((pair) =>
    pair.split(' '),
  ))
    await one.json('intention', 'create', source!, destination!, '--allow', ...flock.operator());
  await until('all share a root', 60_000, async () =>
    (await Promise.all([one, two, three].map(caOf))).every(
      ({ roots, trustees }) =>
        trustees.length === 3 && roots.some(({ generation, active }) => generation > 0 && active),
    ),
  );
  await until('both api instances pass', 20_000, async () => (await passing(one, 'api')) === 2);
  await until('both are certified', 20_000, async () => {
    return (await Promise.all([two, three].map((bird) => expiryOf(bird, 'api')))).every((at) => at > 0);
  });
});
after(async () => {
  await flock.stop();
  await Promise.all(echoes.map((echo) => echo.stop()));
});

interface Stream {
  /** Resolves with the time on `performance.now()` when it was cut. */
  readonly closed: Promise<number>;
}

/** A connection that has carried bytes to the other end and back; tries anew until it does. */
async function openStream(address: string, port: number): Promise<Stream> {
  let stream: Stream | null = null;
  await until(`bytes come back from ${address}:${port}`, 20_000, async () => {
    const socket = connect(port, address).setNoDelay(true);
    socket.on('error', () => {});
    const closed = new Promise<number>((done) => socket.once('close', () => done(performance.now())));
    const echoed = new Promise<boolean>((done) => {
      socket.once('data', () => done(true));
      socket.once('close', () => done(false));
    });
    socket.write('PING not http\r\n');
    if (!(await echoed)) return false;
    stream = { closed };
    return true;
  });
  return stream!;
}

async function within<T>(what: string, ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, fail) => {
    timer = setTimeout(() => fail(new Error(`${what}: not within ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

test('within seconds its services get no traffic and its open connections are cut, and no other request fails', async (t) => {
  const toIt = await openStream(one.address, upstreamPort + 1);
  const fromIt = await openStream(three.address, jobPort);
  assert.equal((await callMutually(three, 'job', two, 'api')).status, 200);
  const load = new Load(`http://${one.address}:${upstreamPort}/`, 8, 3);
  await until('load has begun', 20_000, async () => load.count > 100);
  const answer = await two.json<{ changed: boolean; name: string }>(
    ...['ca', 'deny', 'three', '--reason', 'its disk was stolen', ...flock.operator()],
  );
  const deniedAt = performance.now();
  assert.deepEqual([answer.changed, answer.name], [true, 'three']);
  const cutMs = await Promise.all(
    [toIt, fromIt].map(async ({ closed }) => (await within('the stream is cut', 10_000, closed)) - deniedAt),
  );
  const goneMs = await until('only the api on two is left', 10_000, async () => {
    const counts = await Promise.all([one, two].map((bird) => passing(bird, 'api')));
    return counts.every((count) => count === 1);
  });
  const soFar = load.count;
  await until('some load without it', 20_000, async () => load.count > soFar + 100);
  const report = await load.stop();
  t.diagnostic(
    `streams cut ${cutMs.map((ms) => ms.toFixed(0)).join(' and ')} ms after the answer, out of the catalog after ` +
      `${goneMs.toFixed(0)} ms; ${report.sent} requests, ${report.failed} failed ${JSON.stringify(report.reasons)}`,
  );
  assert.equal(report.failed, 0, JSON.stringify(report));
  const cut = (bird: Bird, direction: string) =>
    metric(bird, 'starling_denied_peers_total', `direction="${direction}"`, 'stage="open"', 'host-denied');
  await until('counted where it was called', 10_000, async () => (await cut(one, 'outbound')) > 0);
  await until('counted where it called', 10_000, async () => (await cut(two, 'inbound')) > 0);
});

test('its certificates open nothing, in whosever hands they are', async () => {
  await assert.rejects(callMutually(three, 'job', two, 'api'));
  assert.equal((await callMutually(one, 'web', two, 'api')).status, 200);
  // The caller may know that it was refused before the callee has counted it.
  await until('the refusal is counted', 10_000, async () => {
    const refused = await metric(two, 'starling_denied_peers_total', 'stage="handshake"', 'host-denied');
    return refused > 0;
  });
  const members = await one.json<{ name: string }[]>('members');
  assert.deepEqual(members.map(({ name }) => name).sort(), ['one', 'two']);
  const list = await one.json<{ name: string; reason: string; until: null }[]>('ca', 'deny', 'list');
  assert.deepEqual(
    list.map(({ name, reason, until }) => [name, reason, until]),
    [['three', 'its disk was stolen', null]],
  );
  const again = await one.json<{ changed: boolean }>('ca', 'deny', 'three', ...flock.operator());
  assert.equal(again.changed, false);
});

test('its certificates are not renewed, those of others are, by the trustees that are left', async () => {
  const [ofThree, ofTwo, ofOne] = await Promise.all([
    expiryOf(three, 'job'),
    expiryOf(two, 'api'),
    expiryOf(one, 'web'),
  ]);
  await until('the others have new ones', 2 * svidTtlMs, async () => {
    const renewed = await Promise.all([expiryOf(two, 'api'), expiryOf(one, 'web')]);
    return renewed[0]! > ofTwo && renewed[1]! > ofOne;
  });
  await until('its own has expired', svidTtlMs + 5000, async () => Date.now() > ofThree);
  assert.equal(await expiryOf(three, 'job'), ofThree);
  const { trustees } = await caOf(one);
  assert.ok(
    trustees.every(({ name }) => name === 'one' || name === 'two'),
    JSON.stringify(trustees),
  );
});

test('it does not come back by a restart', async () => {
  await three.program!.stop('SIGKILL');
  const before = (await refusedAt(one)) + (await refusedAt(two));
  await three.start();
  await until('it has tried', 30_000, async () => (await refusedAt(one)) + (await refusedAt(two)) > before);
  for (const bird of [one, two]) {
    const members = await bird.json<{ name: string }[]>('members');
    assert.deepEqual(members.map(({ name }) => name).sort(), ['one', 'two']);
  }
  assert.equal((await curl(`http://${one.address}:${upstreamPort}/`)).status, 200);
});
