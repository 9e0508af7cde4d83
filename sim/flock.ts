/**
 * All hosts of a run in one world: starts them, joins them, breaks and mends them as a plan says, and keeps
 * the ledger of what they promised.
 */

import { seal } from '../src/agent/envelope.ts';
import { assert, ed25519Signer, ed25519Verify, type HostId, type Signer } from '../src/core.ts';
import { Attacker } from './attacks/attacker.ts';
import { Forgeries } from './attacks/forgery.ts';
import { forgetfulAnswer, isKeptBack, survivesOneLiar } from './attacks/liar.ts';
import { Ledger } from './checks/ledger.ts';
import { TrustLedger } from './checks/trust-ledger.ts';
import { Violation } from './checks/violation.ts';
import { Births, type Founding } from './host/births.ts';
import { HostClock } from './host/clock.ts';
import type { Crash } from './host/disk.ts';
import { Host, type HostWatcher, type Surroundings } from './host/host.ts';
import { hostSeed } from './host/keys.ts';
import { svidTtlMs as preparedTtlMs } from './host/prepared.ts';
import { Links } from './network/links.ts';
import { Network } from './network/network.ts';
import { Pubsub } from './network/pubsub.ts';
import type { Attack, Plan, Step, TrustTerms } from './plan.ts';
import { Rescuer } from './rescuer.ts';
import type { World } from './world.ts';
import { type Reach, Writes } from './writes.ts';

/** How often a script looks whether its agent is ready. */
const readyPollMs = 100;

export interface FlockOptions {
  readonly plan: Plan;
  /** Takes each line that an agent logs; null where nobody reads them. */
  readonly log: ((line: string) => void) | null;
  /** Breaks something on purpose, to see that the checkers notice. */
  readonly sabotage: Sabotage | null;
}

/** Whether to drop this frame between two hosts, over a connection or as a datagram, so many virtual milliseconds after the beginning. */
export type Sabotage = (from: number, to: number, frame: Uint8Array, elapsedMs: number) => boolean;

export class Flock implements Reach {
  readonly world: World;
  readonly network: Network;
  readonly pubsub: Pubsub;
  readonly ledger: Ledger;
  readonly trust: TrustLedger;
  readonly hosts: Host[] = [];
  readonly forgeries = new Forgeries();
  /** World time of the last change to the network as a whole. */
  networkChangedAt: number;
  /** Some host is cut off from some other: views need not agree. */
  isPartitioned = false;
  private readonly plan: Plan;
  private readonly births: Births;
  private readonly writes: Writes;
  private readonly attackers = new Map<number, Attacker>();
  private readonly numbers = new Map<HostId, number>();
  private readonly overfull = new Set<HostId>();
  private readonly rescuer: Rescuer;
  /** Gone with their disks. */
  private readonly lost = new Set<Host>();
  private founding: Founding | null = null;

  constructor(world: World, options: FlockOptions) {
    this.world = world;
    this.plan = options.plan;
    this.network = new Network(world, new Links(world.random('network')));
    const { sabotage } = options;
    this.network.intercept = (from, to, kind, bytes) => {
      const attacker = this.attackers.get(to);
      if (kind === 'frame' && (this.forgets(to, from, bytes) || this.isMute(from, bytes))) return true;
      if (kind === 'frame' && this.attackers.get(from)?.keepsBack(bytes)) return true;
      if (attacker === undefined && sabotage === null) return false;
      if (kind !== 'frame' && kind !== 'membership') return false;
      const frame = kind === 'frame' ? bytes : seal('gossip', bytes);
      attacker?.overhear(frame);
      return sabotage?.(from, to, frame, world.elapsedMs) ?? false;
    };
    this.pubsub = new Pubsub(world, this.network, (host, bytes) => {
      this.attackers.get(host)?.overhearDelta(bytes);
      return this.hosts[host]!.delta(bytes);
    });
    this.pubsub.lazy = options.plan.lazyPublish;
    this.ledger = new Ledger(world);
    this.trust = new TrustLedger(world, Math.max(options.plan.trust.svidTtlMs, preparedTtlMs));
    this.networkChangedAt = world.now;
    this.writes = new Writes(world, this.ledger, this);
    this.rescuer = new Rescuer(world, this);
    this.births = new Births(world, this.network, options.plan, () => this.hosts);
    const around = this.surroundings(options.log);
    for (let number = 0; number < options.plan.hosts; number++) {
      const { offsetMs, driftPpm } = options.plan.clocks[number] ?? { offsetMs: 0, driftPpm: 0 };
      const clock = new HostClock(world.now, offsetMs, driftPpm);
      const host = new Host(around, ed25519Signer(hostSeed(world, number)), clock);
      this.hosts.push(host);
      this.numbers.set(host.id, number);
    }
    this.network.links.setQuality(options.plan.quality);
    for (const { step } of options.plan.timeline) if (step.do === 'attack') this.arm(step.host, step.how);
  }

