/** The HTTP/1.1 engine between a client and servers in memory, under a clock that stands still. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { drainIdleMs, headReadMs, idleDownstreamMs, idleUpstreamMs } from '../../../../src/proxy/engine.ts';
import { type CloseReason, type DeclineReason, highWaterBytes } from '../../../../src/proxy/transport.ts';
import { TestEngine } from '../../../support/transport.ts';

const get = 'GET / HTTP/1.1\r\nHost: api\r\nX-Request-Id: r\r\n\r\n';
const post = 'POST / HTTP/1.1\r\nHost: api\r\nX-Request-Id: r\r\nContent-Length: 5\r\n\r\nhello';
/** Endings after which nothing of a request was acted on. */
const unseen = ['connect-failure', 'refused', 'unavailable', 'unreachable'] as const;
const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

test('a head that does not come in time is answered with 408', () => {
  const engine = new TestEngine();
  const { client } = engine.accept();
  client.receive('GET / HT');
  engine.pass(headReadMs - 1);
  client.receive('TP/1');
  assert.equal(client.end, null);
  engine.pass(1);
  assert.match(client.take(), /^HTTP\/1\.1 408 /);
  assert.equal(client.end, 'close');
});

test('a connection that brings nothing is closed without a word, one that waits for its answer is not', () => {
  const engine = new TestEngine();
  const idle = engine.accept().client;
  const busy = engine.accept().client;
  busy.receive(get);
  engine.pass(idleDownstreamMs);
  assert.deepEqual([idle.take(), idle.end], ['', 'close']);
  assert.equal(busy.end, null);
  engine.server.receive(ok);
  assert.equal(busy.take(), ok);
});

test('an upstream connection is used again, and closed when it is idle for long', () => {
  const engine = new TestEngine();
  const { client } = engine.accept();
  for (let i = 0; i < 3; i++) {
    client.receive(get);
    engine.server.receive(ok);
    assert.equal(client.take(), ok);
  }
  assert.equal(engine.dialed.length, 1);
  engine.pass(idleUpstreamMs);
  assert.equal(engine.server.end, 'close');
});

test('bytes that nobody asked for cost a server its connection', () => {
  const engine = new TestEngine();
  const { client } = engine.accept();
  client.receive(get);
  engine.server.receive(`${ok}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged`);
  assert.equal(client.take(), ok);
  client.receive(get);
  assert.equal(engine.dialed.length, 2);
  engine.server.receive(ok);
  engine.server.receive('HTTP/1.1 200 OK\r\n');
  assert.equal(engine.server.end, 'destroy');
});

test('an idempotent request is asked of another server when one breaks, another kind is not', () => {
  const engine = new TestEngine(['one', 'two']);
  const first = engine.accept().client;
  first.receive(get);
  const asked = engine.dialed[0]!;
  asked.transport.break('reset');
  assert.equal(engine.dialed.length, 2);
  assert.notEqual(engine.dialed[1]!.id, asked.id);
  assert.equal(engine.server.take(), asked.transport.take());
  engine.server.receive(ok);
  assert.equal(first.take(), ok);
  const second = engine.accept().client;
  second.receive(post);
  const { transport } = engine.dialed.at(-1)!;
  transport.break('reset');
  assert.match(second.take(), /^HTTP\/1\.1 502 [\s\S]*x-starling-reason: upstream-reset/);
  assert.equal(engine.counter.retries, 1);
});

test('any request is asked of another server when one was never reached, with all of its body', () => {
  for (const reason of unseen) {
    const engine = new TestEngine(['one', 'two']);
    const { client } = engine.accept();
    client.receive(post.slice(0, -3));
    client.receive(post.slice(-3));
    engine.server.break(reason);
    assert.equal(engine.server.take(), post);
    engine.server.break(reason);
    assert.match(client.take(), /^HTTP\/1\.1 503 /);
    assert.equal(engine.dialed.length, 2, 'once, not forever');
  }
});

