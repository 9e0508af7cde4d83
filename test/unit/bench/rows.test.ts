import assert from 'node:assert/strict';
import { test } from 'node:test';
import { grid, readable, row, table } from '../../../bench/rows.ts';

const cost = { bench: 'proxy', subject: 'starling', metric: 'cpu-per-request-small', unit: 'us', value: 36 };

test('a row beside a peer has the ratio of the two', () => {
  assert.deepEqual(row({ ...cost, peer: 'haproxy-h2', peerValue: 40 }), {
    ...cost,
    peer: 'haproxy-h2',
    peerValue: 40,
    ratio: 0.9,
  });
});

test('a row that stands alone has no peer and no ratio', () => {
  assert.deepEqual(row(cost), { ...cost, peer: '', peerValue: null, ratio: null });
});

test('a peer at or below zero gives no ratio rather than an absurd one', () => {
  assert.equal(row({ ...cost, peer: 'direct', peerValue: 0 }).ratio, null);
  assert.equal(row({ ...cost, peer: 'direct', peerValue: -0.01 }).ratio, null);
});

test('numbers keep three digits, and what is missing is a dash', () => {
  assert.deepEqual([0.0344, 1.234, 12.34, 123.4, 46634.2, -0.5, null].map(readable), [
    '0.034',
    '1.23',
    '12.3',
    '123',
    '46634',
    '-0.500',
    '-',
  ]);
});

test('the table aligns words to the left and numbers to the right', () => {
  const text = table([row({ ...cost, peer: 'haproxy-h2', peerValue: 40 }), row({ ...cost, value: 1234 })]);
  assert.equal(
    text,
    [
      'metric                 unit  subject   value  peer        value  ratio',
      '---------------------  ----  --------  -----  ----------  -----  -----',
      'cpu-per-request-small  us    starling   36.0  haproxy-h2   40.0   0.90',
      'cpu-per-request-small  us    starling   1234  -               -      -',
    ].join('\n'),
  );
});

test('a grid without lines is its head', () => {
  assert.equal(grid(['a', 'bc'], []), 'a  bc\n-  --');
});
