/**
 * Membership and dissemination alone, for meshes far larger than whole agents fit into one process: the real
 * `Membership` machines over one shared roster, and deltas spread as publish-subscribe does, with no records
 * behind them. Shows how long a write takes to reach all, how long a death, and what that costs a host.
 */
import { assert, type HostId, type Random, randomInt } from '../src/core.ts';
import { encodeFrame } from '../src/gossip/framecodec.ts';
import type { SwimFrame } from '../src/gossip/frames.ts';
import { Membership } from '../src/gossip/membership.ts';
import { defaultGossipParameters } from '../src/gossip/parameters.ts';
import { Roster } from '../src/gossip/roster.ts';
import { sealedOverheadBytes } from '../src/gossip/sealing.ts';
import type { MembershipEffect, MembershipInput } from '../src/gossip/swim-port.ts';
import { drawBytes } from './keys.ts';
import { LightNetwork, type LightUser } from './light-network.ts';
import { Links } from './links.ts';
import { Pubsub } from './pubsub.ts';
import type { RunReport } from './run.ts';
import { sample } from './scenarios/common.ts';
import { Samples } from './statistics.ts';
import { Violation } from './violation.ts';
import { World } from './world.ts';

export interface ScaleOptions {
  readonly hosts: number;
  readonly seed: number;
}

/** Until every member has its neighbours. */
const settleMs = 10_000;
const activeMs = 30_000;
/** What is under way at the end of it has so long to arrive. */
const drainMs = 20_000;
const writes = 40;
const deaths = 6;
/** Bytes of a delta with one service and its check. */
const deltaBytes = 1_100;
/** IP and UDP headers, and what sealing a datagram adds. */
const datagramOverheadBytes = 28 + sealedOverheadBytes;
/** Framing, encryption and TCP/IP headers of a message on a connection. */
const messageOverheadBytes = 80;
/** Packets lost, as on a network in fair health. */
const lossRate = 0.001;

/** A death, and who has not found it yet. */
interface Death {
  readonly host: number;
  readonly at: number;
  foundBy: number;
}

/** A write, and how many hosts have it. */
interface Delta {
  readonly at: number;
  readonly from: number;
  reached: number;
}

export function runScale(options: ScaleOptions): RunReport {
  return new ScaleMesh(options).run();
}

class ScaleMesh implements LightUser<SwimFrame> {
  private readonly options: ScaleOptions;
  private readonly world: World;
  private readonly random: Random;
  private readonly network: LightNetwork<SwimFrame>;
  private readonly pubsub: Pubsub;
  private readonly roster = new Roster();
  private readonly members: Membership[] = [];
  /** World time of the wake event under way of each member; infinite when there is none. */
  private readonly wakeAt: Float64Array;
  private readonly deaths = new Map<HostId, Death>();
  private readonly deltas = new Map<Uint8Array, Delta>();
  private readonly convergence = new Samples();
  private readonly delivery = new Samples();
  private readonly detection = new Samples();
  private readonly ejection = new Samples();
  private falseDowns = 0;

  constructor(options: ScaleOptions) {
    this.options = options;
    this.world = new World(options.seed);
    this.random = this.world.random('scale');
    const links = new Links(this.world.random('network'));
    links.setQuality({ lossRate });
    this.network = new LightNetwork(this.world, links, options.hosts, this);
    this.pubsub = new Pubsub(this.world, this.network, (host, bytes) => this.delivered(host, bytes));
    this.wakeAt = new Float64Array(options.hosts).fill(Number.POSITIVE_INFINITY);
    for (let host = 0; host < options.hosts; host++)
      this.roster.add(Buffer.from(drawBytes(this.random, 32)).toString('hex'));
    for (let host = 0; host < options.hosts; host++) this.members.push(this.memberOf(host));
  }

  private memberOf(host: number): Membership {
    const nothing = new Uint8Array(64);
    return new Membership({
      self: this.roster.idAt(host),
      random: this.world.random(`swim/${host}`),
      incarnation: 0,
      prove: () => nothing,
      isProof: () => true,
      root: () => '\0\0\0\0\0\0\0\0',
      presumedRoster: this.roster,
      startedAt: this.world.now,
    });
  }

  run(): RunReport {
    const { hosts } = this.options;
    for (let host = 0; host < hosts; host++) this.pubsub.processStarted(host);
    for (let host = 0; host < hosts; host++)
      this.world.after(this.random.next() * settleMs * 0.3, () => this.start(host));
    this.world.runUntil(this.world.now + settleMs);
    const settledBytes = Float64Array.from(this.network.sentBytes);
    const plannedAt = this.world.now;
    this.plan();
    this.world.runUntil(plannedAt + activeMs + drainMs);
    this.check();
    return {
      scenario: 'scale',
      hosts,
      seed: this.options.seed,
      virtualMs: this.world.elapsedMs,
      events: this.world.events,
      traceHash: this.world.trace.digest(),
      formedMs: settleMs,
      agreedMs: 0,
      convergence: this.convergence,
      delivery: this.delivery,
      detection: this.detection,
      ejection: this.ejection,
      bytesPerHost: Samples.of(this.network.sentBytes.map((bytes, host) => bytes - settledBytes[host]!)),
      falseDowns: this.falseDowns,
      network: this.network.counters,
      publish: this.pubsub.counters,
    };
  }

  private start(host: number): void {
    this.perform(host, this.members[host]!.drain(this.localNow));
    this.scheduleWake(host);
  }

