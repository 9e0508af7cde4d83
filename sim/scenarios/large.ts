/** A large mesh that formed long ago, on an ordinary day. */
import type { Plan, Scenario, TimedStep } from '../plan.ts';
import { allOf, background, basePlan, founderRoot, ordinaryBounds, sample } from './common.ts';

/** Services of the whole mesh, and how many of them each host runs. */
const names: readonly string[] = Array.from({ length: 100 }, (_, i) => `service-${i}`);
const instancesPerHostMax = 17;
/** Every host knows every instance: so many copies fit into memory, about 10 KB each with what goes with them. */
const copiesMax = 1_000_000;
/** Over so long the agents are started, less than it takes to suspect one. */
const startOverMs = 100;

export const large: Scenario = {
  name: 'large',
  summary: 'a mesh that formed already; writes, a kill, a power cut',
  bounds: { ...ordinaryBounds, formMs: 40_000, detectMs: 25_000, convergeMs: 40_000 },
  plan(hosts, random) {
    const base = basePlan(hosts, random, startOverMs);
    const plan: Plan = {
      ...base,
      trust: founderRoot,
      prepared: true,
      services: allOf(hosts).map(() => sample(names, instancesPerHost(hosts), random)),
      activeMs: 20_000,
    };
    const dying = [hosts - 1, hosts - 2];
    const faults: TimedStep[] = [
      { atMs: 5_000, step: { do: 'kill', host: dying[0]! } },
      { atMs: 8_000, step: { do: 'power-off', host: dying[1]!, disk: 'synced' } },
    ];
    return {
      ...plan,
      timeline: [...background(hosts, plan.activeMs, 2_000, random, new Set(dying)), ...faults],
    };
  },
};

/** As many as there is room for: 17 up to 242 hosts, one from 708 on. */
function instancesPerHost(hosts: number): number {
  return Math.max(1, Math.min(instancesPerHostMax, Math.floor(copiesMax / hosts ** 2)));
}
