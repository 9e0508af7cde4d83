import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { operatorToken, startApi, type TestApi } from '../../../support/api.ts';
import { type Ended, runCli } from '../../../support/cli.ts';

let api: TestApi;
let folder: string;
let operator: readonly string[];
before(async () => {
  api = await startApi();
  folder = mkdtempSync(join(tmpdir(), 'starling-cli-'));
  const token = join(folder, 'token');
  writeFileSync(token, `${operatorToken}\n`, { mode: 0o600 });
  operator = ['--operator-token-file', token];
});
after(async () => {
  await api.server.close();
  rmSync(folder, { recursive: true });
});

const cli = (...args: string[]): Promise<Ended> => runCli(folder, ...args, '--http', api.address);

async function write(entry: object): Promise<void> {
  const { status, text } = await api.call('PUT', '/v1/config', { body: entry, operator: true });
  assert.equal(status, 200, text);
}

test('a snapshot brings policy back as it was, and --prune takes away what came since', async () => {
  const resolver = {
    Kind: 'service-resolver',
    Name: 'api',
    Subsets: { v2: { Filter: 'Service.Meta.v == 2' } },
  };
  const splits = [
    { Weight: 90, ServiceSubset: '' },
    { Weight: 10, ServiceSubset: 'v2' },
  ];
  await write({ Kind: 'service-defaults', Name: 'api', Protocol: 'http' });
  await write(resolver);
  await write({ Kind: 'service-splitter', Name: 'api', Splits: splits });
  assert.equal(
    (await cli('snapshot', 'save', 'policy.json')).stdout,
    'saved 3 config entries to policy.json\n',
  );
  assert.equal(statSync(join(folder, 'policy.json')).mode & 0o777, 0o600);

  await api.call('DELETE', '/v1/config/service-splitter/api', { operator: true });
  await api.call('DELETE', '/v1/config/service-resolver/api', { operator: true });
  await write({ Kind: 'service-defaults', Name: 'later', Protocol: 'tcp' });
  const kept = await cli('snapshot', 'restore', 'policy.json', '--json', ...operator);
  assert.equal(kept.code, 0, kept.stderr);
  assert.deepEqual(JSON.parse(kept.stdout), {
    written: ['service-resolver/api', 'service-splitter/api'],
    unchanged: 1,
    deleted: [],
    kept: ['service-defaults/later'],
  });
  const pruned = await cli('snapshot', 'restore', 'policy.json', '--prune', ...operator);
  assert.match(pruned.stdout, /^wrote 0 config entries, 3 were the same\ndeleted service-defaults\/later\n$/);
  const { status } = await api.call('GET', '/v1/config/service-defaults/later');
  assert.equal(status, 404);
});

test('what any way of writing left is known again', async () => {
  const exact = '/v1/connect/intentions/exact?source=web&destination=shop';
  await api.call('PUT', exact, { body: { Action: 'allow', Description: 'why' }, operator: true });
  const { stdout } = await cli('snapshot', 'save', 'written.json', '--json');
  const { entries } = JSON.parse(stdout) as { entries: number };
  const { stdout: same } = await cli('snapshot', 'restore', 'written.json', ...operator);
  assert.equal(same, `wrote 0 config entries, ${entries} were the same\n`);
});

test('a snapshot goes to standard output, and one of many entries comes back', async () => {
  const { stdout } = await cli('snapshot', 'save', '-');
  const saved = JSON.parse(stdout) as { entries: object[] };
  assert.ok(saved.entries.length > 0);
  const Meta = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`k${i}`, 'v'.repeat(300)]));
  await write({ Kind: 'service-defaults', Name: 'wide', Protocol: 'http', Meta });
  const wide = Array.from({ length: 60 }, (_, i) => ({
    ...{ Kind: 'service-defaults', Name: i === 0 ? 'wide' : `wide-${i}`, Protocol: 'http', Meta },
  }));
  const text = JSON.stringify({ ...saved, entries: wide });
  assert.ok(text.length > 1024 * 1024, 'more than other files may have');
  writeFileSync(join(folder, 'large.json'), text);
  const restored = await cli('snapshot', 'restore', 'large.json', ...operator);
  assert.match(restored.stdout, /^wrote 59 config entries, 1 were the same/);
  assert.equal((await cli('snapshot', 'restore', 'large.json', '--prune', ...operator)).code, 0);
});

