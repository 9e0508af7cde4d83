/** An ordinary day: hosts come, services change, a policy is written, one host goes, one dies. */
import type { Scenario } from '../plan.ts';
import { background, basePlan, ordinaryBounds } from './common.ts';

export const calm: Scenario = {
  name: 'calm',
  summary: 'a good network, ordinary writes, one host leaves and one is killed',
  bounds: ordinaryBounds,
  plan(hosts, random) {
    const plan = basePlan(hosts, random, 2_000);
    const leaving = hosts - 1;
    const dying = hosts - 2;
    return {
      ...plan,
      timeline: [
        ...background(hosts, plan.activeMs, 1_000, random, new Set([leaving, dying])),
        { atMs: 8_000, step: { do: 'leave', host: leaving } },
        { atMs: 15_000, step: { do: 'kill', host: dying } },
      ],
    };
  },
};
