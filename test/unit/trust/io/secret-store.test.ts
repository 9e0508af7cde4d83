import assert from 'node:assert/strict';
import { chmod, copyFile, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Fault } from '../../../../src/core.ts';
import { loadOrCreateRootKey, loadRootKey } from '../../../../src/trust/io/keys.ts';
import { SecretStore, sharesFolder, shredFiles } from '../../../../src/trust/io/secret-store.ts';

const base = await mkdtemp(join(tmpdir(), 'starling-secrets-'));
after(() => rm(base, { recursive: true }));

const host = 'ab'.repeat(32);
const first = 'aa'.repeat(32);
const second = 'bb'.repeat(32);
const bytesOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text));
const share = (name: string, text = `the share ${name}`) => ({ name, bytes: bytesOf(text) });
const hasCode = (code: string) => (error: unknown) => error instanceof Fault && error.code === code;

async function fresh(): Promise<{ readonly dataDir: string; readonly folder: string }> {
  const dataDir = await mkdtemp(join(base, 'data-'));
  return { dataDir, folder: join(dataDir, sharesFolder) };
}

/** What a host finds after a restart: secrets by name, and the codes of those that are damaged. */
async function found(dataDir: string, owner = host): Promise<{ [name: string]: string }> {
  const { secrets, damaged } = await (await SecretStore.open(dataDir, owner)).load();
  return Object.fromEntries([
    ...secrets.map(({ name, bytes }) => [name, Buffer.from(bytes).toString()]),
    ...damaged.map(({ name, fault }) => [name, fault.code]),
  ]);
}

test('what is kept is found after a restart, and is for its owner only', async () => {
  const { dataDir, folder } = await fresh();
  const store = await SecretStore.open(dataDir, host);
  await store.keep([share(first), share(second)]);
  assert.deepEqual(await found(dataDir), { [first]: `the share ${first}`, [second]: `the share ${second}` });
  const files = await readdir(folder);
  assert.deepEqual(files.sort(), [`${first}.key`, `${first}.share`, `${second}.key`, `${second}.share`]);
  for (const file of files) {
    assert.equal((await stat(join(folder, file))).mode & 0o777, 0o600);
    assert.ok(!(await readFile(join(folder, file))).includes('the share'), 'nothing is there in clear');
  }
  assert.equal((await stat(folder)).mode & 0o777, 0o700);
});

test('each secret has a key of its own, and another one for other bytes', async () => {
  const { dataDir, folder } = await fresh();
  const store = await SecretStore.open(dataDir, host);
  await store.keep([share(first), share(second)]);
  const keyOf = async (name: string): Promise<string> =>
    (await readFile(join(folder, `${name}.key`))).toString('hex');
  const before = await keyOf(first);
  assert.notEqual(before, await keyOf(second));
  await store.keep([share(first, 'again')]);
  assert.notEqual(before, await keyOf(first));
  assert.equal((await found(dataDir))[first], 'again');
});

test('a shredded secret is gone, and those that are not there are gone already', async () => {
  const { dataDir, folder } = await fresh();
  const store = await SecretStore.open(dataDir, host);
  await store.keep([share(first), share(second)]);
  await store.shred([first, 'cc'.repeat(32)]);
  assert.deepEqual(Object.keys(await found(dataDir)), [second]);
  assert.deepEqual((await readdir(folder)).sort(), [`${second}.key`, `${second}.share`]);
});

test('shredding overwrites what was in the file itself', async () => {
  const { dataDir } = await fresh();
  await writeFile(join(dataDir, 'secret'), 'the secret', { mode: 0o600 });
  const file = await open(join(dataDir, 'secret'));
  await shredFiles(dataDir, ['secret', 'absent']);
  const left = Buffer.alloc(32);
  const { bytesRead } = await file.read(left, 0, left.length, 0);
  await file.close();
  assert.deepEqual(left.subarray(0, bytesRead), Buffer.alloc('the secret'.length));
  assert.deepEqual(await readdir(dataDir), []);
});

test('keeping and shredding happen in the order they were asked for', async () => {
  const { dataDir } = await fresh();
  const store = await SecretStore.open(dataDir, host);
  await Promise.all([
    store.keep([share(first)]),
    store.shred([first]),
    store.shred([second]),
    store.keep([share(second)]),
  ]);
  assert.deepEqual(Object.keys(await found(dataDir)), [second]);
});

