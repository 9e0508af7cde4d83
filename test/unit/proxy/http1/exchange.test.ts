/** Requests by policy: how long they may take, how often and when they are tried, and the failures asked for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RequestHasher } from '../../../../src/proxy/balance/hash-key.ts';
import { noLocality } from '../../../../src/proxy/balance/zones.ts';
import { Refusal } from '../../../../src/proxy/http1/refusal.ts';
import { compileRetry } from '../../../../src/proxy/http1/retry.ts';
import type { HttpRoute, Treatment } from '../../../../src/proxy/http1/route.ts';
import { compileTimeouts, defaultAnswerMs, defaultIdleMs } from '../../../../src/proxy/http1/timeouts.ts';
import type { FaultPolicy, RetryPolicy, TimeoutPolicy } from '../../../../src/proxy/policy.ts';
import { defaultBalance, defaultUpstream, noTimeouts } from '../../../../src/proxy/policy-defaults.ts';
import { type MemoryTransport, TestEngine } from '../../../support/transport.ts';

const get = 'GET / HTTP/1.1\r\nHost: api\r\nX-Request-Id: r\r\n\r\n';
const post = 'POST / HTTP/1.1\r\nHost: api\r\nX-Request-Id: r\r\nContent-Length: 5\r\n\r\nhello';
const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const unavailable = 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n';
const upgrade = 'GET / HTTP/1.1\r\nHost: api\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n';
const switching = 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n';
const timedOut = /^HTTP\/1\.1 504 [\s\S]*x-starling-reason: timeout\r\n/;

function timeouts(more: Partial<TimeoutPolicy>): Pick<HttpRoute, 'timeouts'> {
  return { timeouts: compileTimeouts({ ...noTimeouts, ...more }, noTimeouts) };
}

function retry(more: Partial<RetryPolicy>): Pick<HttpRoute, 'retry'> {
  const policy = { maxRetries: 2, on: [], statusCodes: [], backoffMs: 0, maxBackoffMs: 0, ...more };
  return { retry: compileRetry(policy) };
}

function fault(policy: Partial<FaultPolicy>): { treatment: Treatment } {
  return {
    treatment: {
      rewrite: null,
      redirect: null,
      mirror: null,
      hedge: null,
      fault: { delay: null, abort: null, ...policy },
    },
  };
}

/** What was sent to servers and how often, each answered by `answer` until the client has one. */
function triesOf(engine: TestEngine, answer: (server: MemoryTransport) => void): number {
  for (let tries = 0; ; tries++) {
    const asked = engine.dialed
      .map(({ transport }) => transport)
      .find((transport) => transport.take() !== '');
    if (asked === undefined) return tries;
    answer(asked);
    engine.pass(1000);
  }
}

test('an answer that does not begin in time is 504, by policy or by default, and its server is let go', () => {
  for (const [more, limitMs] of [
    [{ requestMs: 200 }, 200],
    [{}, defaultAnswerMs],
    [{ requestMs: 0, idleMs: 700 }, 700],
  ] as const) {
    const engine = new TestEngine();
    const { client } = engine.accept(timeouts(more));
    client.receive(get);
    engine.pass(limitMs - 1);
    assert.equal(client.take(), '');
    engine.pass(1);
    assert.match(client.take(), timedOut);
    assert.deepEqual([engine.server.end, client.end], ['destroy', null]);
    client.receive(get);
    engine.server.receive(ok);
    assert.equal(client.take(), ok, 'the connection goes on');
  }
});

test('without limits by policy, an answer that has begun may take long, as long as it is not idle', () => {
  const engine = new TestEngine();
  const { client } = engine.accept(timeouts({}));
  client.receive(get);
  engine.server.receive('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n');
  for (let i = 0; i < 20; i++) {
    engine.pass(defaultIdleMs - 1);
    engine.server.receive('x');
  }
  assert.equal(client.end, null);
  engine.pass(defaultIdleMs);
  assert.equal(client.end, 'destroy', 'a cut, never an end');
});

test('a request that takes long to come does not run out of patience, its answer does', () => {
  const engine = new TestEngine();
  const { client } = engine.accept(timeouts({}));
  client.receive('POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 30\r\n\r\n');
  for (let i = 0; i < 29; i++) {
    client.receive('x');
    engine.pass(defaultAnswerMs);
  }
  client.receive('x');
  engine.pass(defaultAnswerMs - 1);
  assert.equal(client.take(), '');
  engine.pass(1);
  assert.match(client.take(), timedOut);
});

