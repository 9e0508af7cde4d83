/** A damaged store gets back from the mesh what it lost: real stores, real machines, a virtual network. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { Store } from '../../../../src/gossip/io/store.ts';
import { Mesh, type MeshHost } from '../mesh.ts';

const services = 60;

/** Writes what a host keeps to a store on disk: half of it ends in a table, half in the log. */
async function writeDown(host: MeshHost, directory: string): Promise<void> {
  const ops = [...host.store].map(([key, value]) => ({ type: 'put', key, value }) as const);
  for (const half of [ops.slice(0, ops.length / 2), ops.slice(ops.length / 2)]) {
    const store = await Store.open(directory);
    for (const op of half) await store.write([op], true);
    await store.close();
  }
}

/** Starts the host again from what its store has; returns what the store told of. */
async function restartFrom(mesh: Mesh, host: MeshHost, directory: string): Promise<string[]> {
  const details: string[] = [];
  const store = await Store.open(directory, { damaged: (detail) => details.push(detail) });
  host.store.clear();
  for await (const { key, value } of store.load('')) host.store.set(key, value);
  host.epoch = store.epoch;
  await store.close();
  mesh.restart(host);
  return details;
}

function damage(directory: string, pattern: RegExp): void {
  const database = join(directory, 'database');
  for (const name of readdirSync(database).filter((one) => pattern.test(one))) {
    const bytes = readFileSync(join(database, name));
    for (let at = 8; at < bytes.length; at += 1000) bytes[at]! ^= 0x10;
    writeFileSync(join(database, name), bytes);
  }
}

async function meshWithStore(t: TestContext): Promise<{ mesh: Mesh; host: MeshHost; directory: string }> {
  const home = mkdtempSync(join(tmpdir(), 'starling-resync-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const mesh = new Mesh({ seed: 7, size: 2 });
  const [one, two] = [mesh.host(0), mesh.host(1)];
  for (let i = 0; i < services; i++) {
    mesh.put(one, 'service', `own-${i}`, { port: i });
    mesh.put(two, 'service', `other-${i}`, { port: i });
  }
  assert.notEqual(
    mesh.until(() => mesh.converged() && one.store.size > 2 * services, 60_000),
    null,
  );
  const directory = join(home, 'data');
  await writeDown(one, directory);
  return { mesh, host: one, directory };
}

for (const [what, pattern] of [
  ['tables', /\.ldb$/],
  ['log', /\.log$/],
  ['manifest', /^MANIFEST-/],
  ['CURRENT', /^CURRENT$/],
  ['every file', /^CURRENT$|^MANIFEST-|\.ldb$|\.log$/],
] as const)
  test(`with damage in ${what}, a host gets its own and others’ records back from the mesh`, async (t) => {
    const { mesh, host, directory } = await meshWithStore(t);
    const before = host.gossip.replica.root();
    mesh.kill(host);
    damage(directory, pattern);
    const details = await restartFrom(mesh, host, directory);
    assert.ok(details.length > 0, 'the damage was not told');
    assert.notEqual(
      mesh.until(() => mesh.converged() && host.gossip.replica.size > 2 * services, 120_000),
      null,
      `${host.gossip.replica.size} records came back`,
    );
    assert.equal(host.gossip.replica.root(), before);
    // What it writes next outranks all that it wrote before it was damaged.
    mesh.put(host, 'service', 'own-0', { port: 4711 });
    const other = mesh.host(1).gossip.replica;
    const slot = `host/${host.id}/service/own-0`;
    assert.notEqual(
      mesh.until(() => Buffer.from(other.get(slot)?.value ?? []).includes('4711'), 60_000),
      null,
    );
    assert.deepEqual(mesh.alarms, []);
  });
