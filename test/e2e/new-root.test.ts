/** The quorum is lost for good and nothing was put away: the operator and most hosts put another root into force. */
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { after, before } from 'node:test';
import { type Bird, Flock, until } from '../../demo/flock.ts';
import { Load } from '../../demo/load.ts';
import { registerWeb, startService, upstreamPort } from './mesh.ts';
import {
  caOf,
  certify,
  hostsFrom,
  identityOf,
  joinWith,
  scene,
  serveApi,
  untilBelieved,
  untilReachable,
} from './roots.ts';

const flock = new Flock();
let founder: Bird;
let lost: readonly Bird[];
/** Not a trustee while three others are; and one that never is. */
let fourth: Bird;
let plain: Bird;
before(async () => {
  const birds = await flock.start(hostsFrom(71, 3));
  founder = birds[0]!;
  lost = birds.slice(1);
  await untilBelieved(flock.birds, /^g1\*$/, 90_000);
  fourth = await joinWith(flock, hostsFrom(74, 1)[0]!, await flock.token());
  plain = await joinWith(flock, hostsFrom(75, 1)[0]!, await flock.token('--role', 'agent'));
  await startService(flock, 'web', `${founder.address}:9000`);
  await registerWeb(flock, founder, 'api');
  await serveApi(flock, plain);
  await founder.json('intention', 'create', 'web', 'api', '--allow', ...flock.operator());
  await untilReachable(founder);
});
after(() => flock.stop());

function newRoot(at: Bird, ...more: string[]) {
  return at.cli('ca', 'recover', '--new-root', ...flock.operator(), ...more);
}

scene(
  'two of three trustees are gone with their disks, and another root comes without one failed request',
  () => flock,
  async (t) => {
    const refused = await newRoot(founder);
    assert.deepEqual([refused.code, /3 trustees are here/.test(refused.stderr)], [1, true], refused.stderr);
    const load = new Load(`http://${founder.address}:${upstreamPort}/`, 4, 10);
    t.after(() => load.stop());
    await Promise.all(lost.map((bird) => bird.program!.stop('SIGKILL')));
    for (const { dataDir } of lost) rmSync(dataDir, { recursive: true });
    const left = [founder, fourth, plain];
    await until('all see that the quorum is lost', 40_000, async () => {
      return (await Promise.all(left.map(caOf))).every(({ quorum }) => !quorum);
    });
    await until('check says what brings a root back', 60_000, async () => {
      return /starling ca recover --new-root/.test((await founder.cli('check')).stdout);
    });
    const began = performance.now();
    const made = await newRoot(fourth);
    assert.equal(made.code, 0, made.stderr);
    await untilBelieved(left, /g2\*$/, 60_000);
    t.diagnostic(
      `${made.stdout.trim().replaceAll('\n', '; ')} (${(performance.now() - began).toFixed(0)} ms)`,
    );
    await certify(flock, plain, 'newcomer', 30_000);
    const serials = new Set([identityOf(founder, 'web').certPem, identityOf(plain, 'api').certPem]);
    await until('certificates are renewed from it', 60_000, async () => {
      return ![identityOf(founder, 'web'), identityOf(plain, 'api')].some(({ certPem }) =>
        serials.has(certPem),
      );
    });
    const report = await load.stop();
    assert.equal(report.failed, 0, JSON.stringify(report));
    t.diagnostic(
      `${report.sent} requests, 0 failed; renewed after ${(performance.now() - began).toFixed(0)} ms`,
    );
    const { trustees, threshold, generation } = await caOf(founder);
    assert.deepEqual([threshold, generation], [2, 2]);
    assert.deepEqual(trustees.map(({ name }) => name).sort(), [founder.name, fourth.name].sort());
  },
);
