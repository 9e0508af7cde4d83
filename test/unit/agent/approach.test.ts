import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Approach } from '../../../src/agent/approach.ts';
import { seededRandom } from '../../../src/core.ts';

const connect = [{ type: 'connect', peer: 'sponsor' }];

test('a sponsor that cannot be reached is dialled again, ever more rarely', () => {
  const approach = new Approach(seededRandom(1));
  assert.deepEqual(approach.begin('sponsor'), connect);
  assert.equal(approach.nextWake(), null, 'a dial under way is waited for');
  const waits: number[] = [];
  let now = 1000;
  for (let attempt = 0; attempt < 12; attempt++) {
    approach.failed(now);
    const due = approach.nextWake()!;
    waits.push(due - now);
    approach.failed(now + 1);
    assert.equal(approach.nextWake(), due, 'one failure told twice is one failure');
    assert.deepEqual(approach.wake('sponsor', due - 1), []);
    assert.deepEqual(approach.wake('sponsor', due), connect);
    now = due;
  }
  assert.ok(waits[0]! <= 375 && waits.at(-1)! >= 2000 && Math.max(...waits) <= 6000, String(waits));
});

test('once the records are here, nobody is dialled', () => {
  const approach = new Approach(seededRandom(1));
  approach.failed(1000);
  assert.deepEqual(approach.wake(null, 5000), []);
  assert.equal(approach.nextWake(), null);
});
