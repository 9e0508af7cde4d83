/** One data plane on several threads: served by all of them, limited and counted as one, stopped in order. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Agent, request } from 'undici';
import { type Bird, Flock, until } from '../../demo/flock.ts';
import {
  curl,
  metric,
  passing,
  register,
  registerApi,
  registerWeb,
  startService,
  upstreamPort,
} from './mesh.ts';
import { type Application, startHttp } from './proxy-pair.ts';

const flock = new Flock();
const threads = 3;
let one: Bird;
let two: Bird;
/** An application that answers once the test lets it. */
let slow: Application;
const unanswered: ServerResponse[] = [];

before(async () => {
  const extra = ['--proxy-workers', String(threads)];
  [one, two] = (await flock.start([
    { n: 1, name: 'one', extra: [...extra, '--default-intention', 'allow'] },
    { n: 2, name: 'two', extra },
  ])) as [Bird, Bird];
  await startService(flock, 'api', `${two.address}:9001`);
  slow = await startHttp(two.address, (_request, response) => unanswered.push(response));
  await registerWeb(flock, one, 'api', 'slow');
  await registerApi(flock, two);
  await register(flock, two, { name: 'slow', address: two.address, port: slow.port });
  await until('slow is known', 10_000, async () => (await passing(one, 'slow')) === 1);
  await until('api answers', 20_000, async () => (await call()) === 200);
});
after(async () => {
  await slow.stop();
  await flock.stop();
});

async function call(): Promise<number> {
  return (await curl(`http://${one.address}:${upstreamPort}/`)).status;
}

/** The statuses of so many requests to an upstream, each on a connection of its own, that the kernel spreads. */
function calls(count: number, port = upstreamPort): Promise<number>[] {
  return Array.from({ length: count }, async () => {
    const { statusCode, body } = await request(`http://${one.address}:${port}/`, { reset: true });
    await body.dump();
    return statusCode;
  });
}

/** Writes policy, and waits until it is in force on both hosts. */
async function write(entry: {
  readonly Kind: string;
  readonly Name: string;
  readonly [field: string]: unknown;
}) {
  const file = join(flock.directory, `${entry.Kind}-${entry.Name}.json`);
  writeFileSync(file, JSON.stringify(entry));
  const written = await one.cli('config', 'write', file, '--wait', ...flock.operator());
  assert.equal(written.code, 0, written.stderr);
}

test('every connection is served, whichever thread gets it, and every request is counted once', async () => {
  const counted = (): Promise<number> =>
    metric(one, 'istio_requests_total', 'reporter="source"', 'response_code="200"');
  const requests = 200;
  await until('the first call is counted', 10_000, async () => (await counted()) > 0);
  const before = await counted();
  const statuses = await Promise.all(calls(requests));
  assert.deepEqual([...new Set(statuses)], [200]);
  await until(
    'the counters of all threads add up',
    15_000,
    async () => (await counted()) - before >= requests,
  );
  assert.equal((await counted()) - before, requests);
});

test('a rate limit is one for all threads: a caller with one connection has all of it, many have no more', async () => {
  const burst = 40;
  const limit = { Name: 'web', RequestsPerSecond: 1, RequestsMaxBurst: burst };
  await write({ Kind: 'service-defaults', Name: 'api', Protocol: 'http', RateLimits: { Callers: [limit] } });
  const began = performance.now();
  const connection = new Agent({ connections: 1 });
  for (let i = 0; i < burst / 2; i++) {
    const url = `http://${one.address}:${upstreamPort}/`;
    const { statusCode, body } = await request(url, { dispatcher: connection });
    await body.dump();
    assert.equal(statusCode, 200);
  }
  await connection.close();
  const statuses = await Promise.all(calls(2 * burst));
  const passed = statuses.filter((status) => status === 200).length;
  const earned = Math.ceil((performance.now() - began) / 1000);
  assert.ok(passed >= burst / 2 && passed <= burst / 2 + earned, `${passed}, ${earned} earned`);
  assert.equal(statuses.filter((status) => status === 429).length, 2 * burst - passed);
  await write({ Kind: 'service-defaults', Name: 'api', Protocol: 'http' });
});

/** How many of many requests at once reach the application; the others are refused at once. */
async function underWay(expected: number): Promise<void> {
  const all = calls(30, upstreamPort + 1);
  const refused: number[] = [];
  for (const one of all) one.then((status) => refused.push(status));
  await until('all are refused or under way', 10_000, async () => {
    return refused.length + unanswered.length === all.length;
  });
  assert.equal(unanswered.length, expected);
  assert.deepEqual([...new Set(refused)], [503]);
  for (const response of unanswered.splice(0)) response.end();
  const statuses = await Promise.all(all);
  assert.equal(statuses.filter((status) => status === 200).length, expected);
}

test('what a service takes at once is one number for all threads, and so is what a caller has under way', async () => {
  await write({ Kind: 'service-defaults', Name: 'slow', Protocol: 'http', MaxInboundConnections: 7 });
  await underWay(7);
  await underWay(7);
  const Limits = { MaxConcurrentRequests: 4 };
  await write({ Kind: 'service-defaults', Name: 'web', UpstreamConfig: { Defaults: { Limits } } });
  await underWay(4);
  await underWay(4);
});

test('policy reaches every thread', async () => {
  const denied = await one.cli('intention', 'create', 'web', 'api', '--deny', ...flock.operator());
  assert.equal(denied.code, 0, denied.stderr);
  // One thread hears of it before another; each call is by a connection of its own, so that any may get it.
  await until('every thread denies', 15_000, async () => {
    for (let i = 0; i < 20; i++) if ((await call()) !== 403) return false;
    return true;
  });
});

test('an agent with threads leaves in order', async () => {
  assert.equal(await one.program!.stop('SIGTERM'), 0);
});
