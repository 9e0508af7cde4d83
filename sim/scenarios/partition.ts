/** The mesh falls in two, both halves go on working, and become one again. */
import type { Scenario } from '../plan.ts';
import { allOf, background, basePlan, forAWhile, ordinaryBounds, sample } from './common.ts';

export const partition: Scenario = {
  name: 'partition',
  summary: 'split in halves for 40 s, both sides write, then heal',
  bounds: { ...ordinaryBounds, convergeMs: 40_000 },
  plan(hosts, random) {
    const plan = { ...basePlan(hosts, random, 2_000), activeMs: 55_000 };
    const half = sample(allOf(hosts), Math.floor(hosts / 2), random);
    return {
      ...plan,
      timeline: [
        ...background(hosts, plan.activeMs, 1_000, random),
        ...forAWhile(5_000, 40_000, { do: 'partition', sides: [half] }, { do: 'mend' }),
      ],
    };
  },
};
