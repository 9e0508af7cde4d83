import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../../src/core.ts';
import { happens } from '../../../../src/proxy/resilience/chance.ts';

test('0 percent never happens, 100 always, and a tenth of a percent now and then', () => {
  assert.equal(happens(0, { next: () => 0 }), false);
  assert.equal(happens(100, { next: () => 1 - 2 ** -53 }), true);
  const random = seededRandom(5);
  let count = 0;
  for (let i = 0; i < 100_000; i++) if (happens(0.1, random)) count++;
  assert.ok(count > 60 && count < 140, `${count} of 100,000`);
});
