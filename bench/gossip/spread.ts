/** How long a small change takes to reach every agent, and what it costs them. */
import { cpuMicroseconds } from '../processes.ts';
import type { Change, Cluster } from './cluster.ts';

/** Changes that are timed, one after the other. */
const timedChanges = 25;
/** Changes whose cost is counted, with nobody watching but for the last one. */
const countedChanges = 60;
const countedPauseMs = 200;
const seenWithinMs = 20_000;
/** What the change before has set in motion has ended. */
const quietMs = 400;

export interface Spread {
  /** Of each change: until the last agent had it. */
  readonly lastMs: number[];
  /** Of each change and agent. */
  readonly eachMs: number[];
  /** Changes that some agent did not see in time. */
  readonly incomplete: number;
  /** CPU of all agents above what they use when idle, for one change at one agent. */
  readonly cpuMicrosecondsPerDelivery: number;
}

/** Writers take turns. `idleCpuShare` is what one idle agent uses of one core. */
export async function measureSpread(cluster: Cluster, change: Change, idleCpuShare: number): Promise<Spread> {
  const lastMs: number[] = [];
  const eachMs: number[] = [];
  let incomplete = 0;
  for (let round = 0; round < timedChanges; round++) {
    const times = await oneChange(cluster, change, (round * 7) % cluster.size, round);
    eachMs.push(...times);
    if (times.length === cluster.size) lastMs.push(Math.max(...times));
    else incomplete++;
  }
  const cpuMicrosecondsPerDelivery = await costOf(cluster, change, idleCpuShare);
  return { lastMs, eachMs, incomplete, cpuMicrosecondsPerDelivery };
}

async function oneChange(cluster: Cluster, change: Change, writer: number, round: number): Promise<number[]> {
  await change.watch(writer, round);
  await cluster.pause(quietMs);
  const label = change.label(writer, round);
  const seen = cluster.sightings.collect({ type: 'change', label }, cluster.hosts, seenWithinMs);
  const beginMs = performance.now();
  await change.write(writer, round);
  return [...(await seen).values()].map((atMs) => atMs - beginMs);
}

/** Microseconds a delivery. Throws when the last change did not arrive: then nothing says that the others did. */
async function costOf(cluster: Cluster, change: Change, idleCpuShare: number): Promise<number> {
  // As many writers as the changes that were timed, so that nothing has to be set up.
  const writers = Array.from({ length: timedChanges }, (_, round) => (round * 7) % cluster.size);
  const beginMs = performance.now();
  const before = cpuMicroseconds(cluster.pids);
  let round = timedChanges;
  for (let count = 0; count < countedChanges; count++, round++) {
    await change.write(writers[round % writers.length]!, round);
    await cluster.pause(countedPauseMs);
  }
  await cluster.pause(2000);
  const used = cpuMicroseconds(cluster.pids) - before;
  const idle = idleCpuShare * cluster.size * (performance.now() - beginMs) * 1000;
  const last = await oneChange(cluster, change, writers[round % writers.length]!, round);
  if (last.length < cluster.size)
    throw new Error(`${cluster.name}: a ${change.kind} reached ${last.length} of ${cluster.size} agents`);
  return (used - idle) / (countedChanges * cluster.size);
}