test('what came since and forbids what a snapshot says is pruned first', async () => {
  await write({ Kind: 'service-defaults', Name: 'shop', Protocol: 'tcp' });
  await cli('snapshot', 'save', 'streams.json');
  await write({ Kind: 'service-defaults', Name: 'shop', Protocol: 'http' });
  await write({ Kind: 'service-resolver', Name: 'shop', Subsets: { v2: { Filter: 'Service.Meta.v == 2' } } });
  const routes = [{ Match: { HTTP: { PathPrefix: '/2' } }, Destination: { ServiceSubset: 'v2' } }];
  await write({ Kind: 'service-router', Name: 'shop', Routes: routes });
  const { code, stdout } = await cli('snapshot', 'restore', 'streams.json', '--prune', ...operator);
  assert.equal(code, 0);
  assert.match(stdout, /^wrote 1 config entries/);
  assert.match(stdout, /deleted service-router\/shop/);
  const { text } = await api.call('GET', '/v1/config/service-defaults/shop');
  assert.match(text, /"Protocol":"tcp"/);
});

test('what is no snapshot, or holds an entry that is none, changes nothing', async () => {
  const before = api.agent.commands.length;
  writeFileSync(join(folder, 'other.json'), '{"entries": []}');
  writeFileSync(
    join(folder, 'bad.json'),
    JSON.stringify({
      format: 'starling-snapshot',
      version: 1,
      entries: [
        { Kind: 'service-defaults', Name: 'fine', Protocol: 'http' },
        { Kind: 'service-defaults', Name: 'x', Protocol: 'smoke' },
      ],
    }),
  );
  const twice = { Kind: 'service-defaults', Name: 'x', Protocol: 'http' };
  const lost = { Kind: 'service-router', Name: 'x', Routes: [{ Destination: { ServiceSubset: 'gone' } }] };
  for (const [name, entries] of [
    ['twice.json', [twice, twice]],
    ['lost.json', [twice, lost]],
  ] as const)
    writeFileSync(join(folder, name), JSON.stringify({ format: 'starling-snapshot', version: 1, entries }));
  for (const [name, problem] of [
    ['twice.json', /twice\.json: entries\[1\]: service-defaults\/x is in the list already/],
    ['lost.json', /service-router\/x: Routes\[0\].*gone/],
    ['other.json', /other\.json: is no snapshot/],
    ['bad.json', /bad\.json: entries\[1\]\.Protocol: "smoke"/],
    ['missing.json', /missing\.json/],
  ] as const) {
    const { code, stderr } = await cli('snapshot', 'restore', name, ...operator);
    assert.equal(code, 1, name);
    assert.match(stderr, problem);
  }
  assert.equal(api.agent.commands.length, before);
});

test('debug writes what others need to see into a new folder, and no key', async () => {
  const { code, stdout, stderr } = await cli('debug', '--output', 'seen', '--json');
  assert.equal(code, 0, stderr);
  const { files } = JSON.parse(stdout) as { files: string[] };
  assert.deepEqual(readdirSync(join(folder, 'seen')).sort(), [...files].sort());
  const { name } = JSON.parse(readFileSync(join(folder, 'seen/status.json'), 'utf8')) as { name: string };
  assert.equal(name, api.agent.self.name);
  for (const file of files)
    assert.doesNotMatch(readFileSync(join(folder, 'seen', file), 'utf8'), /PRIVATE KEY|starling-operator/);
  const again = await cli('debug', '--output', 'seen');
  assert.equal(again.code, 1);
  assert.match(again.stderr, /^starling: seen: .*exist/);
});
