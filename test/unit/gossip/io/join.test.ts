import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Fault } from '../../../../src/core.ts';
import {
  introductionDatagram,
  type JoinHandler,
  JoinServer,
  maxJoinPayloadBytes,
  requestJoin,
} from '../../../../src/gossip/io/join.ts';
import { bytesOf, textOf } from './helpers.ts';

const hasCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof Fault && error.code === code;

const silent = { request: () => undefined, introduction: () => undefined };

async function startServer(
  t: TestContext,
  request: JoinHandler,
  introduction: (payload: Uint8Array) => void = () => undefined,
): Promise<JoinServer> {
  const server = await JoinServer.bind('127.0.1.50', 0, { request, introduction });
  t.after(() => server.stop());
  return server;
}

const ask = (port: number, payload: Uint8Array, attempts = 3): Promise<Uint8Array> =>
  requestJoin({ address: '127.0.1.50', port, payload, timeoutMs: 300, attempts });

test('a joiner gets the answer to its request', async (t) => {
  const server = await startServer(t, (payload, reply) => void reply(payload.reverse()));
  assert.equal(textOf(await ask(server.port, bytesOf('falcon'))), 'noclaf');
  const largest = new Uint8Array(maxJoinPayloadBytes).fill(65);
  assert.deepEqual(await ask(server.port, largest), largest);
  await assert.rejects(
    ask(server.port, new Uint8Array(maxJoinPayloadBytes + 1)),
    hasCode('join-request-too-large'),
  );
});

test('a reply is never longer than the request that asked for it', async (t) => {
  const { promise, resolve } = Promise.withResolvers<boolean[]>();
  const server = await startServer(t, (_payload, reply) => {
    resolve([reply(new Uint8Array(1181)), reply(new Uint8Array(1180))]);
  });
  assert.equal((await ask(server.port, bytesOf('short'))).length, 1180);
  assert.deepEqual(await promise, [false, true]);
  // A busy machine may have it asked twice.
  assert.ok(server.counters.repliesTooLarge >= 1);
});

test('a lost request is sent again', async (t) => {
  const socket = createSocket('udp4');
  t.after(() => socket.close());
  let seen = 0;
  socket.on('message', (request, from) => {
    seen += 1;
    if (seen < 3) return;
    const reply = Buffer.from(request);
    reply[1] = 2;
    const forged = Buffer.from(reply);
    forged[5]! ^= 1;
    socket.send(forged, from.port, from.address);
    socket.send(reply, from.port, from.address);
  });
  socket.bind(0, '127.0.1.50');
  await once(socket, 'listening');
  assert.equal(textOf(await ask(socket.address().port, bytesOf('again'), 5)), 'again');
  assert.ok(seen >= 3, `${seen} requests`);
});

test('silence is a fault that names the address', async () => {
  const server = await JoinServer.bind('127.0.1.50', 0, silent);
  const error = await ask(server.port, bytesOf('anyone'), 1).then(
    () => null,
    (reason: unknown) => reason,
  );
  await server.stop();
  assert.ok(error instanceof Fault);
  assert.equal(error.code, 'join-unanswered');
  assert.match(error.message, new RegExp(`127\\.0\\.1\\.50:${server.port}`));
});

test('a flood is cut to the rate, and what is not a request never reaches the handler', async (t) => {
  let handled = 0;
  const server = await startServer(t, (_payload, reply) => {
    handled += 1;
    reply(bytesOf('ok'));
  });
  const socket = createSocket('udp4');
  t.after(() => socket.close());
  const send = (bytes: Uint8Array): Promise<void> =>
    new Promise((done) => socket.send(bytes, server.port, '127.0.1.50', () => done()));
  const request = Buffer.alloc(1200);
  request.set([1, 1]);
  const wrongVersion = Buffer.from(request);
  wrongVersion[0] = 9;
  const wrongType = Buffer.from(request);
  wrongType[1] = 2;
  const wrongLength = Buffer.from(request);
  wrongLength.writeUInt16BE(1181, 18);
  for (const bytes of [wrongVersion, wrongType, wrongLength, request.subarray(0, 100), new Uint8Array(0)])
    await send(bytes);
  for (let i = 0; i < 150; i++) {
    await send(request);
    await setImmediate();
  }
  while (server.counters.malformed + server.counters.requests + server.counters.dropped < 155)
    await setImmediate();
  assert.equal(server.counters.malformed, 5);
  assert.equal(handled, server.counters.requests);
  assert.ok(handled >= 25 && server.counters.dropped > 0, `${handled} of 150 were handled`);
});

