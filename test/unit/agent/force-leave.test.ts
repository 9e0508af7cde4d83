import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ForcedLeave } from '../../../src/agent/port.ts';
import { Flock, type FlockHost, operator, signerOf } from '../../support/flock.ts';

function three(): { flock: Flock; first: FlockHost; second: FlockHost; third: FlockHost } {
  const { flock, first } = Flock.founded();
  const token = flock.token(first);
  const second = flock.join('second', first, token);
  const third = flock.join('third', first, token, 1);
  return { flock, first, second, third };
}

const stateAt = (host: FlockHost, of: FlockHost) => host.core.catalog.host(of.id)?.state;
const force = (at: FlockHost, host: FlockHost, by = operator) =>
  at.command({ type: 'force-leave', host: host.id, operator: by }) as ForcedLeave;

test('any agent takes the operator’s word that a dead host has left, and all follow', () => {
  const { flock, first, second, third } = three();
  third.kill();
  flock.run(20_000);
  assert.equal(stateAt(first, third), 'down');
  const answer = force(second, third);
  assert.deepEqual([answer.name, answer.changed], ['third', true]);
  flock.run(1000);
  assert.deepEqual([stateAt(first, third), stateAt(second, third)], ['left', 'left']);
  assert.equal(force(first, third).changed, false);
  third.start();
  flock.run(10_000);
  assert.deepEqual([stateAt(first, third), stateAt(second, third)], ['alive', 'alive']);
});

test('the word outlives the agents that heard it', () => {
  const { flock, first, second, third } = three();
  third.kill();
  flock.run(20_000);
  force(first, third);
  flock.run(1000);
  second.kill();
  second.start();
  flock.run(1000);
  assert.equal(stateAt(second, third), 'left');
});

test('a host that lives on is soon alive again for everybody', () => {
  const { flock, first, second, third } = three();
  const before = first.core.catalog.host(third.id)!.incarnation;
  force(first, third);
  flock.run(5000);
  assert.deepEqual([stateAt(first, third), stateAt(second, third)], ['alive', 'alive']);
  assert.ok(first.core.catalog.host(third.id)!.incarnation > before);
});

test('nobody but an operator can say it, and of strangers and of the agent itself it is not taken', () => {
  const { first, second, third } = three();
  assert.throws(() => force(first, third, signerOf('impostor')), { code: 'not-operator' });
  assert.throws(() => force(first, first), { code: 'conflict' });
  const unknown = { type: 'force-leave', host: 'e'.repeat(64), operator } as const;
  assert.throws(() => second.command(unknown), { code: 'unknown-host' });
});
