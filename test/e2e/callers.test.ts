/**
 * Several services on one host, told apart by the user that runs them: real processes of real users, which is why
 * this is run as root.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Bird, command, Flock, until } from '../../demo/flock.ts';
import { register, registerApi, startService } from './mesh.ts';

const web = 1001;
const shop = 1002;
const nobody = 1003;

let flock: Flock;
let host: Bird;
let vip: string;
before(async () => {
  assert.equal(process.getuid?.(), 0, 'only root can act as several users');
  flock = new Flock();
  [host] = (await flock.start([{ n: 41, name: 'shared' }])) as [Bird];
  await startService(flock, 'api', `${host.address}:9001`);
  await registerApi(flock, host);
  await register(flock, host, { name: 'web', port: 9000, address: host.address, user: String(web) });
  await register(flock, host, { name: 'shop', port: 9002, address: host.address, user: String(shop) });
  for (const [source, action] of [
    ['web', '--allow'],
    ['shop', '--deny'],
  ] as const) {
    const made = await host.cli('intention', 'create', action, source, 'api', ...flock.operator());
    assert.equal(made.code, 0, made.stderr);
  }
  const asked = ['@127.0.1.41', '-p', '8600', '+short', 'api.mesh'];
  await until('api has a loopback address', 10_000, async () => {
    vip = (await command('dig', asked)).stdout.trim();
    return /^127\.105\./.test(vip);
  });
  await until(
    'web reaches api',
    20_000,
    async () => (await callAs(web, `http://${vip}:9001/`)).status === 200,
  );
  await until(
    'shop is refused',
    20_000,
    async () => (await callAs(shop, `http://${vip}:9001/`)).status === 403,
  );
});
after(() => flock.stop());

/** What curl gets when a user runs it; `status` 0 where there was no HTTP answer. */
async function callAs(uid: number, ...args: string[]): Promise<{ status: number; body: string }> {
  const identity = ['--reuid', String(uid), '--regid', String(uid), '--clear-groups'];
  const wanted = ['curl', '-sS', '-g', '-m', '15', '-w', '\n%{http_code}', ...args];
  const { stdout } = await command('setpriv', [...identity, ...wanted]);
  const cut = stdout.lastIndexOf('\n');
  return { status: Number(stdout.slice(cut + 1)), body: stdout.slice(0, Math.max(0, cut)) };
}

/** Every way by which a name reaches `api`, the last by an IPv6 socket. */
const ways = (): (readonly string[])[] => [
  [`http://${vip}:9001/`],
  ['-H', 'Host: api.mesh', 'http://127.0.1.41:15001/'],
  ['-H', 'Host: api.mesh', 'http://[::ffff:127.0.1.41]:15001/'],
];

test('the user that runs a program is the service that its definition names, whichever way it calls', async () => {
  for (const way of ways()) {
    const allowed = await callAs(web, ...way);
    assert.equal(allowed.status, 200, allowed.body);
    assert.match(JSON.parse(allowed.body).caller, /\/svc\/web$/);
    const denied = await callAs(shop, ...way);
    assert.equal(denied.status, 403);
    assert.match(denied.body, /shop/, 'refused as shop, by the intention against it');
  }
});

test('a user that no service names is refused, and told what to write', async () => {
  for (const way of ways()) {
    const { status, body } = await callAs(nobody, ...way);
    assert.equal(status, 403);
    assert.match(body, /uid 1003 owns the calling socket/);
    assert.match(body, /api \(no user\), shop \(uid 1002\), web \(uid 1001\)/);
    assert.match(body, /Add "user": "1003" to the definition/);
  }
  assert.match((await callAs(0, `http://${vip}:9001/`)).body, /uid 0 owns/, 'not even root is a service');
});

test('a user changes the service that names it through the API, and no other', async () => {
  const put = (uid: number, path: string, body: object) =>
    callAs(uid, '-X', 'PUT', '-d', JSON.stringify(body), `${host.httpUrl}${path}`);
  const definition = { Name: 'web', Port: 9000, Address: host.address, User: String(web), Tags: ['mine'] };
  assert.equal((await put(web, '/v1/agent/service/register', definition)).status, 200);
  const theirs = await put(shop, '/v1/agent/service/register', { ...definition, Tags: ['stolen'] });
  assert.equal(theirs.status, 403);
  assert.match(theirs.body, /not uid 1002/);
  assert.equal((await put(web, '/v1/agent/service/deregister/shop', {})).status, 403);
  assert.equal((await put(nobody, '/v1/agent/service/register', { Name: 'new', Port: 1 })).status, 403);
  const services = await host.get<{ [id: string]: { Tags: string[] } }>('/v1/agent/services');
  assert.deepEqual(Object.keys(services).sort(), ['api', 'shop', 'web']);
  assert.deepEqual(services.web?.Tags, ['mine']);
});
