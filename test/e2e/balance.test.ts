/** Zones, panic, ejection and slow start as callers and operators see them: `web` on one host, `api` on three. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Bird, Flock, until } from '../../demo/flock.ts';
import type { Explanation } from '../../src/agent/policy/explain.ts';
import { metric, passing, register, registerWeb, upstreamPort } from './mesh.ts';
import { type Application, startHttp } from './proxy-pair.ts';

const flock = new Flock();
const agent = new Agent({ keepAlive: true });
/** Hosts whose application answers 500. */
const failing = new Set<string>();
const apps: Application[] = [];
let web: Bird;
let servers: Bird[];

before(async () => {
  const zones = { near: 'a', one: 'a', two: 'b', three: 'b' };
  const birds = Object.entries(zones).map(([name, zone], i) => ({
    n: 121 + i,
    name,
    extra: ['--zone', zone],
  }));
  [web, ...servers] = (await flock.start(birds)) as [Bird, ...Bird[]];
  await registerWeb(flock, web, 'api');
  for (const bird of servers) await serve(bird);
  const allowed = await web.cli('intention', 'create', 'web', 'api', '--allow', ...flock.operator());
  assert.equal(allowed.code, 0, allowed.stderr);
  await until('api is known and answers', 20_000, async () => {
    const isKnown = (await passing(web, 'api')) === servers.length;
    return isKnown && (await calls(30)).failed === 0;
  });
});
after(async () => {
  agent.destroy();
  await flock.stop();
  await Promise.all(apps.map((app) => app.stop()));
});

/** Runs and registers an `api` on a host; it answers with the name of the host. */
async function serve(bird: Bird): Promise<void> {
  const app = await startHttp(bird.address, (_, response) => {
    response.statusCode = failing.has(bird.name) ? 500 : 200;
    response.end(bird.name);
  });
  apps.push(app);
  await register(flock, bird, { name: 'api', address: bird.address, port: app.port });
}

interface Answers {
  /** Answers by host, those with a failure included. */
  readonly by: { [host: string]: number };
  readonly failed: number;
}

/** What so many calls of `web` come to, one after the other. */
async function calls(count: number): Promise<Answers> {
  const by: { [host: string]: number } = {};
  let failed = 0;
  for (let i = 0; i < count; i++) {
    const { status, text } = await call();
    by[text] = (by[text] ?? 0) + 1;
    if (status !== 200) failed++;
  }
  return { by, failed };
}

function call(): Promise<{ status: number; text: string }> {
  return new Promise((done, reject) => {
    const sent = request({ host: web.address, port: upstreamPort, agent, timeout: 10_000 }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.on('end', () => done({ status: response.statusCode!, text }));
    });
    sent.on('timeout', () => sent.destroy(new Error('no answer in time')));
    sent.on('error', reject);
    sent.end();
  });
}

async function write(entry: object): Promise<void> {
  const file = join(flock.directory, 'entry.json');
  writeFileSync(file, JSON.stringify(entry));
  const written = await web.cli('config', 'write', file, ...flock.operator());
  assert.equal(written.code, 0, written.stderr);
}

const balanceBy = (LoadBalancer: object): Promise<void> =>
  write({ Kind: 'service-resolver', Name: 'api', LoadBalancer });

/** How many failures in a row eject; null ejects nobody. */
const ejectAfter = (MaxFailures: number | null): Promise<void> => {
  const PassiveHealthCheck = { MaxFailures, MaxEjectionPercent: 100, BaseEjectionTime: '10m' };
  const Defaults = MaxFailures === null ? {} : { PassiveHealthCheck };
  const UpstreamConfig = MaxFailures === null ? {} : { UpstreamConfig: { Defaults } };
  return write({ Kind: 'service-defaults', Name: 'web', Protocol: 'http', ...UpstreamConfig });
};

async function explained(): Promise<Explanation> {
  return web.get<Explanation>('/v1/mesh/explain?source=web&destination=api&path=/&method=GET');
}