test('there is no retry once the client has seen anything of an answer', () => {
  const engine = new TestEngine(['one', 'two']);
  const { client } = engine.accept();
  client.receive(get);
  engine.server.receive('HTTP/1.1 103 Early Hints\r\n\r\n');
  engine.server.break('reset');
  assert.equal(engine.dialed.length, 1);
  assert.match(client.take(), /^HTTP\/1\.1 103 Early Hints\r\n\r\nHTTP\/1\.1 502 /);
  client.receive(get);
  engine.server.receive('HTTP/1.1 200 OK\r\nContent-Le');
  engine.server.break('reset');
  assert.equal(engine.dialed.length, 2);
  assert.match(client.take(), /^HTTP\/1\.1 502 /);
});

test('retries of what may have been seen are bounded by the budget, those of what was not are free', () => {
  const retriesOf = (reason: CloseReason): number => {
    const engine = new TestEngine(['one', 'two']);
    for (let i = 0; i < 1000; i++) {
      const { client } = engine.accept();
      client.receive(get);
      for (let end = client.take(); end === ''; end = client.take()) engine.server.break(reason);
    }
    return engine.counter.retries;
  };
  for (const reason of ['reset', 'failed'] as const) {
    const retries = retriesOf(reason);
    assert.ok(retries >= 150 && retries <= 170, `${retries} retries of 1000 requests: ${reason}`);
  }
  for (const reason of unseen) assert.equal(retriesOf(reason), 1000, reason);
});

test('where there is no other server, one whose connection had been idle is asked anew, once', () => {
  const engine = new TestEngine();
  const { client } = engine.accept();
  client.receive(get);
  engine.server.receive(ok);
  assert.equal(client.take(), ok);
  client.receive(get);
  engine.server.break('reset');
  assert.equal(engine.dialed.length, 2);
  engine.server.break('reset');
  assert.match(client.take(), /^HTTP\/1\.1 502 /);
});

test('a request on a connection that had been idle goes to another server when that breaks', () => {
  const engine = new TestEngine(['one', 'two']);
  const { client } = engine.accept();
  for (let i = 0; i < 20; i++) {
    client.receive(get);
    const asked = engine.dialed.findLast(({ transport }) => transport.take() !== '')!;
    asked.transport.break('reset');
    assert.notEqual(engine.dialed.at(-1)!.id, asked.id);
    engine.server.take();
    engine.server.receive(ok);
    assert.equal(client.take(), ok);
  }
});

test('a client that is a proxy of ours is told why there is no answer, and nothing in HTTP', () => {
  const cases: readonly (readonly [CloseReason, DeclineReason, string])[] = [
    ['connect-failure', 'unreachable', 'connect-failure'],
    ['unavailable', 'unavailable', 'no-healthy-upstream'],
    ['reset', 'failed', 'upstream-reset'],
  ];
  for (const [broken, told, counted] of cases) {
    const engine = new TestEngine();
    const { client } = engine.accept();
    client.isProxy = true;
    client.receive(post);
    engine.server.break(broken);
    assert.deepEqual([client.declined, client.take()], [told, '']);
    assert.deepEqual(engine.counter.row(60_000).refused, { [counted]: 1 });
  }
});

test('a request that one server may have seen is never declined as unseen', () => {
  const engine = new TestEngine(['one', 'two']);
  const { client } = engine.accept();
  client.isProxy = true;
  client.receive(get);
  engine.server.break('reset');
  engine.server.break('connect-failure');
  assert.equal(client.declined, 'failed');
});

test('an answer that breaks the rules is answered with 502 to a proxy too, and not asked for again', () => {
  const engine = new TestEngine(['one', 'two']);
  const { client } = engine.accept();
  client.isProxy = true;
  client.receive(get);
  engine.server.receive('HTTP/1.1 2000 No\r\n\r\n');
  assert.match(client.take(), /^HTTP\/1\.1 502 [\s\S]*x-starling-reason: bad-response/);
  assert.deepEqual([client.declined, engine.dialed.length], [null, 1]);
});

