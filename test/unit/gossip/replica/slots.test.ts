import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Digest } from '../../../../src/gossip/frames.ts';
import {
  combine,
  Digester,
  digestBytes,
  emptyDigest,
  type Rank,
} from '../../../../src/gossip/replica/digest.ts';
import {
  bucketCount,
  bucketOf,
  type Entry,
  partsPerBucket,
  rangeOfPart,
  rankOf,
  SlotTable,
} from '../../../../src/gossip/replica/slots.ts';
import { makeRecord } from '../records.ts';

function entry(key: string, slotDigest: Digest, digest: Digest): Entry {
  return { record: makeRecord({ key }), older: [], slotDigest, digest, next: null };
}

/** Eight characters that spread well. */
function scattered(seed: number): Digest {
  let digest = '';
  for (let i = 0; i < digestBytes; i++)
    digest += String.fromCharCode((Math.imul(seed + 1, 0x9e3779b1) >>> (3 * i)) & 255);
  return digest;
}

function tableOf(count: number): SlotTable {
  const table = new SlotTable();
  for (let i = 0; i < count; i++) table.add(entry(`k${i}`, scattered(i), scattered(i + count)));
  return table;
}

/** The sums of a row of digests. */
function total(row: Uint8Array): Digest {
  let sum = emptyDigest;
  for (let start = 0; start < row.length; start += digestBytes)
    sum = combine(sum, Buffer.from(row.subarray(start, start + digestBytes)).toString('latin1'));
  return sum;
}

test('the root is the sum of the buckets, and a bucket is the sum of its parts', () => {
  const table = tableOf(3000);
  const buckets = table.bucketDigests();
  assert.equal(total(buckets), table.root);
  for (let bucket = 0; bucket < bucketCount; bucket++)
    assert.equal(
      total(table.partDigests(bucket)),
      Buffer.from(buckets.subarray(bucket * digestBytes, (bucket + 1) * digestBytes)).toString('latin1'),
    );
});

test('the parts of a bucket hold its slots, each in one of them', () => {
  const table = tableOf(3000);
  let slots = 0;
  for (let bucket = 0; bucket < bucketCount; bucket++) {
    const parts = Array.from({ length: partsPerBucket }, (_, part) =>
      table.listing(rangeOfPart(bucket, part)),
    );
    const all = new Map(parts.flatMap((part) => [...part]));
    assert.deepEqual([...all].sort(), [...table.listing(bucket)].sort());
    assert.equal(
      parts.reduce((sum, part) => sum + part.size, 0),
      table.bucketSize(bucket),
    );
    for (const slot of all.keys()) assert.equal(bucketOf(slot), bucket);
    slots += all.size;
  }
  assert.equal(slots, table.size);
});

test('two slots whose digests coincide are both kept, and told of together', () => {
  const table = new SlotTable();
  const slot = scattered(7);
  const entries = ['a', 'b', 'c'].map((key, i) => entry(key, slot, scattered(i + 10)));
  for (const each of entries) table.add(each);
  assert.equal(table.size, 3);
  for (const each of entries) assert.equal(table.find(slot, each.record), each);
  assert.deepEqual(new Set(table.named(slot)), new Set(entries));
  assert.deepEqual([...table.listing(bucketOf(slot))], [[slot, table.root]]);
  for (const gone of [1, 2, 0]) {
    table.remove(entries[gone]!);
    assert.equal(table.find(slot, entries[gone]!.record), undefined);
  }
  assert.equal(table.size, 0);
  assert.equal(table.root, emptyDigest);
  assert.equal(table.listing(bucketOf(slot)).size, 0);
});

test('a part that was listed before is listed anew after a change', () => {
  const table = new SlotTable();
  const slot = scattered(3);
  const bucket = bucketOf(slot);
  const listed = () =>
    Array.from({ length: partsPerBucket }, (_, part) => table.listing(rangeOfPart(bucket, part)).size);
  const sum = (counts: number[]) => counts.reduce((a, b) => a + b, 0);
  assert.equal(sum(listed()), 0);
  const added = entry('a', slot, scattered(4));
  table.add(added);
  assert.equal(sum(listed()), 1);
  table.remove(added);
  assert.equal(sum(listed()), 0);
});

test('names of a lower rank come first, and a replica is walked in that order', () => {
  const digester = new Digester(new Uint8Array(32));
  for (const rank of [0, 1, 2] as const)
    for (let i = 0; i < 200; i++) assert.equal(rankOf(bucketOf(digester.ofSlot(`slot ${i}`, rank))), rank);
  const table = new SlotTable();
  for (let i = 0; i < 60; i++)
    table.add(entry(`${i % 3}`, digester.ofSlot(`slot ${i}`, (i % 3) as Rank), scattered(i)));
  const walked = (from: Rank) => [...table.entries(from)].map(({ record }) => record.key).join('');
  assert.equal(walked(0), '0'.repeat(20) + '1'.repeat(20) + '2'.repeat(20));
  assert.equal(walked(2), '2'.repeat(20));
});