  private arm(number: number, how: Attack): void {
    const host = this.host(number);
    if (!this.attackers.has(number)) this.attackers.set(number, new Attacker(host, this));
    if (how === 'many-keys') this.overfull.add(host.id);
  }

  get terms(): TrustTerms {
    return this.plan.trust;
  }

  /** From the loss of the quorum until an operator had brought it back; null where neither was. */
  get rescuedMs(): number | null {
    return this.rescuer.rescuedMs;
  }

  /** Whether a quorum that is lost has to be there again in the end. */
  get recovers(): boolean {
    return this.plan.recovers;
  }

  /** See `Plan`. */
  get deliverMs(): number | null {
    return this.plan.deliverMs;
  }

  /** Whether somebody else has this host's key. */
  isCompromised(host: Host): boolean {
    return this.attackers.has(host.number) || this.isLiar(host);
  }

  /** Whether somebody writes more than an author's share has room for. */
  get isOverfilled(): boolean {
    return this.overfull.size > 0;
  }

  overfills(author: HostId): boolean {
    return this.overfull.has(author);
  }

  isLiar({ number }: Host): boolean {
    return this.plan.liars.some(({ host }) => host === number);
  }

  /** Whether a liar keeps to itself what it owes the others. */
  private isMute(number: number, frame: Uint8Array): boolean {
    const liar = this.plan.liars.find(({ host }) => host === number);
    if (liar === undefined || !isKeptBack(frame, liar.lies)) return false;
    const epoch = this.host(number).agent?.credentials()?.epochStatus().current;
    return epoch !== undefined && survivesOneLiar(epoch);
  }

  /** Whether a liar answered a question in its agent's stead, as if it had never given its word before. */
  private forgets(number: number, from: number, frame: Uint8Array): boolean {
    const lies = this.plan.liars.find(({ host }) => host === number)?.lies;
    const liar = this.host(number);
    const epoch = lies?.includes('forgotten-word')
      ? liar.agent?.credentials()?.epochStatus().current
      : undefined;
    if (epoch === undefined || !survivesOneLiar(epoch)) return false;
    const answer = forgetfulAnswer(frame, this.host(from).id, epoch, liar.signer, ed25519Verify, liar.now);
    if (answer !== null) this.network.send(number, from, 'frame', answer);
    return answer !== null;
  }

  /** Founds the mesh on host 0 and plans when each other host joins and registers its services. */
  form(): void {
    if (this.plan.prepared) {
      this.wake();
      return;
    }
    const founder = this.hosts[0]!;
    this.births.found(founder, this.plan.hosts, (founding) => {
      this.founding = founding;
      this.registerPlanned(founder);
      for (const host of this.hosts.slice(1)) this.joinLater(host, this.plan.joinAtMs[host.number] ?? null);
    });
  }

