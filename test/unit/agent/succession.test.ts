/** How a host that was told of an epoch gets to it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { open } from '../../../src/agent/envelope.ts';
import { standardPolicy } from '../../../src/trust/epoch/policy.ts';
import { Flock } from '../../support/flock.ts';

test('a host that cannot reach any trustee when it hears of their epoch follows as soon as it can', () => {
  const { flock, first } = Flock.founded(standardPolicy);
  const token = flock.token(first, { roles: ['agent', 'trustee'] });
  const plain = flock.token(first, { uses: 1 });
  for (const [use, name] of ['second', 'third', 'fourth', 'fifth'].entries())
    flock.join(name, first, token, use + 1);
  flock.run(120_000);
  const epoch = first.core.credentials!.epochStatus().current.plan.epoch;
  assert.ok(epoch >= 1, `the root is shared: epoch ${epoch}`);
  assert.ok(first.core.options.rootSigner?.isDropped, 'and the founder has forgotten the one it held');
  const late = flock.admit('late', first, plain);
  // It hears all that the mesh has to say; what it asks trustees is lost.
  late.loses = (frame) => open(frame).room === 'epoch';
  late.start();
  flock.run(20_000);
  assert.equal(late.core.credentials!.epochStatus().current.plan.epoch, 0);
  late.loses = () => false;
  flock.run(10_000);
  assert.equal(late.core.credentials!.epochStatus().current.plan.epoch, epoch);
});
