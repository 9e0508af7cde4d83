/**
 * `npm run bench -- gossip`: Starling's agents beside serf's, N real processes each on a network of their own,
 * one program after the other on the same machine; who begins alternates from round to round.
 */
import { join } from 'node:path';
import type { GossipCommand } from '../arguments.ts';
import { type Row, readable } from '../rows.ts';
import type { Stage } from '../stage.ts';
import type { Cluster } from './cluster.ts';
import { compare, Figures } from './figures.ts';
import { measureFreeze } from './freeze.ts';
import { measureIdle } from './idle.ts';
import { isolationTools } from './isolation.ts';
import { type Loss, measureLoss } from './loss.ts';
import type { Measurement } from './measurements.ts';
import { becomeRouter, Network, networkTools } from './network.ts';
import { SerfCluster } from './serf.ts';
import { measureSpread } from './spread.ts';
import { StarlingCluster } from './starling.ts';

/** Programs that must be installed. */
export const gossipBenchTools = ['serf', ...networkTools, ...isolationTools];

type Say = (text: string) => void;

const programs = ['serf', 'starling'] as const;
type ProgramName = (typeof programs)[number];

/** After all have joined, until anything is measured: what joining set in motion has ended. */
const settleMs = 10_000;
const settlePerAgentMs = 100;

export async function benchGossip(stage: Stage, command: GossipCommand, say: Say): Promise<Row[]> {
  becomeRouter();
  const rows: Row[] = [];
  for (const size of command.sizes) {
    const figures = { serf: new Figures(), starling: new Figures() };
    for (let round = 0; round < command.rounds; round++) {
      const order = round % 2 === 0 ? programs : programs.toReversed();
      for (const name of order)
        await measure(stage, name, size, round, command.only, figures[name], (text) =>
          say(`n ${size}, round ${round + 1}, ${name}: ${text}`),
        );
    }
    rows.push(...compare(size, figures.starling, figures.serf));
  }
  return rows;
}

async function measure(
  stage: Stage,
  name: ProgramName,
  size: number,
  round: number,
  only: readonly Measurement[],
  figures: Figures,
  say: Say,
): Promise<void> {
  const network = new Network(size);
  const directory = join(stage.directory, `${name}-${size}-${round}`);
  const cluster = name === 'serf' ? new SerfCluster(network) : new StarlingCluster(network, directory);
  stage.defer(() => cluster.stop());
  try {
    await measureCluster(cluster, only, figures, say);
  } finally {
    await cluster.stop();
    network.remove();
  }
}

async function measureCluster(
  cluster: Cluster,
  only: readonly Measurement[],
  figures: Figures,
  say: Say,
): Promise<void> {
  const join = await cluster.start();
  say(
    `${cluster.runs}: all joined after ${readable(join.allMs)} ms with ${readable(join.joinCpuSeconds)} s of CPU each, ` +
      `after ${readable(join.startCpuSeconds)} s to start; ${join.gaveUp.length} gave up and tried again`,
  );
  for (const reason of new Set(join.gaveUp)) say(`gave up: ${reason}`);
  if (only.includes('join')) figures.joins.push(join);
  if (only.length === 1 && only[0] === 'join') return;
  await cluster.settled();
  await cluster.pause(settleMs + settlePerAgentMs * cluster.size);
  if (only.includes('idle') || only.includes('change')) await idleAndChange(cluster, only, figures, say);
  for (const loss of ['kill', 'stop', 'cut'] as const)
    if (only.includes(loss)) await lose(cluster, loss, figures, say);
  if (only.includes('freeze')) await freeze(cluster, figures, say);
}

/** What a change costs is what comes on top of idling, which is therefore measured with it. */
async function idleAndChange(
  cluster: Cluster,
  only: readonly Measurement[],
  figures: Figures,
  say: Say,
): Promise<void> {
  const idle = await measureIdle(cluster);
  say(
    `idle ${readable(idle.bytesPerSecond)} B/s, ${readable(idle.packetsPerSecond)} packets/s, ` +
      `${readable(idle.cpuShare * 100)} % of a core, ${readable(idle.residentBytes / 1e6)} MB`,
  );
  if (only.includes('idle')) figures.idles.push(idle);
  if (!only.includes('change')) return;
  for (const change of cluster.changes) {
    const spread = await measureSpread(cluster, change, idle.cpuShare);
    figures.addSpread(change.kind, spread);
    say(
      `${change.kind} seen by all after ${list(spread.lastMs)} ms, ${spread.incomplete} incomplete, ` +
        `${readable(spread.cpuMicrosecondsPerDelivery)} us of CPU a delivery`,
    );
  }
}

async function lose(cluster: Cluster, loss: Loss, figures: Figures, say: Say): Promise<void> {
  const times = await measureLoss(cluster, loss);
  figures.addLoss(loss, times);
  say(
    `${loss}: known by one after ${list(times.firstMs)} ms, by all after ${list(times.lastMs)} ms, ` +
      `${times.incomplete} incomplete; back after ${list(times.backMs)} ms`,
  );
}

async function freeze(cluster: Cluster, figures: Figures, say: Say): Promise<void> {
  const outcome = await measureFreeze(cluster);
  figures.freezes.push(outcome);
  say(
    `freezing ${outcome.frozen}: ${outcome.healthyDown} healthy members declared down ` +
      `(${outcome.falseDowns} verdicts, ${outcome.falseDownsOfHealthy} by healthy ones), ` +
      `${outcome.falseSuspicions} false suspicions; back after ${readable(outcome.backMs)} ms`,
  );
}

function list(values: readonly number[]): string {
  return values.map((value) => value.toFixed(0)).join(' ') || 'none';
}
