/**
 * Sick members in a healthy mesh: some processes are stopped again and again and run only for moments in between,
 * long enough to act on timeouts that have long passed, and to accuse whoever seems not to have answered. Source:
 * the interval and threshold experiments of Lifeguard (Dadgar et al. 2018), section V.
 */
import type { Member } from '../../src/gossip/port.ts';
import { Samples } from '../report/statistics.ts';
import { World } from '../world.ts';
import { LightMesh, type LightMeshWatcher } from './light-mesh.ts';
import { memberOptions, type ParameterSet } from './memberlist.ts';

export interface Sickness {
  readonly hosts: number;
  /** The paper's C: members that are stopped, all at the same times. */
  readonly sick: number;
  /** The paper's D: how long each time. */
  readonly stopMs: number;
  /** The paper's I: how long they run in between. */
  readonly runMs: number;
  /** How often at most: 1 is the threshold experiment. */
  readonly times?: number;
  readonly seed: number;
  readonly parameters: ParameterSet;
}

export interface Diagnosis {
  /** How often somebody found a healthy member down, and how often a healthy one did. */
  readonly falseDowns: number;
  readonly falseDownsByHealthy: number;
  /** The same for suspicions: they cost messages, and no endpoint is taken out for one. */
  readonly falseSuspicions: number;
  /** From the first stop until the first healthy member found a sick one down, for each that was found. */
  readonly first: Samples;
  /** The same until the last healthy member did. */
  readonly last: Samples;
  /** Sick members that at least one healthy one ever found down. */
  readonly found: number;
}

const settleMs = 10_000;
/** The paper's length of one run. */
const lengthMs = 120_000;
/** Verdicts still under way at the end. */
const drainMs = 10_000;

export function diagnose(sickness: Sickness): Diagnosis {
  return new SickMesh(sickness).run();
}

class SickMesh implements LightMeshWatcher {
  private readonly sickness: Sickness;
  private readonly mesh: LightMesh;
  private readonly world: World;
  private readonly foundBy = new Map<number, Set<number>>();
  private readonly first = new Samples();
  private readonly last = new Samples();
  private falseDowns = 0;
  private falseDownsByHealthy = 0;
  private falseSuspicions = 0;
  private stoppedAt = 0;

  constructor(sickness: Sickness) {
    const { hosts, seed, parameters } = sickness;
    this.sickness = sickness;
    this.world = new World(seed);
    this.mesh = new LightMesh(this.world, { hosts, ...memberOptions(parameters) }, this);
  }

  run(): Diagnosis {
    const { sick, stopMs, runMs, times = Number.POSITIVE_INFINITY } = this.sickness;
    this.mesh.settle(settleMs);
    this.stoppedAt = this.world.now;
    for (let round = 0; round < times && this.world.now < this.stoppedAt + lengthMs; round++) {
      for (let host = 0; host < sick; host++) this.mesh.freeze(host);
      this.mesh.run(stopMs);
      for (let host = 0; host < sick; host++) this.mesh.thaw(host);
      this.mesh.run(runMs);
    }
    this.mesh.run(drainMs);
    const { falseDowns, falseDownsByHealthy, falseSuspicions, first, last } = this;
    const found = this.foundBy.size;
    return { falseDowns, falseDownsByHealthy, falseSuspicions, first, last, found };
  }

  changed(observer: number, { id, state }: Member): void {
    if (state !== 'down' && state !== 'suspect') return;
    const host = this.mesh.numberOf(id);
    if (!this.isSick(host)) this.wronged(observer, state);
    else if (state === 'down' && !this.isSick(observer)) this.foundOut(observer, host);
  }

  private wronged(observer: number, state: 'down' | 'suspect'): void {
    if (state === 'suspect') {
      this.falseSuspicions++;
      return;
    }
    this.falseDowns++;
    if (!this.isSick(observer)) this.falseDownsByHealthy++;
  }

  private foundOut(observer: number, host: number): void {
    const { hosts, sick } = this.sickness;
    const finders = this.foundBy.get(host) ?? new Set();
    if (finders.has(observer)) return;
    this.foundBy.set(host, finders.add(observer));
    const tookMs = this.world.now - this.stoppedAt;
    if (finders.size === 1) this.first.add(tookMs);
    if (finders.size === hosts - sick) this.last.add(tookMs);
  }

  private isSick(host: number): boolean {
    return host < this.sickness.sick;
  }

  delivered(): void {
    // Nothing is published: this is about membership alone.
  }
}
