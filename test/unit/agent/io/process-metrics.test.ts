import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Registry } from 'prom-client';
import { loopLag, processMetrics } from '../../../../src/agent/io/process-metrics.ts';

/** The one sample of a metric; undefined for one that has none. */
async function sample(registry: Registry, name: string): Promise<number | undefined> {
  const line = (await registry.metrics()).split('\n').find((one) => one.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.slice(name.length));
}

test('the processor time is that of the whole process, from the first scrape on', async () => {
  const { user, system } = process.cpuUsage();
  const registry = new Registry();
  processMetrics(registry);
  const first = (await sample(registry, 'process_cpu_seconds_total')) ?? 0;
  assert.ok(first >= (user + system) / 1e6, `${first}`);
  assert.ok(((await sample(registry, 'process_cpu_user_seconds_total')) ?? 0) >= user / 1e6);
  assert.ok(((await sample(registry, 'process_cpu_seconds_total')) ?? 0) < 2 * first + 1, 'counted once');
});

test('the lag of the event loop is what came late, without the interval between samples', async () => {
  const delay = {
    ...{ count: 0, min: 2 ** 63, max: 0, mean: Number.NaN, stddev: Number.NaN },
    percentile: () => delay.max,
    reset: () => {
      delay.count = 0;
    },
  };
  const registry = new Registry();
  loopLag(registry, delay);
  const lag = (figure: string) => sample(registry, `nodejs_eventloop_lag${figure}_seconds`);
  assert.deepEqual(
    [await lag('_min'), await lag('_mean'), await lag('_p99')],
    [undefined, undefined, undefined],
  );
  Object.assign(delay, { count: 20, min: 99_900_000, max: 350_000_000 });
  assert.equal(await lag('_min'), 0);
  assert.equal(delay.count, 0);
  assert.equal(await lag('_max'), 0.25, 'nothing new was sampled');
  assert.ok(((await lag('')) ?? -1) >= 0);
});
