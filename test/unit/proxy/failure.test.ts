/** What answers say of the servers that gave them, as balancers and ejection learn it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noLocality } from '../../../src/proxy/balance/zones.ts';
import { defaultBalance, defaultUpstream } from '../../../src/proxy/policy-defaults.ts';
import type { EndpointSnapshot } from '../../../src/proxy/upstream/upstream-group.ts';
import { TestEngine } from '../../support/transport.ts';

const passiveHealth = {
  intervalMs: 1000,
  maxFailures: 2,
  enforcingConsecutive5xx: 100,
  maxEjectionPercent: 100,
  baseEjectionTimeMs: 1000,
};

/** What is known of a server after it has answered twice in this way, each time after 30 ms. */
function after(answer: string, isGrpc = false): EndpointSnapshot {
  const engine = new TestEngine(['one']);
  engine.group.configure(defaultBalance, { ...defaultUpstream, passiveHealth }, noLocality);
  const { client } = engine.accept();
  const type = isGrpc ? 'Content-Type: application/grpc\r\nTE: trailers\r\n' : '';
  for (let i = 0; i < 2; i++) {
    client.receive(`POST /p.S/M HTTP/1.1\r\nHost: api.mesh\r\n${type}Content-Length: 0\r\n\r\n`);
    engine.pass(30);
    engine.server.receive(answer);
  }
  return engine.group.snapshot(engine.nowMs).endpoints[0]!;
}

const plain = (status: number): string => `HTTP/1.1 ${status} X\r\nContent-Length: 0\r\n\r\n`;
const trailersOnly = (status: number): string =>
  `HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nGrpc-Status: ${status}\r\nContent-Length: 0\r\n\r\n`;
const withTrailers = (status: number): string =>
  'HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTransfer-Encoding: chunked\r\n\r\n' +
  `5\r\n\0\0\0\0\0\r\n0\r\ngrpc-status: ${status}\r\n\r\n`;

test('5xx counts against a server, 4xx does not', () => {
  for (const status of [500, 503]) assert.equal(after(plain(status)).ejections, 1, `${status}`);
  for (const status of [200, 404, 429]) assert.equal(after(plain(status)).ejections, 0, `${status}`);
});

test('so do the statuses of gRPC that are the fault of servers, wherever they are said', () => {
  for (const answer of [trailersOnly, withTrailers]) {
    for (const status of [2, 4, 12, 13, 14, 15])
      assert.equal(after(answer(status), true).ejections, 1, `${status}`);
    for (const status of [0, 3, 5, 7, 16])
      assert.equal(after(answer(status), true).ejections, 0, `${status}`);
  }
});

test('a proxy that cuts a request before its answer says nothing of the server, one that cuts the answer does', () => {
  for (const [begun, ejections] of [
    ['', 0],
    ['HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no', 1],
  ] as const) {
    const engine = new TestEngine(['one']);
    engine.group.configure(defaultBalance, { ...defaultUpstream, passiveHealth }, noLocality);
    for (let i = 0; i < 2; i++) {
      const { client } = engine.accept();
      client.receive('POST / HTTP/1.1\r\nHost: api.mesh\r\nContent-Length: 0\r\n\r\n');
      engine.server.receive(begun);
      engine.server.break('cut');
      assert.match(client.take(), begun === '' ? /^HTTP\/1\.1 502 / : /o$/);
    }
    assert.equal(engine.group.snapshot(engine.nowMs).endpoints[0]!.ejections, ejections);
  }
});

test('an answer that turns the caller away is no sign of speed, every other is', () => {
  assert.equal(after(plain(200)).ewmaMs, 30);
  assert.equal(after(plain(404)).ewmaMs, 30);
  assert.equal(after(plain(429)).ewmaMs, 0);
  assert.equal(after(trailersOnly(8), true).ewmaMs, 0);
});

test('a server that turned a caller away is not held to be willing for a while, one that answered is', () => {
  for (const [status, isWilling] of [
    [200, true],
    [404, true],
    [429, false],
    [500, false],
  ] as const) {
    const engine = new TestEngine(['one']);
    engine.group.configure(defaultBalance, defaultUpstream, noLocality);
    engine.accept().client.receive('GET / HTTP/1.1\r\nHost: api.mesh\r\n\r\n');
    engine.server.receive(plain(status));
    assert.equal(engine.group.pick(engine.nowMs, undefined)!.isWilling(engine.nowMs), isWilling, `${status}`);
  }
});