  /** Starts the hosts of a prepared mesh. */
  private wake(): void {
    const early = this.hosts.filter(({ number }) => this.plan.joinAtMs[number] !== null);
    const servicesOf = ({ number }: Host): readonly string[] => this.plan.services[number] ?? [];
    this.founding = this.births.prepare(early, servicesOf);
    for (const host of early) {
      for (const service of servicesOf(host)) this.ledger.setService(host.number, service, 'present');
      this.world.after(this.plan.joinAtMs[host.number]!, () => this.births.restart(host));
    }
  }

  private joinLater(host: Host, atMs: number | null): void {
    if (atMs !== null) this.world.after(atMs, () => this.join(host));
  }

  /** A host that is asking to be let in, or will by itself; null when all are in that are to be. */
  unfinished(): Host | null {
    const late = ({ state, number }: Host): boolean =>
      state === 'joining' || (state === 'waiting' && this.plan.joinAtMs[number] !== null);
    return this.hosts.find(late) ?? null;
  }

  /** Hosts whose agent runs and is neither frozen nor stalled. */
  awake(): Host[] {
    return this.hosts.filter((host) => host.isRunning && !host.frozen && !host.stalled);
  }

  /** Awake hosts that no cut keeps from this one. */
  withinReachOf(host: Host): Host[] {
    return this.awake().filter((other) => this.network.links.isOpen(host.number, other.number));
  }

  get operator(): Signer {
    assert(this.founding !== null, 'the mesh is not founded yet');
    return this.founding.operator;
  }

  apply(step: Step): void {
    switch (step.do) {
      case 'kill':
        this.die(this.host(step.host), 'process');
        break;
      case 'power-off':
        this.die(this.host(step.host), step.disk === 'synced' ? 'power' : 'power-late');
        break;
      case 'join':
        this.join(this.host(step.host));
        break;
      case 'restart':
        this.restart(this.host(step.host));
        break;
      case 'freeze':
        this.ledger.disturb();
        this.host(step.host).freeze();
        break;
      case 'stall':
        this.ledger.disturb();
        this.host(step.host).stall();
        break;
      case 'thaw':
        this.host(step.host).thaw();
        break;
      case 'leave':
        this.host(step.host).command({ type: 'leave' }, () => undefined);
        break;
      case 'clock-step':
        this.host(step.host).clock.step(step.byMs);
        break;
      case 'clock-drift':
        this.host(step.host).clock.drift(this.world.now, step.driftPpm);
        break;
      case 'attack':
        this.attackers.get(step.host)!.strike(step.how);
        break;
      case 'slow-disk':
        this.host(step.host).disk.setSyncLatencyMs(step.syncLatencyMs);
        break;
      case 'register':
        this.writes.register(this.host(step.host), step.service);
        break;
      case 'deregister':
        this.writes.deregister(this.host(step.host), step.service);
        break;
      case 'application':
        if (step.up) this.host(step.host).silentApplications.delete(step.service);
        else this.host(step.host).silentApplications.add(step.service);
        break;
      case 'intention':
        this.writes.intend(this.host(step.host), step, this.operator);
        break;
      case 'rotate':
        this.rotate(this.host(step.host));
        break;
      case 'put-away':
        this.putAway(this.host(step.host));
        break;
      case 'lose-quorum':
        this.loseQuorum();
        break;
      default:
        this.changeNetwork(step);
    }
  }

  private host(number: number): Host {
    const host = this.hosts[number];
    assert(host !== undefined, `the plan names host ${number} of ${this.hosts.length}`);
    return host;
  }