test('a limit for the whole request cuts an answer that is too long', () => {
  const engine = new TestEngine();
  const { client } = engine.accept(timeouts({ requestMs: 1000 }));
  client.receive(get);
  engine.server.receive('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nsome');
  engine.pass(1000);
  assert.equal(client.end, 'destroy');
  assert.equal(engine.server.end, 'destroy');
});

test('a try that is silent for too long is tried again where that is safe, within the time of the whole', () => {
  const engine = new TestEngine(['one', 'two']);
  const { client } = engine.accept({
    ...timeouts({ perTryMs: 100, requestMs: 1000 }),
    ...retry({ on: ['reset'] }),
  });
  client.receive(post);
  engine.pass(100);
  assert.equal(engine.dialed.length, 2);
  assert.equal(engine.dialed[0]!.transport.end, 'destroy');
  engine.pass(99);
  assert.equal(engine.dialed.length, 2);
  engine.pass(1);
  engine.server.receive(ok);
  assert.equal(client.take(), ok);
  const once = new TestEngine(['one', 'two']);
  const plain = once.accept(timeouts({ perTryMs: 100 })).client;
  plain.receive(post);
  once.pass(100);
  assert.match(plain.take(), timedOut);
});

test('a long answer and a tunnel are not watched as closely as what led to them', () => {
  const engine = new TestEngine();
  const { client } = engine.accept(timeouts({ perTryMs: 100 }));
  client.receive(get);
  engine.server.receive('HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n');
  assert.equal(engine.context.promptDeadlines.size, 1);
  engine.pass(100);
  assert.equal(engine.context.promptDeadlines.size, 0);
  engine.pass(defaultIdleMs);
  assert.equal(client.end, 'destroy', 'yet it is cut when it is idle');
  const upgraded = engine.accept(timeouts({ requestMs: 100 })).client;
  upgraded.receive(upgrade);
  engine.server.receive(switching);
  engine.pass(1000);
  assert.equal(upgraded.end, null);
  assert.equal(engine.context.promptDeadlines.size, 0);
});

test('policy has what it names tried again, so often and no more, whatever the method', () => {
  const reset = (server: MemoryTransport): void => server.break('reset');
  const refuse = (server: MemoryTransport): void => server.break('connect-failure');
  const answer = (text: string) => (server: MemoryTransport) => server.receive(text);
  const status = (code: number) => answer(`HTTP/1.1 ${code} X\r\nContent-Length: 0\r\n\r\n`);
  const grpc = (code: number) =>
    answer(
      `HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\ngrpc-status: ${code}\r\nContent-Length: 0\r\n\r\n`,
    );
  const cases: readonly (readonly [Partial<RetryPolicy>, (server: MemoryTransport) => void, number])[] = [
    [{ on: ['5xx'] }, status(500), 3],
    [{ on: ['5xx'] }, reset, 3],
    [{ on: ['5xx'] }, refuse, 3],
    [{ on: ['5xx'] }, status(404), 1],
    [{ on: ['5xx'], maxRetries: 1 }, status(599), 2],
    [{ on: ['gateway-error'] }, status(502), 3],
    [{ on: ['gateway-error'] }, status(500), 1],
    [{ on: ['reset'] }, reset, 3],
    [{ on: ['reset'] }, status(503), 1],
    [{ on: ['connect-failure'] }, refuse, 3],
    [{ on: ['connect-failure'] }, reset, 1],
    [{ on: ['retriable-4xx'] }, status(409), 3],
    [{ on: ['retriable-4xx'] }, status(404), 1],
    [{ statusCodes: [418] }, status(418), 3],
    [{ on: ['unavailable'] }, grpc(14), 3],
    [{ on: ['unavailable'] }, grpc(8), 1],
    [{ on: ['resource-exhausted', 'cancelled'] }, grpc(8), 3],
    [{ on: ['deadline-exceeded', 'internal'] }, grpc(4), 3],
    // What reached nobody is asked of another once, even where policy speaks only of other things.
    [{ on: ['unavailable'] }, refuse, 2],
    // Unless policy wants no retries at all.
    [{ on: ['5xx'], maxRetries: 0 }, status(500), 1],
    [{ on: ['5xx'], maxRetries: 0 }, reset, 1],
    [{ on: ['connect-failure'], maxRetries: 0 }, refuse, 1],
  ];
  for (const [policy, failing, tries] of cases) {
    const engine = new TestEngine(['one', 'two', 'three']);
    const { client } = engine.accept(retry(policy));
    client.receive(post);
    assert.equal(triesOf(engine, failing), tries, JSON.stringify(policy));
    assert.equal(engine.counter.retries, tries - 1);
    assert.notEqual(client.take(), '', 'the last answer goes to the client');
  }
});

