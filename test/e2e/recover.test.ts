/** The quorum is lost for good: the trustee that is left and the share that was put away bring the root back. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { type Bird, Flock, until } from '../../demo/flock.ts';
import { Load } from '../../demo/load.ts';
import { registerWeb, startService, upstreamPort } from './mesh.ts';
import {
  believedBy,
  caOf,
  certify,
  hostsFrom,
  joinWith,
  scene,
  serveApi,
  untilBelieved,
  untilReachable,
} from './roots.ts';

const flock = new Flock();
let founder: Bird;
let lost: readonly Bird[];
/** Not a trustee while three others are. */
let fourth: Bird;
let key: string;
before(async () => {
  const birds = await flock.start(hostsFrom(91, 3));
  founder = birds[0]!;
  lost = birds.slice(1);
  await untilBelieved(flock.birds, /^g1\*$/, 90_000);
  fourth = await joinWith(flock, hostsFrom(94, 1)[0]!, await flock.token());
  key = join(flock.directory, 'recovery.key');
  await startService(flock, 'web', `${founder.address}:9000`);
  await registerWeb(flock, founder, 'api');
  await serveApi(flock, fourth);
  await founder.json('intention', 'create', 'web', 'api', '--allow', ...flock.operator());
  await untilReachable(founder);
});
after(() => flock.stop());

function recover(...more: string[]) {
  return founder.cli('ca', 'recover', '--recovery-key-file', key, ...flock.operator(), ...more);
}

async function rootOf(bird: Bird): Promise<string> {
  const { Roots } = await bird.get<{ Roots: { RootCert: string }[] }>('/v1/connect/ca/roots');
  return Roots.map(({ RootCert }) => RootCert).join('');
}

scene(
  'a share is put away in every epoch, sealed for a key that no agent sees, and a drill opens it',
  () => flock,
  async (t) => {
    const created = await founder.cli('ca', 'recovery-key', 'create', '--out', key, ...flock.operator());
    assert.equal(created.code, 0, created.stderr);
    assert.equal(statSync(key).mode & 0o777, 0o600);
    await until('a share is put away', 60_000, async () => (await caOf(founder)).cold !== null);
    const { cold, threshold } = await caOf(founder);
    assert.deepEqual([threshold, cold?.seats, cold?.drill], [2, 1, null]);
    const drill = await recover('--drill');
    assert.equal(drill.code, 0, drill.stderr);
    t.diagnostic(drill.stdout.trim());
    await until('the drill is known', 20_000, async () => {
      const { cold: looked, epoch } = await caOf(fourth);
      return looked?.drill?.epoch === epoch;
    });
    const refused = await recover();
    assert.equal(refused.code, 1);
    assert.match(refused.stderr, /3 are here: nothing needs to be recovered/);
    const secret = readFileSync(key, 'utf8').trim();
    for (const { dataDir } of flock.birds)
      for (const name of readdirSync(dataDir, { recursive: true, encoding: 'utf8' })) {
        const path = join(dataDir, name);
        if (statSync(path).isFile()) assert.ok(!readFileSync(path, 'latin1').includes(secret), path);
      }
  },
);

scene(
  'two of three trustees are lost with their disks, and certificates come from the same root again',
  () => flock,
  async (t) => {
    const root = await rootOf(founder);
    const { epoch } = await caOf(founder);
    const load = new Load(`http://${founder.address}:${upstreamPort}/`, 4, 10);
    t.after(() => load.stop());
    await Promise.all(lost.map((bird) => bird.program!.stop('SIGKILL')));
    for (const { dataDir } of lost) rmSync(dataDir, { recursive: true });
    await until(
      'the founder sees that the quorum is lost',
      40_000,
      async () => !(await caOf(founder)).quorum,
    );
    const began = performance.now();
    const recovered = await recover();
    assert.equal(recovered.code, 0, recovered.stderr);
    t.diagnostic(
      `${recovered.stdout.trim().replaceAll('\n', '; ')} (${(performance.now() - began).toFixed(0)} ms)`,
    );
    for (const bird of [founder, fourth]) {
      // The founder has held a share all the while: it is by the epoch that the new one is told.
      await until(`${bird.name} holds its share`, 30_000, async () => {
        const { holdsShare, epoch: now } = await caOf(bird);
        return holdsShare && now > epoch + 1;
      });
      const ca = await caOf(bird);
      assert.deepEqual([ca.generation, ca.threshold], [1, 2]);
      assert.deepEqual(ca.trustees.map(({ name }) => name).sort(), [founder.name, fourth.name].sort());
      assert.equal(await believedBy(bird), 'g1*');
      await until(`${bird.name} sees a quorum`, 20_000, async () => (await caOf(bird)).quorum);
    }
    assert.equal(await rootOf(founder), root, 'the root is the same');
    const certifiedMs = await certify(flock, fourth, 'newcomer', 30_000);
    const report = await load.stop();
    assert.equal(report.failed, 0, JSON.stringify(report));
    t.diagnostic(`a certificate after ${certifiedMs.toFixed(0)} ms; ${report.sent} requests, 0 failed`);
    const drill = await recover('--drill');
    assert.equal(drill.code, 0, drill.stderr);
  },
);
