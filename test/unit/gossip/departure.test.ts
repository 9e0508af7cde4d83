/** An operator's word that a host is gone, and the host's own that it is not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeJson, Fault } from '../../../src/core.ts';
import { defaultGossipParameters } from '../../../src/gossip/parameters.ts';
import { encodeRecord } from '../../../src/gossip/replica/codec.ts';
import { departureKind, parseDeparture, parseLifecycle } from '../../../src/gossip/replica/lifecycle.ts';
import { type Record, slotOf } from '../../../src/gossip/replica/record.ts';
import { Mesh, type MeshHost, signerOf } from './mesh.ts';

const operator = signerOf('operator');

function departure(host: string, value: object | null, version = 1, hlc = 1_800_000_000_000 * 1024): Record {
  const bytes = value === null ? null : encodeJson(value);
  return encodeRecord(
    { scope: 'policy', kind: departureKind, key: host, version, hlc, value: bytes },
    operator,
  );
}

function say(mesh: Mesh, at: MeshHost, host: MeshHost, incarnation: number): void {
  const record = departure(host.id, { incarnation }, 1, mesh.now * 1024);
  mesh.perform(at, at.gossip.putSigned(record, mesh.now).effects);
}

test('a host found down counts as left everywhere once an operator says so', () => {
  const mesh = new Mesh({ seed: 1, size: 4 });
  mesh.run(3000);
  const [first, lost] = [mesh.host(0), mesh.host(3)];
  mesh.kill(lost);
  mesh.run(15_000);
  const known = first.gossip.member(lost.id)!;
  assert.equal(known.state, 'down');
  say(mesh, first, lost, known.incarnation);
  mesh.run(2000);
  for (const host of mesh.hosts.slice(0, 3)) assert.equal(mesh.stateOf(host, lost), 'left');
  mesh.run(30_000);
  for (const host of mesh.hosts.slice(0, 3)) assert.equal(mesh.stateOf(host, lost), 'left');
});

test('the host is back when it starts again, for a new run outranks the operator’s word', () => {
  const mesh = new Mesh({ seed: 2, size: 3 });
  mesh.run(3000);
  const [first, lost] = [mesh.host(0), mesh.host(2)];
  mesh.kill(lost);
  mesh.run(15_000);
  say(mesh, first, lost, first.gossip.member(lost.id)!.incarnation);
  mesh.run(5000);
  assert.equal(mesh.stateOf(first, lost), 'left');
  mesh.restart(lost);
  mesh.run(10_000);
  for (const host of mesh.hosts.slice(0, 2)) assert.equal(mesh.stateOf(host, lost), 'alive');
});

test('a host that is alive refutes the word, with nobody having lost it for long', () => {
  const mesh = new Mesh({ seed: 3, size: 5 });
  mesh.run(3000);
  const [first, second] = [mesh.host(0), mesh.host(1)];
  const { incarnation } = first.gossip.member(second.id)!;
  assert.ok(incarnation > 0, 'a probe says the incarnation');
  say(mesh, first, second, incarnation);
  const healedMs = mesh.until(
    () => mesh.hosts.every((host) => host === second || mesh.stateOf(host, second) === 'alive'),
    5000,
  );
  assert.ok(healedMs !== null);
  mesh.run(5000);
  for (const host of mesh.hosts) if (host !== second) assert.equal(mesh.stateOf(host, second), 'alive');
  assert.ok(second.gossip.incarnation > incarnation);
});

test('a host whose users write as much and as fast as they may still says in writing that it is not gone', () => {
  const replica = {
    ...defaultGossipParameters.replica,
    hostEntries: 8,
    hostRate: { perSecond: 1 / 3600, burst: 8 },
  };
  const mesh = new Mesh({ seed: 4, size: 3, parameters: { ...defaultGossipParameters, replica } });
  mesh.run(3000);
  const [first, second] = [mesh.host(0), mesh.host(1)];
  fill(mesh, second);
  say(mesh, first, second, first.gossip.member(second.id)!.incarnation);
  mesh.run(10_000);
  assert.equal(mesh.stateOf(first, second), 'alive');
  const slot = slotOf({ scope: 'host', author: second.id, kind: 'lifecycle', key: '' });
  assert.equal(parseLifecycle(first.gossip.replica.get(slot)!)?.state, 'active');
  const { records, recordsRefused } = second.gossip.stats().repeats;
  assert.deepEqual([records, recordsRefused], [1, 0]);
});

test('the word counts as well where it is known before the host', () => {
  const mesh = new Mesh({ seed: 4, size: 2 });
  mesh.run(2000);
  const stranger = mesh.create('stranger');
  const first = mesh.host(0);
  say(mesh, first, stranger, 7);
  mesh.run(1000);
  mesh.perform(first, first.gossip.offer(mesh.admission(stranger), mesh.now).effects);
  mesh.run(10);
  assert.equal(mesh.stateOf(first, stranger), 'left');
});

test('a word that is none is ignored', () => {
  const host = 'ab'.repeat(32);
  assert.deepEqual(parseDeparture(departure(host, { incarnation: 3 })), { host, incarnation: 3 });
  for (const value of [null, {}, [], { incarnation: -1 }, { incarnation: 2 ** 53 }, { incarnation: '1' }])
    assert.equal(parseDeparture(departure(host, value)), null, JSON.stringify(value));
  assert.notEqual(parseDeparture(departure(host, { incarnation: 2 ** 40 })), null);
  assert.equal(parseDeparture(departure(host, { incarnation: 2 ** 40 + 1 })), null);
  assert.equal(parseDeparture(departure('somebody', { incarnation: 3 })), null);
});

/** Has it write as long as it may. */
function fill(mesh: Mesh, host: MeshHost): void {
  const write = (): void => {
    for (let i = 0; ; i++) {
      mesh.put(host, 'note', `${i}`, { full: true });
      mesh.run(100);
    }
  };
  assert.throws(write, (error) => error instanceof Fault && /^(quota|rate)-exceeded$/.test(error.code));
}

test('a host that has filled its share may still say goodbye, and is heard', () => {
  const replica = { ...defaultGossipParameters.replica, hostEntries: 8 };
  const mesh = new Mesh({ seed: 8, size: 3, parameters: { ...defaultGossipParameters, replica } });
  mesh.run(3000);
  const [first, leaving] = [mesh.host(0), mesh.host(2)];
  fill(mesh, leaving);
  mesh.perform(leaving, leaving.gossip.leave(mesh.now).effects);
  mesh.run(2000);
  assert.equal(mesh.stateOf(first, leaving), 'left');
});