test('the last answer of those that policy tried again is passed on whole, and a good one ends it', () => {
  const engine = new TestEngine(['one', 'two']);
  const { client } = engine.accept(retry({ on: ['5xx'] }));
  client.receive(post);
  engine.server.receive(unavailable);
  assert.equal(engine.server.take(), post);
  assert.equal(client.take(), '');
  engine.server.receive(ok);
  assert.equal(client.take(), ok);
  client.receive(post);
  assert.equal(
    triesOf(engine, (server) => server.receive(unavailable)),
    3,
  );
  assert.equal(client.take(), unavailable);
});

test('a retry prefers another server, and asks the same one again where there is no other', () => {
  const engine = new TestEngine();
  const { client } = engine.accept(retry({ on: ['5xx'] }));
  client.receive(get);
  assert.equal(
    triesOf(engine, (server) => server.receive(unavailable)),
    3,
  );
});

test('retries go on to the groups that stand in, within their limit; without policy as long as nobody was reached', () => {
  const asked = (failing: (server: MemoryTransport) => void, more: Partial<HttpRoute>): string => {
    const engine = new TestEngine();
    const groups = [['a1', 'a2', 'a3'], ['b1', 'b2'], ['c1']].map((ids) => engine.groupOf(ids));
    const { client } = engine.accept({ targets: [engine.targetOf(groups)], ...more });
    client.receive(get);
    triesOf(engine, failing);
    assert.notEqual(client.take(), '');
    return engine.dialed.map(({ id }) => id[0]).join('');
  };
  const refuse = (server: MemoryTransport): void => server.break('connect-failure');
  const fail = (server: MemoryTransport): void => {
    server.receive(unavailable);
  };
  assert.equal(asked(fail, retry({ on: ['5xx'], maxRetries: 3 })), 'aabb');
  assert.equal(asked(fail, retry({ on: ['5xx'], maxRetries: 1 })), 'aa');
  assert.equal(asked(refuse, retry({ on: ['connect-failure'], maxRetries: 3 })), 'aabb');
  assert.equal(asked(refuse, {}), 'aabbca');
  assert.equal(
    asked((server) => server.break('not-taken'), {}),
    'aabbca',
  );
  assert.equal(
    asked((server) => server.break('reset'), {}),
    'aa',
  );
});

test('a limit that is reached is answered at once, also where another group could serve', () => {
  const engine = new TestEngine();
  const groups = [engine.groupOf(['a']), engine.groupOf(['b'])];
  const limits = { ...defaultUpstream.limits, maxConcurrentRequests: 1 };
  groups[0]!.configure(defaultBalance, { ...defaultUpstream, limits }, noLocality);
  const unavailableBy: number[] = [];
  const refusal = new Refusal(503, 'overflow', 'full');
  const full = (groupIndex: number): Refusal => {
    unavailableBy.push(groupIndex);
    return refusal;
  };
  const route = { targets: [engine.targetOf(groups, { unavailable: full })] };
  const [first, second] = [engine.accept(route), engine.accept({ ...route, ...retry({ on: ['5xx'] }) })];
  first.client.receive(get);
  second.client.receive(get);
  assert.match(second.client.take(), /^HTTP\/1\.1 503 [\s\S]*x-starling-reason: overflow/);
  assert.deepEqual([unavailableBy, engine.dialed.map(({ id }) => id)], [[0], ['a']]);
  engine.server.receive(ok);
  assert.equal(first.client.take(), ok);
});

test('retries wait, longer each time, and the client may go on sending meanwhile', () => {
  const engine = new TestEngine();
  const { client } = engine.accept(retry({ on: ['5xx'], backoffMs: 1000, maxBackoffMs: 8000 }));
  client.receive(post.slice(0, -3));
  engine.server.receive(unavailable);
  assert.equal(engine.dialed.length, 1);
  engine.pass(999);
  client.receive(post.slice(-3));
  assert.equal(engine.dialed.length, 1, 'at least the least');
  engine.pass(1001);
  assert.equal(engine.dialed.length, 2, 'at most twice that');
  assert.equal(engine.server.take(), post);
  engine.server.receive(ok);
  assert.equal(client.take(), ok);
});

