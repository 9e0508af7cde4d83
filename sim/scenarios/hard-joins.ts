/** Hosts join while two packets in five are lost: requests repeat, joiners give up and are started again. */
import type { Scenario } from '../plan.ts';
import { background, basePlan, ordinaryBounds } from './common.ts';

export const hardJoins: Scenario = {
  name: 'hard-joins',
  summary: 'every host joins over a network that loses 40 %',
  bounds: { ...ordinaryBounds, formMs: 60_000 },
  plan(hosts, random) {
    const plan = { ...basePlan(hosts, random, 5_000), activeMs: 10_000 };
    return {
      ...plan,
      quality: { lossRate: 0.4, duplicateRate: 0.1, jitterMs: 5 },
      timeline: background(hosts, plan.activeMs, 1_000, random),
    };
  },
};
