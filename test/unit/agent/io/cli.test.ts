import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import type { Command } from 'commander';
import type { TokenStatus } from '../../../../src/agent/port.ts';
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
  api.agent.member('b'.repeat(64), 'alive', 12.345);
  const table = (await done('members')).trimEnd().split('\n');
  assert.match(table[0]!, /^NAME +ADDRESS +STATE +SINCE +RTT +DC +ZONE +INCARNATION +VERSION +ID$/);
  assert.match(table[2]!, /^two +127\.0\.0\.2:7946 +alive +- +12\.3ms +dc1 +z2 +0 +0\.1\.0 +bbbbbbbb$/);
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
  await fails(1, /Unknown service ID "weeb"\.[^\n]* Did you mean web\?/, 'deregister', 'weeb');
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
  const wrong = file('kind.yaml', 'Kind: bird-feeder\nName: x\n');
  await fails(1, /Kind/, 'validate', wrong);
  const told = await starlingWith(['validate', wrong, '--json']);
  const { valid, field } = JSON.parse(told.stdout) as { valid: boolean; field: string };
  assert.deepEqual([told.code, valid, field], [1, false, 'Kind']);
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
    byRequest: false,
  });
  assert.match(await done('intention', 'list'), /^web +api +allow +9 /m);
  assert.equal(
    await done('intention', 'create', 'web', 'api', '--deny', ...operator()),
    'web -> api: deny instead of allow\n',
  );
  await done('intention', 'delete', 'web', 'api', ...operator());
  await fails(1, /no intention/, 'intention', 'delete', 'web', 'api', ...operator());
  await fails(2, /--allow, --deny and --permissions/, 'intention', 'create', 'web', 'api');
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
  const gone = ['config', 'delete', 'service-defaults', 'api', ...operator()];
  assert.equal(await done(...gone), 'deleted service-defaults/api\n');
  await fails(1, /there is no service-defaults\/api/, ...gone);
  await fails(1, /not found/, 'config', 'read', 'service-defaults', 'api');
});

test('a token goes to stdout alone, and its terms to stderr', async () => {
  const made = await cli('token', 'create', '--service', 'api', '--ttl', '30m', '--uses', '2', ...operator());
  assert.equal(made.code, 0, made.stderr);
  assert.equal(made.stdout, 'st1.token\n');
  assert.match(made.stderr, /^token [0-9a-f]{16} admits 2 host/);
  const last = api.agent.commands.at(-1);
  assert.ok(last?.type === 'create-token');
  assert.deepEqual([last.services, last.uses, last.ttlMs], [['api'], 2, 1_800_000]);
  const forOperator = await done('token', 'create', '--role', 'operator', '--json', ...operator());
  assert.match((JSON.parse(forOperator) as { operatorToken: string }).operatorToken, /^starling-operator-1/);
  assert.ok(!forOperator.includes('operatorSeed'));
});

test('tokens are listed with what became of them, and revoked by the beginning of their id', async () => {
  const created = async (...args: string[]): Promise<string> => {
    const made = await done('token', 'create', ...args, '--json', ...operator());
    return (JSON.parse(made) as { id: string }).id;
  };
  const first = await created('--service', 'api', '--uses', '3');
  const second = await created('--role', 'operator');
  const listed = JSON.parse(await done('token', 'list', '--json')) as TokenStatus[];
  assert.deepEqual(listed.slice(0, 2), api.agent.tokens().slice(0, 2));
  assert.match(
    await done('token', 'revoke', first.slice(0, 10), ...operator()),
    new RegExp(`^revoked ${first}$`, 'm'),
  );
  const again = await done('token', 'revoke', first, ...operator());
  assert.match(again, /was revoked already, at 2023-11-14T22:13:20\.000Z/);
  const table = await done('token', 'list');
  assert.match(table, /^ID +STATE +USED +EXPIRES +ROLES +SERVICES +SIGNS AS$/m);
  assert.match(table, new RegExp(`^${first} +revoked +0/3 .* +api +-$`, 'm'));
  // The test's agent lives in 2023, and so long its tokens last.
  assert.match(table, new RegExp(`^${second} +expired +- .* operator +any +eeeeeeee$`, 'm'));
  const shared = (prefix: string) => api.agent.tokens().filter(({ id }) => id.startsWith(prefix)).length;
  const digits = [...'0123456789abcdef'];
  while (!digits.some((digit) => shared(digit) > 1)) await created();
  await fails(
    1,
    /ids of \d+ tokens begin/,
    'token',
    'revoke',
    digits.find((digit) => shared(digit) > 1)!,
    ...operator(),
  );
  await fails(
    1,
    /no token's id begins with 0123456789abcdef/,
    'token',
    'revoke',
    '0123456789abcdef',
    ...operator(),
  );
  await fails(1, /operator token/, 'token', 'revoke', second);
});

