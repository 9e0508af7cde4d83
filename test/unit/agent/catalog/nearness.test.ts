import assert from 'node:assert/strict';
import { test } from 'node:test';
import { byNearness } from '../../../../src/agent/catalog/nearness.ts';

interface Row {
  readonly host: string;
  readonly port: number;
}

const rows: readonly Row[] = ['d', 'a', 'c', 'b', 'a'].map((host, port) => ({ host, port }));

/** Orders `rows` from `from` by a table of distances; what is not in it is not known. */
function order(from: string, distances: { readonly [host: string]: number | null }): string {
  return byNearness(
    rows,
    from,
    ({ host }) => host,
    (_from, to) => distances[to] ?? null,
  )
    .map(({ host, port }) => host + port)
    .join(' ');
}

test('the nearest host comes first, and rows of one host keep their order', () => {
  assert.equal(order('x', { a: 3, b: 2, c: 1, d: 0 }), 'd0 c2 b3 a1 a4');
});

test('what is on the host itself leads, whatever the estimate says', () => {
  assert.equal(order('c', { a: 0, b: 0, c: 50, d: 0 }), 'c2 d0 a1 b3 a4');
});

test('hosts of which nothing is known come last, in their order', () => {
  assert.equal(order('x', { b: 7 }), 'b3 d0 a1 c2 a4');
  assert.equal(order('x', { b: 7, a: Number.NaN, d: Number.POSITIVE_INFINITY }), 'b3 d0 a1 c2 a4');
});

test('equal distances change nothing, and the rows given are left alone', () => {
  const before = [...rows];
  assert.equal(order('x', { a: 5, b: 5, c: 5, d: 5 }), 'd0 a1 c2 b3 a4');
  order('x', { a: 1, b: 2, c: 3, d: 4 });
  assert.deepEqual(rows, before);
});

test('each host is asked about once, and in the direction of the question', () => {
  const asked: string[] = [];
  byNearness(
    rows,
    'b',
    ({ host }) => host,
    (from, to) => {
      asked.push(`${from}${to}`);
      return 1;
    },
  );
  assert.deepEqual(asked, ['bd', 'ba', 'bc']);
});