test('one damaged file is named, and the others are found', async () => {
  const { dataDir, folder } = await fresh();
  const store = await SecretStore.open(dataDir, host);
  const names = ['11', '22', '33', '44', '55'].map((digits) => digits.repeat(32));
  await store.keep(names.map((name) => share(name)));
  const [torn, swapped, exposed, rotten, whole] = names.map((name) => join(folder, name));
  await writeFile(`${torn}.share`, 'x');
  await copyFile(`${whole}.share`, `${swapped}.share`);
  await copyFile(`${whole}.key`, `${swapped}.key`);
  await chmod(`${exposed}.key`, 0o644);
  await writeFile(`${rotten}.key`, 'short');
  assert.deepEqual(await found(dataDir), {
    [names[0]!]: 'malformed',
    [names[1]!]: 'secret-unreadable',
    [names[2]!]: 'secret-exposed',
    [names[3]!]: 'secret-unreadable',
    [names[4]!]: `the share ${names[4]}`,
  });
  // They stay until somebody has looked, and then go like any other.
  await store.shred(names.slice(0, 4));
  assert.deepEqual(Object.keys(await found(dataDir)), [names[4]]);
});

test('secrets of another host are none of this one’s', async () => {
  const { dataDir } = await fresh();
  await (await SecretStore.open(dataDir, host)).keep([share(first)]);
  assert.deepEqual(await found(dataDir, 'cd'.repeat(32)), { [first]: 'secret-unreadable' });
});

test('what a crash left half-written or half-shredded is no secret, and does not stay', async () => {
  const { dataDir, folder } = await fresh();
  const store = await SecretStore.open(dataDir, host);
  await store.keep([share(first), share(second)]);
  const copy = (from: string, to: string): Promise<void> => copyFile(join(folder, from), join(folder, to));
  // Before the data was written; before the key was renamed; after the key was overwritten.
  await copy(`${first}.key`, `${'cc'.repeat(32)}.key`);
  await copy(`${first}.key`, `${'dd'.repeat(32)}.key.0123456789ab.tmp`);
  await copy(`${first}.share`, `${'ee'.repeat(32)}.share`);
  await writeFile(join(folder, `${'ee'.repeat(32)}.key.0123456789ab.tmp`), new Uint8Array(32));
  assert.deepEqual(Object.keys(await found(dataDir)), [first, second]);
  assert.equal((await readdir(folder)).length, 4);
});

test('the founder’s root is one of the secrets, and can be shredded', async () => {
  const { dataDir } = await fresh();
  const { seed } = await loadOrCreateRootKey(dataDir);
  const store = await SecretStore.open(dataDir, host);
  const { secrets, damaged } = await store.load();
  assert.deepEqual(damaged, []);
  assert.deepEqual(
    secrets.map(({ name, bytes }) => [name, Buffer.from(bytes)]),
    [['genesis', Buffer.from(seed)]],
  );
  await store.shred(['genesis']);
  assert.equal(await loadRootKey(dataDir), null);
  assert.deepEqual(await found(dataDir), {});
  assert.deepEqual(await readdir(dataDir), [sharesFolder]);
});

test('a root seed that was being shredded when the host crashed does not come back', async () => {
  const { dataDir } = await fresh();
  await writeFile(join(dataDir, 'root-g0.seed.0123456789ab.tmp'), new Uint8Array(32), { mode: 0o600 });
  assert.deepEqual(await found(dataDir), {});
  assert.deepEqual(await readdir(dataDir), [sharesFolder]);
});

test('names that are no names of shares reach no file', async () => {
  const { dataDir } = await fresh();
  const store = await SecretStore.open(dataDir, host);
  for (const name of ['', '../host', 'AA', 'abc', 'aa/bb', `${'aa'.repeat(65)}`, 'genesis2']) {
    await assert.rejects(store.keep([share(first), share(name)]), hasCode('secret-name'));
    await assert.rejects(store.shred([name]), hasCode('secret-name'));
  }
  await assert.rejects(store.keep([share('genesis')]), hasCode('secret-name'));
  await assert.rejects(store.keep([{ name: first, bytes: new Uint8Array(5000) }]), hasCode('secret-name'));
  assert.deepEqual(await found(dataDir), {});
});

test('a data directory that is not there is said to be so', async () => {
  await assert.rejects(SecretStore.open(join(base, 'absent', 'data'), host), hasCode('secret-unwritable'));
});