test('values that cannot be right are misuse, told before any agent is asked', async () => {
  const wrong: readonly (readonly [RegExp, ...string[]])[] = [
    [/--role[^\n]*agent, operator, trustee/, 'token', 'create', '--role', 'king'],
    [/--ttl[^\n]*"1y" is not a duration/, 'token', 'create', '--ttl', '1y'],
    [/--ttl[^\n]*from 1s to 720h/, 'token', 'create', '--ttl', '721h'],
    [/--uses[^\n]*from 1 to 10000/, 'token', 'create', '--uses', 'many'],
    [/--uses[^\n]*from 1 to 10000/, 'token', 'create', '--uses', '10001'],
    [/--service[^\n]*service name/, 'token', 'create', '--service', 'a b'],
    [/'id'[^\n]*token list/, 'token', 'revoke', 'starling-join-1.x'],
    [/--http[^\n]*"junk" is not ADDRESS:PORT/, 'members', '--http', 'junk'],
    [/--http[^\n]*port 0/, 'members', '--http', '127.0.0.1:0'],
    [/--http[^\n]*path of the socket/, 'members', '--http', 'unix:'],
    [/--http[^\n]*ADDRESS:PORT/, 'members', '--http', 'https://127.0.0.1:8500'],
    [/--operator-token-file/, 'token', 'revoke', 'ab', '--operator-token-file', ''],
    [/--data-dir/, 'token', 'revoke', 'ab', '--data-dir', ''],
    [/'source'[^\n]*service name/, 'intention', 'create', 'w eb', 'api', '--allow'],
    [/'destination'[^\n]*service name/, 'intention', 'check', 'web', 'API'],
    [/'source'/, 'intention', 'delete', '', 'api'],
    [/--description/, 'intention', 'create', 'web', 'api', '--deny', '--description', 'x'.repeat(513)],
    [/'kind'[^\n]*service-intentions/, 'config', 'list', 'bird-feeder'],
    [/'kind'/, 'config', 'read', 'meshes', 'mesh'],
    [/'name'[^\n]*service name/, 'config', 'delete', 'service-defaults', 'a/b'],
    [/'id'[^\n]*service id/, 'deregister', 'a b'],
    [/--service[^\n]*service id/, 'maint', '--enable', '--service', ''],
    [/--recovery-key-file, or --new-root/, 'ca', 'recover'],
    [/--recovery-key-file, or --new-root/, 'ca', 'recover', '--drill'],
    [/'--new-root' cannot[^\n]*'--drill'/, 'ca', 'recover', '--new-root', '--drill'],
    [/--new-root' cannot/, 'ca', 'recover', '--new-root', '--recovery-key-file', 'f'],
    [/'file'/, 'register', ''],
    [/'file'/, 'validate', ''],
    [/'file'/, 'config', 'write', ''],
  ];
  const env = { STARLING_HTTP: '127.0.0.1:1' };
  await Promise.all(
    wrong.map(async ([expected, ...args]) => {
      const ended = await starlingWith(args, env);
      assert.equal(ended.code, 2, `${args.join(' ')}: ${ended.stdout}${ended.stderr}`);
      assert.match(ended.stderr, /^starling: [^\n]+\n$/);
      assert.match(ended.stderr, expected);
    }),
  );
  const badEnvironment = await starlingWith(['members'], { STARLING_HTTP: 'junk' });
  assert.equal(badEnvironment.code, 2);
  assert.match(badEnvironment.stderr, /STARLING_HTTP/);
  for (const http of ['http://127.0.0.1:1', '[::1]:1', 'localhost:1'])
    assert.equal((await starlingWith(['members', '--http', http])).code, 1, http);
});

test('an identity that has a problem is shown with how long it still lasts', async () => {
  const held = {
    service: 'api',
    spiffeId: 'spiffe://flock.test/x',
    notBefore: 0,
    problem: 'no answer from the root',
  };
  api.agent.identityList = [
    { ...held, notAfter: Date.now() + 3 * 3_600_000 + 30_000 },
    { ...held, service: 'new', notAfter: 0 },
    { ...held, service: 'old', notAfter: 1 },
  ];
  const shown = await done('ca', 'status');
  api.agent.identityList = [];
  assert.match(shown, /^api +in 3h0m +no answer from the root$/m);
  assert.match(shown, /^new +- +no answer/m);
  assert.match(shown, /^old +past +no answer/m);
});

test('the diagnosis is graded, with a hint for what is not well', async () => {
  const findings = await done('check');
  assert.match(findings, /^ok +mesh: /m);
  assert.match(findings, /-> run a time daemon/);
});

test('ca status says who holds the root, what it waits for and what went wrong', async () => {
  const root = { generation: 1, state: 'active', active: true, notBefore: 0, activeSince: 1 } as const;
  const notAfter = Date.now() + 3 * 3_600_000 + 30_000;
  api.agent.caParts = {
    roots: [
      { ...root, notAfter, waitingFor: [] },
      { ...root, generation: 2, state: 'next', active: false, notAfter, waitingFor: ['two', 'three'] },
    ],
    trustees: [
      { id: 'a', name: 'one', alive: true, self: true },
      { id: 'b', name: 'two', alive: false, self: false },
    ],
    quorum: false,
    alive: 1,
    holdsShare: false,
    rotation: 'introducing',
    generation: 2,
    lastFailure: 'nobody promised',
    cold: { key: 'c'.repeat(64), seats: 1, drill: null },
  };
  const shown = await done('ca', 'status');
  api.agent.caParts = {};
  assert.match(shown, /: starling ca recover --drill --recovery-key-file FILE$/m);
  assert.match(shown, /^epoch 1: root g2 is held 2 of 2; 1 here, cannot sign$/m);
  assert.match(shown, /lacks its share/);
  assert.match(shown, /^rotation: root g2 signs once/m);
  assert.match(shown, /^last failure: nobody promised$/m);
  assert.match(shown, /^g2 +next +in 3h0m +two, three$/m);
  assert.match(shown, /^two +away$/m);
});

test('ca rotate says what will happen, waits if asked, and names who is waited for', async () => {
  const token = ['--operator-token-file', tokenFile];
  await fails(1, /needs an operator token/, 'ca', 'rotate');
  const plan = await done('ca', 'rotate', ...token);
  assert.match(plan, /^the trustees one, two, three make root g2, held 2 of 3 like g1;$/m);
  await fails(2, /timeout/, 'ca', 'rotate', '--timeout', 'soon', ...token);
  const root = { generation: 2, state: 'next', active: false, notBefore: 0, notAfter: 1 } as const;
  api.agent.caParts = { roots: [{ ...root, activeSince: null, waitingFor: ['two'] }] };
  const waited = await cli('ca', 'rotate', '--wait', '--timeout', '1ms', ...token);
  assert.equal(waited.code, 1);
  assert.match(waited.stderr, /^starling: root g2 is not active yet: it waits for two; it goes on$/m);
  api.agent.caParts = {
    roots: [{ ...root, state: 'active', active: true, activeSince: 5, waitingFor: [] }],
  };
  const ended = JSON.parse(await done('ca', 'rotate', '--wait', '--json', ...token));
  assert.deepEqual([ended.next, ended.activeSince], [2, 5]);
  api.agent.caParts = { rotation: 'asked' };
  await fails(1, /a rotation is under way/, 'ca', 'rotate', ...token);
  api.agent.caParts = {};
});

test('ca log says what was signed and who witnessed it, and --verify whose log can be believed', async () => {
  const entry = { digest: 'd', serial: 'ab', notBefore: 0, requester: selfId, requesterName: 'two' };
  const subject = 'spiffe://flock.test/ns/default/dc/dc1/svc/web';
  const source = { id: selfId, sequence: 9, entries: 2, from: 8, problem: null };
  api.agent.caLog = {
    entries: [{ ...entry, subject, at: 1_700_000_000_000, notAfter: 0, witnesses: ['one', 'three'] }],
    sources: [{ ...source, name: 'one' }],
    alarms: [],
  };
  assert.match(await done('ca', 'log', '--host', 'two'), /svc\/web +- +two +one,three$/m);
  assert.match(await done('ca', 'log', '--verify'), /^one +9 +8 +2 +leads to its signed head$/m);
  const { caLog } = api.agent;
  const lost = { ...source, name: 'three', sequence: null, entries: 0, from: null, problem: 'no-answer' };
  const alarm = { id: selfId, name: 'one', detail: 'signed two heads', evidence: '' };
  const denied = { ...lost, name: 'two', problem: 'denied' };
  api.agent.caLog = { ...caLog, sources: [...caLog.sources, denied] };
  assert.match(await done('ca', 'log', '--verify'), /^two +- +- +0 +went with its host, which was denied$/m);
  api.agent.caLog = { ...caLog, sources: [...caLog.sources, lost], alarms: [alarm] };
  const plain = await cli('ca', 'log');
  assert.equal(plain.code, 0);
  assert.match(plain.stderr, /not read to the end: three/);
  const verified = await cli('ca', 'log', '--verify');
  assert.equal(verified.code, 1);
  assert.match(verified.stdout, /^three +- +- +0 +did not answer in time$/m);
  assert.match(verified.stdout, /^one signed two heads$/m);
  assert.equal(JSON.parse((await cli('ca', 'log', '--verify', '--json')).stdout).alarms.length, 1);
});

test('ca, stat and completion answer', async () => {
  assert.match(await done('ca', 'status'), /flock\.test/);
  assert.match(await done('stat'), /^SOURCE +DESTINATION/);
  const bash = await starlingWith(['completion', 'bash']);
  assert.equal(bash.code, 0);
  assert.match(bash.stdout, /'intention create'\) words='[^']*--allow/);
  assert.match((await starlingWith(['completion', 'zsh'])).stdout, /bashcompinit/);
});

