/** The root passes from the first host to a quorum of three, and stays in working order whatever befalls them. */
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { type Bird, Flock, until } from '../../demo/flock.ts';
import { registerWeb, startService } from './mesh.ts';
import {
  believedBy,
  caOf,
  certify,
  failedOf,
  hasGenesisKey,
  hostsFrom,
  joinWith,
  SteadyLoad,
  scene,
  serveApi,
  shareFiles,
  tell,
  untilBelieved,
  untilOneShareEach,
  untilReachable,
} from './roots.ts';

/** Seats stay whose they are while their hosts restart: an absent trustee has ten minutes. */
const flags = ['--trustee-settle', '2s'];
const home = new Flock();
/** Hosts without services, of which one is killed while the key is made. */
const other = new Flock();
let founder: Bird;
let second: Bird;
let third: Bird;
/** Made while the first root signed, for a host that comes after it has gone. */
let earlyToken: string;
before(async () => {
  [founder, second] = (await home.start(hostsFrom(51, 2, flags))) as [Bird, Bird];
  earlyToken = await home.token('--role', 'agent');
  await startService(home, 'web', `${founder.address}:9000`);
  await registerWeb(home, founder, 'api');
  await serveApi(home, second);
  await founder.json('intention', 'create', 'web', 'api', '--allow', ...home.operator());
  await untilReachable(founder);
});
after(async () => {
  await home.stop();
  await other.stop();
});

const trustees = (): Bird[] => [founder, second, third];

scene(
  'with the third host the root passes to a quorum under load, and no request fails',
  () => home,
  async (t) => {
    const apis = [second];
    const load = new SteadyLoad(founder, () => apis);
    assert.equal(await believedBy(founder), 'g0*');
    assert.ok(hasGenesisKey(founder));
    third = await joinWith(home, hostsFrom(53, 1, flags)[0]!, await home.token());
    const joinedAt = performance.now();
    await serveApi(home, third);
    await untilBelieved(trustees(), /g1\*$/, 60_000);
    const activeAfterMs = performance.now() - joinedAt;
    await untilBelieved(trustees(), /^g1\*$/, 60_000);
    await until('the key of g0 is destroyed', 30_000, async () => !hasGenesisKey(founder));
    const goneAfterMs = performance.now() - joinedAt - activeAfterMs;
    await until(
      'the third host has a certificate',
      30_000,
      async () => (await certifiedBy(third, 'api')) !== null,
    );
    apis.push(third);
    await certify(home, third, 'early');
    const report = await load.stop();
    t.diagnostic(
      `g1 signs ${activeAfterMs.toFixed(0)} ms after the third host came; g0 is gone ${goneAfterMs.toFixed(0)} ms later`,
    );
    t.diagnostic(tell(report));
    assert.ok(report.keepAlive.sent > 100 && report.fresh.sent > 50 && report.mutual.sent > 10);
    assert.equal(failedOf(report), 0, tell(report));
    await until('two of three sign, and each has its share', 20_000, async () => {
      const all = await Promise.all(trustees().map(caOf));
      return all.every((ca) => ca.threshold === 2 && ca.trustees.length === 3 && ca.holdsShare);
    });
    await untilOneShareEach(trustees());
  },
);

/** The identity's expiry when there is one without a problem. */
async function certifiedBy(bird: Bird, service: string): Promise<number | null> {
  const { identities } = await caOf(bird);
  const found = identities.find((identity) => identity.service === service);
  return found === undefined || found.problem !== null ? null : found.notAfter;
}

scene(
  'who comes later learns of the roots and is certified by the trustees, also by a token from before',
  () => home,
  async (t) => {
    const [one, two] = hostsFrom(54, 2, flags);
    const late = await joinWith(home, one!, earlyToken);
    const later = await joinWith(home, two!, await home.token('--role', 'agent'));
    for (const bird of [late, later]) {
      await untilBelieved([bird], /^g1\*$/, 20_000);
      const tookMs = await certify(home, bird, 'guest');
      t.diagnostic(`${bird.name} was certified within ${tookMs.toFixed(0)} ms`);
      const { isTrustee, trustees: seats } = await caOf(bird);
      assert.deepEqual([isTrustee, seats.length], [false, 3], 'its grant does not let it hold a share');
    }
  },
);

