import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseH2load } from '../../../../bench/proxy/h2load-report.ts';

const report = `starting benchmark...
spawning thread #0: 32 total client(s). Timing-based test with 0s of warm-up time and 5s of main duration for measurements.
finished in 5.00s, 41234.20 req/s, 5.98MB/s
requests: 206171 total, 206299 started, 206171 done, 206171 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 206171 2xx, 0 3xx, 0 4xx, 0 5xx
`;

test('requests and their rate are read from a report', () => {
  assert.deepEqual(parseH2load(report), { requests: 206171, requestsPerSecond: 41234.2, failed: 0 });
});

test('requests without an answer and answers that are not 2xx count as failed', () => {
  assert.equal(parseH2load(report.replace('0 failed', '7 failed')).failed, 7);
  assert.equal(
    parseH2load(report.replace('206171 2xx, 0 3xx, 0 4xx', '206160 2xx, 0 3xx, 11 4xx')).failed,
    11,
  );
});

test('a report that was cut off is an error', () => {
  assert.throws(() => parseH2load(report.slice(0, 260)), /printed no report/);
  assert.throws(() => parseH2load(''), /printed no report: \(nothing\)/);
});