test('every command prints JSON if asked, and names what was nearly right', async () => {
  const { buildProgram } = await import('../../../../src/agent/io/cli/program.ts');
  const leaves = (command: Command, path: string[]): [string, Command][] => [
    ...(command.options.length > 0 ? [[path.join(' '), command] as [string, Command]] : []),
    ...command.commands.flatMap((sub) => leaves(sub, [...path, sub.name()])),
  ];
  for (const [path, command] of buildProgram('0').commands.flatMap((sub) => leaves(sub, [sub.name()])))
    assert.ok(
      command.options.some(({ long }) => long === '--json'),
      path,
    );
  await fails(2, /unknown command 'wirte' \(Did you mean write\?\)/, 'config', 'wirte', 'x');
  await fails(2, /unknown option '--jsno' \(Did you mean --json\?\)/, 'members', '--jsno');
  await fails(2, /Unknown option '--boostrap' \(Did you mean --bootstrap\?\)/, 'agent', '--boostrap');
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
  await fails(2, /unknown command 'fly'/, 'fly', 'web', 'api');
  await fails(2, /unknown command 'membrs' \(Did you mean members\?\)/, 'membrs');
  await fails(2, /unknown option '--nest'/, 'members', '--nest');
  await fails(2, /missing required argument 'file'/, 'register');
  await fails(2, /too many arguments/, 'members', 'all');
  assert.equal((await starlingWith(['members', '--http', 'nowhere at all'])).code, 2);
  const help = await starlingWith(['--help']);
  assert.equal(help.code, 0);
  assert.match(help.stdout, /members/);
  assert.equal((await starlingWith([])).code, 2);
  for (const name of ['members', 'ca', 'agent']) {
    const asked = await starlingWith(['help', name]);
    assert.equal(asked.code, 0, name);
    assert.match(asked.stdout, new RegExp(`^Usage: starling ${name} `));
  }
  assert.equal((await starlingWith(['help', 'membrs'])).code, 2);
});