test('a body longer than what is kept for a retry is not asked for twice', () => {
  const engine = new TestEngine(['one', 'two']);
  const { client } = engine.accept();
  client.receive('PUT / HTTP/1.1\r\nHost: api\r\nContent-Length: 100000\r\n\r\n');
  client.receive(Buffer.alloc(100_000));
  engine.server.break('connect-failure');
  assert.equal(engine.dialed.length, 1);
  assert.match(client.take(), /^HTTP\/1\.1 503 /);
});

test('a slow server stops its client, and a slow client stops its server', () => {
  const engine = new TestEngine();
  const { client } = engine.accept();
  client.receive('POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 1000000\r\n\r\n');
  engine.server.pendingBytes = highWaterBytes + 1;
  client.receive(Buffer.alloc(1000));
  assert.equal(client.paused, true);
  engine.server.pendingBytes = 0;
  engine.server.owner.onDrain();
  assert.equal(client.paused, false);
  client.pendingBytes = highWaterBytes + 1;
  engine.server.receive('HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nsome');
  assert.equal(engine.server.paused, true);
  client.pendingBytes = 0;
  client.owner.onDrain();
  assert.equal(engine.server.paused, false);
});

test('a client that sends requests ahead is held up, and served in order', () => {
  const engine = new TestEngine();
  const { client } = engine.accept();
  const count = 2000;
  for (let i = 0; i < count; i++) client.receive(get);
  assert.equal(client.paused, true);
  assert.equal(engine.dialed.length, 1);
  for (let i = 0; i < count; i++) {
    assert.equal(engine.server.take(), get);
    engine.server.receive(ok);
  }
  assert.equal(client.take(), ok.repeat(count));
  assert.equal(client.paused, false);
});

test('a client that reads no answers gets no further ones made', () => {
  const engine = new TestEngine();
  const { client } = engine.accept();
  client.receive(get + get);
  client.pendingBytes = highWaterBytes + 1;
  engine.server.receive(ok);
  engine.server.take();
  assert.equal(engine.server.take(), '');
  client.pendingBytes = 0;
  client.owner.onDrain();
  assert.equal(engine.server.take(), get);
});

test('requests behind a refused one are still served', () => {
  const engine = new TestEngine(['one', 'two']);
  const { client } = engine.accept();
  client.receive(post + get);
  engine.server.break('reset');
  assert.match(client.take(), /^HTTP\/1\.1 502 /);
  assert.equal(engine.server.take(), get);
});

test('an answer that comes before its request has ended closes the connection after it', () => {
  const engine = new TestEngine();
  const { client } = engine.accept();
  client.receive('POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 1000\r\n\r\nsome');
  engine.server.receive('HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n');
  assert.match(client.take(), /^HTTP\/1\.1 413 /);
  assert.equal(client.end, 'close');
  assert.equal(engine.server.end, 'destroy');
});

test('a client that leaves takes its request with it', () => {
  const engine = new TestEngine();
  const { client } = engine.accept();
  client.receive(get);
  client.break('reset');
  assert.equal(engine.server.end, 'destroy');
  assert.equal(engine.counter.byClass[4], 1);
});

test('a client of HTTP/1.0 gets a chunked answer without its chunks, to the end of the connection', () => {
  const answer =
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n';
  for (let cut = 1; cut < answer.length; cut++) {
    const engine = new TestEngine();
    const { client } = engine.accept();
    client.receive('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n');
    engine.server.receive('HTTP/1.1 100 Continue\r\n\r\n');
    engine.server.receive(answer.slice(0, cut));
    assert.equal(client.end, null);
    engine.server.receive(answer.slice(cut));
    assert.equal(client.take(), 'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello world', `cut at ${cut}`);
    assert.equal(client.end, 'close');
  }
});

test('a client of HTTP/1.0 does not take the beginning of a chunked answer for all of it', () => {
  const engine = new TestEngine();
  const { client } = engine.accept();
  client.receive('GET / HTTP/1.0\r\n\r\n');
  engine.server.receive('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n');
  engine.server.break('reset');
  assert.equal(client.end, 'destroy');
});

