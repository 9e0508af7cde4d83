/**
 * The root in many hands: a mesh that grows while its trustees are killed, cut off and rolled back, and that
 * replaces its root more than once; or one whose trustees lie.
 */
import { type Random, randomInt } from '../../src/core.ts';
import { type Lie, lies, type Plan, type Scenario, silences, type TimedStep } from '../plan.ts';
import {
  allOf,
  background,
  basePlan,
  deathOf,
  forAWhile,
  ordinaryBounds,
  sample,
  sharedRoot,
  warilySharedRoot,
} from './common.ts';

const activeMs = 150_000;
/** A new host every so often: what a mesh of one becomes three, five and seven. */
const growOverMs = 90_000;
/** Certificates that last so long are renewed all the time. */
const svidTtlMs = 60_000;

/** A host that was away while others came knows nobody but those behind a partition: the others find it in time. */
const bounds = { ...ordinaryBounds, formMs: 60_000, convergeMs: 60_000, falseDownMs: 40_000 };

/** Hosts that join one after another, while the mesh is at work. */
function growth(hosts: number, random: Random): TimedStep[] {
  return allOf(hosts)
    .slice(2)
    .map((host, i, all) => ({
      atMs: Math.floor(((i + random.next()) / all.length) * growOverMs),
      step: { do: 'join', host },
    }));
}

function growing(hosts: number, random: Random): Plan {
  const base = basePlan(hosts, random, 1_000);
  return {
    ...base,
    trust: { ...sharedRoot, svidTtlMs },
    joinAtMs: base.joinAtMs.map((atMs, host) => (host < 2 ? atMs : null)),
    activeMs,
  };
}

/** One host is gone for a while, with its disk as it was at the last sync or a little later; or for good. */
function deaths(hosts: number, random: Random): TimedStep[] {
  const everyMs = 1_500 + random.next() ** 2 * 25_000;
  const steps: TimedStep[] = [];
  for (let atMs = everyMs * random.next(); atMs < activeMs * 0.9; atMs += everyMs * 2 * random.next()) {
    const host = randomInt(random, hosts);
    const awayMs = random.next() < 0.3 ? 15_000 + random.next() * 30_000 : random.next() * 6_000;
    const lastsMs = Math.min(awayMs, activeMs * 0.95 - atMs);
    steps.push(...forAWhile(atMs, lastsMs, deathOf(host, random), { do: 'restart', host }));
  }
  return steps;
}

/** The last of them never come back, fewer than a quorum can lack. */
function lastDeaths(hosts: number, random: Random): TimedStep[] {
  const dying = sample(allOf(hosts), randomInt(random, hosts >= 8 ? 3 : 2), random);
  return dying.map((host) => ({
    atMs: Math.floor(activeMs * (0.91 + 0.05 * random.next())),
    step: deathOf(host, random),
  }));
}

function partitions(hosts: number, random: Random): TimedStep[] {
  const steps: TimedStep[] = [];
  for (let atMs = random.next() * 60_000; atMs < activeMs * 0.8; atMs += 30_000 + random.next() * 60_000) {
    const side = sample(allOf(hosts), 1 + randomInt(random, hosts - 1), random);
    const lastsMs = 1_000 + random.next() * 25_000;
    steps.push(...forAWhile(atMs, lastsMs, { do: 'partition', sides: [side] }, { do: 'mend' }));
  }
  return steps;
}

function pauses(hosts: number, random: Random): TimedStep[] {
  return sample(allOf(hosts), 2, random).flatMap((host) => {
    const begin = random.next() < 0.5 ? ({ do: 'freeze', host } as const) : ({ do: 'stall', host } as const);
    return forAWhile(random.next() * activeMs, random.next() * 12_000, begin, { do: 'thaw', host });
  });
}

function slowDisks(hosts: number, random: Random): TimedStep[] {
  return sample(allOf(hosts), 2, random).map((host) => ({
    atMs: Math.floor(random.next() * activeMs),
    step: { do: 'slow-disk', host, syncLatencyMs: random.next() * 300 },
  }));
}

