import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Allowance, Rates } from '../../../src/gossip/rates.ts';

test('each has its burst, then its rate, whatever others do, and a refusal costs nothing', () => {
  const rates = new Rates({ perSecond: 2, burst: 3 }, 10);
  assert.deepEqual(
    [0, 0, 0, 0].map((now) => rates.take('a', now)),
    [true, true, true, false],
  );
  for (let i = 0; i < 100; i++) assert.ok(!rates.take('a', 0));
  assert.ok(rates.allows('b', 0) && rates.take('b', 0));
  assert.deepEqual(
    [499, 500, 500].map((now) => rates.take('a', now)),
    [false, true, false],
  );
  assert.ok(!rates.allows('a', 500));
  assert.deepEqual(
    [60_000, 60_000, 60_000, 60_000].map((now) => rates.take('a', now)),
    [true, true, true, false],
  );
});

test('a clock that stands still or goes back gives nobody more, now or once it is right again', () => {
  const rates = new Rates({ perSecond: 1, burst: 1 }, 10);
  rates.take('a', 5000);
  assert.ok(!rates.allows('a', 4000));
  rates.take('b', 5000);
  rates.take('b', 4000);
  assert.ok(!rates.allows('b', 5500));
});

test('of more than are remembered the one that did something longest ago starts anew', () => {
  const rates = new Rates({ perSecond: 0, burst: 1 }, 100);
  rates.take('first', 0);
  for (let i = 0; i < 99; i++) rates.take(`name ${i}`, 0);
  assert.ok(!rates.allows('first', 0));
  rates.take('one more', 0);
  assert.ok(rates.allows('first', 0));
  assert.ok(!rates.allows('one more', 0));
  for (let i = 0; i < 10_000; i++) assert.ok(rates.take(`made-up ${i}`, 0));
  assert.equal(rates.size, 100);
});

test('what is given back can be taken again, and nobody ever has more than the burst', () => {
  const allowance = new Allowance({ perSecond: 0, burst: 2 });
  assert.deepEqual([allowance.take(0), allowance.take(0), allowance.take(0)], [true, true, false]);
  allowance.giveBack(0);
  assert.deepEqual([allowance.take(0), allowance.take(0)], [true, false]);
  for (let i = 0; i < 5; i++) allowance.giveBack(0);
  assert.deepEqual([allowance.take(0), allowance.take(0), allowance.take(0)], [true, true, false]);
  const rates = new Rates({ perSecond: 0, burst: 1 }, 10);
  rates.giveBack('nobody', 0);
  assert.equal(rates.size, 0);
});