test('what stays in a zone is its part of the endpoints, divided by its part of the callers', async () => {
  // By latency, whoever answers a little sooner gets most of what spills over.
  await balanceBy({ Policy: 'round_robin' });
  // The only caller is in zone a, a third of what it calls is.
  const alone = (await explained()).targets[0]!.zones!;
  assert.deepEqual([alone.zone, alone.callerShare], ['a', 1]);
  assert.ok(Math.abs(alone.staying - 1 / 3) < 1e-9, `${alone.staying}`);
  await until('the proxy knows the policy', 10_000, async () => ((await calls(90)).by.three ?? 0) > 15);
  const even = await calls(600);
  assert.ok(Math.abs(even.by.one! - 200) < 70, JSON.stringify(even));
  // With as many callers in zone b, a third of all is two thirds of what this host calls.
  await register(flock, servers[2]!, { name: 'web', connect: { sidecar_service: {} }, port: 9999 });
  await until('the caller in zone b is known', 10_000, async () => {
    const { callerShare, staying } = (await explained()).targets[0]!.zones!;
    return callerShare === 0.5 && Math.abs(staying - 2 / 3) < 1e-9;
  });
  await until('the proxy knows it too', 10_000, async () => (await calls(300)).by.one! > 150);
  const halved = await calls(600);
  assert.ok(Math.abs(halved.by.one! - 400) < 70, JSON.stringify(halved));
  const picks = 'starling_proxy_zone_picks_total';
  assert.ok(
    (await metric(web, picks, 'zone="own"')) > 500 && (await metric(web, picks, 'zone="other"')) > 500,
  );
  const text = await web.cli('explain', 'web', 'api');
  assert.match(
    text.stdout,
    /zones +a has 33\.33 % of api and 50 % of its callers: 66\.67 % stays, 33\.33 % goes to b/,
  );
});

test('who fails is ejected, in panic all are asked, and who is out is back when nobody is to be ejected', async () => {
  await balanceBy({ Policy: 'round_robin', ZoneAware: false });
  await ejectAfter(1);
  failing.add('two').add('three');
  await until('only the host that is well is asked', 20_000, async () => (await calls(30)).by.one === 30);
  const panics = 'starling_proxy_panic_picks_total';
  const before = await metric(web, panics, 'cluster="api"');
  assert.match((await web.cli('stat')).stdout, /web -> api: 2 ejected/);

  await balanceBy({ Policy: 'round_robin', ZoneAware: false, PanicPercent: 50 });
  await until('all are asked', 10_000, async () => Object.keys((await calls(30)).by).length === 3);
  const panicking = await calls(300);
  for (const host of ['one', 'two', 'three'])
    assert.equal(panicking.by[host], 100, JSON.stringify(panicking));
  assert.equal(panicking.failed, 200);
  assert.ok((await metric(web, panics, 'cluster="api"')) >= before + 300);
  assert.match((await web.cli('stat')).stdout, /web -> api: .*in panic/);

  failing.clear();
  await balanceBy({ Policy: 'round_robin', ZoneAware: false });
  await until('only one is asked again', 10_000, async () => (await calls(30)).by.one === 30);
  await ejectAfter(null);
  await until('all are asked at once', 10_000, async () => Object.keys((await calls(30)).by).length === 3);
  assert.deepEqual((await calls(300)).by, { one: 100, two: 100, three: 100 });
  assert.equal(await metric(web, 'starling_proxy_panic{', 'cluster="api"'), 0);
});

test('a host that comes anew begins with little and grows to its share', async () => {
  const three = servers[2]!;
  await balanceBy({ Policy: 'round_robin', ZoneAware: false, SlowStart: '20s' });
  assert.equal((await three.cli('deregister', 'api')).code, 0);
  await until('it is gone', 10_000, async () => (await calls(100)).by.three === undefined);
  await serve(three);
  let first = 0;
  await until('it is asked', 20_000, async () => {
    first = (await calls(100)).by.three ?? 0;
    return first > 0;
  });
  // A tenth of the weight of the others to begin with: 5 of 100, and never more than that of half the time.
  assert.ok(first < 20, `${first} of the first 100`);
  await until('it has its share', 60_000, async () => ((await calls(300)).by.three ?? 0) >= 97);
});
