/**
 * Too few trustees are left to sign: what is certified goes on until it expires, and all comes back with them.
 *
 * They are away until the first certificates have expired, a minute or so. `QUORUM_LOST_MINUTES=10` keeps them away
 * for so many minutes, in which nothing may be issued and the alarm must stand; give `--test-timeout` as much more.
 */
import assert from 'node:assert/strict';
import { after, before } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { type Bird, Flock, until } from '../../demo/flock.ts';
import { Load } from '../../demo/load.ts';
import { curl, register, registerWeb, startService, upstreamPort } from './mesh.ts';
import {
  caOf,
  certify,
  hostsFrom,
  identityProblem,
  joinWith,
  scene,
  serveApi,
  untilBelieved,
  untilReachable,
} from './roots.ts';

/** Renewed 13 to 20 s after they were issued. */
const ttlMs = 40_000;
/** At the least. */
const lostMs = Number(process.env.QUORUM_LOST_MINUTES ?? 0) * 60_000;
const flags = ['--trustee-settle', '2s', '--svid-ttl', `${ttlMs / 1000}s`];

interface Finding {
  readonly grade: string;
  readonly subject: string;
  readonly detail: string;
  readonly hint: string;
}

const flock = new Flock();
let founder: Bird;
let lost: readonly Bird[];
/** Never a trustee: where `api` is. */
let plain: Bird;
before(async () => {
  const birds = await flock.start(hostsFrom(81, 3, flags));
  founder = birds[0]!;
  lost = birds.slice(1);
  plain = await joinWith(flock, hostsFrom(84, 1, flags)[0]!, await flock.token('--role', 'agent'));
  await untilBelieved(flock.birds, /^g1\*$/, 90_000);
  await startService(flock, 'web', `${founder.address}:9000`);
  await registerWeb(flock, founder, 'api');
  await serveApi(flock, plain);
  await founder.json('intention', 'create', 'web', 'api', '--allow', ...flock.operator());
  await untilReachable(founder);
});
after(() => flock.stop());

async function findings(bird: Bird): Promise<Finding[]> {
  return JSON.parse((await bird.cli('check', '--json')).stdout) as Finding[];
}

/** What an agent counts under a name; 0 where it does not. */
async function counted(bird: Bird, name: string): Promise<number> {
  const metrics = await (await fetch(`${bird.httpUrl}/metrics`)).text();
  const line = metrics.split('\n').find((one) => one.startsWith(`${name} `));
  return Number(line?.slice(name.length) ?? 0);
}

const issuedCounter = 'starling_issuance_total{code="issued"}';

/** When the first certificate of `web` or `api` expires. */
async function firstExpiry(): Promise<number> {
  const all = await Promise.all([founder, plain].map(caOf));
  const expiries = all.flatMap(({ identities }) =>
    identities.filter(({ service }) => ['web', 'api'].includes(service)).map(({ notAfter }) => notAfter),
  );
  assert.equal(expiries.length, 2);
  return Math.min(...expiries);
}

scene(
  'with two of three trustees dead nothing is issued, and nothing fails before it expires',
  () => flock,
  async (t) => {
    await Promise.all(lost.map((bird) => bird.program!.stop('SIGKILL')));
    const load = new Load(`http://${founder.address}:${upstreamPort}/`, 2, 20);
    const startedAt = Date.now();
    const issued = new Map<Bird, number>();
    for (const bird of [founder, plain]) issued.set(bird, await counted(bird, issuedCounter));
    await register(flock, plain, { name: 'newcomer', address: plain.address, port: 9010 });
    await until('the newcomer is told why it has no certificate', 20_000, async () => {
      return /^quorum-lost: 2 trustees must sign, and .* left \(.*(unreachable|isolated)/.test(
        (await identityProblem(plain, 'newcomer')) ?? '',
      );
    });
    t.diagnostic(`newcomer: ${await identityProblem(plain, 'newcomer')}`);
    for (const bird of [founder, plain]) {
      let found: Finding | undefined;
      await until(`${bird.name} says that the quorum is lost`, 40_000, async () => {
        found = (await findings(bird)).find(({ subject }) => subject === 'quorum');
        return found !== undefined;
      });
      t.diagnostic(`${bird.name}: ${found!.grade} ${found!.subject}: ${found!.detail} (${found!.hint})`);
      assert.match(found!.detail, /^2 of 3 trustees sign .* only 1 /);
      assert.notEqual(found!.hint, '');
      assert.equal((await caOf(bird)).quorum, false);
    }
    const expiresAt = await firstExpiry();
    await until('the certificates of web and api expire', expiresAt - Date.now() + 20_000, async () => {
      return (await curl(`http://${founder.address}:${upstreamPort}/`)).status !== 200;
    });
    const report = await load.stop();
    assert.ok(report.sent > 100);
    await until('the quorum has been away for as long as was asked', lostMs + 60_000, async () => {
      await setTimeout(500);
      for (const bird of [founder, plain]) {
        assert.equal(await counted(bird, 'starling_ca_quorum'), 0, `${bird.name} raises the alarm`);
        assert.equal(await counted(bird, issuedCounter), issued.get(bird), `${bird.name} was issued nothing`);
      }
      return Date.now() - startedAt >= lostMs;
    });
    assert.equal(await firstExpiry(), expiresAt, 'nobody renewed it');
    for (const bird of [founder, plain])
      assert.ok(
        (await findings(bird)).some(({ subject }) => subject === 'quorum'),
        'check says so to the end',
      );
    t.diagnostic(`the quorum was away for ${((Date.now() - startedAt) / 60_000).toFixed(1)} minutes`);
    const failedAt = startedAt + (report.firstFailureMs ?? Number.POSITIVE_INFINITY);
    t.diagnostic(
      `${report.sent} requests, the first failed ${failedAt - expiresAt} ms after a certificate expired`,
    );
    // The clock of a certificate counts whole seconds.
    assert.ok(
      failedAt >= expiresAt - 1000,
      `${JSON.stringify(report)}, ${expiresAt - failedAt} ms before the end`,
    );
  },
);

scene(
  'all recovers by itself when the trustees return',
  () => flock,
  async (t) => {
    const began = performance.now();
    await Promise.all(lost.map((bird) => bird.start()));
    const startedMs = performance.now() - began;
    await untilReachable(founder, 60_000);
    await until('the newcomer has its certificate', 60_000, async () => {
      return (await identityProblem(plain, 'newcomer')) === null;
    });
    t.diagnostic(`${(performance.now() - began - startedMs).toFixed(0)} ms after their return`);
    await certify(flock, plain, 'afterwards');
    const load = new Load(`http://${founder.address}:${upstreamPort}/`, 2, 20);
    await until('nobody misses the quorum', 30_000, async () => {
      const all = await Promise.all(flock.birds.map(findings));
      return !all.flat().some(({ subject }) => subject === 'quorum');
    });
    const report = await load.stop();
    assert.equal(report.failed, 0, JSON.stringify(report));
  },
);
