/** Agents crash and come back all the time, some with their power. */
import type { Scenario } from '../plan.ts';
import { allOf, background, basePlan, deathOf, forAWhile, ordinaryBounds, sample } from './common.ts';

export const churn: Scenario = {
  name: 'churn',
  summary: 'a fifth of the hosts, one after another, are killed or lose power and return',
  bounds: ordinaryBounds,
  plan(hosts, random) {
    const plan = { ...basePlan(hosts, random, 2_000), activeMs: 60_000 };
    const victims = sample(allOf(hosts), Math.max(2, Math.floor(hosts / 5)), random);
    const faults = victims.flatMap((host) =>
      forAWhile(2_000 + random.next() * 40_000, 500 + random.next() * 12_000, deathOf(host, random), {
        do: 'restart',
        host,
      }),
    );
    return { ...plan, timeline: [...background(hosts, plan.activeMs, 1_000, random), ...faults] };
  },
};
