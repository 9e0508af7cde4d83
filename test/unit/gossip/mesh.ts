/** A mesh of real `Gossip` machines under a virtual clock and a network that delays, loses and partitions. */
import { createHash, createPrivateKey, createPublicKey, sign, verify as verifySignature } from 'node:crypto';
import {
  earliest,
  encodeJson,
  type HostId,
  type Millis,
  type Random,
  type Signer,
  seededRandom,
  type Verify,
} from '../../../src/core.ts';
import { Gossip } from '../../../src/gossip/gossip.ts';
import { Swim } from '../../../src/gossip/membership/swim.ts';
import type { GossipParameters } from '../../../src/gossip/parameters.ts';
import type { Authority, GossipEffect, GossipInput, MemberState } from '../../../src/gossip/port.ts';
import { Replica } from '../../../src/gossip/replica/replica.ts';
import type { SwimEffect, SwimInput } from '../../../src/gossip/swim-port.ts';

/** PKCS #8 and SPKI headers of a raw Ed25519 key (RFC 8410). */
const privateHeader = Buffer.from('302e020100300506032b657004220420', 'hex');
const publicHeader = Buffer.from('302a300506032b6570032100', 'hex');

/** A real Ed25519 signer whose key is derived from `name`. */
export function signerOf(name: string): Signer {
  const seed = createHash('sha256').update(name).digest();
  const key = createPrivateKey({ key: Buffer.concat([privateHeader, seed]), format: 'der', type: 'pkcs8' });
  const publicKey = createPublicKey(key)
    .export({ format: 'der', type: 'spki' })
    .subarray(-32)
    .toString('hex');
  return { publicKey, sign: (message) => new Uint8Array(sign(null, message, key)) };
}

export const verify: Verify = (publicKey, message, signature) => {
  const key = createPublicKey({
    key: Buffer.concat([publicHeader, Buffer.from(publicKey, 'hex')]),
    format: 'der',
    type: 'spki',
  });
  return verifySignature(null, message, key, signature);
};

export const admitAll: Authority = { judge: () => null };

interface Scheduled {
  readonly at: Millis;
  readonly order: number;
  readonly run: () => void;
}

export interface Observation {
  readonly at: Millis;
  readonly observer: HostId;
  readonly member: HostId;
  readonly state: MemberState;
  readonly was: MemberState | null;
}

export interface MeshHost {
  readonly id: HostId;
  readonly signer: Signer;
  gossip: Gossip;
  /** Membership, which runs beside it. */
  swim: Swim;
  epoch: number;
  up: boolean;
  /** Stopped, as by SIGSTOP: what arrives waits. */
  frozen: boolean;
  readonly waiting: (GossipInput | SwimInput)[];
  readonly store: Map<string, Uint8Array>;
  readonly connections: Set<HostId>;
  /** When the last ordered frame to a peer arrives there: a stream keeps its order. */
  readonly lastArrivalAt: Map<HostId, Millis>;
  wakeAt: Millis;
}

export interface MeshOptions {
  readonly seed: number;
  readonly size: number;
  /** Share of frames lost, 0 to 1. */
  readonly loss?: number;
  readonly delayMs?: number;
  readonly authority?: Authority;
  readonly parameters?: GossipParameters;
  /** Whether publish-subscribe works; without it only anti-entropy carries records. */
  readonly publishing?: boolean;
  /** Kind of the record that makes its author a member: `host` as in an agent, or the admission unless told. */
  readonly memberKind?: string;
}

export class Mesh {
  now: Millis = 1_800_000_000_000;
  readonly hosts: MeshHost[] = [];
  readonly observations: Observation[] = [];
  readonly alarms: (GossipEffect & { type: 'alarm' })[] = [];
  framesSent = 0;
  loss: number;
  /** Whether a frame from one host reaches another. */
  passes: (from: HostId, to: HostId) => boolean = () => true;
  private readonly options: MeshOptions;
  private readonly random: Random;
  private readonly queue: Scheduled[] = [];
  private readonly byId = new Map<HostId, MeshHost>();
  private order = 0;

  constructor(options: MeshOptions) {
    this.options = options;
    this.loss = options.loss ?? 0;
    this.random = seededRandom(options.seed);
    for (let i = 0; i < options.size; i++) this.hosts.push(this.create(`host ${i}`));
    const admissions = this.hosts.map((host) => this.admission(host));
    for (const host of this.hosts)
      for (const bytes of admissions) this.perform(host, host.gossip.offer(bytes, this.now).effects);
  }

  /** A host with a key and a machine, that nobody knows yet. */
  create(name: string): MeshHost {
    const signer = signerOf(name);
    const host: MeshHost = {
      id: signer.publicKey,
      signer,
      gossip: this.machine(signer, 1),
      swim: this.membership(signer, 1),
      epoch: 1,
      up: true,
      frozen: false,
      waiting: [],
      store: new Map(),
      connections: new Set(),
      lastArrivalAt: new Map(),
      wakeAt: Number.POSITIVE_INFINITY,
    };
    this.byId.set(host.id, host);
    return host;
  }

