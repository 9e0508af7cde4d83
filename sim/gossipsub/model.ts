/** A trial of the simulator's own publish-subscribe, by itself: no membership, no agents. */
import { LightNetwork, type LightUser } from '../network/light-network.ts';
import { Pubsub } from '../network/pubsub.ts';
import { World } from '../world.ts';
import { type Spread, schedule, Tally } from './tally.ts';
import { type Trial, trialLinks } from './trial.ts';

export function playModel(trial: Trial): Spread {
  const world = new World(trial.seed);
  const tally = new Tally(trial, world);
  const network = new CountedNetwork(world, trial, tally, {
    datagram: () => undefined,
    message: () => undefined,
    publication: (host, from, delta) => pubsub.receive(host, from, delta),
    connected: (host, peer) => pubsub.connected(host, peer),
    disconnected: (host, peer) => pubsub.disconnected(host, peer),
    unreachable: () => undefined,
  });
  const pubsub = new Pubsub(world, network, (host, delta) => {
    tally.delivered(host, delta);
    return true;
  });
  for (let host = 0; host < trial.hosts; host++) pubsub.processStarted(host);
  for (const host of trial.mute) pubsub.mute(host, Number.POSITIVE_INFINITY);
  for (const [host, peer] of trial.connections) network.connect(host, peer);
  world.runUntil(schedule(trial, world, tally, (host, delta) => pubsub.publish(host, delta)));
  let meshPeers = 0;
  for (let host = 0; host < trial.hosts; host++) meshPeers += pubsub.meshSize(host);
  return tally.spread(meshPeers / trial.hosts);
}

class CountedNetwork extends LightNetwork<null> {
  private readonly tally: Tally;

  constructor(world: World, { hosts }: Trial, tally: Tally, user: LightUser<null>) {
    super(world, trialLinks(world), hosts, user);
    this.tally = tally;
  }

  override send(host: number, peer: number, channel: 'publish', delta: Uint8Array): void {
    this.tally.sent(host, delta.length, 1);
    super.send(host, peer, channel, delta);
  }
}
