/** Which response flags, sizes and statuses the engine counts for each way in which a request can end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileRetry } from '../../../../src/proxy/http1/retry.ts';
import type { HttpRoute } from '../../../../src/proxy/http1/route.ts';
import { compileTimeouts } from '../../../../src/proxy/http1/timeouts.ts';
import { flagText } from '../../../../src/proxy/observe/flags.ts';
import type { TrafficCounter } from '../../../../src/proxy/observe/traffic.ts';
import type { FaultPolicy } from '../../../../src/proxy/policy.ts';
import { noTimeouts } from '../../../../src/proxy/policy-defaults.ts';
import { TestEngine } from '../../../support/transport.ts';

const get = 'GET / HTTP/1.1\r\nHost: api\r\nX-Request-Id: r\r\n\r\n';
const post = 'POST / HTTP/1.1\r\nHost: api\r\nX-Request-Id: r\r\nContent-Length: 5\r\n\r\nhello';
const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const unavailable = 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n';

/** What was counted, as `status flags` or `status flags grpc-status`. */
function counted(counter: TrafficCounter): string[] {
  return counter
    .row(0)
    .responses.flatMap(({ status, flags, grpcStatus, count }) =>
      Array<string>(count).fill(`${status} ${flagText(flags)}${grpcStatus < 0 ? '' : ` ${grpcStatus}`}`),
    );
}

function withFault(policy: Partial<FaultPolicy>): Partial<HttpRoute> {
  const fault = { delay: null, abort: null, ...policy };
  return { treatment: { rewrite: null, redirect: null, mirror: null, hedge: null, fault } };
}

type Run = (engine: TestEngine) => void;

const timeouts = compileTimeouts({ ...noTimeouts, requestMs: 100 }, noTimeouts);
const retry = compileRetry({ maxRetries: 2, on: ['5xx'], statusCodes: [], backoffMs: 0, maxBackoffMs: 0 });

const ways: readonly [string, string, Run][] = [
  [
    '200 -',
    'it went well',
    (engine) => {
      engine.accept().client.receive(get);
      engine.server.receive(ok);
    },
  ],
  ['503 UH', 'nobody is in rotation', (engine) => engine.accept().client.receive(get)],
  [
    '503 UF',
    'no connection could be made',
    (engine) => {
      engine.accept().client.receive(post);
      engine.server.break('connect-failure');
      engine.server.break('connect-failure');
    },
  ],
  [
    '502 UC',
    'the server broke the connection',
    (engine) => {
      engine.accept().client.receive(post);
      engine.server.break('reset');
    },
  ],
  [
    '502 UR',
    'the server’s proxy gave it up',
    (engine) => {
      engine.accept().client.receive(post);
      engine.server.break('failed');
    },
  ],
  [
    '200 UC',
    'the server broke the connection within its answer',
    (engine) => {
      engine.accept().client.receive(get);
      engine.server.receive('HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort');
      engine.server.break('reset');
    },
  ],
  [
    '502 UPE',
    'the answer was none',
    (engine) => {
      engine.accept().client.receive(get);
      engine.server.receive('this is no answer\r\n\r\n');
    },
  ],
  [
    '504 UT',
    'the answer did not come in time',
    (engine) => {
      engine.accept({ timeouts }).client.receive(get);
      engine.pass(100);
    },
  ],
  [
    '499 DC',
    'the client did not wait',
    (engine) => {
      const { client } = engine.accept();
      client.receive(get);
      client.break('reset');
    },
  ],
  [
    '400 DPE',
    'the request was none',
    (engine) => engine.accept().client.receive('GET / HTTP/1.1\r\nA : b\r\n\r\n'),
  ],
  [
    '405 DPE',
    'CONNECT is not served',
    (engine) => engine.accept().client.receive('CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n'),
  ],
  [
    '408 SI',
    'the request did not go on',
    (engine) => {
      engine.accept().client.receive('GET / HTTP/1.1\r\nHo');
      engine.pass(60_000);
    },
  ],
  [
    '418 FI',
    'policy asked for a failure',
    (engine) => engine.accept(withFault({ abort: { status: 418, percent: 100 } })).client.receive(get),
  ],
  [
    '200 DI',
    'policy asked for a delay',
    (engine) => {
      engine.accept(withFault({ delay: { ms: 500, percent: 100 } })).client.receive(get);
      engine.pass(500);
      engine.server.receive(ok);
    },
  ],
  [
    '503 URX',
    'all tries failed',
    (engine) => {
      engine.accept({ retry }).client.receive(get);
      for (let tries = 0; tries < 3; tries++)
        engine.dialed.find(({ transport }) => transport.take() !== '')!.transport.receive(unavailable);
    },
  ],
];

