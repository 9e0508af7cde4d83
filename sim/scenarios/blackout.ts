/** A rack goes dark: two fifths of all hosts lose power in one moment, without a word. */
import type { Scenario } from '../plan.ts';
import { allOf, background, basePlan, ordinaryBounds, sample } from './common.ts';

export const blackout: Scenario = {
  name: 'blackout',
  summary: 'two fifths of the hosts lose power at once',
  bounds: { ...ordinaryBounds, detectMs: 25_000, convergeMs: 40_000 },
  plan(hosts, random) {
    const plan = { ...basePlan(hosts, random, 2_000), activeMs: 20_000 };
    const dark = sample(allOf(hosts), Math.max(1, Math.floor(hosts * 0.4)), random);
    return {
      ...plan,
      timeline: [
        ...background(hosts, plan.activeMs, 1_000, random, new Set(dark)),
        ...dark.map((host) => ({ atMs: 5_000, step: { do: 'power-off', host, disk: 'synced' } as const })),
      ],
    };
  },
};
