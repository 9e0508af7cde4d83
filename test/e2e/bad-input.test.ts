/** What users get wrong: a clear error with the field, and nothing half-applied. */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Bird, Flock, until } from '../../demo/flock.ts';

let flock: Flock;
let bird: Bird;
let folder: string;
before(async () => {
  flock = new Flock();
  folder = join(flock.directory, 'services');
  mkdirSync(folder);
  writeFileSync(join(folder, 'good.json'), '{"service": {"name": "good", "port": 9000}}');
  [bird] = (await flock.start([{ n: 31, name: 'solo', extra: ['--services', folder] }])) as [Bird];
});
after(() => flock.stop());

async function registered(): Promise<string[]> {
  return Object.keys(await bird.get<object>('/v1/agent/services')).sort();
}

async function refusal(body: string): Promise<{ status: number; text: string }> {
  const response = await fetch(`${bird.httpUrl}/v1/agent/service/register`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body,
  });
  return { status: response.status, text: await response.text() };
}

test('bad registrations through the API are refused with the field and change nothing', async () => {
  const before = await registered();
  const cases: [string, RegExp][] = [
    ['{"Name": "web"', /JSON/i],
    ['[]', /object/],
    ['{"Name": "web", "Prot": 80}', /Prot/],
    ['{"Name": "web", "Port": 70000}', /Port/],
    ['{"Name": "Not A Label", "Port": 80}', /Name/],
    ['{"Port": 80}', /Name/],
    ['{"Name": "web", "Port": 80, "Check": {"HTTP": "http://127.0.0.1/", "Interval": "soon"}}', /Interval/],
    [
      '{"Name": "web", "Port": 80, "Check": {"HTTP": "http://127.0.0.1/", "TCP": "127.0.0.1:1", "Interval": "1s"}}',
      /Check/,
    ],
    ['{"Name": "web", "Port": 80, "Check": {"Args": ["/bin/true"], "Interval": "1s"}}', /Args|script/i],
    [
      '{"Name": "web", "Port": 80, "Checks": [{"CheckID": "a", "TTL": "9s"}, {"CheckID": "a", "TTL": "9s"}]}',
      /Checks\[1\]/,
    ],
  ];
  for (const [body, expected] of cases) {
    const { status, text } = await refusal(body);
    assert.equal(status, 400, `${body}: ${status} ${text}`);
    assert.match(text, expected, body);
  }
  assert.deepEqual(await registered(), before);
});

test('an upstream on the agent’s own port, or on another service’s, is refused with the field', async () => {
  const { hostname, port } = new URL(bird.httpUrl);
  const calling = (name: string, bind: number) =>
    JSON.stringify({
      Name: name,
      Connect: {
        SidecarService: {
          Proxy: {
            Upstreams: [{ DestinationName: 'good', LocalBindAddress: hostname, LocalBindPort: bind }],
          },
        },
      },
    });
  const own = await refusal(calling('greedy', Number(port)));
  assert.equal(own.status, 400, own.text);
  assert.match(own.text, /Upstreams\[0\]\.LocalBindPort.*--http/);
  assert.equal((await refusal(calling('first', 18_081))).status, 200);
  const second = await refusal(calling('second', 18_081));
  assert.equal(second.status, 400, second.text);
  assert.match(second.text, /upstream of "first"/);
  assert.deepEqual(await registered(), ['first', 'good']);
  assert.equal((await bird.cli('deregister', 'first')).code, 0);
});

test('bad files on the command line are refused with the field', async () => {
  const file = join(flock.directory, 'bad.json');
  for (const [contents, expected] of [
    ['{"service": {"name": "web", "port": 0.5}}', /port/],
    ['{"service": {"name": "web", "ports": [80]}}', /ports/],
    ['{"services": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]}', /services\[1\]/],
    ['{nonsense', /bad\.json/],
  ] as const) {
    writeFileSync(file, contents);
    const result = await bird.cli('register', file);
    assert.notEqual(result.code, 0, contents);
    assert.match(result.stderr, expected);
    assert.equal(result.stderr.trim().split('\n').length, 1, result.stderr);
  }
  const missing = await bird.cli('register', join(flock.directory, 'absent.json'));
  assert.notEqual(missing.code, 0);
  assert.match(missing.stderr, /absent\.json/);
  assert.deepEqual(await registered(), ['good']);
});

test('a watched file that goes bad keeps its last good definitions, and the others go on', async () => {
  writeFileSync(join(folder, 'more.yaml'), 'service:\n  name: more\n  port: 9002\n');
  await until('more is registered', 15_000, async () => (await registered()).includes('more'));
  writeFileSync(join(folder, 'good.json'), '{"service": {"name": "good", "port": 99999}}');
  writeFileSync(join(folder, 'third.json'), '{"service": {"name": "third", "port": 9003}}');
  await until('third is registered', 15_000, async () => (await registered()).includes('third'));
  const services = await bird.get<{ [id: string]: { Port: number } }>('/v1/agent/services');
  assert.equal(services.good?.Port, 9000);
  await until('the bad file is a finding', 10_000, async () => {
    return /good\.json/.test((await bird.cli('check', '--json')).stdout);
  });
  writeFileSync(join(folder, 'good.json'), '{"service": {"name": "good", "port": 9009}}');
  await until('good has its new port', 15_000, async () => {
    return (await bird.get<{ [id: string]: { Port: number } }>('/v1/agent/services')).good?.Port === 9009;
  });
});

test('bad intentions and requests from pages of other origins are refused', async () => {
  for (const args of [
    ['intention', 'create', 'web', 'api'],
    ['intention', 'create', 'web', 'API!', '--allow', ...flock.operator()],
  ]) {
    const result = await bird.cli(...args);
    assert.notEqual(result.code, 0, args.join(' '));
    assert.equal(result.stderr.trim().split('\n').length, 1, result.stderr);
  }
  const unsigned = await bird.put('/v1/config', {
    Kind: 'service-intentions',
    Name: 'api',
    Sources: [{ Name: 'web', Action: 'allow' }],
  });
  assert.equal(unsigned.status, 403, await unsigned.text());
  const foreign = await fetch(`${bird.httpUrl}/v1/agent/self`, {
    headers: { origin: 'http://evil.example' },
  });
  assert.equal(foreign.status, 403);
});

test('an unreadable services path is named', async () => {
  const other = flock.bird({ n: 32, name: 'other', extra: ['--services', join(flock.directory, 'nowhere')] });
  const result = await other.startRefused('--bootstrap');
  assert.equal(result.code, 1);
  assert.match(result.stderr, /nowhere/);
});

test('a data directory that cannot be made is refused at once, in one line that names it', async () => {
  const other = flock.bird({ n: 32, name: 'other', extra: ['--data-dir', '/proc/starling/data'] });
  const result = await other.startRefused('--bootstrap');
  assert.equal(result.code, 1);
  assert.match(result.stderr, /^starling: cannot make the directory \/proc\/starling: [^\n]+\n$/);
});
