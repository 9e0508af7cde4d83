import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AgentEffect } from '../../../../src/agent/effects.ts';
import { introductionsOf } from '../../../../src/agent/joining/introduction.ts';
import { Outreach } from '../../../../src/agent/joining/outreach.ts';
import { seededRandom } from '../../../../src/core.ts';
import type { MemberState } from '../../../../src/gossip/port.ts';
import { hostValue } from '../../../support/agent.ts';
import { Flock } from '../../../support/flock.ts';

interface Other {
  readonly id: string;
  readonly state: MemberState;
  readonly address?: string;
}

const minutes = 60_000;

/** Whom a member of a mesh of these others addresses, over so long. */
function addressed(others: readonly Other[], overMs: number, isLeaving = false): string[] {
  const { flock, first } = Flock.founded();
  const { core } = flock.join('second', first, flock.token(first));
  const hosts = [...others, { id: core.self, state: 'alive', address: '10.9.9.9' } as const];
  const outreach = new Outreach({
    self: core.self,
    random: seededRandom(1),
    catalog: {
      hostEntries: () =>
        hosts.map(({ id, state, address = id }) => ({ id, state, value: hostValue(id, address) })),
    },
    trust: core.trust,
    replica: core.gossip.replica,
  });
  outreach.begin(0);
  const effects: AgentEffect[] = [];
  for (let wake = outreach.nextWake()!; wake < overMs; wake = outreach.nextWake()!)
    effects.push(...outreach.wake(isLeaving, wake));
  assert.equal(outreach.sent, effects.length);
  return effects.map((effect) => (effect.type === 'introduce' ? effect.to : effect.type));
}

const living = (count: number): Other[] =>
  Array.from({ length: count }, (_, n) => ({ id: `live-${n}`, state: 'alive' }));
const away = { id: 'away', state: 'down' } as const;

test('who is away is addressed by a whole mesh about every second, however large it is', () => {
  for (const live of [4, 20, 100, 10_000]) {
    const overMs = 10 * Math.max(5000, 1250 * live);
    const count = addressed([away, ...living(live - 1)], overMs).length * live;
    const everyMs = overMs / count;
    assert.ok(everyMs > 900 && everyMs < 1700, `${live} address it every ${everyMs} ms`);
  }
});

test('nobody addresses anybody more often than every five seconds, however few are here', () => {
  const count = addressed([away], 10 * minutes).length;
  assert.ok(count >= 100 && count <= 140, `${count} times in ten minutes`);
});

test('each that is away gets its turn, those that are down more often, the living and this host itself none', () => {
  const turns = addressed(
    [away, { id: 'other', state: 'down' }, { id: 'gone', state: 'left' }, ...living(3)],
    30 * minutes,
  );
  assert.deepEqual([...new Set(turns)].sort(), ['away', 'gone', 'other']);
  const share = turns.filter((id) => id === 'gone').length / turns.length;
  assert.ok(share > 0.15 && share < 0.35, `${share} of the turns went to who had left`);
});

test('nobody is addressed where all are here, nor by who is leaving, nor where another is by now', () => {
  assert.deepEqual(addressed(living(3), 10 * minutes), []);
  assert.deepEqual(addressed([away, ...living(3)], 10 * minutes, true), []);
  assert.deepEqual(addressed([{ ...away, address: 'live-1' }, ...living(3)], 10 * minutes), []);
  assert.deepEqual(addressed([{ ...away, address: '10.9.9.9' }], 10 * minutes), []);
});

test('a long row of sponsors is shown part after part, from its beginning', () => {
  const { flock, first } = Flock.founded();
  const token = flock.token(first, { uses: 100 });
  let last = first;
  for (let n = 0; n < 20; n++) {
    last = flock.admit(`host-${n}`, last, token);
    last.start();
    flock.run(2000);
  }
  const { core } = last;
  const row = introductionsOf(core.self, core.trust, (slot) => core.gossip.replica.get(slot));
  assert.equal(row.length, 20);
  const outreach = new Outreach({
    self: core.self,
    random: seededRandom(1),
    catalog: { hostEntries: () => [{ id: 'away', state: 'down', value: hostValue('away', '10.1.1.1') }] },
    trust: core.trust,
    replica: core.gossip.replica,
  });
  outreach.begin(0);
  const shown: (readonly Uint8Array[])[] = [];
  while (shown.length < 3)
    for (const effect of outreach.wake(false, outreach.nextWake()!))
      if (effect.type === 'introduce') shown.push(effect.introductions);
  assert.deepEqual(shown, [row.slice(0, 16), row.slice(16), row.slice(0, 16)]);
  assert.equal(outreach.sent, 36);
});
