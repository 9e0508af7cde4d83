import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { seededRandom } from '../../../src/core.ts';
import { TornDisk } from '../../durability/torn-disk.ts';
import { type FileStep, readTrace, type Traced } from '../../durability/trace.ts';

const folder = '/data';
const data = Buffer.alloc(10_000, 'x');

function inOrder(...steps: FileStep[]): Traced[] {
  return steps.map((step, index) => ({ ...step, begunAt: index * 2, endedAt: index * 2 + 1 }));
}

/** States of the disk after all the steps, as many as there are seeds. */
function states(t: TestContext, steps: readonly Traced[]): string[] {
  const home = mkdtempSync(join(tmpdir(), 'starling-torn-disk-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  return Array.from({ length: 60 }, (_, seed) => {
    const disk = new TornDisk(new Map(), seededRandom(seed));
    disk.play(steps, steps.length * 2);
    const target = join(home, String(seed));
    disk.writeTo(target, folder);
    return target;
  });
}

test('what was synced is always there, what was not sometimes, whole or torn', (t) => {
  const kept = states(
    t,
    inOrder(
      { type: 'create', path: '/data/a' },
      { type: 'append', path: '/data/a', data },
      { type: 'sync', path: '/data/a' },
      { type: 'append', path: '/data/a', data },
    ),
  ).map((target) => readFileSync(join(target, 'a')));
  for (const content of kept) assert.ok(content.subarray(0, data.length).equals(data));
  assert.ok(kept.some(({ length }) => length === data.length));
  assert.ok(kept.some((content) => content.equals(Buffer.concat([data, data]))));
  assert.ok(kept.some((content) => content.length === 2 * data.length && content.includes(0)));
});

test('a rename may be lost until its folder is synced, and never happens before what came before it', (t) => {
  const steps = inOrder(
    { type: 'create', path: '/data/old' },
    { type: 'sync', path: '/data/old' },
    { type: 'create', path: '/data/new.tmp' },
    { type: 'append', path: '/data/new.tmp', data },
    { type: 'sync', path: '/data/new.tmp' },
    { type: 'rename', path: '/data/new.tmp', to: '/data/new' },
    { type: 'unlink', path: '/data/old' },
  );
  const names = states(t, steps).map((target) => readdirSync(target).sort().join());
  assert.deepEqual([...new Set(names)].sort(), ['new', 'new,old', 'new.tmp,old']);
  const synced = inOrder(...steps, { type: 'sync', path: folder });
  for (const target of states(t, synced)) assert.ok(!existsSync(join(target, 'old')));
});

test('a trace of several threads gives whole steps, without those that failed or never ended', () => {
  const hex = (text: string): string =>
    [...Buffer.from(text)].map((byte) => `\\x${byte.toString(16).padStart(2, '0')}`).join('');
  const file = hex('/data/log');
  const text = [
    `10 openat(AT_FDCWD<${hex('/')}>, "${file}", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 5<${file}>`,
    `11 write(5<${file}>, "${hex('abc')}", 3 <unfinished ...>`,
    `10 write(1<${hex('pipe:[1]')}>, "${hex('{}\n')}", 3) = 3`,
    '11 <... write resumed>) = 2',
    `10 fdatasync(5<${file}>) = -1 EIO (Input/output error)`,
    `10 fdatasync(5<${file}> <unfinished ...>`,
    `11 unlink("${hex('/elsewhere')}") = 0`,
  ].join('\n');
  assert.deepEqual(readTrace(text, folder), [
    { type: 'create', path: '/data/log', begunAt: 0, endedAt: 0 },
    { type: 'append', path: '/data/log', data: Buffer.from('ab'), begunAt: 1, endedAt: 3 },
    { type: 'said', text: '{}', begunAt: 2, endedAt: 2 },
  ]);
});
