/**
 * What gossipsub and its model are both put to: who is connected to whom, who publishes when, and how slow the
 * paths are. Plain data, so that it can be handed to another process.
 */
import { randomInt } from '../../src/core.ts';
import { Links } from '../network/links.ts';
import { LightMesh } from '../scale/light-mesh.ts';
import { memberOptions } from '../scale/memberlist.ts';
import { deltaBytes } from '../scale/scale.ts';
import { World } from '../world.ts';

export interface Trial {
  readonly hosts: number;
  readonly seed: number;
  /** Who dialled, and whom. */
  readonly connections: readonly (readonly [number, number])[];
  readonly publications: readonly Publication[];
  /** Hosts that take deltas in and pass none on, neither at once nor by telling of them. */
  readonly mute: readonly number[];
}

export interface Publication {
  readonly host: number;
  /** Since the connections were made. */
  readonly atMs: number;
}

/** Members find their neighbours in so long. */
const viewSettleMs = 10_000;
/** From the connections to the first publication: some thirty heartbeats, in which the mesh is grafted. */
const meshSettleMs = 10_000;
const publicationCount = 100;
/** Apart by so much on average, in no step with the heartbeat. */
const publicationGapMs = 100;
/** Of all hosts; then about one in thirty has only such peers in its mesh. */
const muteShare = 1 / 3;
/** What is under way after the last of them has so long to arrive, by a few rounds of telling and asking. */
export const drainMs = 3_000;

/** The connections are those that as many members of a real active view have, left to themselves. */
export function planTrial(hosts: number, seed: number): Trial {
  const world = new World(seed);
  const random = world.random('publications');
  const publications = Array.from({ length: publicationCount }, (_, number) => ({
    host: randomInt(random, hosts),
    atMs: meshSettleMs + (number + random.next()) * publicationGapMs,
  }));
  return { hosts, seed, connections: connectionsAmong(hosts, world), publications, mute: [] };
}

/** The same with many hosts that pass nothing on, so that what gossipsub heals is tried too. */
export function withMute(trial: Trial): Trial {
  const { hosts } = trial;
  const muteCount = Math.floor(hosts * muteShare);
  return {
    ...trial,
    // Who has which number is a matter of chance already.
    mute: Array.from({ length: muteCount }, (_, host) => host),
    publications: trial.publications.map(({ host, atMs }) => ({
      host: host < muteCount ? muteCount + (host % (hosts - muteCount)) : host,
      atMs,
    })),
  };
}

function connectionsAmong(hosts: number, world: World): Trial['connections'] {
  const nobody = { changed: () => undefined, delivered: () => undefined };
  const mesh = new LightMesh(world, { hosts, ...memberOptions('own') }, nobody);
  mesh.settle(viewSettleMs);
  const { network } = mesh;
  const everybody = Array.from({ length: hosts }, (_, host) => host);
  return everybody.flatMap((host) =>
    network
      .openPeers(host)
      .filter((peer) => network.hasDialled(host, peer))
      .map((peer) => [host, peer] as const),
  );
}

/** The delta that publication `number` spreads. Its content is its identity. */
export function deltaOf(number: number): Uint8Array {
  const delta = new Uint8Array(deltaBytes);
  new DataView(delta.buffer).setUint32(0, number);
  return delta;
}

export function numberOf(delta: Uint8Array): number {
  return new DataView(delta.buffer, delta.byteOffset).getUint32(0);
}

/** An ordinary network without its rare full queues: one of those would decide the slowest delivery by chance. */
export function trialLinks(world: World): Links {
  const links = new Links(world.random('network'));
  links.setQuality({ tailRate: 0 });
  return links;
}
