/** Two transports joined byte for byte. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../../src/core.ts';
import { Deadlines } from '../../../../src/proxy/deadlines.ts';
import { TrafficCounter } from '../../../../src/proxy/observe/traffic.ts';
import { Relay, type RelayEnd } from '../../../../src/proxy/relay/relay.ts';
import { type DeclineReason, highWaterBytes } from '../../../../src/proxy/transport.ts';
import { MemoryTransport } from '../../../support/transport.ts';

function join(): { client: MemoryTransport; server: MemoryTransport; relay: Relay; ends: RelayEnd[] } {
  const client = new MemoryTransport();
  const server = new MemoryTransport();
  const ends: RelayEnd[] = [];
  const counter = new TrafficCounter('source', 'web', 'db', 'tcp');
  const relay = new Relay(client, server, counter, (end) => ends.push(end));
  return { client, server, relay, ends };
}

test('each side may end before the other', () => {
  const { client, server, ends } = join();
  client.receive('question');
  client.owner.onFinish();
  assert.deepEqual([server.take(), server.end, ends], ['question', 'finish', []]);
  server.receive('answer');
  server.owner.onFinish();
  assert.equal(client.take(), 'answer');
  assert.deepEqual([client.end, ends], ['close', ['ended']]);
});

test('a break on either side breaks the other, and is never an end', () => {
  for (const side of ['client', 'server'] as const) {
    const joined = join();
    const other = side === 'client' ? joined.server : joined.client;
    joined[side].break('reset');
    assert.deepEqual([other.end, joined.ends], ['destroy', [side === 'client' ? 'client-reset' : 'reset']]);
  }
});

test('a client that is a proxy of ours is told that the server broke it before any answer, and nothing else', () => {
  const cases: readonly (readonly [(joined: ReturnType<typeof join>) => void, DeclineReason | null])[] = [
    [({ server }) => server.break('reset'), 'failed'],
    [({ relay }) => relay.cut(), null],
    [
      ({ server }) => {
        server.receive('an answer');
        server.break('reset');
      },
      null,
    ],
    [
      ({ server }) => {
        server.owner.onFinish();
        server.break('reset');
      },
      null,
    ],
  ];
  for (const [happen, told] of cases) {
    const joined = join();
    joined.client.isProxy = true;
    joined.client.receive('question');
    happen(joined);
    assert.deepEqual([joined.client.declined, joined.ends.length], [told, 1]);
    if (told === null) assert.notEqual(joined.client.end, 'close');
  }
});

test('whoever cannot keep up stops the other', () => {
  const { client, server } = join();
  server.pendingBytes = highWaterBytes + 1;
  client.receive('more');
  assert.deepEqual([client.paused, server.paused], [true, false]);
  server.owner.onDrain();
  assert.equal(client.paused, false);
});

test('a client that speaks HTTP after all is handed over whole, however slowly it says so', () => {
  const { client, server, relay, ends } = join();
  const taken: string[] = [];
  relay.onHttp = (first) => taken.push(first.toString());
  for (const byte of 'GET / HTTP/1.1') client.receive(byte);
  assert.deepEqual([taken, server.take(), server.end, ends], [['GET / '], '', 'destroy', ['ended']]);
});

test('what is held back to be looked at is passed on when it is no HTTP', () => {
  const notHttp: ((joined: ReturnType<typeof join>) => void)[] = [
    ({ client }) => client.receive(' key\r\n'),
    ({ client }) => client.owner.onFinish(),
    ({ server }) => server.receive('220 hello'),
  ];
  for (const happens of notHttp) {
    const joined = join();
    joined.relay.onHttp = () => assert.fail('it is no HTTP');
    joined.client.receive('get');
    assert.equal(joined.server.take(), '');
    happens(joined);
    assert.match(joined.server.take(), /^get/);
  }
});

test('a client of whom nobody read anything is handed back with all it sent, held back or not', () => {
  for (const isWatched of [false, true]) {
    const { client, server, relay, ends } = join();
    const taken: unknown[] = [];
    relay.onUnserved = (reason, sent, finished) => taken.push([reason, sent.toString(), finished]) > 0;
    relay.onHttp = isWatched ? () => assert.fail('it is no HTTP') : null;
    client.receive('GET');
    client.receive(' /');
    server.break('unreachable');
    assert.deepEqual([taken, client.end, ends], [[['unreachable', 'GET /', false]], null, []]);
  }
});

test('a client is cut where the server may have read it, has spoken, or cannot be told all again', () => {
  const cases: ((joined: ReturnType<typeof join>) => void)[] = [
    ({ server }) => server.break('reset'),
    ({ server }) => server.break('failed'),
    ({ client, server }) => {
      server.receive('hello');
      client.receive('hello');
      server.break('unreachable');
    },
    ({ client, server }) => {
      client.receive(Buffer.alloc(64 * 1024 + 1));
      server.break('unreachable');
    },
  ];
  for (const happen of cases) {
    const joined = join();
    joined.relay.onUnserved = () => assert.fail('handed back');
    joined.client.receive('question');
    happen(joined);
    assert.deepEqual([joined.client.end, joined.ends.length], ['destroy', 1]);
  }
});

test('a client that is handed back to nobody is cut', () => {
  const { client, server, relay, ends } = join();
  relay.onUnserved = () => false;
  server.break('unavailable');
  assert.deepEqual([client.end, ends], ['destroy', ['unavailable']]);
});

test('a relay that carries nothing for too long is cut on both sides, one that does is not', () => {
  let nowMs = 1000;
  const deadlines = new Deadlines();
  const context = { now: () => nowMs, random: seededRandom(1), deadlines, promptDeadlines: deadlines };
  const { client, server, ends, relay } = join();
  relay.endWhenIdle(5000, context);
  for (let i = 0; i < 10; i++) {
    nowMs += 4000;
    deadlines.expire(nowMs);
    (i % 2 === 0 ? client : server).receive('still here');
  }
  assert.deepEqual(ends, []);
  nowMs += 5000;
  deadlines.expire(nowMs);
  assert.deepEqual([client.end, server.end, ends, deadlines.size], ['destroy', 'destroy', ['idle'], 0]);
});
