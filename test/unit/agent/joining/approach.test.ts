import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Approach } from '../../../../src/agent/joining/approach.ts';
import { seededRandom } from '../../../../src/core.ts';

const connect = [{ type: 'connect', peer: 'sponsor' }];
const away = { arrived: false, isNeighbour: false };

test('a sponsor that cannot be reached is dialled again, ever more rarely', () => {
  const approach = new Approach('sponsor', seededRandom(1));
  assert.deepEqual(approach.begin(0), connect);
  const waits: number[] = [];
  let now = 1000;
  for (let attempt = 0; attempt < 12; attempt++) {
    approach.lost('somebody else', now);
    approach.lost('sponsor', now);
    approach.lost('sponsor', now + 1);
    let effects: readonly object[] = [];
    const began = now;
    while (effects.length === 0) {
      now = approach.nextWake()!;
      assert.ok(now - began < 10_000);
      effects = approach.wake(away, now);
    }
    assert.deepEqual(effects, connect);
    waits.push(now - began);
  }
  assert.ok(waits[0]! <= 375 && waits.at(-1)! >= 2000 && Math.max(...waits) <= 6000, String(waits));
});

test('once the records are here nobody is dialled, and the sponsor is let go', () => {
  const approach = new Approach('sponsor', seededRandom(1));
  approach.begin(0);
  approach.lost('sponsor', 1000);
  const here = { arrived: true, isNeighbour: false };
  assert.deepEqual(approach.wake(here, 2000), []);
  assert.deepEqual(approach.wake(here, 5000), [{ type: 'disconnect', peer: 'sponsor' }]);
  approach.lost('sponsor', 5001);
  assert.equal(approach.nextWake(), null, 'that it is gone is nobody’s loss');
});

test('a sponsor that is a neighbour stays one', () => {
  const approach = new Approach('sponsor', seededRandom(1));
  approach.begin(0);
  assert.deepEqual(approach.wake({ arrived: true, isNeighbour: true }, 5000), []);
  assert.equal(approach.nextWake(), null);
});
