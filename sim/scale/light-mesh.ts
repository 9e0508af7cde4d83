/**
 * A mesh of nothing but members, for far more of them than whole agents fit into one process: the real
 * `Membership` machines over one shared roster, each woken at its own deadline, on a light network.
 */
import { assert, type HostId, type Random } from '../../src/core.ts';
import { encodeFrame } from '../../src/gossip/framecodec.ts';
import type { SwimFrame } from '../../src/gossip/frames.ts';
import { Membership } from '../../src/gossip/membership/membership.ts';
import { Roster } from '../../src/gossip/membership/roster.ts';
import { sealedOverheadBytes } from '../../src/gossip/membership/sealing.ts';
import type { SwimParameters } from '../../src/gossip/parameters.ts';
import type { MemberStatus } from '../../src/gossip/port.ts';
import type { MembershipEffect, MembershipInput } from '../../src/gossip/swim-port.ts';
import { drawBytes } from '../host/keys.ts';
import { LightNetwork, type LightUser } from '../network/light-network.ts';
import { Links } from '../network/links.ts';
import { Pubsub } from '../network/pubsub.ts';
import type { World } from '../world.ts';

export interface LightMeshOptions {
  readonly hosts: number;
  readonly parameters: SwimParameters;
  /** Whether members keep connections, the loss of one being a hint. Those of memberlist do not. */
  readonly connections: boolean;
}

/** Who watches what members find. */
export interface LightMeshWatcher {
  /** `observer` holds a member otherwise than before. */
  changed(observer: number, member: MemberStatus): void;
  delivered(host: number, bytes: Uint8Array): void;
}

/** Packets lost, as on a network in fair health. */
const lossRate = 0.001;
/** IP and UDP headers, and what sealing a datagram adds. */
const datagramOverheadBytes = 28 + sealedOverheadBytes;
/** Framing, encryption and TCP/IP headers of a message on a connection. */
const messageOverheadBytes = 80;
/** Members start within this, so that their rounds do not beat in step. */
const startOverMs = 3_000;
/** What a stopped process finds when it goes on: Linux keeps some 212,992 bytes for a socket, 2 KB a datagram. */
const backlogMax = 100;
/** CPU of one input, so that who runs for a moment only does not get through all that waits. */
const inputMs = 0.1;

/** What belongs to one member. */
interface Seat {
  readonly membership: Membership;
  /** World time of the wake event under way; infinite when there is none. */
  wakeAt: number;
  frozen: boolean;
  /** Arrived while it was stopped or busy with what came before. */
  readonly backlog: MembershipInput[];
  draining: boolean;
}

export class LightMesh implements LightUser<SwimFrame> {
  readonly world: World;
  readonly network: LightNetwork<SwimFrame>;
  readonly pubsub: Pubsub;
  readonly roster = new Roster();
  private readonly options: LightMeshOptions;
  private readonly watcher: LightMeshWatcher;
  private readonly random: Random;
  private readonly seats: Seat[] = [];

  constructor(world: World, options: LightMeshOptions, watcher: LightMeshWatcher) {
    const { hosts } = options;
    this.world = world;
    this.options = options;
    this.watcher = watcher;
    this.random = world.random('light-mesh');
    const links = new Links(world.random('network'));
    links.setQuality({ lossRate });
    this.network = new LightNetwork(world, links, hosts, this);
    this.pubsub = new Pubsub(world, this.network, (host, bytes) => {
      watcher.delivered(host, bytes);
      return true;
    });
    for (let host = 0; host < hosts; host++)
      this.roster.add(Buffer.from(drawBytes(this.random, 32)).toString('hex'));
    for (let host = 0; host < hosts; host++) this.seats.push(this.seatOf(host));
  }

  private seatOf(host: number): Seat {
    const nothing = new Uint8Array(64);
    const membership = new Membership({
      self: this.roster.idAt(host),
      random: this.world.random(`swim/${host}`),
      incarnation: 0,
      prove: () => nothing,
      isProof: () => true,
      root: () => '\0\0\0\0\0\0\0\0',
      parameters: this.options.parameters,
      presumedRoster: this.roster,
    });
    const wakeAt = Number.POSITIVE_INFINITY;
    return { membership, wakeAt, frozen: false, backlog: [], draining: false };
  }

  /** Starts all members and runs until each has its neighbours. */
  settle(settleMs: number): void {
    for (let host = 0; host < this.options.hosts; host++) {
      this.pubsub.processStarted(host);
      this.world.after(this.random.next() * startOverMs, () => this.start(host));
    }
    this.run(settleMs);
  }

  run(forMs: number): void {
    this.world.runUntil(this.world.now + forMs);
  }

