/** What one agent costs by itself: how long until it is ready, and how much memory it holds when idle. */
import type { Bird } from '../../demo/flock.ts';
import { cpuMicroseconds, residentBytes } from '../processes.ts';
import { type Row, row } from '../rows.ts';
import type { Stage } from '../stage.ts';
import { median } from '../statistics.ts';

const starts = 5;
/** Idle means this long after the ready line: an agent gives back what its start needed after some ten seconds. */
const settleMs = 20_000;
/** Over how long the CPU time of an idle agent is counted. */
const idleMs = 5000;

export async function measureAgent(stage: Stage, n: number, say: (text: string) => void): Promise<Row[]> {
  const flock = stage.flock();
  const bootstrapMs: number[] = [];
  const restartMs: number[] = [];
  let idleBytes = 0;
  let idleCpuMs = 0;
  for (let round = 0; round < starts; round++) {
    const bird = flock.bird({ n, name: `alone-${round}` });
    bootstrapMs.push(await timed(bird, '--bootstrap'));
    if (round === 0) {
      await stage.pause(settleMs);
      idleBytes = residentBytes(bird.program!.pid);
      idleCpuMs = await cpuMsPerSecond(stage, bird.program!.pid);
    }
    await stopped(bird);
    restartMs.push(await timed(bird));
    await stopped(bird);
    say(
      `start ${round + 1}: ready after ${bootstrapMs.at(-1)!.toFixed(0)} ms, again after ${restartMs.at(-1)!.toFixed(0)} ms`,
    );
  }
  return [
    agentRow('agent-start-bootstrap', 'ms', median(bootstrapMs)),
    agentRow('agent-start-restart', 'ms', median(restartMs)),
    agentRow('agent-rss-idle', 'MB', idleBytes / 1e6),
    agentRow('agent-cpu-idle', 'ms/s', idleCpuMs),
  ];
}

/** How much of each second an agent without traffic keeps a core busy: it is in the cost of every request. */
async function cpuMsPerSecond(stage: Stage, pid: number): Promise<number> {
  const before = cpuMicroseconds([pid]);
  const begin = performance.now();
  await stage.pause(idleMs);
  return (cpuMicroseconds([pid]) - before) / (performance.now() - begin);
}

/** A metric of the agent alone, with nothing to compare it to. */
export function agentRow(metric: string, unit: string, value: number): Row {
  return row({ bench: 'proxy', subject: 'starling', metric, unit, value });
}

/** Milliseconds from spawning the agent to its ready line, which must then prove true. */
async function timed(bird: Bird, ...flags: string[]): Promise<number> {
  const begin = performance.now();
  await bird.start(...flags);
  const elapsedMs = performance.now() - begin;
  const { status } = await fetch(`${bird.httpUrl}/readyz`);
  if (status !== 200) throw new Error(`the agent says ready on stdout, and ${status} on /readyz`);
  return elapsedMs;
}

async function stopped(bird: Bird): Promise<void> {
  const { program } = bird;
  const code = await program!.stop();
  if (code !== 0)
    throw new Error(
      `the agent ended with ${code ?? program!.child.signalCode}: ${program!.stderr.slice(-500)}`,
    );
}
