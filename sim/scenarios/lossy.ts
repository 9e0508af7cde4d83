/** A bad network: packets are lost, doubled, late and out of order, and still nothing may break. */
import type { Scenario } from '../plan.ts';
import { background, basePlan, ordinaryBounds } from './common.ts';

export const lossy: Scenario = {
  name: 'lossy',
  summary: '10 % loss, reordering, duplication, and a kill in the middle of it',
  bounds: ordinaryBounds,
  plan(hosts, random) {
    const plan = basePlan(hosts, random, 3_000);
    const dying = hosts - 1;
    return {
      ...plan,
      quality: { lossRate: 0.1, duplicateRate: 0.05, jitterMs: 10, tailRate: 0.01, tailMs: 100 },
      timeline: [
        ...background(hosts, plan.activeMs, 1_000, random, new Set([dying])),
        { atMs: 10_000, step: { do: 'kill', host: dying } },
      ],
    };
  },
};
