/** What a host says of the root that the mesh shares, and what becomes of an operator's wish for another. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CaStatus, RootRotation } from '../../../../src/agent/ca/ca-port.ts';
import { Fault } from '../../../../src/core.ts';
import { standardPolicy } from '../../../../src/trust/epoch/policy.ts';
import { Flock, type FlockHost, operator } from '../../../support/flock.ts';

function ofThree(): { flock: Flock; hosts: FlockHost[] } {
  const { flock, first } = Flock.founded(standardPolicy);
  const token = flock.token(first, { roles: ['agent', 'trustee'] });
  const hosts = [first, flock.join('second', first, token), flock.join('third', first, token)];
  for (const host of hosts) host.register(`on-${host.name}`);
  flock.run(130_000);
  return { flock, hosts };
}

function caOf(host: FlockHost): CaStatus {
  const status = host.core.credentials?.ca(host.flock.now);
  assert.ok(status !== undefined);
  return status;
}

const rotate = (host: FlockHost) => host.command({ type: 'rotate-root', operator }) as RootRotation;
const isConflict = (error: unknown): boolean => error instanceof Fault && error.code === 'conflict';

test('the founder alone is the one trustee, and its root is not replaced at request', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  const status = caOf(second);
  assert.deepEqual(status.trustees, [{ id: first.id, name: 'first', alive: true, self: false }]);
  assert.deepEqual([status.threshold, status.isTrustee, status.quorum], [1, false, true]);
  assert.equal(caOf(first).holdsShare, true);
  assert.throws(() => rotate(first), isConflict);
});

test('three hosts share a root, and each says who they are and that it has its share', () => {
  const { flock, hosts } = ofThree();
  for (const host of hosts) {
    const status = caOf(host);
    assert.deepEqual(
      status.trustees.map(({ name, alive, self }) => [name, alive, self]),
      hosts.map(({ name }) => [name, true, name === host.name]),
    );
    assert.deepEqual([status.epoch, status.generation, status.threshold], [1, 1, 2]);
    assert.deepEqual([status.isTrustee, status.holdsShare, status.rotation], [true, true, 'none']);
    assert.deepEqual(
      status.roots.map(({ generation, state }) => `g${generation} ${state}`),
      ['g0 retired', 'g1 active'],
    );
    assert.equal(status.identities.length, 1);
  }
  hosts[2]?.kill();
  flock.run(20_000);
  const left = caOf(hosts[0]!);
  assert.deepEqual([left.alive, left.quorum], [2, true]);
  hosts[1]?.kill();
  flock.run(20_000);
  assert.equal(caOf(hosts[0]!).quorum, false);
});

test('an operator has the root replaced, once at a time', () => {
  const { flock, hosts } = ofThree();
  const rotation = rotate(hosts[1]!);
  assert.deepEqual(rotation, {
    generation: 1,
    next: 2,
    threshold: 2,
    trustees: ['first', 'second', 'third'],
    absent: [],
  });
  assert.equal(caOf(hosts[1]!).rotation, 'asked');
  assert.throws(() => rotate(hosts[1]!), isConflict);
  flock.run(200_000);
  for (const host of hosts)
    assert.deepEqual(
      caOf(host).roots.map(({ generation, state }) => `g${generation} ${state}`),
      ['g0 retired', 'g1 retired', 'g2 active'],
    );
  assert.equal(caOf(hosts[0]!).rotation, 'none');
});

test('a root that waits for a host names it, and refuses another rotation meanwhile', () => {
  const { flock, hosts } = ofThree();
  const [first, second, third] = hosts as [FlockHost, FlockHost, FlockHost];
  // Its proxy is told of nothing: it cannot say that it believes another root.
  third.appliesConfig = false;
  rotate(first);
  flock.run(60_000);
  const { rotation, roots, waiting } = caOf(second);
  assert.equal(rotation, 'introducing');
  assert.deepEqual(roots.at(-1)?.waitingFor, ['third']);
  assert.match(waiting ?? '', /third/);
  assert.throws(() => rotate(first), /waits for third/);
});

test('whoever is no operator has no root replaced', () => {
  const { hosts } = ofThree();
  assert.throws(
    () => hosts[0]!.command({ type: 'rotate-root', operator: hosts[0]!.signer }),
    (error: unknown) => error instanceof Fault && error.code === 'not-operator',
  );
});