  /** Writes all along, and half of the deaths by SIGKILL, half by loss of power. */
  private plan(): void {
    const dying = sample(
      Array.from({ length: this.options.hosts }, (_, host) => host),
      deaths,
      this.random,
    );
    for (const [index, host] of dying.entries())
      this.world.after(((index + 0.5) * activeMs) / deaths, () =>
        this.kill(host, index % 2 === 0 ? 'killed' : 'dark'),
      );
    for (let write = 0; write < writes; write++)
      this.world.after(((write + this.random.next()) * activeMs) / writes, () => this.write());
  }

  private kill(host: number, how: 'killed' | 'dark'): void {
    this.network.die(host, how);
    this.pubsub.processDied(host);
    this.deaths.set(this.roster.idAt(host), { host, at: this.world.now, foundBy: 0 });
  }

  private write(): void {
    let from = randomInt(this.random, this.options.hosts);
    while (!this.network.isUp(from)) from = randomInt(this.random, this.options.hosts);
    const bytes = drawBytes(this.random, deltaBytes);
    this.deltas.set(bytes, { at: this.world.now, from, reached: 1 });
    const { minBatchMs, maxBatchMs } = defaultGossipParameters;
    const batchedMs = minBatchMs + this.random.next() * (maxBatchMs - minBatchMs);
    this.world.after(batchedMs, () => this.pubsub.publish(from, bytes));
  }

  private delivered(host: number, bytes: Uint8Array): true {
    const delta = this.deltas.get(bytes);
    assert(delta !== undefined, `host ${host} got what nobody wrote`);
    delta.reached++;
    const tookMs = this.world.now - delta.at;
    this.delivery.add(tookMs);
    this.world.trace.double(tookMs).integer(host);
    if (delta.reached === this.living) this.convergence.add(tookMs);
    return true;
  }

  private get living(): number {
    return this.options.hosts - this.deaths.size;
  }

  /** As whole milliseconds, which is what a process sees. */
  private get localNow(): number {
    return Math.floor(this.world.now);
  }

  datagram(host: number, from: number, frame: SwimFrame): void {
    this.step(host, { type: 'frame', from: this.roster.idAt(from), frame, via: 'datagram' });
  }

  message(host: number, from: number, frame: SwimFrame): void {
    this.step(host, { type: 'frame', from: this.roster.idAt(from), frame, via: 'stream' });
  }

  publication(host: number, from: number, bytes: Uint8Array): void {
    this.pubsub.receive(host, from, bytes);
  }

  connected(host: number, peer: number): void {
    this.pubsub.connected(host, peer);
    this.step(host, { type: 'connected', peer: this.roster.idAt(peer) });
  }

  disconnected(host: number, peer: number): void {
    this.pubsub.disconnected(host, peer);
    this.step(host, { type: 'disconnected', peer: this.roster.idAt(peer) });
  }

  unreachable(host: number, peer: number): void {
    this.step(host, { type: 'unreachable', peer: this.roster.idAt(peer) });
  }

  private step(host: number, input: MembershipInput): void {
    if (!this.network.isUp(host)) return;
    this.perform(host, this.members[host]!.step(input, this.localNow));
    this.scheduleWake(host);
  }

  private scheduleWake(host: number): void {
    const due = this.members[host]!.nextWake();
    if (due === null) return;
    const at = Math.max(this.world.now, Math.ceil(due));
    if (at >= this.wakeAt[host]!) return;
    this.wakeAt[host] = at;
    this.world.at(at, () => {
      if (this.wakeAt[host] !== at) return;
      this.wakeAt[host] = Number.POSITIVE_INFINITY;
      const wake = this.members[host]!.nextWake();
      if (wake !== null && wake <= this.localNow) this.step(host, { type: 'wake' });
      else this.scheduleWake(host);
    });
  }

  private perform(host: number, effects: readonly MembershipEffect[]): void {
    for (const effect of effects)
      switch (effect.type) {
        case 'send':
          this.send(host, effect);
          break;
        case 'connect':
          this.network.connect(host, this.numberOf(effect.peer));
          break;
        case 'disconnect':
          this.network.disconnect(host, this.numberOf(effect.peer));
          break;
        case 'member':
          if (effect.member.state === 'down') this.foundDown(host, effect.member.id);
          break;
        default:
          break;
      }
  }

  private send(host: number, { to, frame, via }: Extract<MembershipEffect, { type: 'send' }>): void {
    const { length } = encodeFrame(frame);
    const peer = this.numberOf(to);
    if (via === 'datagram') this.network.datagram(host, peer, frame, length + datagramOverheadBytes);
    else this.network.message(host, peer, frame, length + messageOverheadBytes);
  }

  private numberOf(id: HostId): number {
    const number = this.roster.indexOf(id);
    assert(number !== undefined, `nobody is ${id}`);
    return number;
  }

  private foundDown(host: number, id: HostId): void {
    const death = this.deaths.get(id);
    if (death === undefined) {
      this.falseDowns++;
      return;
    }
    const tookMs = this.world.now - death.at;
    death.foundBy++;
    this.detection.add(tookMs);
    this.world.trace.double(tookMs).integer(host).integer(death.host);
    if (death.foundBy === this.living) this.ejection.add(tookMs);
  }

  /** All that lived knows of every death and has every write; nobody that is well is held down. */
  private check(): void {
    for (const { reached, from } of this.deltas.values())
      if (reached < this.living)
        throw new Violation('delivery', this.world, `${reached} hosts have a write of host ${from}`);
    for (let host = 0; host < this.options.hosts; host++) {
      if (!this.network.isUp(host)) continue;
      for (const { id, state } of this.members[host]!.all())
        if ((state === 'down') !== this.deaths.has(id))
          throw new Violation(
            'membership',
            this.world,
            `host ${host} holds host ${this.numberOf(id)} ${state}`,
          );
    }
  }
}
