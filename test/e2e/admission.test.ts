/** Who gets in: the token cases, restart without one, and peers of another mesh. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Bird, type CommandResult, Flock, until } from '../../demo/flock.ts';
import { metric } from './mesh.ts';

let home: Flock;
let foreign: Flock;
let founder: Bird;
before(async () => {
  home = new Flock();
  foreign = new Flock();
  [founder] = (await home.start([{ n: 11, name: 'founder' }])) as [Bird];
  await foreign.start([{ n: 12, name: 'stranger' }]);
});
after(async () => {
  await home.stop();
  await foreign.stop();
});

function assertRefused(result: CommandResult, reason: RegExp, code = 1): void {
  assert.equal(result.code, code, `exit ${result.code}: ${result.stderr}`);
  const lines = result.stderr.trim().split('\n');
  assert.equal(lines.length, 1, result.stderr);
  assert.match(lines[0]!, reason);
}

test('a text that is no token is refused', async () => {
  const bird = home.bird({ n: 13, name: 'typo' });
  assertRefused(
    await bird.startRefused('--join', founder.address, '--token', 'starling-join-1.abc'),
    /--token: /,
    2,
  );
});

test('a token whose last letters were mistyped is refused as malformed', async () => {
  const bird = home.bird({ n: 13, name: 'mistyped' });
  const token = await home.token();
  const flipped = token.slice(0, -3) + (token.endsWith('AAA') ? 'BBB' : 'AAA');
  assertRefused(await bird.startRefused('--join', founder.address, '--token', flipped), /--token: /, 2);
});

test('a token of another mesh is refused', async () => {
  const bird = home.bird({ n: 13, name: 'lost' });
  assertRefused(
    await bird.startRefused('--join', founder.address, '--token', await foreign.token()),
    /another mesh|foreign/,
  );
});

test('an expired token is refused', async () => {
  const bird = home.bird({ n: 13, name: 'late' });
  const token = await home.token('--ttl', '1s');
  await new Promise((done) => setTimeout(done, 1500));
  assertRefused(await bird.startRefused('--join', founder.address, '--token', token), /expired/);
});

test('joining without a token is refused', async () => {
  const bird = home.bird({ n: 13, name: 'empty-handed' });
  assertRefused(await bird.startRefused('--join', founder.address), /token/, 2);
});

test('a token lets one host in, and is used up after that; the host restarts without it', async () => {
  const token = await home.token();
  const first = home.bird({ n: 13, name: 'first' });
  await first.start('--join', founder.address, '--token', token);
  const second = home.bird({ n: 14, name: 'second' });
  assertRefused(await second.startRefused('--join', founder.address, '--token', token), /used/);
  assert.equal(await first.program!.stop(), 0);
  await first.start();
  await until('the founder sees it alive again', 10_000, async () => {
    const members = await founder.json<{ name: string; state: string }[]>('members');
    return members.some(({ name, state }) => name === 'first' && state === 'alive');
  });
});

test('a name that another host holds is refused', async () => {
  const bird = new Flock();
  try {
    const twin = bird.bird({ n: 15, name: 'founder' });
    assertRefused(await twin.startRefused('--join', founder.address, '--token', await home.token()), /name/);
  } finally {
    await bird.stop();
  }
});

test('a second agent on one data directory, and a bootstrap over an existing mesh, are refused', async () => {
  const twin = home.bird({ n: 16, name: 'founder' });
  assertRefused(await twin.startRefused(), /another agent|locked|in use/);
  const again = foreign.birds[0]!;
  await again.program!.stop();
  assertRefused(await again.startRefused('--bootstrap'), /already belongs/);
});

test('a bootstrap that failed before it was ready is made good by the corrected one, which tells of the token', async () => {
  const flock = new Flock();
  try {
    const bird = flock.bird({ n: 18, name: 'second-try' });
    assertRefused(await bird.startRefused('--bootstrap', '--http', founder.http), /in use/);
    const dns = `${founder.address}:${founder.dnsPort}`;
    assertRefused(await bird.startRefused('--bootstrap', '--dns', dns), /in use/);
    await bird.start('--bootstrap');
    await bird.program!.line('starling: the operator token is in ', 5000);
    await bird.program!.stop('SIGKILL');
    assertRefused(await bird.startRefused('--bootstrap'), /already belongs/);
    assert.match(await bird.start(), /ready/);
  } finally {
    await flock.stop();
  }
});

test('a founder that was away learns of who joined meanwhile by a host that is gone for good', async () => {
  const flock = new Flock();
  try {
    const [first, second] = (await flock.start([
      { n: 19, name: 'first' },
      { n: 20, name: 'second' },
    ])) as [Bird, Bird];
    const token = await flock.token();
    await first.program!.stop('SIGKILL');
    const third = flock.bird({ n: 21, name: 'third' });
    await third.start('--join', second.address, '--token', token);
    await second.program!.stop('SIGKILL');
    await until('the third holds both for down', 30_000, async () => {
      const members = await third.json<{ name: string; state: string }[]>('members');
      return members.filter(({ state }) => state === 'down').length === 2;
    });
    await first.start();
    for (const [one, other] of [
      [first, 'third'],
      [third, 'first'],
    ] as const)
      await until(`${one.name} sees ${other} alive`, 90_000, async () => {
        const members = await one.json<{ name: string; state: string }[]>('members');
        return members.some(({ name, state }) => name === other && state === 'alive');
      });
    assert.equal(await metric(first, 'starling_introductions_total{', 'outcome="taken"'), 1);
  } finally {
    await flock.stop();
  }
});

test('bad flags end with one line and exit 2', async () => {
  for (const flags of [
    ['--gossip-port', '70000'],
    ['--wings', '2'],
    ['--bind', 'nowhere'],
    ['--name', 'Under_Score'],
  ]) {
    const bird = home.bird({ n: 17, name: 'clumsy' });
    const result = await bird.startRefused(...flags);
    assert.equal(result.code, 2, `${flags.join(' ')}: ${result.stderr}`);
    assert.equal(result.stderr.trim().split('\n').length, 1, result.stderr);
  }
});
