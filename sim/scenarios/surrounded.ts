/** All hosts but two tell nobody of any record, neither their own nor others', for as long as the two write. */
import { defaultSyncParameters } from '../../src/gossip/parameters.ts';
import type { Scenario, TimedStep } from '../plan.ts';
import { allOf, background, basePlan, ordinaryBounds, sample } from './common.ts';

/** Each strike lasts for 20 s: the next comes before that is over. */
const strikeEveryMs = 15_000;
const strikeMs = 20_000;
/** What hosts registered as they joined is out by then. */
const beginMs = 2_000;
/** Until a host has heard that another differs, and may ask it. */
const heardMs = 20_000;

export const surrounded: Scenario = {
  name: 'surrounded',
  summary: 'all hosts but two stonewall; those two go on writing, and have nobody but one another',
  bounds: ordinaryBounds,
  plan(hosts, random) {
    const honest = sample(allOf(hosts), 2, random);
    const others = allOf(hosts).filter((host) => !honest.includes(host));
    // One after another is asked, and that it does not answer found out, before the one that does has its turn.
    const deliverMs = heardMs + others.length * defaultSyncParameters.timeoutMs;
    const activeMs = deliverMs + 40_000;
    const strikes = others.flatMap((host) => {
      const steps: TimedStep[] = [];
      for (let atMs = beginMs; atMs <= activeMs - strikeMs; atMs += strikeEveryMs)
        steps.push({ atMs, step: { do: 'attack', host, how: 'stonewall' } });
      return steps;
    });
    const writes = background(hosts, activeMs, 1_500, random, new Set(others));
    // What is taken back before all have seen it is seen by nobody, and had no need to be.
    const lasting = writes.filter(({ step }) => step.do === 'register' || step.do === 'intention');
    return {
      ...basePlan(hosts, random, 2_000),
      activeMs,
      deliverMs,
      // In half of the runs nothing but anti-entropy heals what is not pushed along the mesh.
      lazyPublish: random.next() < 0.5,
      timeline: [...strikes, ...lasting],
    };
  },
};
