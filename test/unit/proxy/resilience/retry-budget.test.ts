/** How many retries a group of endpoints may cost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  initialRetries,
  RetryBudget,
  reservedRetries,
  retryShare,
} from '../../../../src/proxy/resilience/retry-budget.ts';

const othersAreWell = (): boolean => true;
const nobodyIsWell = (): boolean => false;

function spendAll(budget: RetryBudget, now: number): number {
  let spent = 0;
  while (budget.spend(now)) spent++;
  return spent;
}

test('a service that is seldom called may have a host full of requests repeated, if another host is well', () => {
  assert.equal(spendAll(new RetryBudget(othersAreWell), 0), initialRetries + reservedRetries);
  assert.equal(spendAll(new RetryBudget(nobodyIsWell), 0), initialRetries);
});

test('time alone earns nothing', () => {
  for (const wellness of [othersAreWell, nobodyIsWell]) {
    const budget = new RetryBudget(wellness);
    spendAll(budget, 0);
    assert.equal(spendAll(budget, 1e12), 0);
  }
});

test('what is earned beyond the first retries fades within seconds', () => {
  const budget = new RetryBudget(nobodyIsWell);
  for (let i = 0; i < 1000; i++) budget.earn(0);
  const soon = spendAll(budget, 0);
  assert.ok(soon >= 159 && soon <= 160, `${soon}`);
  for (let i = 0; i < 2000; i++) budget.earn(60_000);
  const later = spendAll(budget, 90_000);
  assert.ok(later > 0 && later <= initialRetries + 300 * Math.exp(-3), `${later}`);
});

test('while everything fails there are so many retries as requests earn, and the first ones', () => {
  const budget = new RetryBudget(nobodyIsWell);
  let retries = 0;
  for (let now = 0; now < 100_000; now++) {
    budget.earn(now);
    if (budget.spend(now)) retries++;
  }
  const expected = 100_000 * retryShare + initialRetries;
  assert.ok(retries > expected - 10 && retries <= expected, `${retries} retries`);
});

test('a reserve that was used is earned back before anything is spent while nobody is well', () => {
  let isWell = true;
  const budget = new RetryBudget(() => isWell);
  assert.equal(spendAll(budget, 0), 100);
  isWell = false;
  let requests = 0;
  while (!budget.spend(0)) {
    budget.earn(0);
    requests++;
  }
  assert.ok(Math.abs(requests * retryShare - reservedRetries - 1) < 1, `${requests} requests`);
  assert.equal(budget.exhausted, requests + 1);
});

test('a clock that steps back takes nothing away and gives nothing', () => {
  const budget = new RetryBudget(nobodyIsWell);
  for (let i = 0; i < 1000; i++) budget.earn(10_000);
  const there = spendAll(budget, 5_000);
  assert.ok(there >= 159 && there <= 160, `${there}`);
  assert.equal(spendAll(budget, 5_000), 0);
});
