/**
 * One simulated machine: a disk, a clock that may be wrong, a network port, the applications it runs, and the
 * agent process on it. It carries out every effect of the agent core as the real shell does, in order.
 */

import type { Topic } from '../../src/agent/catalog/catalog.ts';
import type { AgentEffect, AgentInput } from '../../src/agent/effects.ts';
import type { CheckDefinition } from '../../src/agent/kinds.ts';
import type { Command } from '../../src/agent/port.ts';
import { assert, ByteWriter, type Fault, type HostId, type Random, type Signer } from '../../src/core.ts';
import type { SwimEffect, SwimInput } from '../../src/gossip/swim-port.ts';
import type { ProxyConfig } from '../../src/proxy/config.ts';
import type { SavedIdentity } from '../../src/trust/issuance/svid.ts';
import type { EngineOrder, EngineReport } from '../../src/trust/quorum/engine-port.ts';
import { describe, describeMembership } from '../describe.ts';
import type { Channel } from '../network/connection.ts';
import type { DatagramKind, Network, NetworkUser } from '../network/network.ts';
import type { Pubsub } from '../network/pubsub.ts';
import type { World } from '../world.ts';
import type { HostClock } from './clock.ts';
import { type Crash, Disk } from './disk.ts';
import { EngineThread, threadHopMs } from './engine-thread.ts';
import { drawBytes } from './keys.ts';
import { drawServiceKey } from './p256.ts';
import { Process } from './process.ts';
import type { SimulatedAgent } from './simulated-agent.ts';
import { Vault } from './vault.ts';

/** `waiting`: not started yet. `dead`: killed or without power, may come back. `left`: for good. */
export type HostState = 'waiting' | 'joining' | 'running' | 'dead' | 'left';

/** Who watches what agents do, for measurements and promises. */
export interface HostWatcher {
  configured(host: Host): void;
  changed(host: Host, topics: ReadonlySet<Topic>): void;
  logged(host: Host, effect: Extract<AgentEffect, { type: 'log' }>): void;
  stopped(host: Host): void;
  /** Keeps a certificate from now on. */
  certified(host: Host, identity: SavedIdentity): void;
  /** Writes what concerns epochs or certificates, among others. */
  wrote(host: Host, ops: Extract<AgentEffect, { type: 'persist' }>['ops']): void;
  /** Tells its engine of threshold cryptography something, or is told. */
  ordered(host: Host, order: EngineOrder): void;
  reported(host: Host, report: EngineReport): void;
}

/** What all hosts share. */
export interface Surroundings {
  readonly world: World;
  readonly network: Network;
  readonly pubsub: Pubsub;
  readonly watcher: HostWatcher;
  /** The host's number; null for a key that belongs to none. */
  numberOf(id: HostId): number | null;
  idOf(number: number): HostId;
  joinDatagram(at: Host, from: number, kind: DatagramKind, bytes: Uint8Array): void;
}

type Answer = (outcome: { readonly value: unknown } | { readonly fault: Fault }) => void;

/** How long an application takes to answer its check. */
const checkLatencyMs = 3;
/** What a frozen process may have left to do; the oldest are what a real one would find in its buffers. */
const frozenActionsMax = 50_000;

export class Host implements NetworkUser {
  readonly number: number;
  readonly signer: Signer;
  readonly name: string;
  readonly address: string;
  readonly clock: HostClock;
  readonly disk: Disk;
  readonly vault: Vault;
  readonly random: Random;
  state: HostState = 'waiting';
  /** The whole process is stopped. */
  frozen = false;
  /** Its main thread is busy. */
  stalled = false;
  agent: SimulatedAgent | null = null;
  /** What the agent last gave its data plane. */
  config: ProxyConfig | null = null;
  /** World time of the last change of `state`, `frozen` or `stalled`. */
  since: number;
  /** Services whose application does not answer its check. */
  readonly silentApplications = new Set<string>();
  /** Certificates and keys, in files of their own. */
  readonly identities = new Map<string, SavedIdentity>();
  private readonly around: Surroundings;
  private process: Process<AgentInput, AgentEffect> | null = null;
  private membership: Process<SwimInput, SwimEffect> | null = null;
  private engine: EngineThread | null = null;
  private readonly requests = new Map<number, Answer>();
  private readonly exchanges = new Map<number, { readonly to: number; readonly nonce: number }>();
  /** What a frozen process would have done by itself. */
  private readonly whenThawed: (() => void)[] = [];
  private counter = 0;
  private lives = 0;