  private start(host: number): void {
    this.perform(host, this.membership(host).drain(this.localNow));
    this.scheduleWake(host);
  }

  membership(host: number): Membership {
    return this.seats[host]!.membership;
  }

  numberOf(id: HostId): number {
    const number = this.roster.indexOf(id);
    assert(number !== undefined, `nobody is ${id}`);
    return number;
  }

  /** `killed`: its kernel says so to its neighbours. `dark`: nobody says anything. */
  kill(host: number, how: 'killed' | 'dark'): void {
    this.network.die(host, how);
    this.pubsub.processDied(host);
  }

  /** Stops the whole process, as SIGSTOP does: its kernel goes on, and keeps what arrives while there is room. */
  freeze(host: number): void {
    this.seats[host]!.frozen = true;
    this.network.setFrozen(host, true);
  }

  /** An overdue timer runs before the sockets are read, as in an event loop. */
  thaw(host: number): void {
    const seat = this.seats[host]!;
    if (!seat.frozen) return;
    seat.frozen = false;
    this.network.setFrozen(host, false);
    this.wakeIfDue(host);
    this.drainBacklog(host);
  }

  private drainBacklog(host: number): void {
    const seat = this.seats[host]!;
    if (seat.draining) return;
    seat.draining = true;
    this.world.after(inputMs, () => {
      seat.draining = false;
      if (seat.frozen) return;
      const next = seat.backlog.shift();
      if (next === undefined) return;
      this.step(host, next);
      this.drainBacklog(host);
    });
  }

  /** As whole milliseconds, which is what a process sees. */
  private get localNow(): number {
    return Math.floor(this.world.now);
  }

  datagram(host: number, from: number, frame: SwimFrame): void {
    this.feed(host, { type: 'frame', from: this.roster.idAt(from), frame, via: 'datagram' });
  }

  message(host: number, from: number, frame: SwimFrame): void {
    this.feed(host, { type: 'frame', from: this.roster.idAt(from), frame, via: 'stream' });
  }

  publication(host: number, from: number, bytes: Uint8Array): void {
    this.pubsub.receive(host, from, bytes);
  }

  connected(host: number, peer: number): void {
    this.hint(host, peer, 'connected');
    if (this.options.connections) this.pubsub.connected(host, peer);
  }

  disconnected(host: number, peer: number): void {
    this.hint(host, peer, 'disconnected');
    if (this.options.connections) this.pubsub.disconnected(host, peer);
  }

  unreachable(host: number, peer: number): void {
    this.hint(host, peer, 'unreachable');
  }

  private hint(host: number, peer: number, type: 'connected' | 'disconnected' | 'unreachable'): void {
    if (this.options.connections) this.feed(host, { type, peer: this.roster.idAt(peer) });
  }

  /** Now, or after what waits already; datagrams for which a stopped process has no room are lost. */
  private feed(host: number, input: MembershipInput): void {
    const { frozen, backlog } = this.seats[host]!;
    if (!frozen && backlog.length === 0) this.step(host, input);
    else if (!isDatagram(input) || backlog.length < backlogMax) backlog.push(input);
  }

  private step(host: number, input: MembershipInput): void {
    if (!this.network.isUp(host)) return;
    this.perform(host, this.membership(host).step(input, this.localNow));
    this.scheduleWake(host);
  }

  private scheduleWake(host: number): void {
    const seat = this.seats[host]!;
    const due = seat.membership.nextWake();
    if (due === null) return;
    const at = Math.max(this.world.now, Math.ceil(due));
    if (at >= seat.wakeAt) return;
    seat.wakeAt = at;
    this.world.at(at, () => {
      if (seat.wakeAt !== at) return;
      seat.wakeAt = Number.POSITIVE_INFINITY;
      if (!seat.frozen) this.wakeIfDue(host);
    });
  }

  private wakeIfDue(host: number): void {
    const wake = this.membership(host).nextWake();
    if (wake !== null && wake <= this.localNow) this.step(host, { type: 'wake' });
    else this.scheduleWake(host);
  }

  private perform(host: number, effects: readonly MembershipEffect[]): void {
    for (const effect of effects)
      switch (effect.type) {
        case 'send':
          this.send(host, effect);
          break;
        case 'connect':
          if (this.options.connections) this.network.connect(host, this.numberOf(effect.peer));
          break;
        case 'disconnect':
          this.network.disconnect(host, this.numberOf(effect.peer));
          break;
        case 'member':
          this.watcher.changed(host, effect.member);
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
}

function isDatagram(input: MembershipInput): boolean {
  return input.type === 'frame' && input.via === 'datagram';
}
