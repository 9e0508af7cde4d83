import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { after, before, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { type MeshEvent, maxKeptEvents } from '../../../../src/agent/events.ts';
import { EventStreams, heartbeatMs, maxFollowers } from '../../../../src/agent/io/http/event-stream.ts';
import { selfId } from '../../../support/agent.ts';
import { startApi, type TestApi } from '../../../support/api.ts';

let api: TestApi;
before(async () => {
  api = await startApi();
});
after(() => api.server.close());

const event = (incarnation: number): MeshEvent => ({
  type: 'suspect',
  at: 5,
  host: selfId,
  name: 'one',
  incarnation,
  was: 'alive',
});
const add = (count: number) => api.agent.events.add(Array.from({ length: count }, (_, i) => event(i)));

interface Following {
  readonly request: ClientRequest;
  readonly response: IncomingMessage;
  /** The next lines that say something. */
  lines(count: number): Promise<string[]>;
}

async function follow(path: string, headers: { [name: string]: string } = {}): Promise<Following> {
  const [host, port] = api.address.split(':');
  const outgoing = request({ host, port, path, headers, agent: false });
  outgoing.end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  const arrived: string[] = [];
  const news = new EventEmitter();
  let rest = '';
  response.on('data', (chunk: Buffer) => {
    const parts = (rest + chunk.toString()).split('\n');
    rest = parts.pop()!;
    arrived.push(...parts.filter((line) => line !== ''));
    news.emit('lines');
  });
  return {
    request: outgoing,
    response,
    async lines(count) {
      while (arrived.length < count) await once(news, 'lines');
      return arrived.splice(0, count);
    },
  };
}

test('whoever follows is told what happens from then on, one JSON object a line', async () => {
  add(3);
  const { request: outgoing, response, lines } = await follow('/v1/mesh/events');
  assert.equal(response.headers['content-type'], 'application/x-ndjson');
  add(2);
  const [first, second] = (await lines(2)).map((line) => JSON.parse(line) as { index: number });
  assert.deepEqual([first?.index, second?.index], [4, 5]);
  assert.deepEqual(first, { index: 4, ...event(0) });
  outgoing.destroy();
});

test('since begins after the event named, and refuses what is no index', async () => {
  const { request: outgoing, lines } = await follow('/v1/mesh/events?since=3');
  assert.equal((JSON.parse((await lines(1))[0]!) as { index: number }).index, 4);
  outgoing.destroy();
  const refused = await api.call('GET', '/v1/mesh/events?since=soon');
  assert.equal(refused.status, 400);
  assert.equal(refused.json<{ code: string }>().code, 'bad-query');
});

test('a browser gets server-sent events, and goes on where it was cut off', async () => {
  const headers = { accept: 'text/event-stream', 'last-event-id': '4' };
  const { request: outgoing, response, lines } = await follow('/v1/mesh/events', headers);
  assert.equal(response.headers['content-type'], 'text/event-stream');
  const [opening, id, name, data] = await lines(4);
  assert.equal(opening, ': following');
  assert.deepEqual([id, name], ['id: 5', 'event: suspect']);
  assert.equal((JSON.parse(data!.replace('data: ', '')) as { index: number }).index, 5);
  outgoing.destroy();
});

test('a slow follower loses the oldest events, is told how many, and costs no more memory', () => {
  const streams = new EventStreams(api.agent.events);
  const from = api.agent.events.lastIndex;
  const follower = streams.follow({ format: 'lines', after: from });
  assert.equal(String(follower.read()), '\n');
  for (let i = 0; i < 10; i++) add(maxKeptEvents);
  assert.ok(follower.readableLength < 64 * 1024, `${follower.readableLength} bytes wait`);
  const told: { type: string; index?: number; count?: number }[] = [];
  for (let chunk = follower.read(); chunk !== null; chunk = follower.read())
    for (const line of String(chunk).split('\n')) if (line !== '') told.push(JSON.parse(line));
  const lost = told.reduce((sum, { count }) => sum + (count ?? 0), 0);
  const seen = told.filter(({ index }) => index !== undefined);
  assert.ok(lost > 0);
  assert.equal(lost + seen.length, 10 * maxKeptEvents);
  assert.equal(seen.at(-1)?.index, api.agent.events.lastIndex);
  follower.destroy();
});

test('a follower that reads nothing through two heartbeats is cut off, one that reads is kept', async (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] });
  const streams = new EventStreams(api.agent.events);
  const after = api.agent.events.lastIndex;
  const stuck = streams.follow({ format: 'lines', after });
  const reading = streams.follow({ format: 'server-sent', after });
  reading.resume();
  await once(reading, 'data');
  stuck.read(0);
  for (let i = 0; i < 4; i++) add(maxKeptEvents);
  const closed = once(stuck, 'close');
  for (let beats = 0; beats < 4; beats++) {
    t.mock.timers.tick(heartbeatMs);
    await setImmediate();
  }
  await closed;
  assert.equal(streams.count, 1);
  streams.endAll();
  await once(reading, 'close');
  assert.equal(streams.count, 0);
});

test('followers are counted, and one too many is refused', () => {
  const streams = new EventStreams(api.agent.events);
  const followers = Array.from({ length: maxFollowers }, () => streams.follow({ format: 'lines', after: 0 }));
  assert.throws(() => streams.follow({ format: 'lines', after: 0 }), { code: 'too-many-waiting' });
  for (const follower of followers) follower.destroy();
});

test('asking for the head of the stream alone makes nobody a follower', async () => {
  for (let i = 0; i <= maxFollowers; i++) {
    const [host, port] = api.address.split(':');
    const outgoing = request({ host, port, path: '/v1/mesh/events', method: 'HEAD', agent: false });
    outgoing.end();
    const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
    assert.equal(response.statusCode, 200);
    response.resume();
    await once(response, 'end');
  }
});

test('an agent that stops ends what it streams', async () => {
  const other = await startApi();
  const [host, port] = other.address.split(':');
  const outgoing = request({ host, port, path: '/v1/mesh/events', agent: false });
  outgoing.end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  response.resume();
  const ended = once(response, 'end');
  await other.server.close();
  await ended;
  assert.ok(response.complete);
});
