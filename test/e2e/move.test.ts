/** A service moves to another host and port by one redirect, under load, and no caller notices or is told. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Bird, command, Flock, type Program, until } from '../../demo/flock.ts';
import { Load } from '../../demo/load.ts';
import {
  apiPort,
  curl,
  passing,
  register,
  registerApi,
  registerWeb,
  startService,
  upstreamPort,
} from './mesh.ts';

const newPort = 9444;
const flock = new Flock();
/** `web` is on one; `api` moves from two to three, where it has another port. */
let one: Bird;
let two: Bird;
let three: Bird;
let oldApi: Program;

async function write(entry: object): Promise<void> {
  const file = join(flock.directory, 'entry.json');
  writeFileSync(file, JSON.stringify(entry));
  const written = await one.cli('config', 'write', file, ...flock.operator());
  assert.equal(written.code, 0, written.stderr);
}

/** What one's DNS server says of `api.mesh`: a loopback address of that host. */
async function vipOfApi(): Promise<string> {
  const { stdout } = await command('dig', ['+short', `@${one.address}`, '-p', `${one.dnsPort}`, 'api.mesh']);
  return stdout.trim();
}

before(async () => {
  [one, two, three] = (await flock.start(
    ['one', 'two', 'three'].map((name, i) => ({ n: 61 + i, name })),
  )) as [Bird, Bird, Bird];
  await startService(flock, 'web', `${one.address}:9000`);
  oldApi = await startService(flock, 'api', `${two.address}:${apiPort}`);
  await startService(flock, 'api-next', `${three.address}:${newPort}`);
  await registerWeb(flock, one, 'api');
  await registerApi(flock, two);
  await register(flock, three, { name: 'api-next', address: three.address, port: newPort });
  for (const destination of ['api', 'api-next'])
    await one.json('intention', 'create', 'web', destination, '--allow', ...flock.operator());
  await until('both are seen on one', 20_000, async () => {
    const seen = await Promise.all(['api', 'api-next'].map((service) => passing(one, service)));
    return seen.every((count) => count === 1);
  });
});
after(() => flock.stop());

test('one redirect moves a service to another host and port, and no request fails', async () => {
  const vip = await vipOfApi();
  const ways: [string, string[]][] = [
    [`http://${one.address}:${upstreamPort}/`, []],
    [`http://${vip}:${apiPort}/`, []],
    [`http://${one.address}:${one.outboundPort}/`, ['host: api.mesh']],
  ];
  const servedBy = (name: string): Promise<boolean[]> =>
    Promise.all(
      ways.map(async ([url, headers]) => {
        const { status, body } = await curl(url, ...headers.flatMap((header) => ['-H', header]));
        return status === 200 && (JSON.parse(body) as { service: string }).service === name;
      }),
    );
  await until('api answers by all three ways', 20_000, async () => (await servedBy('api')).every(Boolean));

  const loads = ways.map(
    ([url, [header]]) => new Load(url, 4, 2, header === undefined ? {} : { host: 'api.mesh' }),
  );
  await write({ Kind: 'service-resolver', Name: 'api', Redirect: { Service: 'api-next' } });
  await until('api-next answers by all three ways', 10_000, async () =>
    (await servedBy('api-next')).every(Boolean),
  );
  assert.equal((await two.cli('deregister', 'api')).code, 0);
  await until('one knows that api is gone', 10_000, async () => (await passing(one, 'api')) === 0);
  await oldApi.stop();
  assert.equal(await vipOfApi(), vip, 'the name still leads to the address that callers have');
  assert.deepEqual(await servedBy('api-next'), [true, true, true]);

  const since = loads.map((load) => load.count);
  await until('much was sent since', 20_000, async () =>
    loads.every((load, i) => load.count > since[i]! + 50),
  );
  for (const report of await Promise.all(loads.map((load) => load.stop())))
    assert.deepEqual(report.reasons, {});
});

test('a name that was moved can be moved on, but not back in a circle', async () => {
  const file = join(flock.directory, 'circle.json');
  writeFileSync(
    file,
    JSON.stringify({ Kind: 'service-resolver', Name: 'api-next', Redirect: { Service: 'api' } }),
  );
  const refused = await one.cli('config', 'write', file, ...flock.operator());
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /circle: api-next -> api -> api-next/);
});
