import assert from 'node:assert/strict';
import { test } from 'node:test';
import { replies } from '../../../../bench/proxy/backend.ts';
import { compare, Results } from '../../../../bench/proxy/comparison.ts';

const small = replies[0];

function measured(): Results {
  const results = new Results();
  const add = (subject: string, metrics: { readonly [metric: string]: readonly number[] }): void => {
    for (const [metric, values] of Object.entries(metrics))
      for (const value of values) results.add(subject, small, metric, value);
  };
  add('direct', { throughput: [100_000], cpu: [0], p50: [0.1], p99: [0.5] });
  add('haproxy-h2', { throughput: [40_000], cpu: [40, 44, 400], p50: [0.3], p99: [0.5] });
  add('starling', { throughput: [50_000], cpu: [33, 999, 1], p50: [0.2], p99: [0.75] });
  return results;
}

test('the median of the rounds is compared', () => {
  const cpu = compare(measured(), small).find(({ metric }) => metric === 'cpu-per-request-small');
  assert.deepEqual(cpu, {
    bench: 'proxy',
    subject: 'starling',
    peer: 'haproxy-h2',
    metric: 'cpu-per-request-small',
    unit: 'us',
    value: 33,
    peerValue: 44,
    ratio: 0.75,
  });
});

test('latency stands beside both peers, and what each proxy adds to the direct way beside the other', () => {
  const rows = compare(measured(), small).filter(({ metric }) => metric.includes('p50'));
  assert.deepEqual(
    rows.map(({ metric, peer, ratio }) => [metric, peer, ratio === null ? null : Number(ratio.toFixed(3))]),
    [
      ['latency-p50-small', 'haproxy-h2', 0.667],
      ['latency-p50-small', 'direct', 2],
      ['added-latency-p50-small', 'haproxy-h2', 0.5],
    ],
  );
});

test('a peer that adds nothing measurable gives no ratio', () => {
  const row = compare(measured(), small).find(({ metric }) => metric === 'added-latency-p99-small');
  assert.deepEqual([row?.value, row?.peerValue, row?.ratio], [0.25, 0, null]);
});

test('a metric that was never measured is an error, not a zero', () => {
  assert.throws(() => compare(new Results(), small), RangeError);
});