scene(
  'every agent restarts, and what needs a certificate gets one all the while',
  () => home,
  async (t) => {
    const [, , , late] = home.birds as [Bird, Bird, Bird, Bird];
    const { epoch } = await caOf(founder);
    const serving = new Set([second, third]);
    const load = new SteadyLoad(founder, () => [...serving]);
    for (const bird of [second, third]) {
      serving.delete(bird);
      assert.equal(await bird.program!.stop(), 0);
      await certify(home, late, `while-${bird.name}-restarts`);
      await bird.start();
      await untilBelieved([bird], /^g1\*$/, 20_000);
      await until('it has its certificate', 30_000, async () => (await certifiedBy(bird, 'api')) !== null);
      serving.add(bird);
    }
    const report = await load.stop();
    t.diagnostic(tell(report));
    assert.equal(failedOf(report), 0, tell(report));
    await founder.program!.stop();
    await founder.start();
    await untilReachable(founder);
    await late.program!.stop();
    await late.start();
    await certify(home, late, 'after-all-restarts');
    await until('all three are trustees with shares', 60_000, async () => {
      const all = await Promise.all(trustees().map(caOf));
      return all.every(({ holdsShare, trustees: seats }) => holdsShare && seats.length === 3);
    });
    assert.equal((await caOf(founder)).epoch, epoch, 'nobody lost its seat');
  },
);

scene(
  'two of three trustees certify while the third is dead, and it has its share when it is back',
  () => home,
  async (t) => {
    const [, , , late] = home.birds as [Bird, Bird, Bird, Bird];
    await third.program!.stop('SIGKILL');
    const tookMs = await certify(home, late, 'while-one-is-dead');
    t.diagnostic(`certified within ${tookMs.toFixed(0)} ms of the kill`);
    await third.start();
    await until('the third has its share', 30_000, async () => (await caOf(third)).holdsShare);
    await certify(home, third, 'back-again');
  },
);

scene(
  'a trustee that is killed while the key is made delays it, and takes part when it is back',
  () => other,
  async (t) => {
    const [one, , three] = (await other.start(hostsFrom(56, 3, flags))) as [Bird, Bird, Bird];
    await until('shares are being made', 30_000, async () => shareFiles(one) + shareFiles(three) > 0);
    await three.program!.stop('SIGKILL');
    const { epoch } = await caOf(one);
    t.diagnostic(`killed in epoch ${epoch}`);
    await three.start();
    const tookMs = await untilBelieved(other.birds, /g1\*$/, 90_000);
    t.diagnostic(`g1 signs ${tookMs.toFixed(0)} ms after its return`);
    await until('all three have shares, and the key of g0 is destroyed', 30_000, async () => {
      const all = await Promise.all(other.birds.map(caOf));
      return all.every(({ holdsShare, threshold }) => holdsShare && threshold === 2) && !hasGenesisKey(one);
    });
    await certify(other, three, 'after-the-kill');
  },
);

scene(
  'a rotation comes to its end although the trustee that leads it is killed in its midst',
  () => other,
  async (t) => {
    const [one, two] = other.birds as [Bird, Bird];
    await one.json('ca', 'rotate', ...other.operator());
    const began = performance.now();
    // The first seat leads first; by then two keys are held, the one in force and the one that is made.
    await until('shares are being made', 30_000, async () => shareFiles(one) + shareFiles(two) > 2);
    await one.program!.stop('SIGKILL');
    t.diagnostic(`killed in epoch ${(await caOf(two)).epoch}`);
    await one.start();
    await untilBelieved(other.birds, /g2\*$/, 120_000);
    t.diagnostic(`g2 signs ${(performance.now() - began).toFixed(0)} ms after it was asked for`);
    await untilBelieved(other.birds, /^g2\*$/, 60_000);
    await until('all have one share, of the new key', 30_000, async () => {
      const all = await Promise.all(other.birds.map(caOf));
      return all.every(({ holdsShare, generation }) => holdsShare && generation === 2);
    });
    await untilOneShareEach(other.birds);
    await certify(other, two, 'after-the-rotation');
  },
);
