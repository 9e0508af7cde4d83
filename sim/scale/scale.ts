/**
 * Membership and dissemination alone, for large meshes: how long a write takes to reach all, how long a death,
 * and what that costs a host. Deltas spread as publish-subscribe does; of the instances that every host knows, each
 * holds what was written meanwhile, and in the end all hold the same.
 */
import { assert, type HostId, type Random, randomInt } from '../../src/core.ts';
import type { Member } from '../../src/gossip/port.ts';
import { noTrustCounters } from '../checks/trust-ledger.ts';
import { Violation } from '../checks/violation.ts';
import { drawBytes } from '../host/keys.ts';
import { Samples } from '../report/statistics.ts';
import { membershipBytes, type Traffic, trafficBetween } from '../report/traffic.ts';
import type { RunReport } from '../run.ts';
import { sample } from '../scenarios/common.ts';
import { World } from '../world.ts';
import { LightMesh, type LightMeshWatcher } from './light-mesh.ts';
import { type LightRecord, LightReplica, lightRecord } from './light-replica.ts';
import { memberOptions, type ParameterSet } from './memberlist.ts';
import { firstInstanceOf, instancesOn } from './population.ts';

export interface ScaleOptions {
  readonly hosts: number;
  readonly seed: number;
  readonly parameters?: ParameterSet;
}

export interface ScaleReport {
  readonly run: RunReport;
  /** For each way to die and each host that was told: how long that took. */
  readonly told: { readonly [how in Death['how']]: Samples };
  /** For each death: until the last was told. */
  readonly toldAll: { readonly [how in Death['how']]: Samples };
  /** Each host's, in a mesh where nothing happens. */
  readonly idle: Traffic;
  /** Each host's, while writes and deaths are under way. */
  readonly active: Traffic;
  /** What membership sends beside that, for each host and each death. */
  readonly bytesPerDeath: number;
}

/** Until every member has its neighbours. */
const settleMs = 10_000;
/** Nothing happens for so long. */
const idleMs = 20_000;
const activeMs = 30_000;
/** What is under way at the end of it has so long to arrive. */
const drainMs = { own: 20_000, serf: 60_000 };
/** So often is each instance written, and so many writes are made at least. */
const writeEveryMs = 6 * 3_600_000;
const writesMin = 40;
/** Every so many-th write is followed by another to the same instance, before it has got around. */
const flapEvery = 4;
const flapMs = 3;
const deathsMax = 6;
/** Bytes of a delta with one service and its check. */
export const deltaBytes = 1_100;

/** A death, and how many have found it. */
interface Death {
  readonly host: number;
  /** `killed`: the process alone, by SIGKILL. `dark`: the host lost power, or its cable. */
  readonly how: 'killed' | 'dark';
  readonly at: number;
  foundBy: number;
}

/** A write, and how many hosts have it. */
interface Delta {
  readonly at: number;
  readonly from: number;
  readonly record: LightRecord;
  reached: number;
}

export function runScale(options: ScaleOptions): ScaleReport {
  return new ScaleRun(options).run();
}

class ScaleRun implements LightMeshWatcher {
  private readonly options: ScaleOptions;
  private readonly parameters: ParameterSet;
  private readonly world: World;
  private readonly random: Random;
  private readonly mesh: LightMesh;
  private readonly deaths = new Map<HostId, Death>();
  private readonly deltas = new Map<Uint8Array, Delta>();
  private readonly convergence = new Samples();
  private readonly delivery = new Samples();
  private readonly told = { killed: new Samples(), dark: new Samples() };
  private readonly toldAll = { killed: new Samples(), dark: new Samples() };
  private readonly replicas: LightReplica[];
  private falseDowns = 0;

  constructor(options: ScaleOptions) {
    this.options = options;
    this.parameters = options.parameters ?? 'own';
    this.world = new World(options.seed);
    this.random = this.world.random('scale');
    this.mesh = new LightMesh(this.world, { hosts: options.hosts, ...memberOptions(this.parameters) }, this);
    this.replicas = Array.from({ length: options.hosts }, () => new LightReplica());
  }

  run(): ScaleReport {
    const { hosts } = this.options;
    const { network } = this.mesh;
    this.mesh.settle(settleMs);
    const settled = { ...network.counters };
    this.mesh.run(idleMs);
    const rested = { ...network.counters };
    const restedBytes = Float64Array.from(network.sentBytes);
    this.plan();
    this.mesh.run(activeMs);
    const active = trafficBetween(rested, network.counters, hosts, activeMs);
    this.mesh.run(drainMs[this.parameters]);
    this.check();
    const idle = trafficBetween(settled, rested, hosts, idleMs);
    const more = membershipBytes(active) - membershipBytes(idle);
    return {
      run: this.report(Samples.of(network.sentBytes.map((bytes, host) => bytes - restedBytes[host]!))),
      told: this.told,
      toldAll: this.toldAll,
      idle,
      active,
      bytesPerDeath: (more * activeMs) / 1000 / this.deaths.size,
    };
  }

