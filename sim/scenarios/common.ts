/** What scenarios are made of: spread-out starts, services, background writes and faults with their end. */
import { type Random, randomInt } from '../../src/core.ts';
import { founderPolicy, highAssurancePolicy, standardPolicy } from '../../src/trust/epoch/policy.ts';
import type { Bounds, Plan, Step, TimedStep, TrustTerms } from '../plan.ts';

/** What a mesh of the sizes simulated here is held to, on an ordinary network. */
export const ordinaryBounds: Bounds = {
  formMs: 20_000,
  detectMs: 15_000,
  falseDownMs: 10_000,
  convergeMs: 20_000,
  certifyMs: 60_000,
  lackMs: 30_000,
};

/** What a run of a minute or two sees of what otherwise takes hours. */
const hurried = { settleMs: 3_000, replaceAfterMs: 10_000, refreshMs: 60_000 };
const hurriedTtlMs = 120_000;

/** Who may share the root. */
export const sharedRoot: TrustTerms = {
  policy: { ...standardPolicy, ...hurried },
  svidTtlMs: hurriedTtlMs,
};
export const warilySharedRoot: TrustTerms = {
  policy: { ...highAssurancePolicy, ...hurried },
  svidTtlMs: hurriedTtlMs,
};
export const founderRoot: TrustTerms = { policy: founderPolicy, svidTtlMs: 12 * 3_600_000 };

export const serviceNames: readonly string[] = ['web', 'api', 'cart', 'search', 'mail', 'billing'];

/** A quiet plan that scenarios change: everybody joins within `joinOverMs`, one service or two each. */
export function basePlan(hosts: number, random: Random, joinOverMs: number): Plan {
  const each = <T>(make: (host: number) => T): T[] => Array.from({ length: hosts }, (_, host) => make(host));
  return {
    hosts,
    trust: sharedRoot,
    prepared: false,
    joinAtMs: each((host) => (host === 0 ? 0 : Math.floor(random.next() * joinOverMs))),
    clocks: each(() => ({
      offsetMs: Math.floor((random.next() - 0.5) * 200),
      driftPpm: Math.floor((random.next() - 0.5) * 100),
    })),
    services: each(() => sample(serviceNames, 1 + randomInt(random, 2), random)),
    liars: [],
    recovers: false,
    activeMs: 30_000,
    timeline: [],
    quality: {},
    lazyPublish: true,
    deliverMs: null,
  };
}

/** `count` different values, in random order. */
export function sample<T>(values: readonly T[], count: number, random: Random): T[] {
  const rest = [...values];
  const taken: T[] = [];
  while (taken.length < count && rest.length > 0)
    taken.push(...rest.splice(randomInt(random, rest.length), 1));
  return taken;
}

/** All hosts' numbers. */
export function allOf(hosts: number): number[] {
  return Array.from({ length: hosts }, (_, host) => host);
}

/**
 * Ordinary life: about one write in `everyMs`, mesh-wide, of all kinds. Services come and go on hosts that
 * `except` does not name.
 */
export function background(
  hosts: number,
  activeMs: number,
  everyMs: number,
  random: Random,
  except: ReadonlySet<number> = new Set(),
): TimedStep[] {
  const candidates = allOf(hosts).filter((host) => !except.has(host));
  const steps: TimedStep[] = [];
  for (let atMs = everyMs * random.next(); atMs < activeMs; atMs += everyMs * 2 * random.next()) {
    const host = candidates[randomInt(random, candidates.length)]!;
    steps.push({ atMs: Math.floor(atMs), step: oneWrite(host, random) });
  }
  return steps;
}

function oneWrite(host: number, random: Random): Step {
  const service = serviceNames[randomInt(random, serviceNames.length)]!;
  const dice = random.next();
  if (dice < 0.4) return { do: 'register', host, service };
  if (dice < 0.65) return { do: 'deregister', host, service };
  if (dice < 0.75) return { do: 'application', host, service, up: random.next() < 0.5 };
  const source = serviceNames[randomInt(random, serviceNames.length)]!;
  const action = random.next() < 0.5 ? 'allow' : 'deny';
  return { do: 'intention', host, source, destination: service, action };
}

/** One of the ways to die, with what that leaves of the disk. */
export function deathOf(host: number, random: Random): Step {
  if (random.next() < 0.5) return { do: 'kill', host };
  return { do: 'power-off', host, disk: random.next() < 0.5 ? 'synced' : 'part' };
}

/** A fault of one host and its end. */
export function forAWhile(atMs: number, durationMs: number, begin: Step, end: Step): TimedStep[] {
  return [
    { atMs: Math.floor(atMs), step: begin },
    { atMs: Math.floor(atMs + durationMs), step: end },
  ];
}
