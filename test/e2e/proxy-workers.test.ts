/** One data plane on several threads: served by all of them, counted once, stopped in order. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { request } from 'undici';
import { type Bird, Flock, until } from '../../demo/flock.ts';
import { curl, metric, registerApi, registerWeb, startService, upstreamPort } from './mesh.ts';

const flock = new Flock();
const threads = 3;
let one: Bird;
let two: Bird;

before(async () => {
  const extra = ['--proxy-workers', String(threads)];
  [one, two] = (await flock.start([
    { n: 1, name: 'one', extra: [...extra, '--default-intention', 'allow'] },
    { n: 2, name: 'two', extra },
  ])) as [Bird, Bird];
  await startService(flock, 'api', `${two.address}:9001`);
  await registerWeb(flock, one, 'api');
  await registerApi(flock, two);
  await until('api answers', 10_000, async () => (await call()) === 200);
});
after(() => flock.stop());

async function call(): Promise<number> {
  return (await curl(`http://${one.address}:${upstreamPort}/`)).status;
}

test('every connection is served, whichever thread gets it, and every request is counted once', async () => {
  const counted = (): Promise<number> =>
    metric(one, 'istio_requests_total', 'reporter="source"', 'response_code="200"');
  const requests = 200;
  await until('the first call is counted', 5000, async () => (await counted()) > 0);
  const before = await counted();
  const statuses = await Promise.all(
    // A connection each, so that the kernel spreads them.
    Array.from({ length: requests }, async () => {
      const { statusCode, body } = await request(`http://${one.address}:${upstreamPort}/`, { reset: true });
      await body.dump();
      return statusCode;
    }),
  );
  assert.deepEqual([...new Set(statuses)], [200]);
  await until('the counters of all threads add up', 5000, async () => (await counted()) - before >= requests);
  assert.equal((await counted()) - before, requests);
});

test('policy reaches every thread', async () => {
  const denied = await one.cli('intention', 'create', 'web', 'api', '--deny', ...flock.operator());
  assert.equal(denied.code, 0, denied.stderr);
  await until('two denies', 5000, async () => (await call()) === 403);
  for (let i = 0; i < 20; i++) assert.equal(await call(), 403);
});

test('an agent with threads leaves in order', async () => {
  assert.equal(await one.program!.stop('SIGTERM'), 0);
});
