/** How many retries a group of endpoints may cost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RetryBudget } from '../../../src/proxy/retry-budget.ts';

function spendAll(budget: RetryBudget, now: number): number {
  let spent = 0;
  while (budget.spend(now)) spent++;
  return spent;
}

test('a service that is never called may still have a host full of requests repeated', () => {
  assert.equal(spendAll(new RetryBudget(), 0), 100);
  assert.equal(spendAll(new RetryBudget(), 1e12), 100);
});

test('a spent budget comes back at about ten a second, and never above the floor by itself', () => {
  const budget = new RetryBudget();
  spendAll(budget, 0);
  const after = spendAll(budget, 1000);
  assert.ok(after >= 9 && after <= 10, `${after}`);
  assert.ok(spendAll(budget, 1e9) <= 101);
});

test('each request earns a fifth of a retry, which fades within seconds', () => {
  const budget = new RetryBudget();
  for (let i = 0; i < 1000; i++) budget.earn(0);
  const soon = spendAll(budget, 0);
  // A fifth is not exact in binary.
  assert.ok(soon >= 299 && soon <= 300, `${soon}`);
  for (let i = 0; i < 1000; i++) budget.earn(60_000);
  const later = spendAll(budget, 90_000);
  assert.ok(later >= 100 && later <= 120, `${later}`);
});

test('under steady failure retries stay a fifth of the requests on top of the floor', () => {
  const budget = new RetryBudget();
  let retries = 0;
  for (let now = 0; now < 100_000; now++) {
    budget.earn(now);
    if (budget.spend(now)) retries++;
  }
  // 100,000 requests in 100 seconds: 20,000 earned by them, 1,000 by time, 100 to begin with.
  assert.ok(retries > 20_000 && retries < 21_200, `${retries} retries`);
});

test('a clock that steps back takes nothing away and gives nothing', () => {
  const budget = new RetryBudget();
  spendAll(budget, 10_000);
  assert.equal(spendAll(budget, 5_000), 0);
});
