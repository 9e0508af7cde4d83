/** Policy from the command line: what a write would change, what it changed, and where it holds. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { hostValue } from '../../../support/agent.ts';
import { operatorToken, startApi, type TestApi } from '../../../support/api.ts';

const starling = resolve(import.meta.dirname, '../../../../bin/starling');
const two = 'b'.repeat(64);
let api: TestApi;
let folder: string;
before(async () => {
  api = await startApi();
  folder = mkdtempSync(join(tmpdir(), 'starling-policy-'));
  writeFileSync(join(folder, 'operator.token'), `${operatorToken}\n`, { mode: 0o600 });
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

function cli(...args: string[]): Promise<Ended> {
  const env = { ...process.env, STARLING_HTTP: api.address, STARLING_DATA_DIR: folder };
  const child = spawn(starling, args, { cwd: folder, env });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  return new Promise((done, failed) => {
    child.on('error', failed);
    child.on('close', (code) => done({ code, stdout, stderr }));
  });
}

async function done(...args: string[]): Promise<string> {
  const ended = await cli(...args);
  assert.equal(ended.code, 0, `${args.join(' ')}: ${ended.stderr}`);
  return ended.stdout;
}

function file(name: string, content: string): string {
  writeFileSync(join(folder, name), content);
  return name;
}

const entryOf = (timeout: string) => `kind: service-resolver\nname: api\nconnect_timeout: ${timeout}\n`;

test('a file of entries, or of documents, is written as a whole or not at all', async () => {
  const router = { Kind: 'service-router', Name: 'web', Routes: [{ Destination: { ServiceSubset: 'v1' } }] };
  const resolver = { Kind: 'service-resolver', Name: 'web', Subsets: { v1: {} } };
  const path = file('both.json', JSON.stringify([router, resolver]));
  assert.equal(await done('apply', path), 'wrote service-router/web\nwrote service-resolver/web\n');
  const documents = file(
    'two.yaml',
    '---\nkind: service-defaults\nname: a\n---\nkind: service-defaults\nname: b\n',
  );
  assert.equal(
    await done('config', 'write', documents),
    'wrote service-defaults/a\nwrote service-defaults/b\n',
  );
  const twice = await cli('apply', file('twice.json', JSON.stringify([resolver, resolver])));
  assert.deepEqual(
    [twice.code, /service-resolver\/web is in the list already/.test(twice.stderr)],
    [1, true],
  );
});

test('an entry’s versions are listed, compared and brought back', async () => {
  const path = file('api.yaml', entryOf('1s'));
  await done('config', 'write', path);
  file('api.yaml', entryOf('90s'));
  assert.match(await done('config', 'write', path, '--dry-run'), /~ ConnectTimeout: "1s" -> "1m30s"/);
  await done('config', 'write', path);
  const [header, last, first] = (await done('config', 'history', 'service-resolver', 'api'))
    .trim()
    .split('\n');
  assert.match(header!, /^REVISION +WRITTEN +BY +IN FORCE +CHANGES$/);
  assert.match(last!, /^[0-9a-f]{12} .* yes +ConnectTimeout$/);
  assert.match(first!, / +written$/);
  const entry = ['service-resolver', 'api'];
  assert.equal(await done('config', 'diff', ...entry), '~ ConnectTimeout: "1s" -> "1m30s"\n');
  const earlier = first!.slice(0, 12);
  assert.match(
    await done('config', 'rollback', ...entry, '--to', earlier.slice(0, 8)),
    /says again what it said/,
  );
  const read = JSON.parse(await done('config', 'read', ...entry)) as { ConnectTimeout: string };
  assert.equal(read.ConnectTimeout, '1s');
  const unknown = await cli('config', 'rollback', ...entry, '--to', '000000000000');
  assert.deepEqual([unknown.code, /no version 000000000000/.test(unknown.stderr)], [1, true]);
});

test('a write waits for every live host and names those that have not taken it on', async () => {
  const { agent } = api;
  agent.addHost(two, hostValue('two', '127.0.0.2'));
  agent.addHost('c'.repeat(64), hostValue('three', '127.0.0.3'));
  agent.member('c'.repeat(64), 'down');
  // The proxy of this host serves by whatever comes, the other's by nothing new.
  const stop = agent.onChange(() => agent.receipts.compiled(null, 0));
  const path = file('wait.yaml', entryOf('7s'));
  const behind = await cli('config', 'write', path, '--wait', '--timeout', '200ms');
  assert.equal(behind.code, 1, behind.stderr);
  assert.match(
    behind.stdout,
    /^wrote service-resolver\/api\nnot in force after \S+ on: two \(alive\); down, and to follow: three\n$/,
  );
  agent.receiptList.set(two, agent.policy.revision);
  file('wait.yaml', entryOf('7s'));
  const follow = agent.onChange(() => agent.receiptList.set(two, agent.policy.revision));
  const waited = JSON.parse(await done('apply', path, '--wait', '--json')) as {
    converged: boolean;
    hosts: number;
  };
  assert.deepEqual([waited.converged, waited.hosts], [true, 2]);
  stop();
  follow();
});

test('permissions come from a file, and a check asks about one request', async () => {
  const permissions = file('permissions.yaml', '- {action: allow, http: {path_prefix: /public}}\n');
  const pair = ['batch', 'api'];
  assert.equal(
    await done('intention', 'create', ...pair, '--permissions', permissions),
    'batch -> api: by request\n',
  );
  const plain = await cli('intention', 'check', ...pair);
  assert.deepEqual([plain.code, /depends on the request/.test(plain.stdout)], [1, true]);
  assert.match(await done('intention', 'check', ...pair, '--path', '/public/x'), /^allowed by/);
  assert.equal((await cli('intention', 'check', ...pair, '--path', '/private')).code, 1);
  assert.match(await done('intention', 'match', 'api'), /^batch +api +1 permissions +9 /m);
  const two = await cli('intention', 'create', ...pair, '--allow', '--permissions', permissions);
  assert.equal(two.code, 2);
});
