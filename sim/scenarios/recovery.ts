/**
 * The quorum is lost for good: more of the trustees than it survives, with their disks. What is certified goes on, and
 * an operator brings the root back by what was put away, or has another made where nothing was.
 */
import { type Random, randomInt } from '../../src/core.ts';
import type { Scenario, TimedStep } from '../plan.ts';
import {
  allOf,
  background,
  basePlan,
  deathOf,
  forAWhile,
  ordinaryBounds,
  sample,
  sharedRoot,
} from './common.ts';

const activeMs = 180_000;
const growOverMs = 40_000;
const lossAtMs = 100_000;
/** Others believe them for as long as the operator needs. */
const svidTtlMs = 120_000;
/** Fewer hosts than these, less those that are lost, are not the most of all: a new root is not theirs to make. */
const hostsForNewRoot = 7;

/** Three of five may stay away, whatever else happens: then more than half of all hosts are left. */
const policy = { ...sharedRoot.policy, rows: sharedRoot.policy.rows.slice(0, 3) };

function growth(hosts: number, random: Random): TimedStep[] {
  return allOf(hosts)
    .slice(3)
    .map((host, i, all) => ({
      atMs: Math.floor(((i + random.next()) / all.length) * growOverMs),
      step: { do: 'join', host },
    }));
}

/** While the root is being brought back: those who carry it through fall, stop or do not hear each other. */
function troubles(hosts: number, random: Random): TimedStep[] {
  const steps: TimedStep[] = [];
  for (let i = 0; i < 3; i++) {
    const host = randomInt(random, hosts);
    const atMs = lossAtMs + random.next() * 45_000;
    const lastsMs = 500 + random.next() * 6_000;
    const dice = random.next();
    if (dice < 0.5) steps.push(...forAWhile(atMs, lastsMs, deathOf(host, random), { do: 'restart', host }));
    else if (dice < 0.75)
      steps.push(...forAWhile(atMs, lastsMs, { do: 'freeze', host }, { do: 'thaw', host }));
    else {
      const side = sample(allOf(hosts), 1 + randomInt(random, hosts - 1), random);
      steps.push(...forAWhile(atMs, lastsMs * 2, { do: 'partition', sides: [side] }, { do: 'mend' }));
    }
  }
  return steps;
}

export const recovery: Scenario = {
  name: 'recovery',
  summary: 'the quorum is lost for good, and an operator brings the root back, or has another made',
  bounds: { ...ordinaryBounds, formMs: 60_000, convergeMs: 60_000, falseDownMs: 40_000, certifyMs: 90_000 },
  plan(hosts, random) {
    const base = basePlan(hosts, random, 1_000);
    const isCold = hosts < hostsForNewRoot || random.next() < 0.5;
    const putAway: TimedStep = { atMs: 1_000, step: { do: 'put-away', host: 0 } };
    return {
      ...base,
      trust: { policy, svidTtlMs },
      joinAtMs: base.joinAtMs.map((atMs, host) => (host < 3 ? atMs : null)),
      activeMs,
      recovers: true,
      quality: random.next() < 0.5 ? {} : { lossRate: random.next() * 0.1, jitterMs: random.next() * 10 },
      timeline: [
        ...growth(hosts, random),
        ...background(hosts, activeMs, 4_000, random),
        ...(isCold ? [putAway] : []),
        { atMs: lossAtMs, step: { do: 'lose-quorum' } },
        ...(random.next() < 0.7 ? troubles(hosts, random) : []),
      ],
    };
  },
};
