/** How long until all others know that an agent is lost: killed, stopped, or cut off from the network. */
import type { Cluster } from './cluster.ts';

export type Loss = 'kill' | 'stop' | 'cut';

const lossesOfEach: { readonly [loss in Loss]: number } = { kill: 6, stop: 4, cut: 4 };
const knownWithinMs = 90_000;
const backWithinMs = 120_000;
/** After an agent is back, until the next is taken. */
const quietMs = 3000;

export interface LossTimes {
  /** Of each loss: until the first and until the last of the others knew. */
  readonly firstMs: number[];
  readonly lastMs: number[];
  /** Of each loss: from its end until everybody saw everybody again; of a kill, from the agent's new start. */
  readonly backMs: number[];
  /** Losses that some agent did not notice in time. */
  readonly incomplete: number;
}

export async function measureLoss(cluster: Cluster, loss: Loss): Promise<LossTimes> {
  const times = { firstMs: [] as number[], lastMs: [] as number[], backMs: [] as number[], incomplete: 0 };
  for (let round = 0; round < lossesOfEach[loss]; round++) {
    const victim = 1 + ((round * 11) % (cluster.size - 1));
    const others = cluster.hosts.filter((host) => host !== victim);
    const known = cluster.sightings.collect({ type: 'down', about: victim }, others, knownWithinMs);
    const beginMs = performance.now();
    strike(cluster, loss, victim);
    const seen = [...(await known).values()].map((atMs) => atMs - beginMs);
    if (seen.length === others.length) {
      times.firstMs.push(Math.min(...seen));
      times.lastMs.push(Math.max(...seen));
    } else times.incomplete++;
    const endMs = performance.now();
    await undo(cluster, loss, victim);
    times.backMs.push(await cluster.converged(endMs, backWithinMs));
    await cluster.pause(quietMs);
  }
  return times;
}

function strike(cluster: Cluster, loss: Loss, victim: number): void {
  if (loss === 'cut') cluster.network.cut(victim);
  else cluster.program(victim).child.kill(loss === 'kill' ? 'SIGKILL' : 'SIGSTOP');
}

async function undo(cluster: Cluster, loss: Loss, victim: number): Promise<void> {
  if (loss === 'cut') cluster.network.mend(victim);
  else if (loss === 'stop') cluster.program(victim).child.kill('SIGCONT');
  else await cluster.restart(victim);
}
