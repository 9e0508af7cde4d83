/** Kernel sockets as transports: how they end. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { seededRandom } from '../../../../src/core.ts';
import { Deadlines } from '../../../../src/proxy/deadlines.ts';
import { idleDownstreamMs, lingerMs } from '../../../../src/proxy/engine.ts';
import { Http2ServerSession } from '../../../../src/proxy/http2/server-session.ts';
import { SocketTransport } from '../../../../src/proxy/io/socket.ts';
import { highWaterBytes } from '../../../../src/proxy/transport.ts';
import { listenOn, startHttpApp, startMesh, trafficOf } from '../../../support/mesh.ts';

const deadlines = new Deadlines();
let nowMs = 0;
const context = {
  now: () => nowMs,
  random: seededRandom(1),
  deadlines,
  promptDeadlines: deadlines,
};

function pass(ms: number): void {
  nowMs += ms;
  deadlines.expire(nowMs);
}

/** A connection whose peer reads nothing yet. */
async function connected(t: TestContext): Promise<{ transport: SocketTransport; peer: Socket }> {
  const server = createServer({ pauseOnConnect: true });
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const port = await listenOn(t, server);
  const transport = await new Promise<SocketTransport>((resolve) =>
    SocketTransport.connect('127.0.0.1', port, 1000, context, resolve),
  );
  const [peer] = await accepted;
  t.after(() => peer.destroy());
  return { transport, peer };
}

test('a side that was ended can still be cut: its peer sees a break, and the socket is gone', async (t) => {
  const { transport, peer } = await connected(t);
  // More than the kernel takes from who sends to somebody that does not read.
  const bytes = Buffer.alloc(32 * 1024 * 1024);
  transport.write(bytes, 0, bytes.length);
  transport.finish();
  assert.ok(transport.pendingBytes > 0);
  transport.destroy();
  let ended = false;
  peer.on('end', () => {
    ended = true;
  });
  peer.resume();
  const [error] = (await once(peer, 'error')) as [NodeJS.ErrnoException];
  assert.deepEqual([error.code, ended], ['ECONNRESET', false]);
});

test('a side that was ended ends once everything has left', async (t) => {
  const { transport, peer } = await connected(t);
  const bytes = Buffer.alloc(32 * 1024 * 1024);
  transport.write(bytes, 0, bytes.length);
  transport.finish();
  let received = 0;
  peer.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  peer.resume();
  await once(peer, 'end');
  assert.equal(received, bytes.length);
  transport.close();
});

/** More than the kernel takes, in the pieces of many reads; the peer is told all there is, and is not read from. */
function giveUp(transport: SocketTransport): number {
  const piece = Buffer.alloc(64 * 1024);
  const pieces = 500;
  for (let i = 0; i < pieces; i++) transport.write(piece, 0, piece.length);
  transport.close();
  return pieces * piece.length;
}

/** Reads at least so much, and waits again. */
async function readSome(peer: Socket, bytes: number): Promise<number> {
  let received = 0;
  const count = (chunk: Buffer): void => {
    received += chunk.length;
  };
  peer.on('data', count);
  peer.resume();
  while (received < bytes) await once(peer, 'data');
  peer.pause();
  peer.off('data', count);
  return received;
}

test('a connection that was given up stays for as long as its peer takes what is left', async (t) => {
  const { transport, peer } = await connected(t);
  const total = giveUp(transport);
  assert.ok(transport.pendingBytes > 0);
  let received = 0;
  for (let i = 0; i < 4; i++) {
    received += await readSome(peer, total / 6);
    pass(idleDownstreamMs);
  }
  assert.ok(transport.pendingBytes > 0);
  peer.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  peer.resume();
  await once(peer, 'end');
  assert.equal(received, total);
  assert.equal(transport.pendingBytes, 0);
});

