import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { Fault } from '../../../../src/core.ts';
import { maxPendingBytes, Store } from '../../../../src/gossip/io/store.ts';

/** Writer processes of the test that runs. */
const writers = new Set<ChildProcess>();

/** Whoever might still write there ends first: it would fill the directory again. */
function newDirectory(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), 'starling-store-'));
  t.after(async () => {
    for (const writer of writers) await stopped(writer);
    rmSync(directory, { recursive: true, force: true });
  });
  return join(directory, 'data');
}

async function stopped(writer: ChildProcess): Promise<void> {
  writers.delete(writer);
  if (writer.exitCode !== null || writer.signalCode !== null) return;
  writer.kill('SIGKILL');
  await once(writer, 'exit');
}

const value = (text: string): Uint8Array => new TextEncoder().encode(text);
const hasCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof Fault && error.code === code;

async function contents(store: Store, prefix = ''): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const entry of store.load(prefix)) found.set(entry.key, new TextDecoder().decode(entry.value));
  return found;
}

/** A writer process and the lines it prints. */
function startWriter(...args: string[]): { child: ChildProcess; lines: AsyncIterator<string> } {
  const script = join(import.meta.dirname, 'store-writer.ts');
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  writers.add(child);
  return { child, lines: createInterface({ input: child.stdout! })[Symbol.asyncIterator]() };
}

async function nextLine(lines: AsyncIterator<string>): Promise<string> {
  const line = await lines.next();
  assert.ok(!line.done, 'the writer ended early');
  return line.value;
}

/** A store of 400 entries, closed, with its entries in tables (`.ldb`) or still in the log (`.log`). */
async function filled(t: TestContext, where: '.ldb' | '.log'): Promise<{ directory: string; file: string }> {
  const directory = newDirectory(t);
  const store = await Store.open(directory);
  for (let i = 0; i < 400; i++)
    void store.write([{ type: 'put', key: `k/${i}`, value: value(`value ${i} `.repeat(20)) }], i % 50 === 49);
  await store.close();
  // Opening again moves the log into a table.
  if (where === '.ldb') await (await Store.open(directory)).close();
  const files = readdirSync(join(directory, 'database'))
    .filter((name) => name.endsWith(where))
    .map((name) => join(directory, 'database', name))
    .sort((a, b) => statSync(b).size - statSync(a).size);
  return { directory, file: files[0]! };
}

test('entries come back after a restart, by prefix and in key order, and the epoch grows', async (t) => {
  const directory = newDirectory(t);
  const first = await Store.open(directory);
  assert.equal(first.epoch, 1);
  await first.write(
    [
      { type: 'put', key: 'b/2', value: value('two') },
      { type: 'put', key: 'b/1', value: value('one') },
      { type: 'put', key: 'a/1', value: value('other') },
      { type: 'put', key: 'b/3', value: value('gone') },
    ],
    true,
  );
  await first.write([{ type: 'delete', key: 'b/3' }], false);
  await first.close();
  await assert.rejects(first.write([], true), hasCode('store-closed'));
  const second = await Store.open(directory);
  assert.equal(second.epoch, 2);
  assert.deepEqual(
    [...(await contents(second, 'b/'))],
    [
      ['b/1', 'one'],
      ['b/2', 'two'],
    ],
  );
  assert.equal((await contents(second)).size, 3);
  assert.equal(second.counters.damaged, 0);
  await second.close();
  assert.equal(statSync(directory).mode & 0o777, 0o700);
  assert.equal(statSync(join(directory, 'database')).mode & 0o777, 0o700);
});

test('synced writes that wait together share one fsync, and keep their order with unsynced ones', async (t) => {
  const store = await Store.open(newDirectory(t));
  const writes: Promise<void>[] = [];
  for (let i = 0; i < 100; i++)
    writes.push(store.write([{ type: 'put', key: 'slot', value: value(String(i)) }], i % 2 === 0));
  await Promise.all(writes);
  assert.equal((await contents(store)).get('slot'), '99');
  assert.equal(store.counters.writes, 100);
  assert.ok(store.counters.syncedBatches <= 3, `${store.counters.syncedBatches} fsyncs`);
  await store.close();
});

