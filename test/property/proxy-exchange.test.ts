/** Requests under every mix of policy, with servers and clients that do as they like: each ends, once, and wholly. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Mirror } from '../../src/proxy/http1/mirror.ts';
import { compileRetry } from '../../src/proxy/http1/retry.ts';
import type { HttpRoute } from '../../src/proxy/http1/route.ts';
import { compileTimeouts } from '../../src/proxy/http1/timeouts.ts';
import { noTimeouts } from '../../src/proxy/policy-defaults.ts';
import { type MemoryTransport, TestEngine } from '../support/transport.ts';

const limit = fc.constantFrom(null, 0, 100, 1000);
const policy = fc.record({
  timeouts: fc.record({ requestMs: limit, idleMs: limit, perTryMs: limit }),
  retry: fc.option(
    fc.record({
      maxRetries: fc.integer({ min: 0, max: 3 }),
      on: fc.subarray(['5xx', 'reset', 'connect-failure', 'retriable-4xx'] as const),
      statusCodes: fc.constantFrom([], [404]),
      backoffMs: fc.constantFrom(0, 50),
      maxBackoffMs: fc.constant(200),
    }),
  ),
  hedge: fc.option(fc.constantFrom({ afterMs: 0 }, { afterMs: 50 })),
  fault: fc.option(
    fc.record({
      delay: fc.option(fc.record({ ms: fc.constantFrom(10, 500), percent: fc.constantFrom(50, 100) })),
      abort: fc.option(fc.record({ status: fc.constant(418), percent: fc.constant(30) })),
    }),
  ),
  mirrors: fc.boolean(),
});

const request = fc.constantFrom(
  'GET / HTTP/1.1\r\nHost: api\r\n\r\n',
  'HEAD / HTTP/1.1\r\nHost: api\r\n\r\n',
  'POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 5\r\n\r\nhello',
  'PUT / HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
);
const answer = fc.constantFrom(
  'HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n',
  'HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n',
  'HTTP/1.1 409 No\r\nContent-Length: 2\r\n\r\nno',
  'HTTP/1.1 103 Early\r\n\r\n',
  'HTTP/1.1 20',
  'nonsense and more of it\r\n\r\n',
  'llo',
);
const ending = fc.constantFrom('reset', 'ended', 'connect-failure', 'refused', 'failed', 'unavailable');

const event = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ type: fc.constant('send'), text: request, cut: fc.integer({ min: 1, max: 80 }) }),
  },
  { weight: 5, arbitrary: fc.record({ type: fc.constant('answer'), which: fc.nat(9), text: answer }) },
  { weight: 2, arbitrary: fc.record({ type: fc.constant('break'), which: fc.nat(9), reason: ending }) },
  { weight: 3, arbitrary: fc.record({ type: fc.constant('pass'), ms: fc.constantFrom(10, 60, 300, 5000) }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('leave'), ended: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('drain') }) },
);

class Play {
  readonly engine = new TestEngine(['one', 'two', 'three']);
  readonly mirrors = this.engine.groupOf(['mirror']);
  private readonly route: Partial<HttpRoute>;
  private served = this.engine.accept();
  private rest = '';
  /** Every client with how many requests it began. */
  readonly clients: { readonly client: MemoryTransport; begun: number }[] = [];

  constructor({
    timeouts,
    retry,
    hedge,
    fault,
    mirrors,
  }: typeof policy extends fc.Arbitrary<infer P> ? P : never) {
    const { engine } = this;
    const mirror = mirrors ? new Mirror(100, engine.targetOf([this.mirrors])) : null;
    this.route = {
      timeouts: compileTimeouts(timeouts, noTimeouts),
      retry: compileRetry(retry),
      treatment: { rewrite: null, redirect: null, fault, mirror, hedge },
    };
    this.accept();
  }

  private accept(): void {
    this.served = this.engine.accept(this.route);
    this.clients.push({ client: this.served.client, begun: 0 });
    this.rest = '';
  }

  private get client(): MemoryTransport {
    if (this.served.client.end !== null) this.accept();
    return this.served.client;
  }

  private server(which: number): MemoryTransport | null {
    const alive = this.engine.dialed.filter(({ transport }) => transport.end === null);
    return alive[which % Math.max(alive.length, 1)]?.transport ?? null;
  }

  run(next: typeof event extends fc.Arbitrary<infer E> ? E : never): void {
    if ('cut' in next) {
      const text = this.rest || next.text;
      const at = Math.min(next.cut, text.length);
      const { client } = this;
      if (this.rest === '') this.clients.at(-1)!.begun++;
      client.receive(text.slice(0, at));
      this.rest = client.end === null ? text.slice(at) : '';
    } else if ('text' in next) this.server(next.which)?.receive(next.text);
    else if ('reason' in next) this.server(next.which)?.break(next.reason);
    else if ('ms' in next) this.engine.pass(next.ms);
    else if ('ended' in next) {
      const { client } = this;
      if (next.ended) client.owner.onFinish();
      else {
        client.break('reset');
        client.end ??= 'destroy';
      }
      this.accept();
    } else if (this.served.client.end === null) this.served.connection.drain();
  }

  /** Everything has time to come due; then who is left leaves. */
  finish(): void {
    for (let i = 0; i < 50; i++) this.engine.pass(60_000);
    for (const { client } of this.clients) if (client.end === null) client.break('reset');
    for (let i = 0; i < 5; i++) this.engine.pass(60_000);
  }
}

test('whatever happens, every request ends, with one answer at most, and nothing of it stays', () => {
  fc.assert(
    fc.property(policy, fc.array(event, { maxLength: 40 }), (mix, events) => {
      const play = new Play(mix);
      for (const next of events) play.run(next);
      play.finish();
      const { engine } = play;
      for (const group of [engine.group, play.mirrors]) {
        const { endpoints, inUse } = group.snapshot(engine.nowMs);
        assert.deepEqual(
          [inUse.requests, ...endpoints.map((each) => each.inflight)],
          [0, ...endpoints.map(() => 0)],
        );
      }
      for (const { client, begun } of play.clients) {
        const answers = client.take().match(/HTTP\/1\.1 [2-5]\d\d /g) ?? [];
        assert.ok(answers.length <= begun, `${answers.length} answers to ${begun} requests`);
      }
      assert.equal(engine.context.promptDeadlines.size, 0, 'nothing is watched promptly');
      assert.equal(engine.context.deadlines.size, 0, 'nothing is watched');
    }),
    { numRuns: 400 },
  );
});