test('a source that floods takes nothing from another, and the flood of many is cut to the rate of all', async (t) => {
  const seen = new Map<string, number>();
  const server = await startServer(t, (payload) => {
    const from = textOf(payload);
    seen.set(from, (seen.get(from) ?? 0) + 1);
  });
  const sources = [51, 52, 53, 54].map((number) => `127.0.1.${number}`);
  let received = 0;
  const flood = async (from: string, count: number): Promise<void> => {
    const socket = createSocket('udp4');
    t.after(() => socket.close());
    socket.bind(0, from);
    await once(socket, 'listening');
    const request = Buffer.alloc(1200);
    request.set([1, 1]);
    request.writeUInt16BE(from.length, 18);
    request.write(from, 20);
    for (let i = 0; i < count; i++) {
      await new Promise<void>((done) => socket.send(request, server.port, '127.0.1.50', () => done()));
      received += 1;
      while (server.counters.requests + server.counters.dropped < received) await setImmediate();
    }
  };
  const startedAt = performance.now();
  await flood(sources[0]!, 200);
  await flood(sources[1]!, 5);
  assert.equal(seen.get(sources[1]!), 5);
  for (const source of sources.slice(2)) await flood(source, 100);
  const seconds = (performance.now() - startedAt) / 1000;
  assert.ok(seen.get(sources[0]!)! <= 25 * (1 + seconds), 'one source is held to its rate');
  assert.ok(server.counters.requests <= 50 * (1 + seconds), 'all are held to the rate of all');
});

test('a port that is taken is a fault', async (t) => {
  const server = await startServer(t, () => undefined);
  await assert.rejects(JoinServer.bind('127.0.1.50', server.port, silent), hasCode('address-in-use'));
});

test('an introduction arrives whole and is never answered, and counts against the rate of its source', async (t) => {
  const arrived: string[] = [];
  const server = await startServer(
    t,
    () => assert.fail('nobody asked'),
    (payload) => {
      arrived.push(textOf(payload));
    },
  );
  const socket = createSocket('udp4');
  t.after(() => socket.close());
  socket.on('message', () => assert.fail('an answer came'));
  const datagram = introductionDatagram(bytesOf('finch'));
  assert.ok(datagram.length < 50, 'there is no room to be left for an answer');
  for (let i = 0; i < 60; i++) {
    await new Promise((done) => socket.send(datagram, server.port, '127.0.1.50', done));
    await setImmediate();
  }
  while (server.counters.introductions + server.counters.dropped < 60) await setImmediate();
  assert.deepEqual([...new Set(arrived)], ['finch']);
  assert.equal(arrived.length, server.counters.introductions);
  assert.ok(arrived.length >= 20 && server.counters.dropped > 0, `${arrived.length} of 60 arrived`);
  assert.equal(server.counters.replies, 0);
});

test('a flood of introductions takes nothing from who wants to join', async (t) => {
  const server = await startServer(t, (_payload, reply) => void reply(bytesOf('welcome')));
  const socket = createSocket('udp4');
  t.after(() => socket.close());
  const datagram = introductionDatagram(bytesOf('finch'));
  for (let i = 0; i < 100; i++) {
    await new Promise((done) => socket.send(datagram, server.port, '127.0.1.50', done));
    await setImmediate();
  }
  while (server.counters.dropped === 0) await setImmediate();
  assert.equal(textOf(await ask(server.port, bytesOf('wren'), 1)), 'welcome');
});