test('an answer goes on in the version that the proxy speaks', () => {
  const engine = new TestEngine();
  const { client } = engine.accept();
  client.receive(get);
  engine.server.receive('HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok');
  assert.equal(client.take(), 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  assert.equal(client.end, null);
});

test('a head that is too long is refused, however it comes', () => {
  const long = `GET / HTTP/1.1\r\nHost: api\r\nX: ${'x'.repeat(65_536)}\r\n\r\n`;
  for (const cut of [0, 60_000, long.length - 1]) {
    const engine = new TestEngine();
    const { client } = engine.accept();
    client.receive(long.slice(0, cut));
    client.receive(long.slice(cut));
    assert.match(client.take(), /^HTTP\/1\.1 431 /, `${cut}`);
    const { client: other } = engine.accept();
    other.receive(get);
    engine.server.receive(long.replace('GET / HTTP/1.1', 'HTTP/1.1 200 OK'));
    assert.match(other.take(), /^HTTP\/1\.1 502 /, `${cut}`);
  }
});

test('an answer that has no body says nothing of how one would end', () => {
  const engine = new TestEngine();
  const { client } = engine.accept();
  client.receive(get);
  engine.server.receive('HTTP/1.1 204 None\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n0\r\n\r\n');
  assert.equal(client.take(), 'HTTP/1.1 204 None\r\nX: y\r\n\r\n');
});

test('what only informs before an answer is passed on, but not for ever', () => {
  const engine = new TestEngine();
  const { client } = engine.accept();
  client.receive(get);
  const hint = 'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n';
  for (let i = 0; i < 100; i++) engine.server.receive(hint);
  assert.equal(client.take(), hint.repeat(100));
  for (let sent = 0; sent < 1_000_000 && engine.server.end === null; sent += hint.length)
    engine.server.receive(hint);
  assert.ok(client.take().length < 300_000);
  assert.equal(engine.server.end, 'destroy');
});

test('draining lets the answer under way out and says that it is the last', () => {
  const engine = new TestEngine();
  const { client, connection } = engine.accept();
  client.receive(get);
  connection.drain();
  assert.equal(client.end, null);
  engine.server.receive(ok);
  assert.match(client.take(), /\r\nconnection: close\r\n\r\nok$/);
  assert.equal(client.end, 'close');
});

test('draining answers a request that was on its way, and waits for no other', () => {
  const engine = new TestEngine();
  const late = engine.accept();
  const silent = engine.accept();
  for (const { connection } of [late, silent]) connection.drain();
  late.client.receive(get);
  engine.server.receive(ok);
  assert.match(late.client.take(), /\r\nconnection: close\r\n\r\nok$/);
  assert.equal(late.client.end, 'close');
  assert.equal(silent.client.end, null);
  engine.context.promptDeadlines.expire(engine.nowMs + drainIdleMs);
  assert.equal(silent.client.end, 'close');
  assert.equal(engine.context.promptDeadlines.size, 0);
});

test('draining in the middle of an answer that did not say so takes one more request', () => {
  const engine = new TestEngine();
  const { client, connection } = engine.accept();
  client.receive(get);
  engine.server.receive('HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok');
  connection.drain();
  engine.server.receive('ok');
  assert.match(client.take(), /okok$/);
  assert.equal(client.end, null);
  client.receive(get);
  engine.server.receive(ok);
  assert.match(client.take(), /\r\nconnection: close\r\n\r\nok$/);
  assert.equal(client.end, 'close');
});

test('a response head that comes in pieces, and a long body with a head, arrive as they were sent', () => {
  const engine = new TestEngine();
  const { client } = engine.accept();
  const body = 'b'.repeat(10_000);
  const request = `POST / HTTP/1.1\r\nHost: api\r\nX-Request-Id: r\r\nContent-Length: 10000\r\n\r\n${body}`;
  client.receive(request);
  assert.equal(engine.server.take(), request);
  const response = `HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 10000\r\n\r\n${body}`;
  engine.server.receive(response.slice(0, 20));
  engine.server.receive(response.slice(20, 40));
  engine.server.receive(response.slice(40));
  assert.equal(client.take(), response);
  assert.equal(engine.counter.bytesSent, request.length);
  assert.equal(engine.counter.bytesReceived, response.length);
});