test('while a retry waits, a long body stops its client instead of growing without end', () => {
  const engine = new TestEngine();
  const { client } = engine.accept(retry({ on: ['5xx'], backoffMs: 1000, maxBackoffMs: 1000 }));
  const head = 'POST / HTTP/1.1\r\nHost: api\r\nX-Request-Id: r\r\nContent-Length: 300000\r\n\r\n';
  client.receive(head);
  engine.server.receive(unavailable);
  client.receive(Buffer.alloc(100_000, 'x'));
  assert.equal(client.paused, true);
  engine.pass(2000);
  assert.equal(client.paused, false);
  client.receive(Buffer.alloc(200_000, 'y'));
  assert.equal(engine.server.take(), `${head}${'x'.repeat(100_000)}${'y'.repeat(200_000)}`);
});

test('nothing is tried again once the client has seen a byte of an answer, or the body is too long to keep', () => {
  const engine = new TestEngine(['one', 'two']);
  const { client } = engine.accept(retry({ on: ['5xx'] }));
  client.receive(get);
  engine.server.receive('HTTP/1.1 103 Early Hints\r\n\r\n');
  engine.server.receive(unavailable);
  assert.equal(engine.dialed.length, 1);
  assert.match(client.take(), /^HTTP\/1\.1 103 [\s\S]*HTTP\/1\.1 503 /);
  const long = engine.accept(retry({ on: ['5xx'] })).client;
  long.receive('POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 100000\r\n\r\n');
  long.receive(Buffer.alloc(100_000));
  engine.server.receive(unavailable);
  assert.equal(long.take(), unavailable);
});

test('a failing upstream sees at most 1.2 times the load, however often policy wants retries', () => {
  const engine = new TestEngine(['one', 'two', 'three']);
  const route = retry({ on: ['5xx'], maxRetries: 5 });
  const count = 2000;
  let sent = 0;
  for (let i = 0; i < count; i++) {
    const { client } = engine.accept(route);
    client.receive(get);
    for (;;) {
      const asked = engine.dialed.map(({ transport }) => transport).findLast((each) => each.take() !== '');
      if (asked === undefined) break;
      sent++;
      asked.receive(unavailable);
    }
    client.break('ended');
  }
  assert.ok(sent > count && sent <= count * 1.2, `${sent} for ${count}`);
});

test('a fault delays, fails or both, and what is delayed is served after it', () => {
  const delayed = new TestEngine();
  const { client } = delayed.accept(fault({ delay: { ms: 500, percent: 100 } }));
  client.receive(post.slice(0, -2));
  client.receive(post.slice(-2));
  delayed.pass(499);
  assert.equal(delayed.dialed.length, 0);
  delayed.pass(1);
  assert.equal(delayed.server.take(), post);
  delayed.server.receive(ok);
  assert.equal(client.take(), ok);
  const failing = new TestEngine();
  const both = failing.accept(
    fault({ delay: { ms: 500, percent: 100 }, abort: { status: 418, percent: 100 } }),
  ).client;
  both.receive(post);
  failing.pass(499);
  assert.equal(both.take(), '');
  failing.pass(1);
  assert.match(both.take(), /^HTTP\/1\.1 418 [\s\S]*x-starling-reason: fault/);
  assert.equal(failing.dialed.length, 0);
});

test('a fault strikes its share of the requests', () => {
  const engine = new TestEngine();
  let failed = 0;
  const count = 4000;
  const { client } = engine.accept(fault({ abort: { status: 500, percent: 12.5 } }));
  for (let i = 0; i < count; i++) {
    client.receive(get);
    if (client.take() === '') engine.server.receive(ok);
    else failed++;
    client.take();
  }
  assert.ok(Math.abs(failed / count - 0.125) < 0.02, `${failed}`);
});

test('a client that leaves while its request waits leaves nothing behind', () => {
  const engine = new TestEngine();
  const { client } = engine.accept(fault({ delay: { ms: 500, percent: 100 } }));
  client.receive(get);
  client.break('reset');
  engine.pass(500);
  assert.equal(engine.dialed.length, 0);
  assert.equal(engine.context.deadlines.size + engine.context.promptDeadlines.size, 0);
});