test('an agent that is told too little, or no token, ends with 2 and says which option', async () => {
  const wrong: readonly (readonly [RegExp, ...string[]])[] = [
    [/--bootstrap[^\n]*--join/],
    [/token create/, '--join', '127.0.0.1'],
    [/--token: expected text/, '--join', '127.0.0.1', '--token', 'foo'],
    [/--token-file: expected text/, '--join', '127.0.0.1', '--token-file', file('no.token', 'foo')],
  ];
  for (const [expected, ...args] of wrong) {
    const ended = await starlingWith(['agent', '--bind', '127.0.0.1', '--data-dir', 'agent', ...args]);
    assert.equal(ended.code, 2, ended.stderr);
    assert.match(ended.stderr, /^starling: [^\n]+\n$/);
    assert.match(ended.stderr, expected);
  }
});

test('explain says what becomes of a call, by exit code too, and what would let it through', async () => {
  const ended = await cli('explain', 'web', 'api', '--path', '/x', '--header', 'a=b', '--why-not');
  assert.equal(ended.code, 1);
  assert.match(ended.stdout, /^(refused|denied): /);
  const answer = JSON.parse((await cli('explain', 'web', 'api', '--json')).stdout) as { verdict: string };
  assert.notEqual(answer.verdict, 'forwarded');
  await fails(2, /service name/i, 'explain', 'WEB', 'api');
  await fails(2, /service name/i, 'explain', 'web', 'api@dc2@dc3');
  await fails(2, /NAME:VALUE/, 'explain', 'web', 'api', '--header', 'x');
  await fails(2, /starts with \//, 'explain', 'web', 'api', '--path', 'x');
  await fails(2, /method/, 'explain', 'web', 'api', '--method', 'G T');
});
