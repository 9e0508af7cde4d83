/** Damage to each kind of file: told, never a wrong value, nothing lost but what it hit, and gone afterwards. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Store } from '../../../../src/gossip/io/store.ts';

const count = 400;
const textOf = (i: number | string): string => `value ${i} `.repeat(20);

interface Sample {
  readonly directory: string;
  /** Of one kind, in the database's folder. */
  readonly file: string;
}

/** A store of 400 entries, closed; they lie in a table, but for the latest fifty, which are in the log. */
async function sample(t: TestContext, kind: RegExp): Promise<Sample> {
  const home = mkdtempSync(join(tmpdir(), 'starling-damage-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const directory = join(home, 'data');
  for (const [from, to] of [
    [0, 350],
    [350, count],
  ] as const) {
    const store = await Store.open(directory);
    // Each write is a batch of its own: what is lost with one is countable.
    for (let i = from; i < to; i++)
      await store.write([{ type: 'put', key: `k/${i}`, value: Buffer.from(textOf(i)) }], true);
    await store.close();
  }
  const files = readdirSync(join(directory, 'database'))
    .filter((name) => kind.test(name))
    .sort(
      (a, b) => statSync(join(directory, 'database', b)).size - statSync(join(directory, 'database', a)).size,
    );
  return { directory, file: files[0]! };
}

interface Outcome {
  readonly found: number;
  readonly details: readonly string[];
}

/** Opens a copy of the sample with its file changed; checks all that must hold whatever the change was. */
async function opened(from: Sample, name: string, change: (bytes: Buffer) => Buffer): Promise<Outcome> {
  const copy = `${from.directory}-${name}`;
  cpSync(from.directory, copy, { recursive: true });
  const path = join(copy, 'database', from.file);
  writeFileSync(path, change(Buffer.from(readFileSync(path))));
  const details: string[] = [];
  const store = await Store.open(copy, { damaged: (detail) => details.push(detail) });
  assert.equal(store.epoch, 3, `${name}: ${details.join('; ')}`);
  const found = await entriesOf(store);
  for (const [key, text] of found) assert.equal(text, textOf(key.slice(2)), `${name}: ${key}`);
  if (found.size < count)
    assert.ok(details.length > 0, `${name}: ${count - found.size} entries vanished unsaid`);
  assert.equal(store.counters.damaged, details.length);
  await store.write([{ type: 'put', key: 'later', value: Buffer.from('kept') }], true);
  await store.close();

  const again = await Store.open(copy, {
    damaged: (detail) => assert.fail(`${name}, a start later: ${detail}`),
  });
  assert.equal((await entriesOf(again)).size, found.size + 1);
  await again.close();
  rmSync(copy, { recursive: true });
  return { found: found.size, details };
}

async function entriesOf(store: Store): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for await (const { key, value } of store.load('')) found.set(key, Buffer.from(value).toString());
  return found;
}

function flip(bytes: Buffer, bit: number): Buffer {
  bytes[bit >> 3]! ^= 1 << (bit & 7);
  return bytes;
}

const kinds = [
  { name: 'a table', pattern: /\.ldb$/, flips: 25, leastTold: 24, mostLost: 25 },
  { name: 'the log', pattern: /\.log$/, flips: 25, leastTold: 25, mostLost: 1 },
  { name: 'the manifest', pattern: /^MANIFEST-/, flips: 25, leastTold: 25, mostLost: 0 },
  { name: 'CURRENT', pattern: /^CURRENT$/, flips: 16, leastTold: 16, mostLost: 0 },
] as const;

for (const { name, pattern, flips, leastTold, mostLost } of kinds)
  test(`a flipped bit in ${name} is told and mended, and costs what it hit`, async (t) => {
    const from = await sample(t, pattern);
    const bits = statSync(join(from.directory, 'database', from.file)).size * 8;
    let told = 0;
    for (let i = 0; i < flips; i++) {
      const bit = Math.floor((bits * (i + 0.5)) / flips);
      const { found, details } = await opened(from, `bit ${bit}`, (bytes) => flip(bytes, bit));
      assert.ok(count - found <= mostLost, `bit ${bit} cost ${count - found} entries`);
      if (details.length > 0) told += 1;
    }
    assert.ok(told >= leastTold, `${told} of ${flips} flips were told`);
  });

test('a longer length in a log costs one batch, not all that was written after it', async (t) => {
  const from = await sample(t, /\.log$/);
  for (const bit of [4 * 8 + 4, 5 * 8 + 6]) {
    const { found, details } = await opened(from, `length bit ${bit}`, (bytes) => flip(bytes, bit));
    assert.ok(found >= count - 1, `${found} entries left`);
    assert.ok(details.length > 0);
  }
});

test('a log that ends in the middle of a batch is what a crash leaves: nothing is told', async (t) => {
  const from = await sample(t, /\.log$/);
  const path = join(from.directory, 'database', from.file);
  const length = statSync(path).size;
  writeFileSync(path, readFileSync(path).subarray(0, length - 40));
  const store = await Store.open(from.directory, { damaged: (detail) => assert.fail(detail) });
  assert.ok((await entriesOf(store)).size < count);
  await store.close();
});

test('zeros inside a log are damage, zeros at its end are not', async (t) => {
  const from = await sample(t, /\.log$/);
  const inside = await opened(from, 'zeros inside', (bytes) => bytes.fill(0, 2048, 4096));
  assert.ok(inside.details.length > 0 && inside.found >= count - 30, `${inside.found} entries left`);
  const behind = await opened(from, 'zeros behind', (bytes) => Buffer.concat([bytes, Buffer.alloc(4096)]));
  assert.deepEqual(behind, { found: count, details: [] });
});

for (const [name, pattern, lost] of [
  ['table', /\.ldb$/, 350],
  ['log', /\.log$/, 50],
] as const)
  test(`a ${name} that is gone is told`, async (t) => {
    const from = await sample(t, pattern);
    rmSync(join(from.directory, 'database', from.file));
    const details: string[] = [];
    const store = await Store.open(from.directory, { damaged: (detail) => details.push(detail) });
    assert.match(details.join(), new RegExp(`${name} \\d+ is missing`));
    assert.equal((await entriesOf(store)).size, count - lost);
    await store.close();
  });

test('a rebuild that a crash cut short is finished or begun again', async (t) => {
  const from = await sample(t, /\.ldb$/);
  const database = join(from.directory, 'database');
  const path = join(database, from.file);
  writeFileSync(path, flip(readFileSync(path), 5000));
  await (await Store.open(from.directory)).close();
  assert.ok(readdirSync(from.directory).includes('database.damaged'));
  // Between the two renames: the new database still has its first name.
  cpSync(database, `${database}.rebuilt`, { recursive: true });
  rmSync(database, { recursive: true });
  const details: string[] = [];
  const store = await Store.open(from.directory, { damaged: (detail) => details.push(detail) });
  assert.deepEqual(details, []);
  assert.ok((await entriesOf(store)).size >= count - 25);
  await store.close();
  // Before them: what was built so far is worth nothing.
  cpSync(database, `${database}.rebuilt`, { recursive: true });
  const again = await Store.open(from.directory);
  assert.equal(again.epoch, store.epoch + 1);
  await again.close();
});
