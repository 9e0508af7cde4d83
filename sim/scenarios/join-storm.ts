/** All hosts of a new mesh come up in the same second, each with services, through one sponsor. */
import type { Scenario } from '../plan.ts';
import { background, basePlan, ordinaryBounds } from './common.ts';

export const joinStorm: Scenario = {
  name: 'join-storm',
  summary: 'every host joins within 300 ms of the first',
  bounds: { ...ordinaryBounds, formMs: 40_000 },
  plan(hosts, random) {
    const plan = { ...basePlan(hosts, random, 300), activeMs: 10_000 };
    return { ...plan, timeline: background(hosts, plan.activeMs, 1_000, random) };
  },
};
