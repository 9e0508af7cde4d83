/** What agents find amiss when they start, say of it, and make good; and what they leave behind. */
import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import { type Bird, Flock, Program, until } from '../../demo/flock.ts';
import { register } from './mesh.ts';

let flock: Flock;
let founder: Bird;
let second: Bird;
before(async () => {
  flock = new Flock();
  [founder, second] = (await flock.start([
    { n: 41, name: 'founder' },
    { n: 42, name: 'second' },
  ])) as [Bird, Bird];
  await register(flock, founder, { name: 'web', port: 9000 });
});
after(() => flock.stop());

interface Finding {
  readonly grade: string;
  readonly subject: string;
  readonly detail: string;
  readonly hint: string;
}

/** What an agent logged may be read after the line by which it says that it is ready: they come by two pipes. */
async function untilLogged(bird: Bird, line: RegExp): Promise<void> {
  await until(`${bird.name} logs ${line}`, 10_000, async () => line.test(bird.program!.stderr));
}

async function findings(bird: Bird): Promise<Finding[]> {
  return JSON.parse((await bird.cli('check', '--json')).stdout) as Finding[];
}

test('a joiner says which address did not answer before another one let it in', async () => {
  const third = flock.bird({ n: 43, name: 'third' });
  const token = await flock.token();
  await third.start('--join', '127.0.1.49', '--join', second.address, '--token', token);
  await untilLogged(third, /warn join-address-failed detail="no agent answered at 127\.0\.1\.49:7946/);
});

test('maintenance is a finding that names the command to end it', async () => {
  const enabled = await founder.cli('maint', '--enable', '--service', 'web', '--reason', 'new disks');
  assert.equal(enabled.code, 0, enabled.stderr);
  const found = (await findings(founder)).find(({ subject }) => subject === 'service web');
  assert.deepEqual([found?.grade, found?.detail], ['warning', 'in maintenance: new disks']);
  assert.match(found?.hint ?? '', /starling maint --disable --service web$/);
  const disabled = await founder.cli('maint', '--disable', '--service', 'web');
  assert.equal(disabled.code, 0, disabled.stderr);
  assert.ok(!(await findings(founder)).some(({ subject }) => subject === 'service web'));
});

test('a host that lost its records, and whose sponsor is gone, comes back through another address', async () => {
  const third = flock.birds.find(({ name }) => name === 'third')!;
  assert.equal(await third.program!.stop(), 0);
  for (const part of ['database', 'initialised']) rmSync(join(third.dataDir, part), { recursive: true });
  await second.program!.stop('SIGKILL');
  await third.start('--join', founder.address);
  await untilLogged(third, /warn join-address-failed detail="no agent answered at 127\.0\.1\.42:7946/);
  await until('the founder sees it alive', 10_000, async () => {
    const members = await founder.json<{ name: string; state: string }[]>('members');
    return members.some(({ name, state }) => name === 'third' && state === 'alive');
  });
  await second.start();
});

test('a founder without its root key says so, and identities of services that are gone are deleted', async () => {
  const identities = join(founder.dataDir, 'identities');
  await until('web has an identity', 20_000, async () => existsSync(join(identities, 'web.identity.pem')));
  assert.equal(await founder.program!.stop(), 0);
  const rootKey = join(founder.dataDir, 'root-g0.seed');
  rmSync(rootKey);
  writeFileSync(join(identities, 'gone.identity.pem'), 'a key', { mode: 0o600 });
  await founder.start();
  await untilLogged(founder, /root-key-missing/);
  const lines = founder.program!.stderr.split('\n').filter((line) => line.includes('root-key-missing'));
  assert.equal(lines.length, 1, founder.program!.stderr);
  assert.match(lines[0]!, / error /);
  assert.ok(lines[0]!.includes(rootKey));
  const found = (await findings(founder)).find(({ subject }) => subject === 'root key');
  assert.equal(found?.grade, 'critical');
  assert.ok(found.detail.includes(rootKey) && found.hint !== '', found.detail);
  await until('only web is left', 15_000, async () => readdirSync(identities).join() === 'web.identity.pem');
});

test('without a proxy no inbound port is announced, and --dev leaves nothing behind', async () => {
  const folder = join(flock.directory, 'temporary');
  mkdirSync(folder);
  const address = '127.0.1.44';
  const program = new Program(
    resolve(import.meta.dirname, '../../bin/starling'),
    [
      ...['agent', '--dev', '--name', 'solo', '--bind', address, '--http', `${address}:8500`],
      ...['--dns', 'none', '--outbound', 'none', '--proxy', 'none'],
    ],
    { TMPDIR: folder },
  );
  try {
    assert.match(await program.line('starling: ready', 60_000), / inbound=none$/);
    const response = await fetch(`http://${address}:8500/v1/mesh/status`);
    assert.equal(((await response.json()) as { inboundPort: unknown }).inboundPort, null);
    assert.match(readdirSync(folder).join(), /^starling-dev-\w+$/);
  } finally {
    assert.equal(await program.stop(), 0);
  }
  assert.deepEqual(readdirSync(folder), []);
});