for (const [expected, why, run] of ways)
  test(`a request is counted as ${expected} where ${why}`, () => {
    const engine = new TestEngine(expected === '503 UH' ? [] : ['one', 'two']);
    run(engine);
    assert.deepEqual(counted(engine.counter), [expected]);
  });

test('gRPC is counted by what it says, in trailers, in the head, or by the proxy, in a row of its own', () => {
  const call =
    'POST /a.B/C HTTP/1.1\r\nHost: api\r\nContent-Type: application/grpc+proto\r\nContent-Length: 0\r\n\r\n';
  const answer = 'HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\n';
  const engine = new TestEngine();
  const { client } = engine.accept();
  client.receive(call);
  // Split within the trailer: what counts is the message, not how it comes.
  engine.server.receive(`${answer}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nGrpc-Sta`);
  engine.server.receive('tus: 1');
  engine.server.receive('4\r\ngrpc-message: no\r\n\r\n');
  client.receive(call);
  engine.server.receive(`${answer}Grpc-Status: 5\r\nContent-Length: 0\r\n\r\n`);
  client.receive(call);
  engine.server.receive(`${answer}Transfer-Encoding: chunked\r\n\r\n0\r\ngrpc-status: 0\r\n\r\n`);
  client.receive(call);
  engine.server.receive(`${answer}Transfer-Encoding: chunked\r\n\r\n0\r\ngrpc-status: what\r\n\r\n`);
  client.receive(call);
  engine.server.break('reset');
  assert.deepEqual(counted(engine.counter), ['200 - 14', '200 - 5', '200 - 0', '200 - 2', '200 UC 14']);
  assert.deepEqual(engine.counter.byClass, [0, 0, 1, 0, 1, 3]);
});

test('a tunnel is counted with all that went through it, when it ends', () => {
  const engine = new TestEngine();
  const upgrade =
    'GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: r\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n';
  const { client } = engine.accept();
  client.receive(upgrade);
  const head = engine.server.take().length;
  engine.server.receive(
    'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n',
  );
  const answer = client.take().length;
  client.receive('ping');
  engine.server.receive('pong!');
  assert.deepEqual(counted(engine.counter), []);
  engine.server.owner.onFinish();
  client.owner.onFinish();
  const { requestSizes, responseSizes } = engine.counter.row(0);
  assert.deepEqual(counted(engine.counter), ['101 -']);
  assert.deepEqual([requestSizes.sum, responseSizes.sum], [head + 4, answer + 5]);
});

test('sizes are those of whole messages, however they come and however often they are sent', () => {
  const engine = new TestEngine(['one', 'two']);
  const { client } = engine.accept();
  client.receive(post.slice(0, -3));
  client.receive('llo');
  const first = engine.server;
  first.break('connect-failure');
  const second = engine.dialed.find(({ transport }) => transport !== first)!.transport;
  const sent = second.take();
  second.receive(ok.slice(0, -1));
  second.receive('k');
  const { requestSizes, responseSizes, retries, durations } = engine.counter.row(0);
  assert.deepEqual([requestSizes.sum, responseSizes.sum, retries], [sent.length, ok.length, 1]);
  assert.equal(client.take(), ok);
  assert.equal(durations.cells.length, 1);
});
