/** Tokens taken back: an operator's, on every host at once, and a host's, which keeps those who joined by it. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type Bird, Flock, until } from '../../demo/flock.ts';
import type { CreatedToken, TokenStatus } from '../../src/agent/port.ts';

let flock: Flock;
let one: Bird;
let two: Bird;
before(async () => {
  flock = new Flock();
  [one, two] = (await flock.start([
    { n: 51, name: 'one' },
    { n: 52, name: 'two' },
  ])) as [Bird, Bird];
});
after(() => flock.stop());

/** Waits at a bird's API until what it knows of a token satisfies `seen`; its long polls end with each change. */
async function awaitToken(bird: Bird, id: string, seen: (token: TokenStatus) => boolean): Promise<void> {
  for (let index = '0'; ; ) {
    const response = await fetch(`${bird.httpUrl}/v1/mesh/tokens?index=${index}&wait=10s`);
    const token = ((await response.json()) as TokenStatus[]).find((one) => one.id === id);
    if (token !== undefined && seen(token)) return;
    const next = response.headers.get('x-consul-index')!;
    assert.notEqual(next, index, `${bird.name} heard nothing of ${id} within 10 s`);
    index = next;
  }
}

test('an operator whose token is revoked writes nothing more, on any host, and what it wrote stays', async () => {
  const { id, operatorToken } = await one.json<CreatedToken & { operatorToken: string }>(
    ...['token', 'create', '--role', 'operator', ...flock.operator()],
  );
  const file = join(flock.directory, 'second-operator.token');
  writeFileSync(file, operatorToken, { mode: 0o600 });
  const create = (source: string) =>
    two.cli('intention', 'create', source, 'api', '--allow', '--operator-token-file', file);
  await awaitToken(two, id, () => true);
  const written = await create('web');
  assert.equal(written.code, 0, written.stderr);

  const heard = awaitToken(two, id, ({ revokedAt }) => revokedAt !== null);
  const revoked = await one.cli('token', 'revoke', id.slice(0, 12), ...flock.operator());
  assert.equal(revoked.stdout, `revoked ${id}\n`, revoked.stderr);
  const answered = performance.now();
  await heard;
  const lateMs = performance.now() - answered;
  assert.ok(lateMs < 5000, `the other host heard of it ${lateMs} ms after the answer`);

  const refused = await create('batch');
  assert.equal(refused.code, 1, refused.stdout);
  assert.match(refused.stderr, /^starling: [^\n]*the operator token was revoked\n$/);
  const intentions = await two.json<{ SourceName: string }[]>('intention', 'list');
  assert.deepEqual(
    intentions.map(({ SourceName }) => SourceName),
    ['web'],
  );
  const again = await two.cli('token', 'revoke', id, ...flock.operator());
  assert.deepEqual([again.code, again.stderr], [0, '']);
  assert.match(again.stdout, /already/);
});

test('a revoked token admits nobody more, and the host that joined by it restarts as ever', async () => {
  const { id, token } = await one.json<CreatedToken>('token', 'create', '--uses', '2', ...flock.operator());
  const first = flock.bird({ n: 53, name: 'first' });
  await first.start('--join', one.address, '--token', token);
  await awaitToken(one, id, ({ used }) => used === 1);
  const revoked = await first.cli('token', 'revoke', id, ...flock.operator());
  assert.equal(revoked.code, 0, revoked.stderr);
  for (const bird of [one, two]) await awaitToken(bird, id, ({ revokedAt }) => revokedAt !== null);

  const second = flock.bird({ n: 54, name: 'second' });
  const refused = await second.startRefused('--join', two.address, '--token', token);
  assert.equal(refused.code, 1, refused.stdout);
  assert.match(refused.stderr, /^starling: not admitted: [^\n]*revoked[^\n]*\n$/);

  assert.equal(await first.program!.stop(), 0);
  await first.start();
  for (const bird of [one, two])
    await until(`${bird.name} sees it alive again`, 10_000, async () => {
      const members = await bird.json<{ name: string; state: string }[]>('members');
      return members.some(({ name, state }) => name === 'first' && state === 'alive');
    });
  const table = (await first.cli('token', 'list')).stdout;
  assert.match(table, new RegExp(`^${id} +revoked +1/2 `, 'm'));
});