  private machine(signer: Signer, epoch: number): Gossip {
    return new Gossip({
      self: signer.publicKey,
      signer,
      verify,
      authority: this.options.authority ?? admitAll,
      random: seededRandom(Math.floor(this.random.next() * 2 ** 32)),
      epoch,
      ...(this.options.parameters && { parameters: this.options.parameters }),
      ...(this.options.memberKind && { memberKind: this.options.memberKind }),
    });
  }

  private membership(signer: Signer, epoch: number): Swim {
    const self = signer.publicKey;
    const random = seededRandom(Math.floor(this.random.next() * 2 ** 32));
    const root = new Replica().root();
    const parameters = this.options.parameters?.swim;
    return new Swim({ self, signer, verify, random, epoch, root, ...(parameters && { parameters }) });
  }

  /** The bytes of what makes a host a member, written on a machine of its own so that the version is its first. */
  admission(host: MeshHost): Uint8Array {
    const kind = this.options.memberKind ?? 'admission';
    const { record } = this.machine(host.signer, 0).put(kind, '', encodeJson({}), this.now);
    return record.bytes;
  }

  host(index: number): MeshHost {
    return this.hosts[index]!;
  }

  stateOf(observer: MeshHost, member: MeshHost): MemberState | undefined {
    return observer.gossip.member(member.id)?.state;
  }

  /** Feeds an input to a host's machine and performs its effects; a frozen host takes it later. */
  feed(host: MeshHost, input: GossipInput | SwimInput): void {
    if (!host.up) return;
    if (host.frozen) {
      host.waiting.push(input);
      return;
    }
    if (input.type === 'wake') this.wake(host);
    else if (input.type === 'datagram' || input.type === 'order') this.membershipStep(host, input);
    else this.perform(host, host.gossip.step(input, this.now));
  }

  private wake(host: MeshHost): void {
    if (isDue(host.swim.nextWake(), this.now)) this.membershipStep(host, { type: 'wake' });
    if (isDue(host.gossip.nextWake(), this.now))
      this.perform(host, host.gossip.step({ type: 'wake' }, this.now));
  }

  private membershipStep(host: MeshHost, input: SwimInput): void {
    for (const effect of host.swim.step(input, this.now)) this.carryOutSwim(host, effect);
    this.scheduleWake(host);
  }

  private carryOutSwim(host: MeshHost, effect: SwimEffect): void {
    if (effect.type === 'report') this.feed(host, { type: 'swim', report: effect.report });
    else {
      this.framesSent++;
      const target = this.byId.get(effect.to);
      if (target?.up) this.travel(host, target, { type: 'datagram', from: host.id, bytes: effect.bytes });
    }
  }

  perform(host: MeshHost, effects: readonly GossipEffect[]): void {
    for (const effect of effects) this.carryOut(host, effect);
    this.scheduleWake(host);
  }

  private carryOut(host: MeshHost, effect: GossipEffect): void {
    switch (effect.type) {
      case 'send':
        this.framesSent++;
        this.deliver(host, effect.to, effect.bytes);
        break;
      case 'swim':
        this.feed(host, { type: 'order', order: effect.order });
        break;
      case 'publish':
        if (this.options.publishing === false) break;
        for (const other of this.hosts)
          if (other !== host) this.travel(host, other, { type: 'delta', bytes: effect.bytes });
        break;
      case 'persist':
        for (const op of effect.ops)
          if (op.type === 'put') host.store.set(op.key, op.value);
          else host.store.delete(op.key);
        if (effect.then.length > 0)
          this.later(1, () => {
            if (host.up) this.perform(host, effect.then);
          });
        break;
      case 'commit':
        this.feed(host, { type: 'durable', records: effect.records });
        break;
      case 'connect':
        this.connect(host, effect.peer);
        break;
      case 'disconnect':
        this.disconnect(host, effect.peer);
        break;
      case 'member': {
        const { id, state } = effect.member;
        this.observations.push({ at: this.now, observer: host.id, member: id, state, was: effect.was });
        break;
      }
      case 'alarm':
        this.alarms.push(effect);
        break;
      case 'applied':
        break;
    }
  }

  private deliver(from: MeshHost, to: HostId, bytes: Uint8Array): void {
    const target = this.byId.get(to);
    if (target?.up) this.travel(from, target, { type: 'frame', from: from.id, bytes });
    else if (this.passes(from.id, to))
      this.later(1, () => this.feed(from, { type: 'unreachable', peer: to }));
  }

  private travel(from: MeshHost, to: MeshHost, input: GossipInput | SwimInput): void {
    const ordered = input.type === 'frame';
    if (!this.passes(from.id, to.id) || (!ordered && this.random.next() < this.loss)) return;
    const delayMs = (this.options.delayMs ?? 1) * (0.5 + this.random.next());
    if (!ordered) {
      this.later(delayMs, () => this.feed(to, input));
      return;
    }
    const at = Math.max(this.now + delayMs, from.lastArrivalAt.get(to.id) ?? 0);
    from.lastArrivalAt.set(to.id, at);
    this.later(at - this.now, () => this.feed(to, input));
  }

