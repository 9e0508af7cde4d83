import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Tally } from '../../../../bench/trust/tally.ts';

test('a row has the medians of all rounds, and their ratio', () => {
  const tally = new Tally();
  for (const [value, peerValue] of [
    [1, 20],
    [9, 10],
    [5, 50],
  ] as const)
    tally.add({ metric: 'sign', unit: 'ms', value, peer: 'other', peerValue });
  assert.deepEqual(tally.rows(), [
    {
      ...{ bench: 'trust', subject: 'starling', peer: 'other', metric: 'sign', unit: 'ms' },
      ...{ value: 5, peerValue: 20, ratio: 0.25 },
    },
  ]);
});

test('the same metric of another subject or beside another peer is a row of its own, in the order they came', () => {
  const tally = new Tally();
  tally.add({ metric: 'b', unit: 'ms', value: 1 });
  tally.add({ metric: 'a', unit: 'ms', subject: 'other', value: 2 });
  tally.add({ metric: 'b', unit: 'ms', value: 3, peer: 'p', peerValue: 6 });
  assert.deepEqual(
    tally.rows().map(({ metric, subject, peer, value, ratio }) => [metric, subject, peer, value, ratio]),
    [
      ['b', 'starling', '', 1, null],
      ['a', 'other', '', 2, null],
      ['b', 'starling', 'p', 3, 0.5],
    ],
  );
});
