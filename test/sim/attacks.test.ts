/** Attackers in the mesh: what they make is really wrong, and what they do really reaches the others. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { damaged, Forgeries, forger, garbage } from '../../sim/attacks/forgery.ts';
import { drawSigner } from '../../sim/host/keys.ts';
import { type Attack, attacks, type Scenario } from '../../sim/plan.ts';
import { type RunReport, run } from '../../sim/run.ts';
import { basePlan, ordinaryBounds } from '../../sim/scenarios/common.ts';
import { ed25519Verify, seededRandom } from '../../src/core.ts';
import { encodeRecord, isAuthentic } from '../../src/gossip/replica/codec.ts';

const fields = {
  scope: 'host',
  kind: 'note',
  key: '',
  version: 1,
  hlc: 1,
  value: new Uint8Array([1]),
} as const;

test('a forged record names its victim and is signed by nobody', () => {
  const random = seededRandom(1);
  const victim = drawSigner(random);
  const forgeries = new Forgeries();
  const forged = forgeries.forge(fields, victim.publicKey, random);
  const honest = encodeRecord(fields, victim);
  assert.equal(forged.author, victim.publicKey);
  assert.ok(!isAuthentic(forged, ed25519Verify));
  assert.ok(isAuthentic(honest, ed25519Verify));
  assert.deepEqual([forgeries.has(forged), forgeries.has(honest)], [true, false]);
  assert.equal(forger(victim.publicKey, random).sign(new Uint8Array(3)).length, 64);
});

test('damage leaves the original whole, and rarely what was sent', () => {
  const random = seededRandom(2);
  const original = Uint8Array.from({ length: 100 }, (_, i) => i);
  let changed = 0;
  for (let i = 0; i < 200; i++) if (Buffer.compare(damaged(original, random), original) !== 0) changed++;
  assert.ok(changed > 180, `${changed} of 200 differ`);
  assert.deepEqual(
    original,
    Uint8Array.from({ length: 100 }, (_, i) => i),
  );
  assert.ok(damaged(new Uint8Array(0), random).length <= 64);
  assert.ok(garbage(random, 10).length <= 10);
});

interface Played {
  readonly report: RunReport;
  /** What the agents logged. */
  readonly lines: readonly string[];
}

/** Every attack is played once, whatever is looked at afterwards. */
const played = new Map<Attack, Played>();

/** Five honest agents and one that tries one thing, three times over. */
function under(attack: Attack): Played {
  const before = played.get(attack);
  if (before !== undefined) return before;
  const scenario: Scenario = {
    name: 'one-attack',
    summary: 'one attack on six agents',
    bounds: ordinaryBounds,
    plan: (hosts, random) => ({
      ...basePlan(hosts, random, 500),
      activeMs: 20_000,
      timeline: [
        { atMs: 500, step: { do: 'register', host: 1, service: 'mail' } },
        ...[1_000, 6_000, 11_000].map((atMs) => ({
          atMs,
          step: { do: 'attack', host: 2, how: attack } as const,
        })),
        { atMs: 9_000, step: { do: 'register', host: 4, service: 'billing' } },
      ],
    }),
  };
  const lines: string[] = [];
  const report = run({ scenario, hosts: 6, seed: 3, log: (line) => lines.push(line) });
  played.set(attack, { report, lines });
  return { report, lines };
}

for (const attack of attacks)
  test(`six agents keep their promises under ${attack}`, () => {
    const { report } = under(attack);
    assert.equal(report.falseDowns, 0);
    assert.ok(report.convergence.count >= 2, 'writes were seen by all meanwhile');
  });

test('who says of everybody that it is down is named by everybody, and nobody else is', () => {
  const named = under('sweeping-deaths').lines.filter((line) => line.includes(' false-claims '));
  assert.equal(named.length, 5, named.join('\n'));
  const subjects = new Set(named.map((line) => /subject\W+(\w+)/.exec(line)?.[1]));
  assert.equal(subjects.size, 1);
  assert.match([...subjects][0] ?? '', /^[0-9a-f]{8}$/);
});

test('agents defend themselves against forged deaths, and say so when one signs two truths', () => {
  const count = (attack: Attack, event: string): number =>
    under(attack).lines.filter((line) => line.split(' ')[3] === event).length;
  assert.ok(count('forged-deaths', 'member-suspect') > 20, 'suspicions were raised');
  assert.ok(count('forged-deaths', 'member-alive') > 20, 'and refuted');
  assert.equal(count('forged-deaths', 'member-down'), 0, 'and nobody was found down');
  assert.ok(count('equivocation', 'equivocation') >= 5, 'every other agent noticed');
});