test('a connection that was given up is cut once its peer takes nothing any more', async (t) => {
  const { transport, peer } = await connected(t);
  giveUp(transport);
  pass(idleDownstreamMs - 1);
  assert.ok(deadlines.size > 0);
  pass(1);
  peer.resume();
  const [error] = (await once(peer, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ECONNRESET');
  assert.equal(deadlines.size, 0);
});

/** Its socket is closed within a few turns, without any more time. */
async function isGone(): Promise<void> {
  for (let turn = 0; turn < 100 && deadlines.size > 0; turn++) await new Promise(setImmediate);
  assert.equal(deadlines.size, 0);
}

test('a connection that was given up lingers once, also where its peer was slow to take what is left', async (t) => {
  const { transport, peer } = await connected(t);
  const total = giveUp(transport);
  // The kernel takes the rest, and the peer is not told of the end.
  await readSome(peer, total - 256 * 1024);
  while (transport.pendingBytes > 0) await setTimeout(1, undefined, { signal: t.signal });
  pass(lingerMs - 1);
  assert.equal(deadlines.size, 1);
  pass(1);
  await isGone();
});

test('a peer that broke the rules is not waited for, whatever it has not taken', async (t) => {
  const { transport, peer } = await connected(t);
  new Http2ServerSession(
    transport,
    context,
    () => assert.fail('it asks for nothing'),
    () => {},
  );
  const bytes = Buffer.alloc(32 * 1024 * 1024);
  transport.write(bytes, 0, bytes.length);
  peer.write('no preface of HTTP/2\r\n\r\n');
  while (transport.pendingBytes === 0) await setTimeout(1, undefined, { signal: t.signal });
  // It is no better for taking some of it.
  await readSome(peer, bytes.length / 4);
  pass(lingerMs);
  peer.resume();
  const [error] = (await once(peer, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ECONNRESET');
  await isGone();
});

test("what the kernel has is the peer's, however late it reads", async (t) => {
  const { transport, peer } = await connected(t);
  const bytes = Buffer.alloc(256 * 1024);
  transport.write(bytes, 0, bytes.length);
  transport.close();
  while (transport.pendingBytes > 0) await new Promise(setImmediate);
  await new Promise(setImmediate);
  pass(lingerMs);
  await isGone();
  let received = 0;
  peer.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  peer.resume();
  await once(peer, 'end');
  assert.equal(received, bytes.length);
});

/** Asks for so many bytes, and reads nothing. */
function askUnread(t: TestContext, port: number, bytes: number): Socket {
  const client = connect(port, '127.0.0.1').pause();
  t.after(() => client.destroy());
  client.write(`GET /${bytes} HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n`);
  return client;
}

test('a data plane that goes waits until its clients have taken their answers', async (t) => {
  const app = await startHttpApp(t, (request, response) =>
    response.end(Buffer.alloc(Number(request.url!.slice(1)))),
  );
  const mesh = await startMesh(t, [app]);
  const passedOn = (): number => trafficOf(mesh.caller, 'source').bytesReceived;
  // What fits between the data plane and a client that does not read: in the kernel, and what may wait here.
  const first = askUnread(t, mesh.port, 64 * 1024 * 1024);
  let capacity = 0;
  for (let before = -1; capacity === 0 || capacity !== before; capacity = passedOn()) {
    before = capacity;
    await setTimeout(200);
  }
  first.destroy();
  const body = capacity - highWaterBytes / 2;
  const client = askUnread(t, mesh.port, body);
  await setTimeout(100);
  for (let i = 0; i < 500 && mesh.caller.stats().activeConnections > 0; i++) await setTimeout(20);
  assert.equal(mesh.caller.stats().activeConnections, 0);
  let isClosed = false;
  const closing = mesh.caller.close(60_000).then(() => {
    isClosed = true;
  });
  await setTimeout(200);
  assert.equal(isClosed, false);
  let received = 0;
  client.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  client.resume();
  await once(client, 'end');
  await closing;
  assert.ok(received > body);
});

test('a data plane that closes lets go of a client that does not close its end', async (t) => {
  const app = await startHttpApp(t, (_request, response) => response.end('ok'));
  const mesh = await startMesh(t, [app]);
  const client = connect({ port: mesh.port, host: '127.0.0.1', allowHalfOpen: true });
  t.after(() => client.destroy());
  client.write('GET / HTTP/1.1\r\nHost: api.mesh\r\n\r\n');
  await once(client, 'data');
  client.resume();
  const ended = once(client, 'end');
  await mesh.caller.close(1500);
  await ended;
  const failure: { code?: string } = {};
  client.once('error', (error: NodeJS.ErrnoException) => Object.assign(failure, { code: error.code }));
  // The first that comes to a socket that is gone is answered by a reset, the second meets it.
  while (failure.code === undefined) {
    client.write('anybody there?');
    await new Promise(setImmediate);
  }
  assert.match(failure.code, /^(ECONNRESET|EPIPE)$/);
});