/** Packets pass one way only, until the next partition is mended. */
function oneWayCuts(hosts: number, random: Random): TimedStep[] {
  const from = randomInt(random, hosts);
  const to = (from + 1 + randomInt(random, hosts - 1)) % hosts;
  const cut = { do: 'cut-one-way', from, to } as const;
  return forAWhile(random.next() * activeMs * 0.8, random.next() * 20_000, cut, { do: 'mend' });
}

/** By up to half of what the mesh takes for an honest difference. */
function clockSteps(hosts: number, random: Random): TimedStep[] {
  return sample(allOf(hosts), 2, random).map((host) => ({
    atMs: Math.floor(random.next() * activeMs),
    step: { do: 'clock-step', host, byMs: Math.floor((random.next() - 0.5) * 55_000) },
  }));
}

function departures(hosts: number, random: Random): TimedStep[] {
  const host = 1 + randomInt(random, hosts - 1);
  const steps = forAWhile(
    random.next() * activeMs,
    5_000 + random.next() * 30_000,
    { do: 'leave', host },
    { do: 'restart', host },
  );
  return random.next() < 0.5 ? steps : steps.slice(0, 1);
}

/** An operator asks wherever he happens to be. */
function rotations(hosts: number, random: Random): TimedStep[] {
  const count = 1 + randomInt(random, 3);
  return Array.from({ length: count }, () => ({
    atMs: Math.floor(activeMs * (0.2 + 0.75 * random.next())),
    step: { do: 'rotate', host: randomInt(random, hosts) } as const,
  }));
}

/** Half of the meshes have shares of their roots put away. */
function putAways(hosts: number, random: Random): TimedStep[] {
  const atMs = Math.floor(activeMs * 0.6 * random.next());
  const step = { do: 'put-away', host: randomInt(random, hosts) } as const;
  return random.next() < 0.5 ? [{ atMs, step }] : [];
}

const faults = [deaths, partitions, oneWayCuts, pauses, slowDisks, clockSteps, departures] as const;

export const trust: Scenario = {
  name: 'trust',
  summary: 'the root in many hands: growth, rotation, trustees killed, replaced, cut off and rolled back',
  bounds,
  plan(hosts, random) {
    const plan = growing(hosts, random);
    const chosen = faults.filter(() => random.next() < 0.6);
    return {
      ...plan,
      quality: random.next() < 0.5 ? {} : { lossRate: random.next() * 0.1, jitterMs: random.next() * 10 },
      timeline: [
        ...growth(hosts, random),
        ...background(hosts, plan.activeMs, 2_000, random),
        ...rotations(hosts, random),
        ...putAways(hosts, random),
        ...chosen.flatMap((fault) => fault(hosts, random)),
        ...lastDeaths(hosts, random),
      ],
    };
  },
};

/** A host that is admitted early, and so a trustee before long, lies in one way or in all. */
export const trustTraitor: Scenario = {
  name: 'trust-traitor',
  summary: 'a trustee deals and signs wrongly, gives two answers or none, while others come, die and go',
  // One that stays is missed in three dealings of 20 s before it is passed over, and leads some itself.
  bounds: { ...bounds, certifyMs: 200_000 },
  plan(hosts, random) {
    const plan = { ...growing(hosts, random), trust: { ...warilySharedRoot, svidTtlMs } };
    const liar = randomInt(random, Math.min(5, hosts));
    const told: readonly Lie[] = random.next() < 0.3 ? lies : sample(lies, 1 + randomInt(random, 2), random);
    const victim = (liar + 1 + randomInt(random, hosts - 1)) % hosts;
    const atMs = 60_000 + random.next() * 60_000;
    const timeline: TimedStep[] = [
      ...growth(hosts, random),
      ...background(hosts, plan.activeMs, 3_000, random),
      ...rotations(hosts, random),
      ...putAways(hosts, random),
      ...forAWhile(atMs, random.next() * 8_000, deathOf(victim, random), { do: 'restart', host: victim }),
    ];
    // Who says nothing stays to the end: nobody has to take it away.
    if (random.next() < 0.4)
      return { ...plan, liars: [{ host: liar, lies: sample(silences, 1, random) }], timeline };
    // Whoever is named by the others is taken away by an operator.
    const removal: TimedStep = { atMs: activeMs - 1_000, step: { do: 'kill', host: liar } };
    return { ...plan, liars: [{ host: liar, lies: told }], timeline: [...timeline, removal] };
  },
};
