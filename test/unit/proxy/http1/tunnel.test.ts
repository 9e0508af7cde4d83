/** Requests that become tunnels: whose they are, and what they say of the servers that agreed to them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noLocality } from '../../../../src/proxy/balance/zones.ts';
import { defaultBalance, defaultUpstream } from '../../../../src/proxy/policy-defaults.ts';
import { type MemoryTransport, TestEngine } from '../../../support/transport.ts';

const upgrade = 'GET / HTTP/1.1\r\nHost: api\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n';
const switching = 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n';

test('a server that agreed to a tunnel has served it, however that ends', () => {
  const engine = new TestEngine();
  const breaker = {
    errorPercent: 50,
    minimumRequests: 2,
    windowMs: 10_000,
    openMs: 1000,
    halfOpenRequests: 1,
  };
  engine.group.configure(defaultBalance, { ...defaultUpstream, breaker }, noLocality);
  const openTunnel = (): MemoryTransport => {
    const { client } = engine.accept();
    client.receive(upgrade);
    engine.server.receive(switching);
    return engine.server;
  };
  const snapshot = () => engine.group.snapshot(engine.nowMs);
  for (const server of Array.from({ length: 5 }, openTunnel)) server.break('reset');
  assert.deepEqual([snapshot().breaker!.state, snapshot().inUse.requests], ['closed', 0]);
  // Nor has it anything to say about what came to be known after it was agreed to.
  const old = openTunnel();
  for (let i = 0; i < 6; i++) {
    engine.accept().client.receive('POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 0\r\n\r\n');
    engine.server.receive('HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n');
  }
  assert.equal(snapshot().breaker!.state, 'open');
  engine.pass(1000);
  old.break('reset');
  assert.deepEqual([snapshot().breaker!.state, snapshot().inUse.requests], ['half-open', 0]);
});

test('a server that agrees to a tunnel while another was asked beside it has the client alone', () => {
  const engine = new TestEngine(['one', 'two']);
  const { client } = engine.accept({
    treatment: { rewrite: null, redirect: null, mirror: null, fault: null, hedge: { afterMs: 100 } },
  });
  client.receive(upgrade);
  engine.pass(100);
  const [first, second] = engine.dialed.map(({ transport }) => transport);
  first!.receive(switching);
  assert.deepEqual([first!.end, second!.end], [null, 'destroy']);
  first!.receive('here');
  assert.match(client.take(), /here$/);
});
