import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { definitionOf, hostValue, selfId } from '../../../support/agent.ts';
import { operatorToken, startApi, type TestApi } from '../../../support/api.ts';

const starling = resolve(import.meta.dirname, '../../../../bin/starling');
let api: TestApi;
let folder: string;
let tokenFile: string;
before(async () => {
  api = await startApi();
  folder = mkdtempSync(join(tmpdir(), 'starling-cli-'));
  tokenFile = join(folder, 'operator.token');
  writeFileSync(tokenFile, `${operatorToken}\n`, { mode: 0o600 });
});
after(async () => {
  await api.server.close();
  rmSync(folder, { recursive: true });
});

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `starling` with exactly these arguments, in a folder without an agent's data. */
function starlingWith(
  args: readonly string[],
  env: { readonly [name: string]: string } = {},
  input = '',
): Promise<Ended> {
  const clean = Object.entries(process.env).filter(([name]) => !name.startsWith('STARLING_'));
  const child = spawn(starling, args, { cwd: folder, env: { ...Object.fromEntries(clean), ...env } });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdin.end(input);
  return new Promise((done, failed) => {
    child.on('error', failed);
    child.on('close', (code) => done({ code, stdout, stderr }));
  });
}

/** Runs `starling` against the test's agent. */
function cli(...args: string[]): Promise<Ended> {
  return starlingWith([...args, '--http', api.address]);
}

async function done(...args: string[]): Promise<string> {
  const ended = await cli(...args);
  assert.equal(ended.code, 0, `${args.join(' ')}: ${ended.stderr}`);
  return ended.stdout;
}

/** Refused or misused: the exit code, one line on stderr that begins with our name, nothing on stdout. */
async function fails(code: number, expected: RegExp, ...args: string[]): Promise<void> {
  const ended = await cli(...args);
  assert.equal(ended.code, code, `${args.join(' ')}: ${ended.stdout}${ended.stderr}`);
  assert.match(ended.stderr, /^starling: [^\n]+\n$/);
  assert.match(ended.stderr, expected);
  assert.equal(ended.stdout, '');
}

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

const operator = () => ['--operator-token-file', tokenFile];

test('members and services are tables for people and JSON for programs', async () => {
  api.agent.addHost('b'.repeat(64), hostValue('two', '127.0.0.2', { zone: 'z2' }));
  api.agent.addService(selfId, definitionOf({ name: 'api', tags: ['v1'] }));
  const table = (await done('members')).trimEnd().split('\n');
  assert.match(table[0]!, /^NAME +ADDRESS +STATE +DC +ZONE +VERSION +ID$/);
  assert.match(table[2]!, /^two +127\.0\.0\.2:7946 +alive +dc1 +z2 +0\.1\.0 +bbbbbbbb$/);
  assert.equal(table[0]!.indexOf('STATE'), table[2]!.indexOf('alive'));
  const [, two] = JSON.parse(await done('members', '--json')) as {
    name: string;
    state: string;
    zone: string;
  }[];
  assert.deepEqual([two?.name, two?.state, two?.zone], ['two', 'alive', 'z2']);
  assert.deepEqual(JSON.parse(await done('services', '--json')), [
    { name: 'api', tags: ['v1'], instances: 1, passing: 1 },
  ]);
  assert.match(await done('services'), /^api +1 +1 +v1$/m);
});

test('a service is registered from YAML, JSON and standard input, and deregistered', async () => {
  const yaml = file('web.yaml', 'service:\n  name: web\n  port: 8080\n  check: {ttl: 10s}\n');
  assert.equal(await done('register', yaml), 'registered web\n');
  const json = file('two.json', '{"services": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]}');
  assert.deepEqual(JSON.parse(await done('register', json, '--json')), { registered: ['a', 'b'] });
  const piped = await starlingWith(['register', '-', '--http', api.address], {}, '{"name": "c", "port": 3}');
  assert.equal(piped.code, 0, piped.stderr);
  assert.deepEqual(
    api.agent.localServices().map(({ id }) => id),
    ['a', 'api', 'b', 'c', 'web'],
  );
  assert.equal(await done('deregister', 'web'), 'deregistered web\n');
  await fails(1, /Unknown service ID/, 'deregister', 'web');
});

test('a bad file is refused with its path and field, and nothing of it is registered', async () => {
  const before = api.agent.commands.length;
  const bad = file('bad.json', '{"services": [{"name": "x", "port": 1}, {"name": "y", "prt": 1}]}');
  await fails(1, /bad\.json: services\[1\]\.prt/, 'register', bad);
  await fails(1, /nonsense\.yaml/, 'register', file('nonsense.yaml', '{nonsense'));
  await fails(1, /absent\.json/, 'register', join(folder, 'absent.json'));
  await fails(
    1,
    /runs a program/,
    'register',
    file('script.json', '{"name": "x", "port": 1, "check": {"args": ["/bin/true"], "interval": "1s"}}'),
  );
  assert.equal(api.agent.commands.length, before);
});

test('validate needs no agent and tells services from config entries', async () => {
  const service = file('ok.yaml', 'service: {name: web, port: 80}\n');
  assert.equal((await starlingWith(['validate', service])).stdout, `${service} is valid: service web\n`);
  const entry = file(
    'entry.yaml',
    'Kind: service-intentions\nName: api\nSources: [{Name: web, Action: allow}]\n',
  );
  assert.match((await starlingWith(['validate', entry])).stdout, /service-intentions\/api/);
  await fails(1, /Kind/, 'validate', file('kind.yaml', 'Kind: bird-feeder\nName: x\n'));
});

