/** The mesh falls in two, both halves go on working, and become one again. */
import type { Scenario } from '../plan.ts';
import { allOf, background, basePlan, ordinaryBounds, sample } from './common.ts';

export const partition: Scenario = {
  name: 'partition',
  summary: 'split in halves for 40 s, both sides write, then heal',
  bounds: { ...ordinaryBounds, convergeMs: 40_000 },
  plan(hosts, random) {
    const plan = { ...basePlan(hosts, random, 2_000), activeMs: 45_000 };
    const half = sample(allOf(hosts), Math.floor(hosts / 2), random);
    return {
      ...plan,
      timeline: [
        ...background(hosts, plan.activeMs, 1_000, random),
        // Mended with everything else when the plan is over, so that what follows measures the healing.
        { atMs: 5_000, step: { do: 'partition', sides: [half] } },
      ],
    };
  },
};
