import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EpochAgreement } from '../../../../src/trust/epoch/agreement.ts';
import { type EpochMessage, encodeMessage } from '../../../../src/trust/epoch/message.ts';
import { standardPolicy } from '../../../../src/trust/epoch/policy.ts';
import { defaultTimings, type EpochEffect, type EpochInput } from '../../../../src/trust/epoch/port.ts';
import { EpochNet } from './net.ts';
import { standInSigner, standInVerify } from './stand-in.ts';

/** A mesh whose three hosts hold the root together. */
function settledNet(): EpochNet {
  const net = new EpochNet({ seed: 9, hosts: 3, policy: standardPolicy });
  net.run(120_000);
  assert.ok(net.isSettled() && net.latest.plan.epoch === 1);
  return net;
}

/** A host that knows nothing yet but the genesis. */
function lateMember(net: EpochNet): EpochAgreement {
  return new EpochAgreement({
    signer: standInSigner('late'),
    verify: standInVerify,
    random: net.random,
    genesis: net.genesis,
    policy: standardPolicy,
    timings: defaultTimings,
    saved: [],
    secrets: [],
  });
}

function recordsOf(net: EpochNet): Uint8Array[] {
  return [...net.hosts[0]!.disk.store].filter(([key]) => key.includes('record')).map(([, bytes]) => bytes);
}

function messageOf(net: EpochNet, message: EpochMessage): Extract<EpochInput, { type: 'message' }> {
  return { type: 'message', from: net.hosts[0]!.id, bytes: encodeMessage(message) };
}

function alarmsOf(effects: readonly EpochEffect[]): string[] {
  return effects.flatMap((effect) => (effect.type === 'alarm' ? [effect.code] : []));
}

test('a good record enters durably although a bad one follows it in the same answer', () => {
  const net = settledNet();
  const late = lateMember(net);
  const records = [...recordsOf(net), Uint8Array.of(1, 2, 3)];
  const effects = late.step(messageOf(net, { type: 'records', epoch: 2, records }), net.now);
  assert.equal(late.current.hash, net.latest.hash);
  assert.deepEqual(alarmsOf(effects), ['malformed']);
  const [persist] = effects.filter((effect) => effect.type === 'persist');
  assert.ok(persist !== undefined, 'what this host entered is written');
  assert.deepEqual(
    persist.ops.map((op) => op.key.replace(/[0-9]+$/, '')),
    ['epoch/record/', 'epoch/state'],
  );
  assert.ok(persist.then.some((effect) => effect.type === 'entered'));
});
