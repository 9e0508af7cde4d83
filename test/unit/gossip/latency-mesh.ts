/** Hosts in three zones that measure one another over links with jitter, for tests of coordinates. */
import { type HostId, type Random, randomInt, seededRandom } from '../../../src/core.ts';
import {
  type Coordinate,
  decodeCoordinate,
  dimensions,
  encodeCoordinate,
  estimateMs,
  separationMs,
} from '../../../src/gossip/coordinates/coordinate.ts';
import { Coordinates } from '../../../src/gossip/coordinates/coordinates.ts';

/** Round trips between zones, and within one, without the hosts' own links. */
const zonesMs = [
  [0.3, 30, 80],
  [30, 0.3, 95],
  [80, 95, 0.3],
] as const;
/** Mean of the exponential jitter, relative to the round trip. */
const jitter = 0.1;
/** Share of answers that waited in some queue, and by how much longer they took. */
const spikes = { share: 0.02, factor: 10 } as const;

export interface MeshHost {
  readonly id: HostId;
  readonly coordinates: Coordinates;
  linkMs: number;
  zone: number;
  /** Claims to be far away and sure of it, and measures nothing. */
  readonly lies: boolean;
}

export interface LatencyMeshOptions {
  readonly seed: number;
  readonly hosts?: number;
  readonly liars?: number;
  /** Measure with a clock that tells whole milliseconds. */
  readonly wholeMs?: boolean;
}

export class LatencyMesh {
  readonly hosts: readonly MeshHost[];
  private readonly random: Random;
  private readonly wholeMs: boolean;

  constructor({ seed, hosts = 50, liars = 0, wholeMs = false }: LatencyMeshOptions) {
    this.random = seededRandom(seed);
    this.wholeMs = wholeMs;
    this.hosts = Array.from({ length: hosts }, (_, i) => ({
      id: String(i),
      coordinates: new Coordinates(String(i), this.random),
      linkMs: 0.1 + this.random.next() * 0.9,
      zone: i % zonesMs.length,
      lies: i < liars,
    }));
  }

  get honest(): readonly MeshHost[] {
    return this.hosts.filter((host) => !host.lies);
  }

  /** What half of all measurements stay below. */
  usualMs(a: MeshHost, b: MeshHost): number {
    return this.shortestMs(a, b) * (1 + jitter * Math.LN2);
  }

  private shortestMs(a: MeshHost, b: MeshHost): number {
    return zonesMs[a.zone]![b.zone]! + a.linkMs + b.linkMs;
  }

  measureMs(a: MeshHost, b: MeshHost): number {
    const { random } = this;
    const jittered = this.shortestMs(a, b) * (1 - jitter * Math.log(1 - random.next()));
    const sample = random.next() < spikes.share ? jittered * spikes.factor : jittered;
    return this.wholeMs ? Math.floor(sample + random.next()) : sample;
  }

  /** What a host says of where it is, as it arrives over the wire. */
  claimOf(host: MeshHost): Coordinate {
    const told = host.lies ? this.farAway() : host.coordinates.own;
    return decodeCoordinate(encodeCoordinate(told));
  }

  private farAway(): Coordinate {
    const vectorMs = Array.from({ length: dimensions }, () => (this.random.next() < 0.5 ? -9999 : 9999));
    return { vectorMs, heightMs: 0, adjustmentMs: 0, error: 0 };
  }

  /** Every honest host measures one random other, `count` times. Returns how far one such moved it, mean. */
  run(count: number): number {
    let movedMs = 0;
    for (let round = 0; round < count; round++)
      for (const host of this.honest) movedMs += this.observeAnother(host);
    return movedMs / (count * this.honest.length);
  }

  private observeAnother(host: MeshHost): number {
    const others = this.hosts.filter((other) => other !== host);
    const peer = others[randomInt(this.random, others.length)]!;
    const before = host.coordinates.own;
    host.coordinates.observe(peer.id, this.claimOf(peer), this.measureMs(host, peer));
    return separationMs(before.vectorMs, host.coordinates.own.vectorMs);
  }

  estimateMs(a: MeshHost, b: MeshHost): number {
    return estimateMs(a.coordinates.own, b.coordinates.own);
  }

  /** Errors of the estimates of all honest pairs, relative to the usual round trip, in ascending order. */
  errors(counts: (a: MeshHost, b: MeshHost) => boolean = () => true): number[] {
    const found: number[] = [];
    for (const a of this.honest)
      for (const b of this.honest)
        if (a.id < b.id && counts(a, b)) found.push(Math.abs(this.estimateMs(a, b) / this.usualMs(a, b) - 1));
    return found.sort((x, y) => x - y);
  }

  /** Share of (host, neighbour, stranger) in which the neighbour of the same zone seems nearer. */
  orderedShare(): number {
    let right = 0;
    let all = 0;
    for (const host of this.honest)
      for (const near of this.honest)
        for (const far of this.honest) {
          if (near === host || near.zone !== host.zone || far.zone === host.zone) continue;
          all++;
          if (this.estimateMs(host, near) < this.estimateMs(host, far)) right++;
        }
    return right / all;
  }
}

/** The value that `share` of an ascending list lies below. */
export function quantile(sorted: readonly number[], share: number): number {
  return sorted[Math.floor(sorted.length * share)]!;
}
