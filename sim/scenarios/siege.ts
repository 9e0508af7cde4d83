/** Two admitted hosts are in the hands of somebody else, who uses up all the room and the time that others grant. */
import { type Scenario, sieges } from '../plan.ts';
import { allOf, background, basePlan, ordinaryBounds, sample } from './common.ts';

/** The last of them ends before the faults are mended. */
const strikesWithinMs = 22_000;
/**
 * By then a root that is shared has taken the place of the founder's. A host whose share is full cannot say any more
 * that it believes another root: as with one that is silent, all others wait for it.
 */
const rootSharedMs = 16_000;

export const siege: Scenario = {
  name: 'siege',
  summary:
    'two admitted hosts overfill, overload, flood and stonewall the others, and one host is killed meanwhile',
  bounds: ordinaryBounds,
  plan(hosts, random) {
    const plan = { ...basePlan(hosts, random, 2_000), activeMs: 45_000 };
    const dying = hosts - 1;
    const besiegers = sample(allOf(hosts - 1), 2, random);
    const strikes = besiegers.flatMap((host, which) =>
      // One alone fills its share: that is enough for everybody's memory.
      sieges
        .filter((how) => how !== 'many-keys' || which === 0)
        .map((how) => {
          const fromMs = how === 'many-keys' ? rootSharedMs : 0;
          const atMs = Math.floor(fromMs + random.next() * (strikesWithinMs - fromMs));
          return { atMs, step: { do: 'attack', host, how } as const };
        }),
    );
    // What a besieger's own agent writes is refused once its share is full.
    const busy = new Set([dying, ...besiegers]);
    return {
      ...plan,
      timeline: [
        ...background(hosts, plan.activeMs, 1_000, random, busy),
        ...strikes,
        { atMs: 20_000, step: { do: 'kill', host: dying } },
      ],
    };
  },
};
