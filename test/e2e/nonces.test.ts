/** Trustees die by SIGKILL while they sign: no nonce is used twice, before or after, by what is on their disks. */
import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { type Bird, Flock, until } from '../../demo/flock.ts';
import { Database } from '../../src/gossip/io/database.ts';
import { decodeEntry, type IssuanceEntry } from '../../src/trust/log/issuance-log.ts';
import { bootOf } from '../../src/trust/quorum/message.ts';
import { createCsr } from '../../src/trust/x509/csr.ts';
import { dnsNamesOf, formatSpiffeId } from '../../src/trust/x509/spiffe.ts';
import { caOf, certify, hostsFrom, scene, untilBelieved } from './roots.ts';

const kills = 2;
/** Requests under way at any moment. */
const workers = 2;

const flock = new Flock();
let founder: Bird;
let victim: Bird;
/** Dead from the start, so that nothing is signed without the victim. */
let third: Bird;
before(async () => {
  const birds = await flock.start(hostsFrom(96, 3));
  [founder, victim, third] = birds as [Bird, Bird, Bird];
  await untilBelieved(flock.birds, /^g1\*$/, 90_000);
  await certify(flock, founder, 'load');
  await third.program!.stop('SIGKILL');
});
after(() => flock.stop());

/** A signing request as PEM. Each has another key, so that each is another certificate. */
function requestFor(trustDomain: string): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const identity = { trustDomain, datacenter: 'dc1', service: 'load' };
  const der = createCsr(privateKey, formatSpiffeId(identity), dnsNamesOf(identity));
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE REQUEST-----\n${lines.join('\n')}\n-----END CERTIFICATE REQUEST-----\n`;
}

/** Everything that this host's disk says it signed, in order. The agent must have ended. */
async function logOnDisk({ dataDir }: Bird): Promise<IssuanceEntry[]> {
  const database = await Database.open(join(dataDir, 'database'), false);
  try {
    const entries: IssuanceEntry[] = [];
    for await (const { key, value } of database.entries('', (detail) => assert.fail(detail)))
      if (key.includes('issuer/log/')) entries.push(decodeEntry(value));
    return entries;
  } finally {
    await database.close();
  }
}

scene(
  'a trustee that is killed between its promise of nonces and its signature never signs with them again',
  () => flock,
  async (t) => {
    const { trustDomain } = await caOf(founder);
    const counts = { signed: 0, failed: 0 };
    let isOver = false;
    let lastAnswer = '';
    const work = async (): Promise<void> => {
      while (!isOver) {
        const response = await fetch(`${founder.httpUrl}/v1/mesh/ca/sign?ttl=5m`, {
          method: 'POST',
          headers: { connection: 'close' },
          body: requestFor(trustDomain),
        });
        const answer = await response.text();
        if (response.ok) counts.signed++;
        else {
          counts.failed++;
          lastAnswer = answer;
        }
        // Each host has two requests a second for long, and many at once.
        await pause(response.ok ? 100 : 3000);
      }
    };
    const all = Promise.all(Array.from({ length: workers }, work));
    for (let kill = 0; kill < kills; kill++) {
      const { signed } = counts;
      await until(`certificates are signed (${lastAnswer})`, 30_000, () => {
        return Promise.resolve(counts.signed >= signed + 5);
      });
      // There is no moment at which none of the workers waits for it.
      await victim.program!.stop('SIGKILL');
      await victim.start();
    }
    const { signed } = counts;
    await until('the victim signs in its last life', 60_000, () =>
      Promise.resolve(counts.signed > signed),
    ).catch((error: unknown) => assert.fail(`${String(error)}: ${lastAnswer}`));
    isOver = true;
    await all;
    await Promise.all([founder, victim].map((bird) => bird.program!.stop()));
    for (const bird of [founder, victim]) {
      const shares = (await logOnDisk(bird)).filter(({ nonceId }) => /-[1-9]/.test(nonceId));
      assert.equal(new Set(shares.map(({ nonceId }) => nonceId)).size, shares.length, bird.name);
      const boots = shares.map(({ nonceId }) => bootOf(nonceId));
      const turns = boots.filter((boot, i) => boot !== boots[i - 1]);
      assert.equal(new Set(turns).size, turns.length, `${bird.name} goes back to a boot that has ended`);
      if (bird === victim) assert.equal(turns.length, kills + 1, 'it signed in every life');
      t.diagnostic(`${bird.name}: ${shares.length} shares in ${turns.length} lives, each of its own nonces`);
    }
    t.diagnostic(`${counts.signed} certificates, ${counts.failed} requests failed`);
  },
);