  constructor(around: Surroundings, signer: Signer, clock: HostClock) {
    this.around = around;
    this.number = around.network.plug(this);
    this.signer = signer;
    this.clock = clock;
    this.name = `host-${this.number}`;
    this.address = `10.${this.number >> 16}.${(this.number >> 8) & 255}.${this.number & 255}`;
    this.random = around.world.random(`host/${this.number}`);
    this.disk = new Disk(around.world, around.world.random(`disk/${this.number}`));
    const vaultRandom = around.world.random(`vault/${this.number}`);
    this.vault = new Vault(around.world, vaultRandom, () => this.disk.syncLatencyMs);
    this.since = around.world.now;
  }

  get id(): HostId {
    return this.signer.publicKey;
  }

  get isRunning(): boolean {
    return this.state === 'running';
  }

  /** Runs, knows the mesh and belongs to it. */
  get isReady(): boolean {
    return this.isRunning && (this.agent?.isReady() ?? false);
  }

  /** Local time, as the process reads it. */
  get now(): number {
    return this.clock.local(this.around.world.now);
  }

  /** How many inputs the present process handled. */
  get steps(): number {
    return this.process?.steps ?? 0;
  }

  /** What an earlier life left, before the first start. */
  equip(entries: ReadonlyMap<string, Uint8Array>, identities: readonly SavedIdentity[]): void {
    this.disk.insert(entries);
    for (const identity of identities) this.identities.set(identity.service, identity);
  }

  /** The most inputs that ever waited for the present process, which takes them one by one. */
  get longestInbox(): number {
    return Math.max(this.process?.longestInbox ?? 0, this.membership?.longestInbox ?? 0);
  }

  /** The process is up and serves. */
  start(agent: SimulatedAgent, admission: Uint8Array | null): void {
    assert(this.process === null, `${this.name} runs already`);
    const { world, network, pubsub } = this.around;
    this.agent = agent;
    this.process = new Process<AgentInput, AgentEffect>({
      world,
      clock: this.clock,
      machine: agent,
      host: this.number,
      wake: { type: 'wake' },
      perform: (effect) => this.perform(effect),
      describe,
    });
    this.membership = new Process<SwimInput, SwimEffect>({
      world: this.around.world,
      clock: this.clock,
      machine: agent.swim,
      host: this.number,
      wake: { type: 'wake' },
      perform: (effect) => this.performMembership(effect),
      describe: describeMembership,
    });
    const main = this.process;
    this.engine = new EngineThread({
      world,
      clock: this.clock,
      host: this.number,
      engine: agent.engine,
      random: world.random(`engine-thread/${this.number}/${++this.lives}`),
      report: (report) => this.engineSaid(main, report),
    });
    this.clock.processStarted();
    network.processStarted(this.number);
    pubsub.processStarted(this.number);
    this.enter('running');
    const entries = this.disk.entries().map(([key, value]) => ({ key, value }));
    const identities = [...this.identities.values()];
    const shares = this.vault.entries();
    for (const [name, secret] of shares) this.engine.hold(name, secret);
    const secrets = shares.map(([name]) => name);
    this.process.feed({ type: 'start', saved: { entries, identities, secrets, admission } });
  }

  private engineSaid(main: Process<AgentInput, AgentEffect>, report: EngineReport): void {
    if (!main.isAlive) return;
    this.around.watcher.reported(this, report);
    main.feed({ type: 'engine', report });
  }

  /** The process is gone at once, and of what its disk was given what this kind of end takes with it. */
  stop(state: 'dead' | 'left', crash: Crash): void {
    if (this.process === null) return;
    const { network, pubsub } = this.around;
    this.process.kill();
    this.process = null;
    this.membership?.kill();
    this.membership = null;
    this.engine?.kill();
    this.engine = null;
    this.agent = null;
    this.config = null;
    this.frozen = false;
    this.stalled = false;
    this.requests.clear();
    this.exchanges.clear();
    this.whenThawed.length = 0;
    this.disk.crash(crash);
    this.vault.crash();
    pubsub.processDied(this.number);
    network.processDied(this.number);
    this.enter(state);
  }