test('a synced write of nothing syncs what was written before it, if anybody has to', async (t) => {
  const store = await Store.open(newDirectory(t));
  await store.write([], true);
  assert.equal(store.counters.syncedBatches, 0);
  await store.write([{ type: 'put', key: 'heard', value: value('x') }], false);
  assert.equal(store.counters.syncedBatches, 0);
  await store.write([], true);
  assert.equal(store.counters.syncedBatches, 1);
  await store.write([], true);
  assert.equal(store.counters.syncedBatches, 1);
  await store.close();
});

test('unsynced writes are merged into few batches', async (t) => {
  const store = await Store.open(newDirectory(t));
  await Promise.all(
    Array.from({ length: 200 }, (_, i) =>
      store.write([{ type: 'put', key: `k/${i}`, value: value('x') }], false),
    ),
  );
  assert.equal((await contents(store)).size, 200);
  assert.ok(store.counters.batches <= 3, `${store.counters.batches} batches`);
  assert.equal(store.counters.syncedBatches, 0);
  await store.close();
});

test('more than may wait is refused, and nothing else suffers', async (t) => {
  const store = await Store.open(newDirectory(t));
  const large = new Uint8Array(maxPendingBytes / 2 + 1);
  const first = store.write([{ type: 'put', key: 'large', value: large }], true);
  await assert.rejects(
    Promise.all([
      store.write([{ type: 'put', key: 'second', value: new Uint8Array(maxPendingBytes) }], true),
    ]),
    hasCode('store-overloaded'),
  );
  await first;
  await store.write([{ type: 'put', key: 'third', value: value('fits') }], true);
  assert.equal((await contents(store, 'third')).get('third'), 'fits');
  await store.close();
});

test('after kill -9 every acknowledged write is there, ten times over', async (t) => {
  const directory = newDirectory(t);
  const acknowledged = new Set<string>();
  let next = 0;
  for (let round = 1; round <= 10; round++) {
    const { child, lines } = startWriter(directory, 'loop', String(next));
    assert.equal(await nextLine(lines), 'open');
    for (let i = 0; i < 20 + round * 7; i++) acknowledged.add(await nextLine(lines));
    child.kill('SIGKILL');
    // What was still in the pipe was promised as well.
    for (let line = await lines.next(); !line.done; line = await lines.next()) acknowledged.add(line.value);
    next = Math.max(...[...acknowledged].map(Number)) + 10;
    const store = await Store.open(directory);
    assert.equal(store.epoch, round * 2);
    const found = await contents(store, 'n/');
    for (const number of acknowledged)
      assert.equal(found.get(`n/${number}`)?.slice(0, number.length), number, `round ${round}: ${number}`);
    assert.equal(store.counters.damaged, 0);
    await store.close();
  }
  assert.ok(acknowledged.size > 500);
});

test('a second process is refused in one line that names the directory', async (t) => {
  const directory = newDirectory(t);
  const { child, lines } = startWriter(directory, 'hold');
  assert.equal(await nextLine(lines), 'open');
  await assert.rejects(Store.open(directory), (error) => {
    assert.ok(error instanceof Fault);
    assert.equal(error.code, 'data-dir-locked');
    assert.ok(error.message.includes(directory) && !error.message.includes('\n'), error.message);
    return true;
  });
  child.stdin!.end('done\n');
  await once(child, 'exit');
  const store = await Store.open(directory);
  await store.close();
});

