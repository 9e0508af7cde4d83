import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeJson } from '../../../src/core.ts';
import { defaultGossipParameters } from '../../../src/gossip/parameters.ts';
import { encodeRecord } from '../../../src/gossip/replica/codec.ts';
import { departureKind } from '../../../src/gossip/replica/lifecycle.ts';
import { slotOf } from '../../../src/gossip/replica/record.ts';
import { Mesh, type MeshHost, signerOf } from './mesh.ts';

/** Longer than anything of the dead is kept. */
const longTimeHours = 9 * 24;
const healMs = 120_000;

/** A mesh as agents make it, where a host is a member by saying where it is; each has a service. */
function meshOf(seed: number, size: number): Mesh {
  const mesh = new Mesh({ seed, size, memberKind: 'host' });
  mesh.run(3000);
  for (const host of mesh.hosts) mesh.put(host, 'service', 'web', { host: host.id });
  mesh.run(1000);
  assert.ok(mesh.converged());
  return mesh;
}

function serviceOf(host: MeshHost): string {
  return slotOf({ scope: 'host', author: host.id, kind: 'service', key: 'web' });
}

/** Splits the mesh: the first `count` hosts from the others. */
function split(mesh: Mesh, count: number): void {
  const first = new Set(mesh.hosts.slice(0, count).map(({ id }) => id));
  mesh.passes = (from, to) => first.has(from) === first.has(to);
}

/** Lets days pass without their traffic: deadlines that were missed are met at once, late. */
function skipHours(mesh: Mesh, hours: number): void {
  for (let hour = 0; hour < hours; hour++) {
    mesh.now += 3_600_000;
    mesh.run(3000);
  }
}

function isWhole(mesh: Mesh): boolean {
  const { length } = mesh.hosts;
  const isAlive = (host: MeshHost) => {
    const members = [...host.gossip.members()];
    return members.length === length - 1 && members.every(({ state }) => state === 'alive');
  };
  const hasAll = ({ gossip }: MeshHost) => mesh.hosts.every((host) => gossip.replica.get(serviceOf(host)));
  return mesh.hosts.every((host) => isAlive(host) && hasAll(host)) && mesh.converged();
}

function membersOf(host: MeshHost): string[] {
  return [...host.gossip.members()].map(({ id, state }) => `${id} ${state}`).sort();
}

for (const [size, first] of [
  [2, 1],
  [4, 2],
  [4, 1],
] as const)
  test(`a mesh split ${first} to ${size - first} for longer than the dead are kept heals by itself`, () => {
    const mesh = meshOf(20 + size + first, size);
    split(mesh, first);
    skipHours(mesh, longTimeHours);
    const [one, other] = [mesh.host(0), mesh.host(size - 1)];
    assert.equal(mesh.stateOf(one, other), 'down');
    assert.equal(one.gossip.replica.get(serviceOf(other)), undefined, 'services are forgotten');
    mesh.passes = () => true;
    assert.notEqual(
      mesh.until(() => isWhole(mesh), healMs),
      null,
    );
  });

test('halves that were started again while they were apart find each other as well', () => {
  const mesh = meshOf(31, 4);
  split(mesh, 2);
  skipHours(mesh, longTimeHours);
  for (const host of mesh.hosts) {
    mesh.kill(host);
    mesh.restart(host);
  }
  skipHours(mesh, longTimeHours);
  mesh.passes = () => true;
  assert.notEqual(
    mesh.until(() => isWhole(mesh), healMs),
    null,
  );
});

test('of hosts that are down for good, more than are left, only where they were is kept, and they are looked for', () => {
  const mesh = meshOf(32, 6);
  const [left, dead] = [mesh.hosts.slice(0, 2), mesh.hosts.slice(2)];
  for (const host of dead) mesh.kill(host);
  skipHours(mesh, longTimeHours);
  assert.ok(mesh.converged());
  for (const { gossip, swim } of left) {
    assert.ok(dead.every((host) => gossip.replica.get(serviceOf(host)) === undefined));
    assert.ok(dead.every(({ id }) => [...gossip.replica.ofAuthor(id)].length === 1));
    assert.ok(dead.every(({ id }) => gossip.member(id)?.state === 'down'));
    const { probesFailed } = swim.stats;
    mesh.run(120_000);
    assert.ok(swim.stats.probesFailed > probesFailed + 10);
  }
});