test('maintenance is switched on and off for a service and for the host', async () => {
  await done('maint', '--enable', '--service', 'api', '--reason', 'new disk');
  assert.match(JSON.stringify([...api.agent.catalog.host(selfId)!.checks.values()]), /new disk/);
  await done('maint', '--disable', '--service', 'api');
  assert.match(await done('maint', '--enable'), /maintenance/);
  assert.match(await done('maint', '--disable'), /rotation/);
  await fails(2, /--enable and --disable/, 'maint');
  await fails(2, /--enable and --disable/, 'maint', '--enable', '--disable');
});

test('intentions are created, listed, checked by exit code, and deleted', async () => {
  assert.equal(
    await done('intention', 'create', 'web', 'api', '--allow', ...operator()),
    'web -> api: allow\n',
  );
  assert.equal((await cli('intention', 'check', 'web', 'api')).code, 0);
  const denied = await cli('intention', 'check', 'batch', 'api', '--json');
  assert.equal(denied.code, 1);
  assert.deepEqual(JSON.parse(denied.stdout), {
    source: 'batch',
    destination: 'api',
    allowed: false,
    rule: 'default deny',
  });
  assert.match(await done('intention', 'list'), /^web +api +allow +9 /m);
  await done('intention', 'delete', 'web', 'api', ...operator());
  await fails(1, /no intention/, 'intention', 'delete', 'web', 'api', ...operator());
  await fails(2, /--allow and --deny/, 'intention', 'create', 'web', 'api');
  await fails(1, /Name/, 'intention', 'create', 'web', 'API!', '--allow', ...operator());
});

test('the operator token is found by flag, environment and data directory, and missed in words', async () => {
  const create = ['intention', 'create', 'a', 'b', '--deny', '--http', api.address];
  assert.equal((await starlingWith(create, { STARLING_OPERATOR_TOKEN_FILE: tokenFile })).code, 0);
  assert.equal((await starlingWith([...create, '--data-dir', folder])).code, 0);
  await fails(1, /operator token[^\n]*starling-data/, 'intention', 'create', 'a', 'b', '--deny');
  const open = file('open.token', operatorToken);
  await fails(1, /chmod 600/, 'intention', 'create', 'a', 'b', '--deny', '--operator-token-file', open);
});

test('config entries are written, read, listed and deleted', async () => {
  const entry = file('defaults.yaml', 'Kind: service-defaults\nName: api\nProtocol: http\n');
  assert.equal(await done('config', 'write', entry, ...operator()), 'wrote service-defaults/api\n');
  const read = JSON.parse(await done('config', 'read', 'service-defaults', 'api')) as { Protocol: string };
  assert.equal(read.Protocol, 'http');
  assert.match(await done('config', 'list'), /^service-defaults +api$/m);
  await done('config', 'delete', 'service-defaults', 'api', ...operator());
  await fails(1, /not found/, 'config', 'read', 'service-defaults', 'api');
});

test('a token goes to stdout alone, and its terms to stderr', async () => {
  const made = await cli('token', 'create', '--service', 'api', '--ttl', '30m', '--uses', '2', ...operator());
  assert.equal(made.code, 0, made.stderr);
  assert.equal(made.stdout, 'st1.token\n');
  assert.match(made.stderr, /2 host/);
  const last = api.agent.commands.at(-1);
  assert.ok(last?.type === 'create-token');
  assert.deepEqual([last.services, last.uses, last.ttlMs], [['api'], 2, 1_800_000]);
  const forOperator = await done('token', 'create', '--role', 'operator', '--json', ...operator());
  assert.match((JSON.parse(forOperator) as { operatorToken: string }).operatorToken, /^starling-operator-1/);
  assert.ok(!forOperator.includes('operatorSeed'));
  await fails(2, /--uses/, 'token', 'create', '--uses', 'many', ...operator());
});

test('the diagnosis is graded, with a hint for what is not well', async () => {
  const findings = await done('check');
  assert.match(findings, /^ok +mesh: /m);
  assert.match(findings, /-> run a time daemon/);
});

test('ca, stat and completion answer', async () => {
  assert.match(await done('ca', 'status'), /flock\.test/);
  assert.match(await done('stat'), /^SOURCE +DESTINATION/);
  const bash = await starlingWith(['completion', 'bash']);
  assert.equal(bash.code, 0);
  assert.match(bash.stdout, /'intention create'\) words='[^']*--allow/);
  assert.match((await starlingWith(['completion', 'zsh'])).stdout, /bashcompinit/);
});

test('without an agent there is one clear line and exit 1', async () => {
  const ended = await starlingWith(['members', '--http', '127.0.0.1:1']);
  assert.equal(ended.code, 1);
  assert.match(ended.stderr, /^starling: no agent answers at 127\.0\.0\.1:1 [^\n]*\n$/);
  const socket = await starlingWith(['members'], { STARLING_HTTP: `unix:${join(folder, 'none.sock')}` });
  assert.equal(socket.code, 1);
  assert.match(socket.stderr, /none\.sock/);
});

test('misuse is exit 2, and commands that are not built are unknown', async () => {
  await fails(2, /unknown command 'explain'/, 'explain', 'web', 'api');
  await fails(2, /unknown command 'rotate'/, 'ca', 'rotate');
  await fails(2, /unknown option '--nest'/, 'members', '--nest');
  await fails(2, /missing required argument 'file'/, 'register');
  await fails(2, /too many arguments/, 'members', 'all');
  assert.equal((await starlingWith(['members', '--http', 'nowhere at all'])).code, 2);
  const help = await starlingWith(['--help']);
  assert.equal(help.code, 0);
  assert.doesNotMatch(help.stdout, /explain|snapshot|apply|debug|\btop\b|\btap\b/);
  assert.equal((await starlingWith([])).code, 2);
});
