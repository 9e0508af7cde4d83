/** Copies of requests to a mirror: the request itself must never notice. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noLocality } from '../../../../src/proxy/balance/zones.ts';
import { Mirror } from '../../../../src/proxy/http1/mirror.ts';
import { TrafficCounter } from '../../../../src/proxy/observe/traffic.ts';
import { defaultBalance, defaultUpstream } from '../../../../src/proxy/policy-defaults.ts';
import { highWaterBytes } from '../../../../src/proxy/transport.ts';
import type { UpstreamGroup } from '../../../../src/proxy/upstream/upstreams.ts';
import { type MemoryTransport, TestEngine } from '../../../support/transport.ts';

const post = 'POST /a HTTP/1.1\r\nHost: api:80\r\nX-Request-Id: r\r\nContent-Length: 5\r\n\r\nhello';
const copied = 'POST /a HTTP/1.1\r\nHost: api-shadow:80\r\nX-Request-Id: r\r\nContent-Length: 5\r\n\r\nhello';
const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

const passiveHealth = {
  intervalMs: 1000,
  maxFailures: 1,
  enforcingConsecutive5xx: 100,
  maxEjectionPercent: 100,
  baseEjectionTimeMs: 1000,
};

class Mirrored {
  readonly engine = new TestEngine();
  readonly copies = new TrafficCounter('source', 'web', 'shadow', 'http');
  readonly client: MemoryTransport;
  readonly mirrors: UpstreamGroup;

  constructor(percent = 100, mirrors: readonly string[] = ['mirror']) {
    const { engine } = this;
    this.mirrors = engine.groupOf(mirrors);
    const mirror = new Mirror(percent, engine.targetOf([this.mirrors], { counter: this.copies }));
    this.client = engine.accept({
      treatment: { rewrite: null, redirect: null, fault: null, mirror, hedge: null },
    }).client;
  }

  sentTo(id: string): MemoryTransport[] {
    return this.engine.dialed.filter((each) => each.id === id).map(({ transport }) => transport);
  }

  serve(): string {
    this.sentTo('one').at(-1)!.receive(ok);
    return this.client.take();
  }
}

test('the mirror gets the request once it is complete, under a name of its own, and its answer goes nowhere', () => {
  const mirrored = new Mirrored();
  mirrored.client.receive(post.slice(0, -2));
  assert.deepEqual(mirrored.sentTo('mirror'), []);
  mirrored.client.receive(post.slice(-2));
  const [server] = mirrored.sentTo('mirror');
  assert.equal(server!.take(), copied);
  server!.receive('HTTP/1.1 500 Broken\r\nContent-Length: 6\r\n\r\nmirror');
  assert.equal(mirrored.client.take(), '');
  assert.equal(mirrored.serve(), ok);
  assert.equal(mirrored.engine.counter.mirrored, 1);
  assert.equal(mirrored.copies.byClass[5], 1);
  mirrored.client.receive(post);
  assert.equal(mirrored.sentTo('mirror').length, 1, 'its connection is used again');
});

test('a mirror that breaks, is nobody, reads nothing or never answers does nothing to the request', () => {
  const nobody = new Mirrored(100, []);
  nobody.client.receive(post);
  assert.equal(nobody.serve(), ok);
  const broken = new Mirrored();
  broken.client.receive(post);
  broken.sentTo('mirror')[0]!.break('reset');
  assert.equal(broken.serve(), ok);
  const silent = new Mirrored();
  silent.client.receive(post);
  assert.equal(silent.serve(), ok);
  silent.engine.pass(15_000);
  assert.equal(silent.sentTo('mirror')[0]!.end, 'destroy');
  assert.equal(silent.client.end, null);
  assert.equal(silent.copies.byClass[5], 1);
  const full = new Mirrored();
  full.client.receive(post);
  full.serve();
  const [server] = full.sentTo('mirror');
  server!.receive(ok);
  server!.pendingBytes = highWaterBytes + 1;
  full.client.receive(post);
  assert.equal(server!.end, 'destroy');
  assert.equal(full.serve(), ok);
});

test('a mirror is blamed for what it does not answer, and not for what cannot leave this host', () => {
  for (const [pendingBytes, ejections] of [
    [highWaterBytes + 1, 0],
    [0, 1],
  ] as const) {
    const mirrored = new Mirrored();
    mirrored.mirrors.configure(defaultBalance, { ...defaultUpstream, passiveHealth }, noLocality);
    mirrored.client.receive(post);
    mirrored.serve();
    const [server] = mirrored.sentTo('mirror');
    server!.receive(ok);
    server!.pendingBytes = pendingBytes;
    mirrored.client.receive(post);
    mirrored.serve();
    mirrored.engine.pass(15_000);
    assert.equal(server!.end, 'destroy');
    const [endpoint] = mirrored.mirrors.snapshot(mirrored.engine.nowMs).endpoints;
    assert.deepEqual([endpoint!.ejections, endpoint!.inflight], [ejections, 0]);
  }
});

test('only so many copies wait at once, and none of a long body is made', () => {
  const mirrored = new Mirrored();
  for (let i = 0; i < 100; i++) {
    mirrored.client.receive(post);
    mirrored.serve();
  }
  assert.equal(mirrored.sentTo('mirror').length, 64);
  mirrored.engine.pass(15_000);
  mirrored.client.receive('POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 100000\r\n\r\n');
  mirrored.client.receive(Buffer.alloc(100_000));
  mirrored.serve();
  assert.equal(mirrored.sentTo('mirror').length, 64);
  const { counter } = mirrored.engine;
  assert.deepEqual([counter.mirrored, counter.mirrorsSkipped], [64, 37]);
});

test('the mirror gets its share of the requests', () => {
  const mirrored = new Mirrored(25);
  const count = 2000;
  for (let i = 0; i < count; i++) {
    mirrored.client.receive(post);
    mirrored.serve();
    for (const server of mirrored.sentTo('mirror')) if (server.take() !== '') server.receive(ok);
  }
  assert.ok(Math.abs(mirrored.engine.counter.mirrored / count - 0.25) < 0.03);
});

test('a request that is complete only while it has to wait is mirrored all the same', () => {
  const engine = new TestEngine();
  const mirror = new Mirror(100, engine.targetOf([engine.groupOf(['mirror'])]));
  const fault = { delay: { ms: 500, percent: 100 }, abort: null };
  const { client } = engine.accept({
    treatment: { rewrite: null, redirect: null, fault, mirror, hedge: null },
  });
  client.receive(post.slice(0, -2));
  client.receive(post.slice(-2));
  assert.deepEqual(
    engine.dialed.map(({ id, transport }) => [id, transport.take()]),
    [['mirror', copied]],
  );
});