  /** Stops the whole process. */
  freeze(): void {
    if (this.process === null || this.frozen) return;
    this.frozen = true;
    this.membership?.freeze();
    this.engine?.freeze();
    this.halt(this.process);
  }

  /** Keeps the main thread busy; membership and cryptography, on threads of their own, go on. */
  stall(): void {
    if (this.process === null || this.stalled) return;
    this.stalled = true;
    this.halt(this.process);
  }

  private halt(main: Process<AgentInput, AgentEffect>): void {
    this.since = this.around.world.now;
    main.freeze();
    this.around.network.setFrozen(this.number, true);
  }

  /** Ends either. */
  thaw(): void {
    if (!this.frozen && !this.stalled) return;
    this.frozen = false;
    this.stalled = false;
    this.since = this.around.world.now;
    this.around.network.setFrozen(this.number, false);
    this.membership?.thaw();
    this.engine?.thaw();
    this.process?.thaw();
    for (const action of this.whenThawed.splice(0)) action();
  }

  /** Does it now, or once the process goes on. */
  private whenAwake(action: () => void): void {
    if (!this.frozen && !this.stalled) action();
    else if (this.whenThawed.length < frozenActionsMax) this.whenThawed.push(action);
  }

  enter(state: HostState): void {
    this.state = state;
    this.since = this.around.world.now;
  }

  /** A local caller's command; `answer` is called once, unless the process dies first. */
  command(command: Command, answer: Answer): void {
    const request = ++this.counter;
    this.requests.set(request, answer);
    this.process?.feed({ type: 'command', request, command, entropy: drawBytes(this.random, 64) });
  }

  admits(peer: number): boolean {
    return this.agent?.isAdmitted(this.around.idOf(peer)) ?? false;
  }

  knowsAddressOf(peer: number): boolean {
    return this.agent?.knowsAddressOf(this.around.idOf(peer)) ?? false;
  }

  frame(from: number, channel: Channel, bytes: Uint8Array): void {
    if (channel === 'publish') this.whenAwake(() => this.around.pubsub.receive(this.number, from, bytes));
    else this.process?.feed({ type: 'frame', from: this.around.idOf(from), bytes });
  }

  /** Whether the process wants others to have it too. */
  delta(bytes: Uint8Array): boolean {
    this.process?.feed({ type: 'delta', bytes });
    return this.agent?.passesOn() ?? false;
  }

  connected(peer: number): void {
    this.around.pubsub.connected(this.number, peer);
    this.process?.feed({ type: 'connected', peer: this.around.idOf(peer) });
  }

  disconnected(peer: number): void {
    this.around.pubsub.disconnected(this.number, peer);
    this.process?.feed({ type: 'disconnected', peer: this.around.idOf(peer) });
  }

  unreachable(peer: number): void {
    this.process?.feed({ type: 'unreachable', peer: this.around.idOf(peer) });
  }

  datagram(from: number, kind: DatagramKind, bytes: Uint8Array): void {
    if (kind === 'membership') {
      if (this.admits(from)) this.membership?.feed({ type: 'datagram', from: this.around.idOf(from), bytes });
      return;
    }
    this.around.joinDatagram(this, from, kind, bytes);
  }

  /** A stranger's join request, to be answered by a datagram. */
  joinRequest(from: number, nonce: number, bytes: Uint8Array): void {
    const exchange = ++this.counter;
    this.exchanges.set(exchange, { to: from, nonce });
    this.process?.feed({ type: 'join-request', exchange, bytes });
  }

  /** Somebody says that it belongs to the mesh. */
  introduced(bytes: Uint8Array): void {
    this.process?.feed({ type: 'introduction', bytes });
  }

