import assert from 'node:assert/strict';
import { test } from 'node:test';
import { standardPolicy } from '../../../../src/trust/epoch/policy.ts';
import { EpochNet } from './net.ts';

const policy = { ...standardPolicy, replaceAfterMs: 60_000, settleMs: 5000 };

test('a founder alone stays alone, three hosts make a new key, five and seven take it over', () => {
  for (const [hosts, threshold, trustees] of [
    [1, 1, 1],
    [2, 1, 1],
    [3, 2, 3],
    [4, 2, 3],
    [5, 3, 5],
    [8, 4, 7],
  ] as const) {
    const net = new EpochNet({ seed: 1, hosts, policy });
    net.run(60_000);
    const { plan } = net.latest;
    assert.equal(plan.threshold, threshold);
    assert.equal(plan.trustees.length, trustees);
    assert.equal(plan.generation, trustees === 1 ? 0 : 1);
    assert.ok(net.isSettled());
    assert.deepEqual(net.alarms, []);
  }
});