  private report(bytesPerHost: Samples): RunReport {
    const { hosts, seed } = this.options;
    const both = (samples: ScaleReport['told']): Samples =>
      Samples.of([...samples.killed.values, ...samples.dark.values]);
    return {
      scenario: 'scale',
      hosts,
      seed,
      virtualMs: this.world.elapsedMs,
      events: this.world.events,
      traceHash: this.world.trace.digest(),
      formedMs: settleMs,
      agreedMs: 0,
      certifiedMs: null,
      rescuedMs: null,
      longestLackMs: 0,
      trust: noTrustCounters(),
      convergence: this.convergence,
      delivery: this.delivery,
      detection: both(this.told),
      ejection: both(this.toldAll),
      bytesPerHost,
      falseDowns: this.falseDowns,
      network: this.mesh.network.counters,
      publish: this.mesh.pubsub.counters,
    };
  }

  /** Writes all along, and half of the deaths by SIGKILL, half by loss of power. Serf's mesh has no writes. */
  private plan(): void {
    const { hosts } = this.options;
    const all = Array.from({ length: hosts }, (_, host) => host);
    const dying = sample(all, Math.min(deathsMax, Math.floor(hosts / 5)), this.random);
    for (const [index, host] of dying.entries())
      this.world.after(((index + 0.5) * activeMs) / dying.length, () =>
        this.kill(host, index % 2 === 0 ? 'killed' : 'dark'),
      );
    if (this.parameters === 'serf') return;
    const writes = Math.max(writesMin, Math.round((instancesOn(hosts) * activeMs) / writeEveryMs));
    for (let write = 0; write < writes; write++)
      this.world.after(((write + this.random.next()) * activeMs) / writes, () =>
        this.writeSome(write % flapEvery === 0),
      );
  }

  private kill(host: number, how: Death['how']): void {
    this.mesh.kill(host, how);
    this.deaths.set(this.mesh.roster.idAt(host), { host, how, at: this.world.now, foundBy: 0 });
  }

  /** An instance of a host that is up changes; if it `flaps`, again at once. */
  private writeSome(flaps: boolean): void {
    const { hosts } = this.options;
    let from = randomInt(this.random, hosts);
    while (!this.mesh.network.isUp(from)) from = randomInt(this.random, hosts);
    const first = firstInstanceOf(from, hosts);
    const instance = first + randomInt(this.random, firstInstanceOf(from + 1, hosts) - first);
    this.write(from, instance);
    if (flaps) this.world.after(flapMs * this.random.next(), () => this.write(from, instance));
  }

  private write(from: number, instance: number): void {
    if (!this.mesh.network.isUp(from)) return;
    const own = this.replicas[from]!;
    const record = lightRecord(instance, own.versionOf(instance) + 1);
    own.join(record);
    const bytes = drawBytes(this.random, deltaBytes);
    this.deltas.set(bytes, { at: this.world.now, from, record, reached: 1 });
    // Writes are rare here, and one that follows a rest leaves at once.
    this.mesh.pubsub.publish(from, bytes);
  }

  delivered(host: number, bytes: Uint8Array): void {
    const delta = this.deltas.get(bytes);
    assert(delta !== undefined, `host ${host} got what nobody wrote`);
    delta.reached++;
    this.replicas[host]!.join(delta.record);
    const tookMs = this.world.now - delta.at;
    this.delivery.add(tookMs);
    this.world.trace.double(tookMs).integer(host);
    if (delta.reached === this.living) this.convergence.add(tookMs);
  }

  private get living(): number {
    return this.options.hosts - this.deaths.size;
  }

  changed(host: number, { id, state }: Member): void {
    if (state !== 'down') return;
    const death = this.deaths.get(id);
    if (death === undefined) {
      this.falseDowns++;
      return;
    }
    const tookMs = this.world.now - death.at;
    death.foundBy++;
    this.told[death.how].add(tookMs);
    this.world.trace.double(tookMs).integer(host).integer(death.host);
    if (death.foundBy === this.living) this.toldAll[death.how].add(tookMs);
  }

  /** All that lived knows of every death, has every write and holds the same; nobody that is well is held down. */
  private check(): void {
    for (const { reached, from } of this.deltas.values())
      if (reached < this.living)
        throw new Violation('delivery', this.world, `${reached} hosts have a write of host ${from}`);
    const digests = this.replicas
      .filter((_, host) => this.mesh.network.isUp(host))
      .map(({ digest }) => digest);
    if (new Set(digests).size > 1) throw new Violation('convergence', this.world, 'replicas differ');
    for (let host = 0; host < this.options.hosts; host++) {
      if (!this.mesh.network.isUp(host)) continue;
      for (const { id, state } of this.mesh.membership(host).all())
        if ((state === 'down') !== this.deaths.has(id))
          throw new Violation(
            'membership',
            this.world,
            `host ${host} holds host ${this.mesh.numberOf(id)} ${state}`,
          );
    }
  }
}