  private surroundings(log: FlockOptions['log']): Surroundings {
    const watcher: HostWatcher = {
      configured: (host) => this.ledger.configured(host),
      changed: (host, topics) => this.ledger.changed(host, topics),
      stopped: (host) => this.ledger.gone(host),
      certified: (host, identity) => {
        const registered = this.ledger.servicesOf(host.number).has(identity.service);
        // Whoever has its key registers what it likes.
        const granted = registered || this.isCompromised(host);
        this.trust.certified(host, identity, granted);
      },
      wrote: (host, ops) => this.trust.wrote(host, ops),
      ordered: (host, order) => this.trust.ordered(host, order),
      reported: (host, report) => this.trust.reported(host, report),
      logged: (host, { level, event, fields }) => {
        log?.(
          `${(this.world.elapsedMs / 1000).toFixed(3)} ${host.name} ${level} ${event} ${JSON.stringify(fields)}`,
        );
        if (event === 'record-quarantined') throw new Violation('no-bug', this.world, String(fields.stack));
      },
    };
    return {
      world: this.world,
      network: this.network,
      pubsub: this.pubsub,
      watcher,
      numberOf: (id) => this.numbers.get(id) ?? null,
      idOf: (number) => this.host(number).id,
      joinDatagram: (at, from, kind, bytes) => this.births.datagram(at, from, kind, bytes),
    };
  }

  private join(host: Host): void {
    assert(this.founding !== null, 'the mesh is not founded yet');
    if (host.state !== 'waiting') return;
    this.births.join(host, this.founding, () => this.registerPlanned(host));
  }

  /** As `starling register` in a script: once the agent is ready. */
  private registerPlanned(host: Host): void {
    if (!host.isReady) {
      this.world.after(readyPollMs, () => this.registerPlanned(host));
      return;
    }
    for (const service of this.plan.services[host.number] ?? []) this.writes.register(host, service);
  }

  private die(host: Host, crash: Crash): void {
    if (!host.isRunning) return;
    if (crash !== 'process') this.network.links.isolate(host.number);
    host.stop('dead', crash);
    this.ledger.gone(host);
    if (!this.isPartitioned) this.ledger.watchDeath(host, this.awake());
  }

  private restart(host: Host): void {
    if ((host.state !== 'dead' && host.state !== 'left') || this.lost.has(host)) return;
    this.network.links.rejoin(host.number);
    this.ledger.disturb();
    this.births.restart(host);
  }

  /** Hosts that knew alone of one that runs, and had no time to tell others, are started again by an operator. */
  reunite(): void {
    for (const stranger of this.hosts) {
      const others = this.hosts.filter((host) => host.isRunning && host !== stranger);
      const isKnown = others.some((other) => other.agent!.isAdmitted(stranger.id));
      if (!stranger.isRunning || isKnown) continue;
      const knew = this.hosts.find((host) => !host.isRunning && this.births.remembers(host, stranger));
      if (knew !== undefined) this.restart(knew);
    }
  }

  /** As `starling ca rotate`; refused while there is nothing to rotate, or a rotation under way. */
  private rotate(host: Host): void {
    if (host.isReady) host.command({ type: 'rotate-root', operator: this.operator }, () => undefined);
  }

  /** As `starling ca recovery-key create`. */
  private putAway(host: Host): void {
    const { operator } = this;
    const { recoveryKey: key } = this.rescuer;
    if (host.isReady) host.command({ type: 'set-recovery-key', key, seats: null, operator }, () => undefined);
  }

  private loseQuorum(): void {
    const victims = this.rescuer.victims(this.hosts);
    for (const host of victims) {
      this.lost.add(host);
      this.die(host, 'power');
    }
    if (victims.length > 0) this.rescuer.begin(this.hosts);
  }

  private changeNetwork(step: Extract<Step, { do: 'partition' | 'cut-one-way' | 'mend' | 'quality' }>): void {
    this.networkChangedAt = this.world.now;
    this.ledger.disturb();
    const { links } = this.network;
    if (step.do === 'partition') {
      links.partition(step.sides);
      this.isPartitioned = true;
    } else if (step.do === 'cut-one-way') {
      links.cutOneWay(step.from, step.to);
      this.isPartitioned = true;
    } else if (step.do === 'quality') links.setQuality(step.quality);
    else {
      links.mendAll();
      this.isPartitioned = false;
    }
  }
}