  private connect(host: MeshHost, peer: HostId): void {
    const other = this.byId.get(peer);
    this.later(5, () => {
      if (!host.up || host.connections.has(peer)) return;
      if (!other?.up || !this.passes(host.id, peer)) {
        this.feed(host, { type: 'unreachable', peer });
        return;
      }
      host.connections.add(peer);
      other.connections.add(host.id);
      this.feed(host, { type: 'connected', peer });
      this.feed(other, { type: 'connected', peer: host.id });
    });
  }

  private disconnect(host: MeshHost, peer: HostId): void {
    if (!host.connections.delete(peer)) return;
    const other = this.byId.get(peer);
    if (!other?.connections.delete(host.id)) return;
    this.later(5, () => this.feed(other, { type: 'disconnected', peer: host.id }));
  }

  /** SIGKILL: its connections close at its neighbours, and its port refuses from now on. */
  kill(host: MeshHost): void {
    host.up = false;
    for (const peer of [...host.connections]) {
      host.connections.delete(peer);
      const other = this.byId.get(peer)!;
      other.connections.delete(host.id);
      this.later(10, () => this.feed(other, { type: 'disconnected', peer: host.id }));
    }
  }

  /** Starts a killed host again from its store, with the next epoch. */
  restart(host: MeshHost): void {
    host.epoch++;
    host.up = true;
    host.gossip = this.machine(host.signer, host.epoch);
    host.swim = this.membership(host.signer, host.epoch);
    const entries = [...host.store].map(([key, value]) => ({ key, value }));
    this.perform(host, host.gossip.load(entries, this.now).effects);
    this.perform(host, host.gossip.start(this.now));
  }

  /** Whoever was frozen takes in what waited, oldest first. */
  thaw(host: MeshHost): void {
    host.frozen = false;
    for (const input of host.waiting.splice(0)) this.feed(host, input);
    this.scheduleWake(host);
  }

  put(host: MeshHost, kind: string, key: string, value: object | null): void {
    const bytes = value === null ? null : encodeJson(value);
    this.perform(host, host.gossip.put(kind, key, bytes, this.now).effects);
  }

  private scheduleWake(host: MeshHost): void {
    const due = earliest(host.gossip.nextWake(), host.swim.nextWake());
    if (due === null || host.frozen) return;
    const at = Math.max(due, this.now);
    if (host.wakeAt > this.now && host.wakeAt <= at) return;
    host.wakeAt = at;
    this.later(at - this.now, () => {
      if (host.wakeAt !== at) return;
      host.wakeAt = Number.POSITIVE_INFINITY;
      if (!host.up || host.frozen) return;
      const next = earliest(host.gossip.nextWake(), host.swim.nextWake());
      if (next !== null && next <= this.now) this.feed(host, { type: 'wake' });
      else this.scheduleWake(host);
    });
  }

  private later(delayMs: number, run: () => void): void {
    const item = { at: this.now + delayMs, order: this.order++, run };
    let index = this.queue.length;
    this.queue.push(item);
    for (
      let parent = (index - 1) >> 1;
      index > 0 && before(item, this.queue[parent]!);
      parent = (index - 1) >> 1
    ) {
      this.queue[index] = this.queue[parent]!;
      this.queue[parent] = item;
      index = parent;
    }
  }

  private nextItem(): Scheduled {
    const first = this.queue[0]!;
    const last = this.queue.pop()!;
    if (this.queue.length === 0) return first;
    let index = 0;
    for (;;) {
      let least = 2 * index + 1;
      if (least >= this.queue.length) break;
      if (least + 1 < this.queue.length && before(this.queue[least + 1]!, this.queue[least]!)) least++;
      if (!before(this.queue[least]!, last)) break;
      this.queue[index] = this.queue[least]!;
      index = least;
    }
    this.queue[index] = last;
    return first;
  }

  /** Lets virtual time pass. */
  run(milliseconds: number): void {
    const end = this.now + milliseconds;
    while (this.queue.length > 0 && this.queue[0]!.at <= end) {
      const item = this.nextItem();
      this.now = Math.max(this.now, item.at);
      item.run();
    }
    this.now = end;
  }

  /** Runs until `holds`, looking every 10 ms; the time it took, or null after `limitMs`. */
  until(holds: () => boolean, limitMs: number): number | null {
    const start = this.now;
    while (!holds()) {
      if (this.now - start >= limitMs) return null;
      this.run(10);
    }
    return this.now - start;
  }

  /** Whether every host that is up holds the same replica. */
  converged(): boolean {
    const up = this.hosts.filter((host) => host.up);
    return new Set(up.map((host) => host.gossip.replica.root())).size <= 1;
  }
}

function isDue(deadline: Millis | null, now: Millis): boolean {
  return deadline !== null && deadline <= now;
}

function before(a: Scheduled, b: Scheduled): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
