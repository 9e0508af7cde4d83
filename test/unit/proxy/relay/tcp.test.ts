/** One byte stream through the engine: what it tells of the server that it was given to. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noLocality } from '../../../../src/proxy/balance/zones.ts';
import { defaultBalance, defaultUpstream } from '../../../../src/proxy/policy-defaults.ts';
import { leastStandingMs, standingMsOf, TcpConnection } from '../../../../src/proxy/relay/tcp.ts';
import type { CloseReason } from '../../../../src/proxy/transport.ts';
import { MemoryTransport, TestEngine } from '../../../support/transport.ts';

const breaker = {
  errorPercent: 100,
  minimumRequests: 3,
  windowMs: 10_000,
  openMs: 1000,
  halfOpenRequests: 1,
};
const passiveHealth = {
  intervalMs: 1000,
  maxFailures: 3,
  enforcingConsecutive5xx: 100,
  maxEjectionPercent: 100,
  baseEjectionTimeMs: 1000,
};

class Streams {
  readonly engine = new TestEngine(['one']);
  over = 0;

  constructor() {
    const { group } = this.engine;
    group.configure(defaultBalance, { ...defaultUpstream, breaker, passiveHealth }, noLocality);
  }

  /** A stream whose client has said something, and its server's side. */
  open(standingMs = leastStandingMs): { client: MemoryTransport; server: MemoryTransport } {
    const { context, group } = this.engine;
    const target = this.engine.targetOf([group], { standingMs });
    const client = new MemoryTransport();
    const first = Buffer.from('hello');
    const connection = new TcpConnection(client, target, context, first, false, () => this.over++);
    connection.start(null);
    return { client, server: this.engine.server };
  }

  get state(): readonly [state: string, ejections: number] {
    const { breaker: circuit, endpoints } = this.engine.group.snapshot(this.engine.nowMs);
    return [circuit!.state, endpoints[0]!.ejections];
  }

  /** Streams that break before the server has said anything. */
  fail(count: number, reason: CloseReason = 'reset'): void {
    for (let i = 0; i < count; i++) this.open().server.break(reason);
  }
}

test('streams that break before the server said anything open the circuit and eject the endpoint', () => {
  for (const reason of ['reset', 'failed'] as const) {
    const streams = new Streams();
    streams.fail(2, reason);
    assert.deepEqual(streams.state, ['closed', 0]);
    streams.fail(1, reason);
    assert.deepEqual(streams.state, ['open', 1]);
    assert.equal(streams.over, 3);
  }
});

test('streams that the other proxy cuts, as where permissions do not let them in, say nothing', () => {
  const streams = new Streams();
  streams.fail(5, 'cut');
  assert.deepEqual([streams.state, streams.over], [['closed', 0], 5]);
});

test('a server has served a stream once it says anything, ends in order, or the stream has stood for a while', () => {
  const ways: ((stream: ReturnType<Streams['open']>, streams: Streams) => void)[] = [
    ({ server }) => server.receive('220 welcome'),
    ({ server }) => server.owner.onFinish(),
    (_stream, streams) => streams.engine.pass(leastStandingMs),
  ];
  for (const serve of ways) {
    const streams = new Streams();
    streams.fail(2);
    const stream = streams.open();
    serve(stream, streams);
    // It has had its outcome, and has no other.
    stream.server.break('reset');
    streams.fail(2);
    assert.deepEqual(streams.state, ['closed', 0]);
    const { inUse } = streams.engine.group.snapshot(streams.engine.nowMs);
    assert.deepEqual([inUse.connections, streams.engine.context.deadlines.size], [0, 0]);
  }
});

test('a probe closes the circuit by what its server says, not by being taken there', () => {
  const streams = new Streams();
  streams.fail(3);
  streams.engine.pass(1000);
  const { server } = streams.open();
  assert.deepEqual(streams.state, ['half-open', 1]);
  server.receive('here');
  assert.deepEqual(streams.state, ['closed', 1]);
});

test('a stream that the client gives up says nothing, and one that never reached the application fails', () => {
  const streams = new Streams();
  for (let i = 0; i < 5; i++) streams.open().client.break('reset');
  assert.deepEqual(streams.state, ['closed', 0]);
  const { server } = streams.open();
  streams.engine.pass(leastStandingMs);
  server.break('unreachable');
  const [endpoint] = streams.engine.group.snapshot(streams.engine.nowMs).endpoints;
  assert.deepEqual([endpoint!.inflight, streams.engine.group.isServing(streams.engine.nowMs)], [0, false]);
});

test('a stream has to stand for longer than its server takes to find that it reaches no application', () => {
  for (const localConnectTimeoutMs of [10, 1000, 5000]) {
    const streams = new Streams();
    const standingMs = standingMsOf(localConnectTimeoutMs);
    assert.ok(standingMs >= leastStandingMs);
    for (let i = 0; i < 3; i++) {
      const { server } = streams.open(standingMs);
      // As many instances as it tries before it gives up.
      streams.engine.pass(2 * localConnectTimeoutMs + 10);
      server.break('unreachable');
    }
    assert.equal(streams.state[1], 1, `${localConnectTimeoutMs}`);
  }
});
