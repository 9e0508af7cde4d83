/** Each seed draws its own mix of network, faults and writes (swarm testing: Groce et al., ISSTA 2012). */
import { type Random, randomInt } from '../../src/core.ts';
import type { LinkQuality } from '../network/links.ts';
import { attacks, type Plan, type Scenario, type TimedStep } from '../plan.ts';
import {
  allOf,
  background,
  basePlan,
  deathOf,
  forAWhile,
  founderRoot,
  ordinaryBounds,
  sample,
  sharedRoot,
} from './common.ts';

/** Real threshold cryptography doubles what a run costs. */
const sharedRootRate = 0.3;

/** A kind of fault is on in a given run or not, so that runs differ in kind and not only in detail. */
type Fault = (plan: Plan, random: Random) => TimedStep[];

const faults: readonly Fault[] = [
  kills,
  freezes,
  stalls,
  partitions,
  oneWayCuts,
  slowDisks,
  clockSteps,
  clockDrifts,
  badWeather,
  departures,
  attackers,
];

export const swarm: Scenario = {
  name: 'swarm',
  summary: 'each seed draws its own mix of every fault there is',
  bounds: { ...ordinaryBounds, formMs: 60_000, convergeMs: 40_000 },
  plan(hosts, random) {
    const base = basePlan(hosts, random, random.next() < 0.3 ? 300 : 5_000);
    const plan: Plan = {
      ...base,
      activeMs: 30_000 + randomInt(random, 30_000),
      quality: weather(random),
      lazyPublish: random.next() < 0.8,
      joinAtMs: random.next() < 0.4 ? withLatecomers(base, random) : base.joinAtMs,
    };
    const writes = background(hosts, plan.activeMs, 300 + randomInt(random, 3_000), random);
    const chosen = faults.filter(() => random.next() < 0.5);
    const mix = [lateJoins, ...chosen].flatMap((fault) => fault(plan, random));
    const trust = random.next() < sharedRootRate ? sharedRoot : founderRoot;
    return { ...plan, trust, timeline: [...writes, ...mix] };
  },
};

/** Up to a third of the hosts come only when the mesh has formed. */
function withLatecomers(plan: Plan, random: Random): Plan['joinAtMs'] {
  const late = new Set(some(plan, 0.3, random));
  return plan.joinAtMs.map((atMs, host) => (host > 0 && late.has(host) ? null : atMs));
}

function weather(random: Random): Partial<LinkQuality> {
  if (random.next() < 0.5) return {};
  return {
    lossRate: random.next() * 0.1,
    duplicateRate: random.next() * 0.05,
    baseMs: random.next() * 20,
    jitterMs: random.next() * 10,
    tailRate: random.next() * 0.01,
    tailMs: random.next() * 300,
    replayMs: random.next() < 0.5 ? 0 : random.next() * 5_000,
  };
}

function some(plan: Plan, share: number, random: Random): number[] {
  return sample(
    allOf(plan.hosts),
    1 + randomInt(random, Math.max(1, Math.floor(plan.hosts * share))),
    random,
  );
}

function within(plan: Plan, random: Random): number {
  return random.next() * plan.activeMs * 0.7;
}

/** Half of the victims stay dead. */
function kills(plan: Plan, random: Random): TimedStep[] {
  return some(plan, 0.2, random).flatMap((host) => {
    const begin = deathOf(host, random);
    const steps = forAWhile(within(plan, random), 200 + random.next() * 15_000, begin, {
      do: 'restart',
      host,
    });
    return random.next() < 0.5 ? steps : steps.slice(0, 1);
  });
}

function freezes(plan: Plan, random: Random): TimedStep[] {
  return some(plan, 0.1, random).flatMap((host) =>
    forAWhile(within(plan, random), random.next() * 8_000, { do: 'freeze', host }, { do: 'thaw', host }),
  );
}

function stalls(plan: Plan, random: Random): TimedStep[] {
  return some(plan, 0.2, random).flatMap((host) =>
    forAWhile(within(plan, random), random.next() * 12_000, { do: 'stall', host }, { do: 'thaw', host }),
  );
}

function partitions(plan: Plan, random: Random): TimedStep[] {
  const side = sample(allOf(plan.hosts), 1 + randomInt(random, plan.hosts - 1), random);
  return forAWhile(
    within(plan, random),
    1_000 + random.next() * 30_000,
    { do: 'partition', sides: [side] },
    { do: 'mend' },
  );
}

function oneWayCuts(plan: Plan, random: Random): TimedStep[] {
  return some(plan, 0.1, random).flatMap((from) => {
    const to = (from + 1 + randomInt(random, plan.hosts - 1)) % plan.hosts;
    return [{ atMs: Math.floor(within(plan, random)), step: { do: 'cut-one-way', from, to } as const }];
  });
}

function slowDisks(plan: Plan, random: Random): TimedStep[] {
  return some(plan, 0.2, random).map((host) => ({
    atMs: Math.floor(within(plan, random)),
    step: { do: 'slow-disk', host, syncLatencyMs: random.next() * 800 },
  }));
}

/** Either way, by up to half of what the mesh takes for an honest difference. */
function clockSteps(plan: Plan, random: Random): TimedStep[] {
  return some(plan, 0.2, random).map((host) => ({
    atMs: Math.floor(within(plan, random)),
    step: { do: 'clock-step', host, byMs: Math.floor((random.next() - 0.5) * 55_000) },
  }));
}

/** Up to what a bad crystal in a hot rack does. */
function clockDrifts(plan: Plan, random: Random): TimedStep[] {
  return some(plan, 0.2, random).map((host) => ({
    atMs: Math.floor(within(plan, random)),
    step: { do: 'clock-drift', host, driftPpm: Math.floor((random.next() - 0.5) * 1_000) },
  }));
}

function badWeather(plan: Plan, random: Random): TimedStep[] {
  const worse = { lossRate: random.next() * 0.3, jitterMs: random.next() * 50 };
  return forAWhile(
    within(plan, random),
    random.next() * 15_000,
    { do: 'quality', quality: worse },
    { do: 'quality', quality: { lossRate: 0, jitterMs: 0.15, ...plan.quality } },
  );
}

/** A few hosts or a third of all say goodbye, perhaps at once; some are started again. */
function departures(plan: Plan, random: Random): TimedStep[] {
  const together = random.next() < 0.3 ? within(plan, random) : null;
  return some(plan, together === null ? 0.1 : 0.3, random).flatMap((host) => {
    const atMs = together ?? within(plan, random);
    const steps = forAWhile(
      atMs,
      2_000 + random.next() * 15_000,
      { do: 'leave', host },
      { do: 'restart', host },
    );
    return random.next() < 0.3 ? steps : steps.slice(0, 1);
  });
}

/** Hosts that were planned to come late come one by one, or all at once. */
function lateJoins(plan: Plan, random: Random): TimedStep[] {
  const together = random.next() < 0.5 ? within(plan, random) : null;
  return allOf(plan.hosts)
    .filter((host) => plan.joinAtMs[host] === null)
    .map((host) => ({
      atMs: Math.floor(together ?? within(plan, random)),
      step: { do: 'join', host },
    }));
}

/** One host or two are not what they seem, and try one thing or everything. */
function attackers(plan: Plan, random: Random): TimedStep[] {
  const kinds = attacks.filter(() => random.next() < 0.4);
  return sample(allOf(plan.hosts), 1 + randomInt(random, 2), random).flatMap((host) =>
    kinds.map((how) => ({ atMs: Math.floor(within(plan, random)), step: { do: 'attack', host, how } })),
  );
}