  private perform(effect: AgentEffect): void {
    const { network, pubsub, watcher } = this.around;
    switch (effect.type) {
      case 'send':
        this.toPeer(effect.to, (peer) => network.send(this.number, peer, 'frame', effect.bytes));
        break;
      case 'publish':
        pubsub.publish(this.number, effect.bytes);
        break;
      case 'connect':
        this.toPeer(effect.peer, (peer) => network.connect(this.number, peer));
        break;
      case 'disconnect':
      case 'expel':
        this.toPeer(effect.peer, (peer) => network.disconnect(this.number, peer));
        break;
      case 'swim':
        this.betweenThreads(() => this.membership?.feed({ type: 'order', order: effect.order }));
        break;
      case 'locate':
        break;
      case 'persist':
        this.persist(effect);
        break;
      case 'input':
        this.process?.feed(effect.input);
        break;
      case 'introduce':
        for (const bytes of effect.introductions)
          this.toPeer(effect.to, (peer) => network.sendDatagram(this.number, peer, 'introduction', bytes));
        break;
      case 'join-reply':
        this.joinReply(effect.exchange, effect.bytes);
        break;
      case 'reply':
        this.answer(effect.request, { value: effect.value });
        break;
      case 'fail':
        this.answer(effect.request, { fault: effect.fault });
        break;
      case 'run-check':
        this.runCheck(effect.check);
        break;
      case 'make-key':
        this.makeKey(effect.service, effect.spiffeId, effect.dnsNames);
        break;
      case 'keep-identity':
        this.identities.set(effect.identity.service, effect.identity);
        watcher.certified(this, effect.identity);
        break;
      case 'drop-identity':
        this.identities.delete(effect.service);
        break;
      case 'configure':
        this.config = effect.config;
        this.process?.feed({ type: 'configured', config: effect.config });
        watcher.configured(this);
        break;
      case 'engine':
        watcher.ordered(this, effect.order);
        this.engine?.order(effect.order);
        break;
      case 'shred':
        this.vault.shred(effect.names);
        this.engine?.order({ type: 'forget', names: effect.names });
        break;
      case 'happened':
        break;
      case 'changed':
        watcher.changed(this, effect.topics);
        break;
      case 'log':
        watcher.logged(this, effect);
        break;
      case 'stop':
        this.stop('left', 'process');
        watcher.stopped(this);
        break;
    }
  }

  private performMembership(effect: SwimEffect): void {
    const { network, numberOf } = this.around;
    if (effect.type === 'report') {
      const process = this.process;
      this.betweenThreads(() => process?.feed({ type: 'swim', report: effect.report }));
      return;
    }
    const peer = numberOf(effect.to);
    if (peer !== null && peer !== this.number && this.knowsAddressOf(peer))
      network.sendDatagram(this.number, peer, 'membership', effect.bytes);
  }

  private betweenThreads(deliver: () => void): void {
    this.around.world.after(threadHopMs, deliver);
  }

  /** A peer nobody has heard of is one that cannot be reached. */
  private toPeer(id: HostId, what: (peer: number) => void): void {
    const peer = this.around.numberOf(id);
    if (peer === null || peer === this.number) this.process?.feed({ type: 'unreachable', peer: id });
    else what(peer);
  }

  private persist(effect: Extract<AgentEffect, { type: 'persist' }>): void {
    const process = this.process;
    const release = (): void => {
      for (const released of effect.then) {
        if (this.process !== process) return;
        this.perform(released);
      }
    };
    this.around.watcher.wrote(this, effect.ops);
    this.vault.keep(effect.secrets ?? [], (written) => {
      if (this.process !== process) return;
      this.whenAwake(() => {
        written();
        this.disk.write(effect.ops, effect.sync, () => this.whenAwake(release));
      });
    });
  }

  private joinReply(exchange: number, bytes: Uint8Array): void {
    const asked = this.exchanges.get(exchange);
    this.exchanges.delete(exchange);
    if (asked === undefined) return;
    const datagram = new ByteWriter().u32(asked.nonce).raw(bytes).done();
    this.around.network.sendDatagram(this.number, asked.to, 'join-reply', datagram);
  }

  private answer(request: number, outcome: Parameters<Answer>[0]): void {
    const answer = this.requests.get(request);
    this.requests.delete(request);
    answer?.(outcome);
  }

  /** The application behind a check is named by the check's target. */
  private runCheck(check: CheckDefinition): void {
    const process = this.process;
    this.around.world.after(checkLatencyMs * (0.5 + this.random.next()), () => {
      const up = !this.silentApplications.has(check.name);
      process?.feed({
        type: 'check-result',
        checkId: check.id,
        status: up ? 'passing' : 'critical',
        output: up ? 'HTTP 200' : 'connect ECONNREFUSED',
      });
    });
  }

  private makeKey(service: string, spiffeId: string, dnsNames: readonly string[]): void {
    const process = this.process;
    const { csr, keyPem } = drawServiceKey(this.random, spiffeId, dnsNames);
    this.around.world.after(1, () => process?.feed({ type: 'key-made', service, csr, keyPem }));
  }
}
