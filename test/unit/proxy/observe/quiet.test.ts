import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Quiet } from '../../../../src/proxy/observe/quiet.ts';

test('what happens again is said at once, then every half minute with how often it was', () => {
  const quiet = new Quiet();
  assert.equal(quiet.note('a', 0), 1);
  for (let now = 1; now < 100; now++) assert.equal(quiet.note('a', now), null);
  assert.equal(quiet.note('b', 100), 1);
  assert.equal(quiet.note('a', 30_000), 100);
});

test('kinds without end are said as far as the rate allows, and forgotten when they are over', () => {
  const quiet = new Quiet();
  let lines = 0;
  for (let kind = 0; kind < 5000; kind++) if (quiet.note(`early ${kind}`, 0) !== null) lines++;
  assert.equal(lines, 20);
  // There is no room for another one while those are new, so it is told from nothing and said each time.
  assert.deepEqual([quiet.note('late', 10_000), quiet.note('late', 10_001)], [1, 1]);
  assert.deepEqual([quiet.note('late', 40_000), quiet.note('late', 40_001)], [1, null]);
});
