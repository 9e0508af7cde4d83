/** A trial of the real gossipsub, under virtual time: install that before this file is loaded. */
import { defaultSpreadParameters } from '../../../src/gossip/parameters.ts';
import type { World } from '../../world.ts';
import { type Spread, schedule, Tally } from '../tally.ts';
import { type Trial, trialLinks } from '../trial.ts';
import { connect } from './connection.ts';
import { VirtualNode } from './node.ts';
import type { VirtualTime } from './virtual-time.ts';

export async function play(trial: Trial, world: World, time: VirtualTime): Promise<Spread> {
  const tally = new Tally(trial, world);
  const mute = new Set(trial.mute);
  const nodes: VirtualNode[] = [];
  for (let host = 0; host < trial.hosts; host++)
    nodes.push(
      await VirtualNode.create(host, {
        delivered: (delta) => {
          tally.delivered(host, delta);
          return !mute.has(host);
        },
        sent: (bytes, deltas) => tally.sent(host, bytes, deltas),
      }),
    );
  // A node's heartbeat goes by its start; no two hosts' beat in step.
  const phases = world.random('phases');
  const { heartbeatMs } = defaultSpreadParameters;
  for (const node of nodes) world.after(phases.next() * heartbeatMs, () => void node.start());
  await time.runUntil(world.now + heartbeatMs);
  const links = trialLinks(world);
  for (const [dialler, listener] of trial.connections) {
    const [outbound, inbound] = connect(world, links, nodes[dialler]!, nodes[listener]!);
    nodes[dialler]!.meet(outbound);
    nodes[listener]!.meet(inbound);
  }
  await time.runUntil(schedule(trial, world, tally, (host, delta) => void nodes[host]!.publish(delta)));
  return tally.spread(nodes.reduce((sum, { mesh }) => sum + mesh.size, 0) / trial.hosts);
}
