import assert from 'node:assert/strict';
import { test } from 'node:test';
import { randomInt, seededRandom } from '../../../src/core.ts';
import { Deadlines } from '../../../src/gossip/deadlines.ts';

test('deadlines come due in order, as a plain map would have it, through moves and deletions', () => {
  const random = seededRandom(5);
  const deadlines = new Deadlines<number>();
  const plain = new Map<number, number>();
  for (let step = 0; step < 5000; step++) {
    const key = randomInt(random, 40);
    const action = randomInt(random, 4);
    if (action === 0) {
      deadlines.delete(key);
      plain.delete(key);
    } else if (action < 3) {
      const at = randomInt(random, 1000);
      deadlines.set(key, at);
      plain.set(key, at);
    } else {
      const now = randomInt(random, 200);
      const due = deadlines.takeDue(now);
      const least = Math.min(...plain.values());
      if (due === undefined) assert.ok(least > now);
      else {
        assert.equal(plain.get(due), least);
        plain.delete(due);
      }
    }
    assert.equal(deadlines.next(), plain.size === 0 ? null : Math.min(...plain.values()));
    assert.equal(deadlines.size, plain.size);
  }
});
