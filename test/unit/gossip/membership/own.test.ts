import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OwnStanding } from '../../../../src/gossip/membership/own.ts';

const start = 1_000_000;
const leap = 2 ** 24;

function standing(incarnation = 100): OwnStanding {
  return new OwnStanding('self', incarnation, () => new Uint8Array(64));
}

test('whatever is wrongly believed at the own incarnation is refuted by the next one, and nothing older is', () => {
  for (const state of ['suspect', 'down', 'left'] as const) {
    const own = standing();
    assert.equal(own.heed({ state, incarnation: 99 }, start), false);
    assert.equal(own.incarnation, 100);
    assert.equal(own.heed({ state, incarnation: 100 }, start), true);
    assert.equal(own.incarnation, 101);
  }
  const own = standing();
  assert.equal(own.heed({ state: 'alive', incarnation: 100 }, start), false);
  assert.equal(own.heed({ state: 'unknown', incarnation: 100 }, start), false);
  assert.equal(own.incarnation, 100);
});

test('refutations are eight at once and one a second: what is believed meanwhile is refuted then', () => {
  const own = standing();
  let refuted = 0;
  for (let i = 0; i < 1000; i++)
    if (own.heed({ state: 'suspect', incarnation: own.incarnation }, start)) refuted++;
  assert.equal(refuted, 8);
  for (let ms = 0; ms < 60_000; ms += 10)
    if (own.heed({ state: 'suspect', incarnation: own.incarnation }, start + ms)) refuted++;
  assert.ok(refuted <= 8 + 60, `${refuted}`);
  assert.equal(own.incarnation, 100 + refuted);
});

test('an agent whose store was set back climbs to what the others know of it, at once', () => {
  const own = standing();
  own.heed({ state: 'alive', incarnation: 70_000 }, start);
  assert.equal(own.incarnation, 70_000);
  assert.equal(own.heed({ state: 'down', incarnation: 200_000 }, start), true);
  assert.equal(own.incarnation, 200_001);
});

test('who was told of to each of the others at another height climbs to all of them at once', () => {
  const own = standing();
  for (let i = 1; i <= 4; i++) own.heed({ state: 'alive', incarnation: own.incarnation + leap }, start);
  let refuted = 0;
  for (let i = 0; i < 20; i++)
    if (own.heed({ state: 'down', incarnation: own.incarnation + 1000 }, start + 1000 + i * 500)) refuted++;
  assert.ok(refuted >= 12, `${refuted} of 20: what is low costs little of what may be climbed`);
  assert.ok(refuted <= 8 + 10, `${refuted} of 20: each is told everybody`);
});

test('liars that say ever more cannot drag an agent to its last incarnation within a lifetime', () => {
  const own = standing();
  const hourMs = 3_600_000;
  for (let ms = 0; ms < hourMs; ms += 100)
    for (const state of ['alive', 'suspect'] as const)
      own.heed({ state, incarnation: own.incarnation + leap }, start + ms);
  const perHour = own.incarnation - 100;
  assert.ok(perHour <= (4 + 360 + 1) * (leap + 1), `${perHour / leap} leaps`);
  const yearsToTheLast = 2 ** 52 / perHour / 24 / 365;
  assert.ok(yearsToTheLast > 80, `${yearsToTheLast} years`);
});

test('too high a claim is not believed at all, and costs the honest ones nothing', () => {
  const own = standing();
  for (let i = 0; i < 100; i++)
    for (const incarnation of [101 + leap, 2 ** 40, Number.MAX_SAFE_INTEGER])
      assert.equal(own.heed({ state: 'down', incarnation }, start), false);
  assert.equal(own.incarnation, 100);
  assert.equal(own.heed({ state: 'down', incarnation: 5000 }, start), true);
});

test('an operator’s word is outlived whatever its number, and by nobody who leaves', () => {
  const own = standing();
  assert.equal(own.outlive(99), false);
  assert.equal(own.outlive(2 ** 40), true);
  assert.equal(own.incarnation, 2 ** 40 + 1);
  assert.equal(own.outlive(Number.MAX_SAFE_INTEGER), false);
  own.leave();
  assert.equal(own.outlive(2 ** 41), false);
  assert.equal(own.heed({ state: 'down', incarnation: own.incarnation }, start), false);
});
