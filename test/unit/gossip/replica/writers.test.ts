import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Writers } from '../../../../src/gossip/replica/writers.ts';
import { makeRecord } from '../records.ts';

test('the largest writers are told, however many there are, and the same on every host', () => {
  const writers = new Writers();
  const records = Array.from({ length: 50 }, (_, i) =>
    makeRecord({ author: `author ${i}`, value: 'x'.repeat((i * 37) % 50) }),
  );
  for (const record of records) writers.add(record);
  const expected = records
    .map(({ author, text }) => ({ author, scope: 'host', records: 1, bytes: text.length }))
    .sort((a, b) => b.bytes - a.bytes || (a.author < b.author ? -1 : 1));
  assert.deepEqual(writers.largest(5), expected.slice(0, 5));
  assert.deepEqual(writers.largest(100), expected);
  assert.deepEqual(writers.largest(0), []);
  for (const record of records) writers.remove(record);
  assert.deepEqual(writers.largest(5), []);
  assert.equal(writers.bytes, 0);
});

test('scopes are counted apart, and what shrinks a writer is never too much', () => {
  const writers = new Writers();
  const large = makeRecord({ value: 'x'.repeat(500) });
  writers.add(large);
  const quota = { records: 1, bytes: 300 };
  assert.ok(writers.exceeds(quota, makeRecord({ key: 'other' }), undefined));
  assert.ok(!writers.exceeds(quota, makeRecord({ version: 2 }), large));
  assert.ok(writers.exceeds(quota, makeRecord({ version: 2, value: 'x'.repeat(600) }), large));
  assert.ok(!writers.exceeds(quota, makeRecord({ scope: 'policy' }), undefined));
});
