/** A short run of `npm run durability`, and a disk that is really full. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { runKills } from '../durability/kills.ts';
import type { Ledger } from '../durability/ledger.ts';
import { runTornStates } from '../durability/torn-states.ts';
import { readTrace, straceArguments } from '../durability/trace.ts';

const seed = 20_260_101;

/** `leastAcknowledged` is little: how many writes a disk syncs in the time that a life has is its own affair. */
function assertKept(ledgers: readonly Ledger[], leastAcknowledged: number): void {
  assert.deepEqual(
    ledgers.flatMap(({ violations }) => violations),
    [],
  );
  const acknowledged = ledgers.reduce((sum, { totals }) => sum + totals.acknowledged, 0);
  assert.ok(acknowledged >= leastAcknowledged, `only ${acknowledged} changes were acknowledged`);
}

test('fifteen kills lose nothing acknowledged and repeat no version, epoch or incarnation', async () => {
  assertKept(await runKills({ kills: 15, seed, lanes: 2, progress: () => {} }), 10);
});

test('whatever a disk may hold after a power cut, the store opens and has all that was acknowledged', async () => {
  assertKept(await runTornStates({ states: 40, statesPerLife: 20, seed, progress: () => {} }), 10);
});

const storeWriter = join(import.meta.dirname, '../unit/gossip/io/store-writer.ts');

function newHome(t: TestContext): string {
  const home = mkdtempSync(join(tmpdir(), 'starling-durability-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  return home;
}

interface Lines {
  readonly child: ChildProcess;
  next(): Promise<string>;
}

/** A store's writer process behind another program. */
function start(t: TestContext, command: readonly string[], ...args: string[]): Lines {
  const child = spawn(command[0]!, [...command.slice(1), ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  });
  const lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  return {
    child,
    async next() {
      const line = await lines.next();
      assert.ok(!line.done, 'the writer ended early');
      return line.value;
    },
  };
}

const node = [process.execPath, '--disable-warning=ExperimentalWarning', storeWriter];

test('a full disk is told as such, and writes go on once there is room', async (t) => {
  const home = newHome(t);
  const folder = join(home, 'small');
  // A file system of its own, seen by the writer alone, with a file on it that can be removed to make room.
  const script = [
    `mkdir ${folder}`,
    `mount -t tmpfs -o size=10m tmpfs ${folder}`,
    `head -c 6000000 /dev/zero > ${folder}/ballast`,
    'exec "$@"',
  ].join(' && ');
  const command = ['unshare', '--map-root-user', '--mount', 'sh', '-c', script, 'sh', ...node];
  const writer = start(t, command, join(folder, 'data'), 'fill');
  assert.equal(await writer.next(), 'open');
  const acknowledged: string[] = [];
  let line = await writer.next();
  for (; /^\d+$/.test(line); line = await writer.next()) acknowledged.push(line);
  assert.equal(line, 'disk-full');
  assert.ok(acknowledged.length > 0);
  rmSync(join(`/proc/${writer.child.pid}/root`, folder, 'ballast'));
  writer.child.stdin!.write('go on\n');
  acknowledged.push(await writer.next());
  assert.equal(await writer.next(), 'ok');
  assert.equal(new Set(acknowledged).size, acknowledged.length);
  await once(writer.child, 'exit');
});

test('no synced write is acknowledged before fdatasync of the log has returned', async (t) => {
  const home = newHome(t);
  const directory = join(home, 'data');
  const output = join(home, 'trace');
  const writer = start(t, [...straceArguments(output), ...node], directory, 'loop', '0');
  assert.equal(await writer.next(), 'open');
  for (let i = 0; i < 100; i++) await writer.next();
  const children = readFileSync(`/proc/${writer.child.pid}/task/${writer.child.pid}/children`, 'latin1');
  for (const id of children.trim().split(' ')) process.kill(Number(id), 'SIGKILL');
  await once(writer.child, 'exit');
  const steps = readTrace(readFileSync(output, 'latin1'), directory);
  let checked = 0;
  for (const said of steps) {
    if (said.type !== 'said' || !/^\d+$/.test(said.text)) continue;
    const written = steps.find(
      (step) => step.type === 'append' && /\.log$/.test(step.path) && step.data.includes(`n/${said.text}`),
    );
    assert.ok(written !== undefined, `${said.text} was never written`);
    const synced = steps.some(
      (step) =>
        step.type === 'sync' &&
        /\.log$/.test(step.path) &&
        step.begunAt > written.endedAt &&
        step.endedAt < said.begunAt,
    );
    assert.ok(synced, `${said.text} was acknowledged before it was synced`);
    checked += 1;
  }
  // What was under way when the writer was killed is in no trace.
  assert.ok(checked >= 90, `${checked} acknowledgements were traced`);
});
