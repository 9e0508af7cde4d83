/**
 * The state of every path between hosts: how slow, how lossy, and whether it is cut. Directions are separate,
 * so a path may carry one way only. Hosts are numbered from 0.
 */
import type { Random } from '../../src/core.ts';

/** How a path behaves while it is not cut. */
export interface LinkQuality {
  /** Share of packets lost, 0 to 1. Streams pay for a loss with a retransmission, datagrams vanish. */
  readonly lossRate: number;
  /** Share of datagrams that arrive twice. */
  readonly duplicateRate: number;
  /** How much later the second may come, at the most: somebody on the path records and replays. */
  readonly replayMs: number;
  /** One way, the least. */
  readonly baseMs: number;
  /** Mean of the exponential part added to `baseMs`; differing draws reorder datagrams. */
  readonly jitterMs: number;
  /** Share of packets that meet a full queue somewhere. */
  readonly tailRate: number;
  /** Mean extra delay of those. */
  readonly tailMs: number;
}

/** Two machines in one datacenter. */
export const localNetwork: LinkQuality = {
  lossRate: 0,
  duplicateRate: 0,
  replayMs: 0,
  baseMs: 0.2,
  jitterMs: 0.15,
  tailRate: 0.001,
  tailMs: 20,
};

const hostsAtMost = 65_536;

export class Links {
  private quality: LinkQuality = localNetwork;
  private readonly random: Random;
  private readonly cutPaths = new Set<number>();
  /** Hosts of different groups cannot reach each other; without an entry a host is in group 0. */
  private groups = new Map<number, number>();
  /** Hosts without power or cable. */
  private readonly isolated = new Set<number>();

  constructor(random: Random) {
    this.random = random;
  }

  get lossRate(): number {
    return this.quality.lossRate;
  }

  setQuality(quality: Partial<LinkQuality>): void {
    this.quality = { ...this.quality, ...quality };
  }

  /** Whether a packet sent now from one host to the other is certain to be lost. */
  isCut(from: number, to: number): boolean {
    if (from === to) return false;
    if (this.isolated.size > 0 && (this.isolated.has(from) || this.isolated.has(to))) return true;
    if (this.groups.size > 0 && (this.groups.get(from) ?? 0) !== (this.groups.get(to) ?? 0)) return true;
    return this.cutPaths.size > 0 && this.cutPaths.has(from * hostsAtMost + to);
  }

  /** Whether packets pass in both directions. */
  isOpen(a: number, b: number): boolean {
    return !this.isCut(a, b) && !this.isCut(b, a);
  }

  cutOneWay(from: number, to: number): void {
    this.cutPaths.add(from * hostsAtMost + to);
  }

  mendOneWay(from: number, to: number): void {
    this.cutPaths.delete(from * hostsAtMost + to);
  }

  isolate(host: number): void {
    this.isolated.add(host);
  }

  isIsolated(host: number): boolean {
    return this.isolated.has(host);
  }

  rejoin(host: number): void {
    this.isolated.delete(host);
  }

  /** Splits the network: each list is a side of its own; hosts in no list stay together. */
  partition(sides: readonly (readonly number[])[]): void {
    this.groups = new Map(sides.flatMap((side, index) => side.map((host) => [host, index + 1] as const)));
  }

  /** Mends the partition and every one-way cut; isolated hosts stay so. */
  mendAll(): void {
    this.groups = new Map();
    this.cutPaths.clear();
  }

  /** One way, this packet. */
  delayMs(): number {
    const { baseMs, jitterMs, tailRate, tailMs } = this.quality;
    const tail = tailRate > 0 && this.random.next() < tailRate ? this.exponential(tailMs) : 0;
    return baseMs + this.exponential(jitterMs) + tail;
  }

  /** Whether this packet is lost by chance. */
  loses(): boolean {
    return this.quality.lossRate > 0 && this.random.next() < this.quality.lossRate;
  }

  /** Whether this datagram arrives twice. */
  duplicates(): boolean {
    return this.quality.duplicateRate > 0 && this.random.next() < this.quality.duplicateRate;
  }

  /** How much later than the first the second of a doubled datagram comes, beside the path's delay. */
  replayDelayMs(): number {
    return this.quality.replayMs > 0 ? this.random.next() * this.quality.replayMs : 0;
  }

  private exponential(meanMs: number): number {
    return -Math.log(1 - this.random.next()) * meanMs;
  }
}
