import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../../src/core.ts';
import { backoffMs } from '../../../../src/proxy/resilience/backoff.ts';
import { drawByWeight, happens } from '../../../../src/proxy/resilience/draws.ts';

const lowest = { next: () => 0 };
const highest = { next: () => 1 - 2 ** -53 };

test('a canary of 10 percent gets within 1 percent of it in 20,000 requests', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = seededRandom(seed);
    let canary = 0;
    for (let i = 0; i < 20_000; i++) canary += drawByWeight([{ weight: 9000 }, { weight: 1000 }], random);
    assert.ok(Math.abs(canary / 20_000 - 0.1) < 0.01, `${canary} of 20,000 with seed ${seed}`);
  }
});

test('a weight of 0 is never drawn, whatever chance says', () => {
  const entries = [{ weight: 0 }, { weight: 1 }, { weight: 0 }, { weight: 2 }, { weight: 0 }];
  assert.equal(drawByWeight(entries, lowest), 1);
  assert.equal(drawByWeight(entries, highest), 3);
  const random = seededRandom(3);
  const drawn = new Set(Array.from({ length: 500 }, () => drawByWeight(entries, random)));
  assert.deepEqual([...drawn].sort(), [1, 3]);
});

test('0 percent never happens, 100 always, and a tenth of a percent now and then', () => {
  assert.equal(happens(0, lowest), false);
  assert.equal(happens(100, highest), true);
  const random = seededRandom(5);
  let count = 0;
  for (let i = 0; i < 100_000; i++) if (happens(0.1, random)) count++;
  assert.ok(count > 60 && count < 140, `${count} of 100,000`);
});

test('the wait before a retry doubles, is jittered, and stays within the bounds of the policy', () => {
  const policy = { backoffMs: 25, maxBackoffMs: 250 };
  const upper = (retry: number): number => Math.ceil(backoffMs(policy, retry, highest));
  assert.deepEqual([0, 1, 2, 3, 4, 60].map(upper), [50, 100, 200, 250, 250, 250]);
  for (let retry = 0; retry < 5; retry++) assert.equal(backoffMs(policy, retry, lowest), 25);
  assert.equal(backoffMs({ backoffMs: 25, maxBackoffMs: 10 }, 3, highest), 25);
  assert.equal(backoffMs({ backoffMs: 0, maxBackoffMs: 0 }, 3, highest), 0);
});
