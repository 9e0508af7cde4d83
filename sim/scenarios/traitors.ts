/** Two admitted hosts are in the hands of somebody else, who tries everything there is to try. */
import { attacks, type Scenario } from '../plan.ts';
import { allOf, background, basePlan, ordinaryBounds, sample } from './common.ts';

export const traitors: Scenario = {
  name: 'traitors',
  summary:
    'two admitted hosts lie, forge, replay and withhold in every way, and one host is killed meanwhile',
  bounds: ordinaryBounds,
  plan(hosts, random) {
    const plan = { ...basePlan(hosts, random, 2_000), activeMs: 40_000 };
    const dying = hosts - 1;
    const strikes = sample(allOf(hosts - 1), 2, random).flatMap((host) =>
      attacks.map((how) => ({
        atMs: Math.floor(random.next() * 30_000),
        step: { do: 'attack', host, how } as const,
      })),
    );
    return {
      ...plan,
      timeline: [
        ...background(hosts, plan.activeMs, 1_000, random, new Set([dying])),
        ...strikes,
        { atMs: 20_000, step: { do: 'kill', host: dying } },
      ],
    };
  },
};