test('a gRPC call is refused in gRPC: trailers only, its own status, and the reason as its message', () => {
  const call =
    'POST /a/b HTTP/1.1\r\nHost: api\r\nContent-Type: application/grpc+proto\r\nContent-Length: 5\r\n\r\nhello';
  const engine = new TestEngine([]);
  const { client } = engine.accept();
  client.receive(call);
  const answer = client.take();
  assert.match(answer, /^HTTP\/1\.1 200 OK\r\ncontent-type: application\/grpc\r\ngrpc-status: 14\r\n/);
  assert.match(answer, /\r\ngrpc-message: starling: no-healthy-upstream: none\r\ncontent-length: 0\r\n/);
  const slow = new TestEngine();
  const caller = slow.accept(timeouts({ requestMs: 100 })).client;
  caller.receive(call);
  slow.pass(100);
  assert.match(caller.take(), /\r\ngrpc-status: 4\r\n/);
});

test('a cookie that balancing goes by is set for who has none, and whoever has it stays where it was', () => {
  const engine = new TestEngine(['one', 'two', 'three']);
  engine.group.configure({ ...defaultBalance, method: 'maglev' }, defaultUpstream, noLocality);
  const issue = { ttlMs: 60_000, path: '/' };
  const hasher = new RequestHasher([{ type: 'cookie', name: 'stay', terminal: false, issue }]);
  const { client } = engine.accept({ targets: [engine.targetOf([engine.group], { hasher })] });
  const ask = (fields: string): { server: string; answer: string } => {
    client.receive(`GET / HTTP/1.1\r\nHost: api\r\n${fields}\r\n`);
    const asked = engine.dialed.find(({ transport }) => transport.take() !== '')!;
    asked.transport.receive(ok);
    return { server: asked.id, answer: client.take() };
  };
  const servers = new Set<string>();
  for (let i = 0; i < 20; i++) {
    const first = ask('Cookie: other=1\r\n');
    const cookie = /\r\nset-cookie: (stay=[0-9a-f]+); Max-Age=60; Path=\/; HttpOnly\r\n/.exec(
      first.answer,
    )![1]!;
    const again = ask(`Cookie: a=b; ${cookie}\r\n`);
    assert.deepEqual(again, { server: first.server, answer: ok });
    servers.add(first.server);
  }
  assert.equal(servers.size, 3);
});

function hedge(afterMs: number): { treatment: Treatment } {
  return { treatment: { rewrite: null, redirect: null, mirror: null, fault: null, hedge: { afterMs } } };
}

test('a request whose server is silent is sent to another one beside it, and the first answer is the one', () => {
  for (const winner of [0, 1]) {
    const engine = new TestEngine(['one', 'two']);
    const { client } = engine.accept(hedge(100));
    client.receive(get);
    engine.pass(99);
    assert.equal(engine.dialed.length, 1);
    engine.pass(1);
    assert.deepEqual(
      engine.dialed.map(({ transport }) => transport.take()),
      [get, get],
    );
    assert.notEqual(engine.dialed[0]!.id, engine.dialed[1]!.id);
    const [first, second] = engine.dialed.map(({ transport }) => transport);
    (winner === 0 ? first : second)!.receive(ok.slice(0, 30));
    (winner === 0 ? first : second)!.receive(ok.slice(30));
    assert.equal(client.take(), ok);
    assert.deepEqual([first!.end, second!.end], winner === 0 ? [null, 'destroy'] : ['destroy', null]);
    client.receive(get);
  }
});

test('when either of two tries breaks, the other one is waited for', () => {
  for (const broken of [0, 1]) {
    const engine = new TestEngine(['one', 'two']);
    const { client } = engine.accept(hedge(100));
    client.receive(get);
    engine.pass(100);
    engine.dialed[broken]!.transport.break('reset');
    assert.deepEqual([client.take(), engine.dialed.length], ['', 2]);
    engine.dialed[1 - broken]!.transport.receive(ok);
    assert.equal(client.take(), ok);
  }
});

test('what may not happen twice is sent once, and who leaves takes both tries along', () => {
  const once = new TestEngine(['one', 'two']);
  const plain = once.accept(hedge(100)).client;
  plain.receive(post);
  once.pass(1000);
  assert.equal(once.dialed.length, 1);
  const engine = new TestEngine(['one', 'two']);
  const { client } = engine.accept(hedge(100));
  client.receive(get);
  engine.pass(100);
  client.break('reset');
  assert.deepEqual(
    engine.dialed.map(({ transport }) => transport.end),
    ['destroy', 'destroy'],
  );
  assert.equal(engine.context.promptDeadlines.size, 0);
});
