import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BreakerPolicy } from '../../../../src/proxy/policy.ts';
import { Breaker } from '../../../../src/proxy/resilience/breaker.ts';

const policy: BreakerPolicy = {
  errorPercent: 50,
  minimumRequests: 10,
  windowMs: 10_000,
  openMs: 5000,
  halfOpenRequests: 3,
};

/** One request that takes no time. */
function ask(
  breaker: Breaker,
  now: number,
  outcome: 'ok' | 'failed' | 'connect-failure' | 'abandoned',
): boolean {
  if (!breaker.admit(now)) return false;
  breaker.record(now, outcome, now);
  return true;
}

function opened(now: number): Breaker {
  const breaker = new Breaker(policy);
  for (let i = 0; i < 10; i++) ask(breaker, now, 'failed');
  assert.equal(breaker.state(now), 'open');
  return breaker;
}

test('it opens at the share of failures, of as many requests as it takes, and not before', () => {
  const breaker = new Breaker(policy);
  for (let i = 0; i < 9; i++) assert.equal(ask(breaker, 1000, 'failed'), true);
  assert.equal(breaker.state(1000), 'closed');
  ask(breaker, 1000, 'connect-failure');
  assert.equal(breaker.state(1000), 'open');
  assert.equal(breaker.opened, 1);
});

test('failures below the share leave it closed, and so do those that are long ago', () => {
  const breaker = new Breaker(policy);
  for (let i = 0; i < 1000; i++) ask(breaker, i, i % 2 === 1 && i % 20 !== 1 ? 'failed' : 'ok');
  assert.equal(breaker.state(1000), 'closed');
  const rare = new Breaker(policy);
  for (let i = 0; i < 100; i++) ask(rare, i * 2000, 'failed');
  assert.equal(rare.state(200_000), 'closed');
});

test('what callers gave up says nothing', () => {
  const breaker = new Breaker(policy);
  for (let i = 0; i < 9; i++) ask(breaker, 0, 'failed');
  for (let i = 0; i < 1000; i++) ask(breaker, 0, 'abandoned');
  assert.equal(breaker.state(0), 'closed');
  ask(breaker, 0, 'failed');
  assert.equal(breaker.state(0), 'open');
});

test('open, it lets nothing through, and after its time as many probes as policy says', () => {
  const breaker = opened(1000);
  for (let i = 0; i < 20; i++) assert.equal(breaker.admit(5999), false);
  assert.equal(breaker.rejected, 20);
  assert.equal(breaker.state(6000), 'half-open');
  assert.deepEqual(
    Array.from({ length: 5 }, () => breaker.admit(6000)),
    [true, true, true, false, false],
  );
});

test('it closes when as many probes have succeeded, and a few failures later stays closed', () => {
  const breaker = opened(1000);
  assert.equal(ask(breaker, 6000, 'ok'), true);
  assert.equal(ask(breaker, 6001, 'ok'), true);
  assert.equal(breaker.state(6001), 'half-open');
  assert.equal(ask(breaker, 6002, 'ok'), true);
  assert.equal(breaker.state(6002), 'closed');
  for (let i = 0; i < 9; i++) ask(breaker, 6003, 'failed');
  assert.equal(breaker.state(6003), 'closed');
});

test('one probe that fails opens it again, for the whole time', () => {
  const breaker = opened(1000);
  ask(breaker, 6000, 'ok');
  ask(breaker, 6500, 'failed');
  assert.equal(breaker.state(11_499), 'open');
  assert.equal(breaker.admit(11_499), false);
  assert.equal(breaker.admit(11_500), true);
  assert.equal(breaker.opened, 2);
});

test('a probe that was given up makes room for another', () => {
  const breaker = opened(1000);
  for (let i = 0; i < 10; i++) assert.equal(ask(breaker, 6000, 'abandoned'), true);
  for (let i = 0; i < 3; i++) ask(breaker, 6000, 'ok');
  assert.equal(breaker.state(6000), 'closed');
});

test('probes that never come back do not keep it half open', () => {
  const breaker = opened(1000);
  for (let i = 0; i < 3; i++) breaker.admit(6000);
  assert.equal(breaker.admit(10_999), false);
  for (let round = 1; round <= 3; round++) {
    const now = 6000 + round * 5000;
    assert.equal(ask(breaker, now, 'ok'), true, `round ${round}`);
  }
  assert.equal(breaker.state(21_000), 'closed');
});

test('what began before a state says nothing about it', () => {
  const breaker = opened(1000);
  breaker.admit(6000);
  for (let i = 0; i < 10; i++) breaker.record(6100, 'ok', 500);
  assert.equal(breaker.state(6100), 'half-open');
  breaker.record(6200, 'failed', 999);
  assert.equal(breaker.state(6200), 'half-open');
  // Begun at the very moment it went half open, its start worked out with the error of a double.
  breaker.record(6300, 'failed', 6000 - 0.001);
  assert.equal(breaker.state(6300), 'open');
  for (let i = 0; i < 100; i++) breaker.record(6300, 'failed', 6299);
  assert.equal(breaker.opened, 2);
});
