import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backoffMs } from '../../../../src/proxy/resilience/backoff.ts';

const lowest = { next: () => 0 };
const highest = { next: () => 1 - 2 ** -53 };

test('the wait before a retry doubles, is jittered, and stays within the bounds of the policy', () => {
  const policy = { backoffMs: 25, maxBackoffMs: 250 };
  const upper = (retry: number): number => Math.ceil(backoffMs(policy, retry, highest));
  assert.deepEqual([0, 1, 2, 3, 4, 60].map(upper), [50, 100, 200, 250, 250, 250]);
  for (let retry = 0; retry < 5; retry++) assert.equal(backoffMs(policy, retry, lowest), 25);
  assert.equal(backoffMs({ backoffMs: 25, maxBackoffMs: 10 }, 3, highest), 25);
  assert.equal(backoffMs({ backoffMs: 0, maxBackoffMs: 0 }, 3, highest), 0);
});
