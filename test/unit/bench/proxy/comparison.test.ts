import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Metric, matrix, Results } from '../../../../bench/proxy/comparison.ts';

const throughput: Metric = { name: 'throughput-small', unit: 'requests/s' };
const cpu: Metric = { name: 'cpu-per-request-small', unit: 'us', ofProxies: true };
const p50: Metric = { name: 'latency-p50-small', unit: 'ms', added: 'added-latency-p50-small' };
const p99: Metric = { name: 'latency-p99-small', unit: 'ms', added: 'added-latency-p99-small' };
const tcp: Metric = { name: 'tcp-throughput', unit: 'MB/s' };

function measured(): Results {
  const results = new Results(['starling', 'direct', 'haproxy-h2', 'caddy']);
  const add = (subject: string, metric: Metric, ...values: readonly number[]): void => {
    for (const value of values) results.add(subject, metric, value);
  };
  add('direct', throughput, 100_000);
  add('direct', p50, 0.1);
  add('direct', p99, 0.5);
  add('direct', tcp, 4000);
  add('haproxy-h2', throughput, 40_000);
  add('haproxy-h2', cpu, 40, 44, 400);
  add('haproxy-h2', p50, 0.3);
  add('haproxy-h2', p99, 0.5);
  add('haproxy-h2', tcp, 800);
  add('starling', throughput, 50_000);
  add('starling', cpu, 33, 999, 1);
  add('starling', p50, 0.2);
  add('starling', p99, 0.75);
  add('starling', tcp, 1000);
  return results;
}

test('the median of the rounds is compared', () => {
  const row = measured()
    .rows()
    .find(({ metric, peer }) => metric === 'cpu-per-request-small' && peer === 'haproxy-h2');
  assert.deepEqual(row, {
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

test('latency stands beside every peer, and what each proxy adds to the direct way beside the other proxies', () => {
  const rows = measured()
    .rows()
    .filter(({ metric, peer }) => metric.includes('p50') && peer !== 'caddy');
  assert.deepEqual(
    rows.map(({ metric, peer, ratio }) => [metric, peer, ratio === null ? null : Number(ratio.toFixed(3))]),
    [
      ['latency-p50-small', 'direct', 2],
      ['latency-p50-small', 'haproxy-h2', 0.667],
      ['added-latency-p50-small', 'haproxy-h2', 0.5],
    ],
  );
});

test('a peer that adds nothing measurable gives no ratio', () => {
  const row = measured()
    .rows()
    .find(({ metric, peer }) => metric === 'added-latency-p99-small' && peer === 'haproxy-h2');
  assert.deepEqual([row?.value, row?.peerValue, row?.ratio], [0.25, 0, null]);
});

test('what a subject cannot carry is said, and is neither a zero nor an error', () => {
  const rows = measured().rows();
  const row = rows.find(({ metric, peer }) => metric === 'tcp-throughput' && peer === 'caddy');
  assert.deepEqual([row?.value, row?.peerValue, row?.ratio], [1000, null, null]);
  const lines = matrix(rows).split('\n');
  assert.match(lines[0]!, /^metric +unit +starling +direct +haproxy-h2 +caddy$/);
  assert.match(lines.find((line) => line.startsWith('tcp-throughput'))!, / 1000 +4000 +800 +no$/);
  assert.match(lines.find((line) => line.startsWith('cpu-per-request'))!, / 33\.0 +- +44\.0 +no$/);
});

test('Starling may be the one that cannot', () => {
  const results = new Results(['starling', 'haproxy-h2']);
  results.add('haproxy-h2', throughput, 40_000);
  const rows = results.rows();
  assert.deepEqual([rows[0]?.value, rows[0]?.peerValue, rows[0]?.ratio], [null, 40_000, null]);
  assert.match(matrix(rows), /throughput-small +requests\/s +no +40000/);
});
