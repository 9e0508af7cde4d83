import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AgentEffect } from '../../../../src/agent/effects.ts';
import { Outreach } from '../../../../src/agent/joining/outreach.ts';
import { seededRandom } from '../../../../src/core.ts';
import { Flock } from '../../../support/flock.ts';

/** Whom a member of a mesh of `live` others and these addresses, over ten minutes. */
function addressed(live: number, away: readonly string[], isLeaving = false): string[] {
  const { flock, first } = Flock.founded();
  const { core } = flock.join('second', first, flock.token(first));
  const hosts = [...away, ...Array.from({ length: live }, (_, n) => `live-${n}`)].map((id) => ({ id }));
  const outreach = new Outreach({
    self: core.self,
    random: seededRandom(1),
    catalog: { allHosts: () => [...hosts, { id: core.self }], isGone: (id) => away.includes(id) },
    trust: core.trust,
    replica: core.gossip.replica,
  });
  outreach.begin(0);
  const effects: AgentEffect[] = [];
  for (let wake = outreach.nextWake()!; wake < 600_000; wake = outreach.nextWake()!)
    effects.push(...outreach.wake(isLeaving, wake));
  assert.equal(outreach.sent, effects.length);
  return effects.map((effect) => (effect.type === 'introduce' ? effect.to : effect.type));
}

test('who is away is addressed by all together about every second, and by each the less the more there are', () => {
  for (const [live, least, most] of [
    [0, 90, 150],
    [4, 90, 150],
    [20, 18, 30],
    [48, 8, 13],
    [1000, 8, 13],
  ] as const) {
    const count = addressed(live, ['away']).length;
    assert.ok(count >= least && count <= most, `${count} times in ten minutes with ${live} others`);
  }
});

test('each of several gets its turn, the living and this host itself none', () => {
  const turns = addressed(3, ['a', 'b', 'c']);
  assert.deepEqual([...new Set(turns)].sort(), ['a', 'b', 'c']);
});

test('nobody is addressed where all are here, nor by who is leaving', () => {
  assert.deepEqual(addressed(3, []), []);
  assert.deepEqual(addressed(3, ['away'], true), []);
});
