/** Thousands of connections that do nothing, and an agent that has no file descriptors left: work goes on. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { after, afterEach, before, test } from 'node:test';
import { residentBytes } from '../../bench/processes.ts';
import { command, until } from '../../demo/flock.ts';
import { type Application, type Pair, startHttp, startPair } from './proxy-pair.ts';

const idleConnections = 9000;
/** An agent holds little for a connection that has said nothing, or has had its answer. */
const mostKilobytesEach = 30;

let app: Application;
let pair: Pair;
const sockets = new Set<Socket>();

before(async () => {
  app = await startHttp('127.0.1.56', (_incoming, outgoing) => outgoing.end('hello'));
  pair = await startPair(55, [{ name: 'api', port: app.port, protocol: 'http' }]);
});
afterEach(() => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
});
after(async () => {
  await pair?.stop();
  await app?.stop();
});

/** Null where the connection was closed before it was made, or right after. */
function open(): Promise<Socket | null> {
  return new Promise((done) => {
    const socket = connect(pair.port, pair.address, () => done(socket));
    sockets.add(socket);
    socket.on('close', () => {
      sockets.delete(socket);
      done(null);
    });
    socket.on('error', () => {});
  });
}

async function openMany(count: number): Promise<void> {
  for (let left = count; left > 0; left -= 200)
    await Promise.all(Array.from({ length: Math.min(left, 200) }, open));
}

/** The answer to a request on a connection that was opened before. */
function ask(socket: Socket): Promise<string> {
  return new Promise((done) => {
    let received = '';
    socket.on('data', (bytes) => {
      received += bytes.toString('latin1');
      if (received.endsWith('hello')) done(received);
    });
    socket.on('close', () => done(received));
    socket.write('GET / HTTP/1.1\r\nHost: api\r\n\r\n');
  });
}

async function status(): Promise<number> {
  const signal = AbortSignal.timeout(20_000);
  return fetch(`http://${pair.address}:${pair.port}/`, { signal, headers: { connection: 'close' } }).then(
    async (response) => {
      await response.text();
      return response.status;
    },
    () => 0,
  );
}

const descriptorsOf = (pid: number): number => readdirSync(`/proc/${pid}/fd`).length;

test(`${idleConnections} idle connections cost little and disturb nobody; each still serves`, async () => {
  const { pid } = pair.near.program!;
  assert.equal(await status(), 200);
  const before = residentBytes(pid);
  const descriptors = descriptorsOf(pid);
  await openMany(idleConnections);
  assert.equal(sockets.size, idleConnections);
  await until('the agent has accepted them', 20_000, () =>
    Promise.resolve(descriptorsOf(pid) > idleConnections),
  );
  // What accepting them took is collected as garbage when it is.
  await until(`each costs ${mostKilobytesEach} KB or less`, 20_000, () =>
    Promise.resolve((residentBytes(pid) - before) / 1000 / idleConnections <= mostKilobytesEach),
  );
  assert.equal(await status(), 200);
  const some = [...sockets].filter((_, index) => index % 300 === 0);
  for (const answer of await Promise.all(some.map(ask))) assert.match(answer, /^HTTP\/1\.1 200 OK\r\n/);
  for (const socket of sockets) socket.destroy();
  await until('the agent has let them go', 20_000, () =>
    Promise.resolve(descriptorsOf(pid) < descriptors + 20),
  );
});

test('an agent that runs out of file descriptors lives, and accepts again once it has some', async () => {
  const { pid } = pair.near.program!;
  const limit = descriptorsOf(pid) + 100;
  const limited = await command('prlimit', ['--pid', String(pid), `--nofile=${limit}:20000`]);
  assert.equal(limited.code, 0, limited.stderr);
  await openMany(300);
  // Some were accepted; what is beyond waits, or is turned away: the agent has no descriptor left either way.
  await until('it runs out', 20_000, () => Promise.resolve(descriptorsOf(pid) >= limit - 2));
  assert.equal(pair.near.program!.running, true);
  for (const socket of sockets) socket.destroy();
  await until('it serves again', 20_000, async () => (await status()) === 200);
  const raised = await command('prlimit', ['--pid', String(pid), '--nofile=20000:20000']);
  assert.equal(raised.code, 0, raised.stderr);
  assert.equal(pair.near.program!.running, true);
  assert.equal((await fetch(`${pair.near.httpUrl}/readyz`)).status, 200);
});