test('a database that lost CURRENT, or is gone, or is another one, is refused', async (t) => {
  const { directory } = await filled(t, '.ldb');
  const current = join(directory, 'database', 'CURRENT');
  const pointer = readFileSync(current);
  rmSync(current);
  await assert.rejects(Store.open(directory), hasCode('store-lost'));
  writeFileSync(current, pointer);
  const intact = await Store.open(directory);
  assert.equal((await contents(intact)).size, 400, 'the refusal must not have touched the tables');
  await intact.close();

  const other = newDirectory(t);
  await (await Store.open(other)).close();
  rmSync(join(directory, 'database'), { recursive: true });
  await assert.rejects(Store.open(directory), hasCode('store-lost'));
  cpSync(join(other, 'database'), join(directory, 'database'), { recursive: true });
  await assert.rejects(Store.open(directory), hasCode('store-lost'));
});

test('a database without marker or epoch names its place and the way out, and is left as it is', async (t) => {
  const { directory, file } = await filled(t, '.log');
  const database = join(directory, 'database');
  rmSync(join(directory, 'initialised'));
  // The first record of the log holds the epoch: to begin with another could repeat versions.
  const bytes = readFileSync(file);
  writeFileSync(file, bytes.fill(0, 0, 16));
  await assert.rejects(Store.open(directory), (error) => {
    assert.ok(error instanceof Fault);
    assert.equal(error.code, 'store-corrupted');
    assert.ok(error.message.startsWith(`the database in ${database} is damaged`), error.message);
    assert.ok(error.message.includes(`remove ${database} and ${join(directory, 'initialised')}`));
    return true;
  });
});

test('a damaged marker is refused, a missing one is made anew', async (t) => {
  const directory = newDirectory(t);
  await (await Store.open(directory)).close();
  const marker = join(directory, 'initialised');
  for (const text of ['', '{}', '{"store":"00","epoch":1}', '[1]']) {
    writeFileSync(marker, text);
    await assert.rejects(Store.open(directory), hasCode('store-lost'));
  }
  rmSync(marker);
  const store = await Store.open(directory);
  assert.equal(store.epoch, 2);
  await store.close();
  assert.ok(statSync(marker).size > 0);
});

test('the epoch never falls behind the marker, even when an older database is restored', async (t) => {
  const directory = newDirectory(t);
  await (await Store.open(directory)).close();
  cpSync(join(directory, 'database'), `${directory}-old`, { recursive: true });
  await (await Store.open(directory)).close();
  await (await Store.open(directory)).close();
  rmSync(join(directory, 'database'), { recursive: true });
  cpSync(`${directory}-old`, join(directory, 'database'), { recursive: true });
  const store = await Store.open(directory);
  assert.equal(store.epoch, 4);
  await store.close();
});

test('a directory that cannot be made is a fault, at once', async (t) => {
  const directory = newDirectory(t);
  writeFileSync(directory, 'a file');
  for (const impossible of [directory, join(directory, 'below'), '/proc/starling', '/proc/starling/below'])
    await assert.rejects(Store.open(impossible), hasCode('store-unavailable'), impossible);
});

test('after a failed write the store opens again and goes on', async (t) => {
  const directory = newDirectory(t);
  const { child, lines } = startWriter(directory, 'fill');
  assert.equal(await nextLine(lines), 'open');
  // No file of the process may grow past this: writes fail as they do on a full disk.
  execFileSync('prlimit', ['--pid', String(child.pid), '--fsize=1000000:unlimited']);
  const acknowledged: string[] = [];
  let line = await nextLine(lines);
  for (; /^\d+$/.test(line); line = await nextLine(lines)) acknowledged.push(line);
  assert.equal(line, 'store-unavailable');
  execFileSync('prlimit', ['--pid', String(child.pid), '--fsize=unlimited']);
  child.stdin!.write('go on\n');
  acknowledged.push(await nextLine(lines));
  assert.equal(await nextLine(lines), 'ok');
  await once(child, 'exit');
  const store = await Store.open(directory);
  const found = await contents(store);
  for (const number of acknowledged) assert.ok(found.has(`n/${number}`), number);
  await store.close();
});
