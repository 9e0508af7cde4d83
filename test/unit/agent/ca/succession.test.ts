/** How a host that was told of an epoch gets to it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { open, seal } from '../../../../src/agent/envelope.ts';
import { TRUST_EPOCH } from '../../../../src/agent/kinds.ts';
import { encodeJson } from '../../../../src/core.ts';
import { encodeRecord } from '../../../../src/gossip/replica/codec.ts';
import { encodeDelta } from '../../../../src/gossip/spread/dissemination.ts';
import { describeEpoch, genesisEpoch } from '../../../../src/trust/epoch/descriptor.ts';
import { standardPolicy } from '../../../../src/trust/epoch/policy.ts';
import { createRecord } from '../../../../src/trust/epoch/record.ts';
import { Flock, type FlockHost, genesis } from '../../../support/flock.ts';

test('a host that cannot reach any trustee when it hears of their epoch follows as soon as it can', () => {
  const { flock, first } = Flock.founded(standardPolicy);
  const token = flock.token(first, { roles: ['agent', 'trustee'] });
  const plain = flock.token(first, { uses: 1 });
  for (const name of ['second', 'third', 'fourth', 'fifth']) flock.join(name, first, token);
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

test('a host that sends junk again and again gets one line a minute in the log of who it sends it to', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first, { uses: 2 }));
  const third = flock.join('third', first, flock.token(first, { uses: 2 }));
  const lines = () => first.logs.filter(({ event }) => event === 'epoch-malformed');
  const flood = (from: FlockHost): void => {
    const bytes = seal('epoch', Buffer.from('no message of the agreement'));
    for (let i = 0; i < 100; i++) first.feed({ type: 'frame', from: from.id, bytes });
  };
  flood(second);
  assert.equal(lines().length, 1);
  flood(third);
  assert.equal(lines().length, 2, 'it hides nobody else');
  flock.run(61_000);
  flood(second);
  assert.deepEqual(
    lines().map(({ fields }) => fields.heldBack),
    [0, 0, 99],
  );
});

test('what a host sends beyond its rate is dropped, and said once a minute', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  const bytes = seal('epoch', Buffer.from('no message of the agreement'));
  for (let i = 0; i < 600; i++) first.feed({ type: 'frame', from: second.id, bytes });
  const lines = first.logs.filter(({ event }) => event === 'epoch-flooded');
  assert.equal(lines.length, 1);
  flock.run(61_000);
  first.feed({ type: 'frame', from: second.id, bytes });
  const [, last] = first.logs.filter(({ event }) => event === 'epoch-malformed');
  assert.equal(last?.fields.heldBack, 511, 'it is heard again, and so many were looked at before');
});

test('a record of an epoch that nobody proves is looked into a few times, not at every wake', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  flock.run(1000);
  const { plan } = genesisEpoch(genesis.hash, first.id, genesis.root.publicKey, genesis.createdAt);
  const far = describeEpoch(
    {
      ...{ ...plan, epoch: 2 ** 40, kind: 'reshare', previous: 'ab'.repeat(32) },
      ...{ trustees: [second.id], dealers: [second.id] },
    },
    genesis.root.publicKey,
    new Uint8Array(),
  );
  const record = Buffer.from(createRecord(far, [], new Uint8Array(64)).bytes).toString('base64');
  const { bytes } = encodeRecord(
    {
      scope: 'host',
      kind: TRUST_EPOCH,
      key: '',
      version: 1,
      hlc: flock.now * 1024,
      value: encodeJson({ epoch: plan.epoch + 2 ** 40, record }),
    },
    second.signer,
  );
  let asked = 0;
  second.loses = (frame) => open(frame).room === 'epoch';
  first.loses = (frame) => {
    if (open(frame).room === 'epoch') asked++;
    return false;
  };
  const before = first.logs.length;
  first.feed({ type: 'delta', bytes: encodeDelta([bytes]) });
  second.feed({ type: 'delta', bytes: encodeDelta([bytes]) });
  flock.run(3_600_000);
  const warned = first.logs.slice(before).filter(({ level }) => level === 'warn');
  assert.deepEqual(warned, []);
  assert.ok(asked > 5 && asked < 40, `${asked} questions in an hour`);
});
