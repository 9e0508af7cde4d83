import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseH2loadLog } from '../../../../bench/proxy/h2load-log.ts';

function log(...lines: (readonly [status: number, microseconds: number])[]): string {
  return lines.map(([status, microseconds]) => `1795382912207174\t${status}\t${microseconds}\n`).join('');
}

test('latencies come out as milliseconds at the 50th and 99th percentile, whatever their order', () => {
  const hundred = Array.from({ length: 100 }, (_, index) => [200, (100 - index) * 1000] as const);
  assert.deepEqual(parseH2loadLog(log(...hundred)), { requests: 100, failed: 0, p50Ms: 50, p99Ms: 99 });
});

test('an answer without a reason phrase, logged with status 0, is an answer', () => {
  assert.deepEqual(parseH2loadLog(log([0, 250])), { requests: 1, failed: 0, p50Ms: 0.25, p99Ms: 0.25 });
});

test('failed requests are counted and do not flatter the latency', () => {
  const result = parseH2loadLog(log([200, 3000], [-1, 10], [503, 20]));
  assert.deepEqual(result, { requests: 3, failed: 2, p50Ms: 3, p99Ms: 3 });
});

test('a log with no answered request, or with a line of another shape, is an error', () => {
  assert.throws(() => parseH2loadLog(''), /no answered request/);
  assert.throws(() => parseH2loadLog(log([503, 20])), /1 failed/);
  assert.throws(() => parseH2loadLog(`${log([200, 20])}finished in 2.00s\n`), /not a line.*finished/);
});
