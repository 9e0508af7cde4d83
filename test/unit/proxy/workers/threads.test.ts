/** Limits that real threads take from at the same time. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import type { RateLimitsPolicy } from '../../../../src/proxy/policy.ts';
import { ratesBytes } from '../../../../src/proxy/resilience/rate-limiter.ts';
import { Tally, talliesBytes } from '../../../../src/proxy/workers/tally.ts';
import type { LimitThreadData, LimitThreadReport } from '../../../support/limit-thread.ts';

const thread = new URL('../../../support/limit-thread.ts', import.meta.url);

test('threads that race for a limit never exceed it, lose nothing of it, and leave nothing behind', async () => {
  const rounds = 100_000;
  const rates: RateLimitsPolicy = {
    // Over all rounds, 100 ms, 500 more than the burst.
    instance: { requestsPerSecond: 5000, burst: 900 },
    routes: [],
    callers: [{ source: '*', requestsPerSecond: 1_000_000, burst: 1_000_000 }],
  };
  const workerData: LimitThreadData = {
    ...{ threads: 3, takes: 2_000_000, most: 1, rounds, rates },
    rateMemory: { id: 1, buffer: new SharedArrayBuffer(ratesBytes(rates)) },
    tallyMemory: { id: 2, buffer: new SharedArrayBuffer(talliesBytes(1)) },
    gauges: new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT),
  };
  const reports = await Promise.all(
    Array.from({ length: workerData.threads }, async () => {
      const [report] = (await once(new Worker(thread, { workerData }), 'message')) as [LimitThreadReport];
      return report;
    }),
  );
  assert.deepEqual([...new Set(reports.map(({ isExceeded }) => isExceeded))], [false]);
  assert.equal(new Tally(workerData.tallyMemory, 0).inUse, 0);
  const admitted = reports.reduce((sum, report) => sum + report.admitted, 0);
  const earned = (rounds / 1_000_000) * 5000;
  assert.ok(admitted === 900 + earned || admitted === 900 + earned - 1, `${admitted}`);
});
