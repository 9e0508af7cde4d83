/** The key that a quorum holds is nowhere: on no disk, and in no process's memory. */
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { type Bird, Flock, Program, until } from '../../demo/flock.ts';
import {
  encodeElement,
  encodeScalar,
  multiplyBase,
  type Scalar,
  scalars,
} from '../../src/trust/frost/group.ts';
import type { KeyShare } from '../../src/trust/frost/keys.ts';
import { lagrangeWeight } from '../../src/trust/frost/polynomial.ts';
import { loadOrCreateHostKey, rootSeedFile } from '../../src/trust/io/keys.ts';
import { SecretStore } from '../../src/trust/io/secret-store.ts';
import { decodeSecret } from '../../src/trust/quorum/held-shares.ts';
import { findInFolder, findInMemory, formsOf } from './memory.ts';
import { caOf, certify, hasGenesisKey, hostsFrom, scene, untilBelieved, untilOneShareEach } from './roots.ts';

const flock = new Flock();
let birds: readonly Bird[];
/** Of the first root, which one host held. */
let genesisSeed: Buffer;
/** What a search of the founder's memory for it found while it signed; null where that is not to be known. */
let foundWhileInUse: readonly string[] | null = null;
before(async () => {
  birds = await flock.start(hostsFrom(101, 3));
  genesisSeed = readFileSync(join(birds[0]!.dataDir, rootSeedFile));
  const search = await findInMemory(agentOf(birds[0]!), formsOf(genesisSeed));
  // Its engine has it for as long as the file is there.
  if (hasGenesisKey(birds[0]!)) foundWhileInUse = search?.found ?? null;
  await untilBelieved(birds, /^g1\*$/, 90_000);
  await until('the key of g0 is destroyed', 30_000, async () => !hasGenesisKey(birds[0]!));
  await untilOneShareEach(birds);
  // Every trustee signs: what it needs for that it has in memory then.
  for (const [i, bird] of birds.entries()) await certify(flock, bird, `service-${i}`);
});
after(() => flock.stop());

/** Reads a host's one share from a copy of its data directory. */
async function shareOf(bird: Bird): Promise<{ readonly share: KeyShare; readonly publicKey: string }> {
  const copy = join(flock.directory, `copy-of-${bird.name}`);
  mkdirSync(copy);
  for (const part of ['host.seed', 'shares'])
    cpSync(join(bird.dataDir, part), join(copy, part), { recursive: true });
  const { signer } = await loadOrCreateHostKey(copy);
  const { secrets } = await (await SecretStore.open(copy, signer.publicKey)).load();
  assert.equal(secrets.length, 1);
  const { group, share } = decodeSecret(secrets[0]!.bytes);
  return { share, publicKey: group.publicKey };
}

/** What no trustee can do on its own, and nobody ever does: put shares together. */
function keyFrom(shares: readonly KeyShare[]): Scalar {
  const seats = shares.map(({ seat }) => seat);
  return shares.reduce(
    (key, share) => scalars.add(key, scalars.mul(lagrangeWeight(seats, share.seat), share.reveal())),
    0n,
  );
}

/*
 * What a search like this cannot assure: it sees what is mapped now, in the forms it knows. The kernel may have
 * swapped a page out while the key was in use, and whoever read the founder's memory then has it.
 */
scene(
  'the key that two of three shares make is in no data directory and in no agent’s memory',
  () => flock,
  async (t) => {
    const held = await Promise.all(birds.map(shareOf));
    const key = keyFrom(held.slice(0, 2).map(({ share }) => share));
    assert.equal(key, keyFrom(held.slice(1).map(({ share }) => share)));
    assert.equal(
      Buffer.from(encodeElement(multiplyBase(key))).toString('hex'),
      held[0]!.publicKey,
      'it is the root’s',
    );
    if (foundWhileInUse !== null) assert.deepEqual(foundWhileInUse, ['little-endian'], 'g0 was there once');
    else t.diagnostic('the founder was not to be searched while it signed');
    const forms = formsOf(encodeScalar(key));
    const shares = held.map(({ share }) => formsOf(encodeScalar(share.reveal())));
    for (const [i, bird] of birds.entries()) {
      assert.deepEqual(findInFolder(bird.dataDir, forms), []);
      assert.deepEqual(findInFolder(bird.dataDir, formsOf(genesisSeed)), [], 'nor is the genesis key');
      for (const share of shares)
        assert.deepEqual(findInFolder(bird.dataDir, share), [], 'shares are encrypted');
      const pid = agentOf(bird);
      const memory = await findInMemory(pid, forms);
      if (memory === null) {
        t.diagnostic('the memory of other processes cannot be read here: only disks were searched');
        continue;
      }
      t.diagnostic(`${bird.name}: ${memory.bytesRead >> 20} MB of memory`);
      assert.deepEqual(memory.found, []);
      assert.ok(memory.bytesRead > 30 << 20);
      assert.deepEqual(
        (await findInMemory(pid, formsOf(genesisSeed)))!.found,
        [],
        'the genesis key is forgotten',
      );
      // What shows that the search finds what is there: its own share, and nobody else's.
      for (const [of, share] of shares.entries())
        assert.equal(
          (await findInMemory(pid, share))!.found.length > 0,
          of === i,
          `share of ${birds[of]!.name} in ${bird.name}`,
        );
    }
  },
);

/** The process that a bird's program became. */
function agentOf(bird: Bird): number {
  const { pid } = bird.program!;
  assert.match(readFileSync(`/proc/${pid}/cmdline`, 'utf8'), /agent/);
  return pid;
}

scene(
  'a key that is planted is found, whatever form it has',
  () => flock,
  async () => {
    const key = Buffer.from(Array.from({ length: 32 }, (_, i) => 37 * i + 5));
    const forms = formsOf(key);
    const folder = join(flock.directory, 'planted');
    mkdirSync(join(folder, 'deep'), { recursive: true });
    for (const [name, form] of forms) {
      const file = join(folder, 'deep', name.replaceAll(' ', '-'));
      writeFileSync(file, Buffer.concat([Buffer.alloc(1000), form, Buffer.alloc(1000)]));
      assert.ok(findInFolder(folder, forms).includes(`${file}: ${name}`));
    }
    for (const [what, expected] of [
      [`Buffer.from(process.env.KEY, 'hex')`, 'little-endian'],
      [`BigInt('0x' + Buffer.from(process.env.KEY, 'hex').reverse().toString('hex'))`, 'little-endian'],
      [`Buffer.from(process.env.KEY, 'hex').reverse()`, 'big-endian'],
      [`Buffer.from(process.env.KEY, 'hex').toString('base64')`, 'little-endian base64'],
    ] as const) {
      const script = `globalThis.kept = ${what}; console.log('holds it'); setInterval(() => {}, 1000);`;
      const program = new Program(process.execPath, ['-e', script], { KEY: key.toString('hex') });
      try {
        await program.line('holds it', 10_000);
        const memory = await findInMemory(program.pid, forms);
        if (memory !== null) assert.ok(memory.found.includes(expected), `${what}: ${memory.found.join()}`);
      } finally {
        await program.stop();
      }
    }
  },
);

scene(
  'the three still sign, and none of it was disturbed',
  () => flock,
  async () => {
    await certify(flock, birds[2]!, 'afterwards');
    assert.ok((await Promise.all(birds.map(caOf))).every(({ holdsShare }) => holdsShare));
  },
);
