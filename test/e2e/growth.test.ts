/** Five to seven hosts under load: more trustees, other roots, dead trustees replaced; and no request fails. */
import assert from 'node:assert/strict';
import { after, before, type TestContext } from 'node:test';
import { type Bird, Flock, until } from '../../demo/flock.ts';
import { registerWeb, startService } from './mesh.ts';
import {
  caOf,
  certify,
  failedOf,
  hasGenesisKey,
  hostsFrom,
  joinWith,
  SteadyLoad,
  scene,
  serveApi,
  tell,
  untilBelieved,
  untilReachable,
} from './roots.ts';

const flock = new Flock();
/** `web` is on the first, `api` on the next two; the last four serve nothing, and are killed and replaced. */
let birds: Bird[];
let load: SteadyLoad | undefined;
before(async () => {
  birds = [...(await flock.start(hostsFrom(61, 5)))];
  const [first, ...apis] = birds.slice(0, 3) as [Bird, Bird, Bird];
  await startService(flock, 'web', `${first.address}:9000`);
  await registerWeb(flock, first, 'api');
  for (const bird of apis) await serveApi(flock, bird);
  await first.json('intention', 'create', 'web', 'api', '--allow', ...flock.operator());
  await untilReachable(first);
  load = new SteadyLoad(first, () => apis, 20);
});
after(async () => {
  await load?.stop();
  await flock.stop();
});

/** Each scene has a load of its own; this ends that before it. */
async function settleLoad(t: TestContext): Promise<void> {
  const report = await load!.stop();
  load = new SteadyLoad(birds[0]!, () => birds.slice(1, 3), 20);
  t.diagnostic(tell(report));
  assert.ok(report.keepAlive.sent > 100 && report.mutual.sent > 5);
  assert.equal(failedOf(report), 0, tell(report));
}

const running = (): Bird[] => flock.birds.filter((bird) => bird.program!.running);

/** Resolves once all hosts that run agree on so many trustees, each of which has its share. */
async function untilSeated(trustees: number, threshold: number, withinMs: number): Promise<number> {
  const what = `${threshold} of ${trustees} on ${running().length} hosts`;
  return until(what, withinMs, async () => {
    const all = await Promise.all(running().map(caOf));
    return all.every(
      (ca) =>
        ca.threshold === threshold &&
        ca.trustees.length === trustees &&
        ca.trustees.every(({ alive }) => alive) &&
        ca.holdsShare === ca.isTrustee,
    );
  });
}

async function rotate(t: TestContext, next: number): Promise<void> {
  const began = performance.now();
  const { next: promised } = await birds[0]!.json<{ next: number }>('ca', 'rotate', ...flock.operator());
  assert.equal(promised, next);
  await untilBelieved(running(), new RegExp(`g${next}\\*$`), 60_000);
  const switchedMs = performance.now() - began;
  await untilBelieved(running(), new RegExp(`^g${next}\\*$`), 60_000);
  const retiredMs = performance.now() - began;
  t.diagnostic(
    `g${next} signs after ${switchedMs.toFixed(0)} ms; g${next - 1} is retired after ${retiredMs.toFixed(0)} ms`,
  );
}

scene(
  'five hosts share the root by three of five, and with two more by four of seven',
  () => flock,
  async (t) => {
    const seatedMs = await untilSeated(5, 3, 90_000);
    t.diagnostic(`five share it ${seatedMs.toFixed(0)} ms after the load began`);
    const { generation, epoch } = await caOf(birds[0]!);
    for (const options of hostsFrom(66, 2)) birds.push(await joinWith(flock, options, await flock.token()));
    const grownMs = await untilSeated(7, 4, 60_000);
    t.diagnostic(`seven do ${grownMs.toFixed(0)} ms after they came`);
    const after = await caOf(birds[0]!);
    assert.deepEqual(
      [after.generation, after.epoch > epoch],
      [generation, true],
      'new shares of the same key',
    );
    await untilBelieved(birds, /^g1\*$/, 60_000);
    await until('the key of g0 is destroyed', 30_000, async () => !hasGenesisKey(birds[0]!));
    await settleLoad(t);
  },
);

scene(
  'the root is replaced twice',
  () => flock,
  async (t) => {
    await rotate(t, 2);
    await rotate(t, 3);
    await settleLoad(t);
  },
);

scene(
  'three trustees die one after another, and others take their seats',
  () => flock,
  async (t) => {
    for (const victim of birds.slice(3, 6)) {
      const [newcomer] = hostsFrom(65 + birds.indexOf(victim), 1);
      const replacement = flock.bird(newcomer!);
      await replacement.start('--join', birds[0]!.address, '--token', await flock.token());
      await victim.program!.stop('SIGKILL');
      const killedAt = performance.now();
      await until(`${victim.name} is replaced by ${replacement.name}`, 60_000, async () => {
        const { trustees, holdsShare } = await caOf(replacement);
        const names = trustees.map(({ name }) => name);
        return holdsShare && names.includes(replacement.name) && !names.includes(victim.name);
      });
      t.diagnostic(
        `${victim.name} was replaced ${(performance.now() - killedAt).toFixed(0)} ms after its death`,
      );
    }
    await untilSeated(7, 4, 30_000);
    await certify(flock, birds[6]!, 'afterwards');
    await settleLoad(t);
  },
);