/** Whether nothing of `gone` is left on `host` but its last word, and nobody waits for it. */
function hasLetGo(host: MeshHost, gone: MeshHost): boolean {
  const kinds = [...host.gossip.replica.ofAuthor(gone.id)].map(({ kind }) => kind);
  return host.gossip.member(gone.id) === undefined && kinds.every((kind) => kind === 'lifecycle');
}

test('who left, or was said to be gone, is no member any more after a week, also where that was not heard at first', () => {
  const mesh = meshOf(33, 6);
  const [leaver, departed, sleeper, ...others] = mesh.hosts as [MeshHost, MeshHost, MeshHost, ...MeshHost[]];
  mesh.kill(sleeper);
  mesh.perform(leaver, leaver.gossip.leave(mesh.now).effects);
  mesh.run(2000);
  mesh.kill(leaver);
  mesh.kill(departed);
  mesh.run(60_000);
  depart(mesh, others[0]!, departed);
  mesh.run(2000);
  skipHours(mesh, longTimeHours);
  for (const host of others) {
    assert.ok(hasLetGo(host, leaver));
    assert.ok(hasLetGo(host, departed));
    assert.equal(mesh.stateOf(host, sleeper), 'down');
  }
  mesh.restart(sleeper);
  skipHours(mesh, 3);
  assert.ok(hasLetGo(sleeper, leaver));
  assert.ok(hasLetGo(sleeper, departed));
  assert.ok(mesh.converged());
  for (const host of [leaver, departed]) mesh.restart(host);
  assert.notEqual(
    mesh.until(() => isWhole(mesh), healMs),
    null,
    'they may come back',
  );
});

test('who died before it could deny in writing that it is gone is given up by all once one has', () => {
  const { replica } = defaultGossipParameters;
  const hostRate = { perSecond: 0, burst: 1 };
  const parameters = { ...defaultGossipParameters, replica: { ...replica, hostRate } };
  const mesh = new Mesh({ seed: 35, size: 4, memberKind: 'host', parameters });
  mesh.run(3000);
  const [living, witness, other] = mesh.hosts as [MeshHost, MeshHost, MeshHost];
  mesh.put(living, 'service', 'web', {});
  depart(mesh, witness, living);
  mesh.run(10_000);
  assert.equal(mesh.stateOf(witness, living), 'alive');
  mesh.kill(living);
  mesh.run(30_000);
  mesh.kill(other);
  mesh.restart(other);
  mesh.run(60_000);
  assert.deepEqual([mesh.stateOf(witness, living), mesh.stateOf(other, living)], ['down', 'left']);
  skipHours(mesh, longTimeHours);
  assert.ok(mesh.converged());
  for (const host of mesh.hosts.slice(1)) assert.ok(hasLetGo(host, living));
});

/** An operator says by one host of another that it is gone. */
function depart(mesh: Mesh, by: MeshHost, gone: MeshHost): void {
  const operator = signerOf('operator');
  const { version, hlc } = by.gossip.nextPolicyFields(operator.publicKey, mesh.now);
  const { incarnation } = by.gossip.member(gone.id)!;
  const fields = { scope: 'policy', kind: departureKind, key: gone.id, version, hlc } as const;
  const record = encodeRecord({ ...fields, value: encodeJson({ incarnation }) }, operator);
  mesh.perform(by, by.gossip.putSigned(record, mesh.now).effects);
}

test('who was said to be gone and is not says so for good: every host waits for it when it is down', () => {
  const mesh = meshOf(34, 4);
  const [living, witness, other] = mesh.hosts as [MeshHost, MeshHost, MeshHost];
  depart(mesh, witness, living);
  mesh.run(10_000);
  mesh.kill(living);
  mesh.run(30_000);
  mesh.kill(other);
  mesh.restart(other);
  mesh.run(60_000);
  skipHours(mesh, longTimeHours);
  assert.deepEqual(
    mesh.hosts.slice(1).map((host) => mesh.stateOf(host, living)),
    ['down', 'down', 'down'],
  );
  assert.ok(mesh.converged());
  assert.equal(membersOf(witness).length, 3);
});
