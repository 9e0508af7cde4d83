/**
 * Publish-subscribe as gossipsub 1.1 does it, modelled: each member pushes at once along a mesh of a few
 * neighbours, and repairs gaps by telling others now and then what it has seen. The real GossipSub class runs
 * in production; here only its shape matters: who gets a message, when, and by how many hops.
 */
import { hash } from 'node:crypto';
import { type Millis, type Random, randomInt } from '../../src/core.ts';
import { defaultSpreadParameters as spread } from '../../src/gossip/parameters.ts';
import type { World } from '../world.ts';
import type { Links } from './links.ts';

/** Messages kept while there is nobody to give them to; beyond it the oldest is dropped. */
const heldMax = 256;

/** The connections that messages travel over. */
export interface Carrier {
  readonly links: Pick<Links, 'delayMs' | 'isOpen'>;
  isConnected(host: number, peer: number): boolean;
  /** Peers with an open connection, in a stable order. */
  openPeers(host: number): number[];
  /** Whether it was this host that opened its connection to the peer. */
  hasDialled(host: number, peer: number): boolean;
  send(host: number, peer: number, channel: 'publish', bytes: Uint8Array): void;
}

interface Recent {
  readonly id: string;
  readonly at: Millis;
  readonly bytes: Uint8Array;
}

class Subscriber {
  readonly mesh = new Set<number>();
  /** Message ids, and when each was first seen; oldest first. */
  readonly seen = new Map<string, Millis>();
  /** Messages that others are still told of, oldest first. */
  recent: Recent[] = [];
  readonly random: Random;
  /** Published while no neighbour was there. */
  readonly held: Uint8Array[] = [];
  running = false;
  life = 0;
  /** Until then it passes nothing on, whoever published it. */
  mutedUntil: Millis = 0;
  /** Until then it publishes nothing of its own either. */
  silentUntil: Millis = 0;

  constructor(random: Random) {
    this.random = random;
  }
}

export interface PublishCounters {
  published: number;
  delivered: number;
  duplicates: number;
  /** Deliveries that the eager mesh missed and the lazy part healed. */
  healed: number;
  /** Deliveries that their host did not pass on: refused, or no news. */
  withheld: number;
}

export class Pubsub {
  readonly counters: PublishCounters = { published: 0, delivered: 0, duplicates: 0, healed: 0, withheld: 0 };
  private readonly world: World;
  private readonly network: Carrier;
  private readonly subscribers: Subscriber[] = [];
  private readonly deliver: (host: number, bytes: Uint8Array) => boolean;
  /** Whether gaps are healed; a scenario may switch it off to lean on anti-entropy alone. */
  lazy = true;

  /** `deliver` hands a new message to a host's process, and says whether that wants it passed on. */
  constructor(world: World, network: Carrier, deliver: (host: number, bytes: Uint8Array) => boolean) {
    this.world = world;
    this.network = network;
    this.deliver = deliver;
  }

  processStarted(host: number): void {
    this.subscribers[host] ??= new Subscriber(this.world.random(`pubsub/${host}`));
    const subscriber = this.subscribers[host];
    subscriber.running = true;
    const life = ++subscriber.life;
    this.world.after(subscriber.random.next() * spread.heartbeatMs, () => this.heartbeat(host, life));
  }

  processDied(host: number): void {
    const subscriber = this.subscribers[host];
    if (subscriber === undefined) return;
    subscriber.running = false;
    subscriber.mesh.clear();
    subscriber.seen.clear();
    subscriber.recent = [];
    subscriber.held.length = 0;
  }

  /** A new neighbour is grafted at a heartbeat, if at all. */
  connected(host: number, _peer: number): void {
    const { held } = this.subscriber(host);
    for (const bytes of held.splice(0)) this.publish(host, bytes);
  }

  disconnected(host: number, peer: number): void {
    this.subscriber(host).mesh.delete(peer);
  }

  /** To the mesh, and where that is thin to others too, so that at least `degree` have it. */
  publish(host: number, bytes: Uint8Array): void {
    const { mesh, held, random, silentUntil } = this.subscriber(host);
    if (silentUntil > this.world.now) return;
    const peers = this.network.openPeers(host);
    if (peers.length === 0) {
      held.push(bytes);
      if (held.length > heldMax) held.shift();
      return;
    }
    this.counters.published++;
    this.remember(host, idOf(bytes), bytes);
    this.push(host, null, bytes);
    if (mesh.size >= spread.degree) return;
    const others = peers.filter((peer) => !mesh.has(peer));
    for (const peer of shuffled(others, random).slice(0, spread.degree - mesh.size))
      this.network.send(host, peer, 'publish', bytes);
  }

  /** Peers to whom a host relays at once. */
  meshSize(host: number): number {
    return this.subscriber(host).mesh.size;
  }

  /** A message arrived over a connection. */
  receive(host: number, from: number, bytes: Uint8Array): void {
    const subscriber = this.subscriber(host);
    if (!subscriber.running) return;
    const id = idOf(bytes);
    if (subscriber.seen.has(id)) {
      this.counters.duplicates++;
      return;
    }
    subscriber.seen.set(id, this.world.now);
    this.counters.delivered++;
    if (!this.deliver(host, bytes) || !subscriber.running) {
      this.counters.withheld++;
      return;
    }
    subscriber.recent.push({ id, at: this.world.now, bytes });
    this.push(host, from, bytes);
  }

  private subscriber(host: number): Subscriber {
    return this.subscribers[host]!;
  }

  private remember(host: number, id: string, bytes: Uint8Array): void {
    const { seen, recent } = this.subscriber(host);
    seen.set(id, this.world.now);
    recent.push({ id, at: this.world.now, bytes });
  }

  /** The host keeps what others publish to itself for a while. */
  mute(host: number, until: Millis): void {
    this.subscriber(host).mutedUntil = until;
  }

  /** The host also keeps to itself what it publishes, for good. */
  silence(host: number, until: Millis): void {
    this.mute(host, until);
    this.subscriber(host).silentUntil = until;
  }

  private push(host: number, except: number | null, bytes: Uint8Array): void {
    if (except !== null && this.subscriber(host).mutedUntil > this.world.now) return;
    for (const peer of this.subscriber(host).mesh)
      if (peer !== except && this.network.isConnected(host, peer))
        this.network.send(host, peer, 'publish', bytes);
  }

  /** A full mesh takes only those in that it dialled itself, so that nobody can crowd it out. */
  private graft(host: number, peer: number): void {
    const other = this.subscribers[peer];
    if (other === undefined || !other.running) return;
    if (other.mesh.size >= spread.maxDegree && !this.network.hasDialled(peer, host)) return;
    this.subscriber(host).mesh.add(peer);
    other.mesh.add(host);
  }

  private heartbeat(host: number, life: number): void {
    const subscriber = this.subscriber(host);
    if (!subscriber.running || subscriber.life !== life) return;
    const peers = this.network.openPeers(host);
    this.mend(host, peers);
    if (this.lazy && subscriber.mutedUntil <= this.world.now) this.tellOthers(host, peers);
    for (const [id, at] of subscriber.seen) {
      if (this.world.now - at < spread.seenMs) break;
      subscriber.seen.delete(id);
    }
    this.world.after(spread.heartbeatMs, () => this.heartbeat(host, life));
  }

  /** Keeps the mesh between its bounds and made of open connections only. */
  private mend(host: number, peers: readonly number[]): void {
    const { mesh, random } = this.subscriber(host);
    const open = new Set(peers);
    for (const peer of mesh) if (!open.has(peer)) mesh.delete(peer);
    if (mesh.size < spread.minDegree)
      for (const peer of shuffled(peers, random)) {
        if (mesh.size >= spread.degree) break;
        if (!mesh.has(peer)) this.graft(host, peer);
      }
    if (mesh.size > spread.maxDegree)
      for (const peer of shuffled([...mesh], random).slice(spread.degree)) {
        mesh.delete(peer);
        this.subscribers[peer]?.mesh.delete(host);
      }
  }

  /** IHAVE, IWANT and the message: what a peer outside the mesh missed reaches it three path delays later. */
  private tellOthers(host: number, peers: readonly number[]): void {
    const subscriber = this.subscriber(host);
    const { mesh, random } = subscriber;
    const oldest = this.world.now - spread.offeredHeartbeats * spread.heartbeatMs;
    subscriber.recent = subscriber.recent.filter(({ at }) => at >= oldest);
    const { recent } = subscriber;
    if (recent.length === 0) return;
    const others = peers.filter((peer) => !mesh.has(peer));
    const told = Math.max(spread.lazyDegree, Math.floor(spread.lazyShare * others.length));
    const outside = shuffled(others, random).slice(0, told);
    for (const peer of outside)
      for (const { id, bytes } of recent) {
        if (this.subscribers[peer]?.seen.has(id) ?? true) continue;
        if (!this.network.links.isOpen(host, peer)) continue;
        this.counters.healed++;
        const delayMs = this.network.links.delayMs() + this.network.links.delayMs();
        this.world.after(delayMs, () => {
          if (subscriber.running && this.network.isConnected(host, peer))
            this.network.send(host, peer, 'publish', bytes);
        });
      }
  }
}

const ids = new WeakMap<Uint8Array, string>();

/** Content is the identity; the same bytes pass through many hosts, so the hash is taken once. */
function idOf(bytes: Uint8Array): string {
  const known = ids.get(bytes);
  if (known !== undefined) return known;
  const id = hash('md5', bytes);
  ids.set(bytes, id);
  return id;
}

function shuffled(values: readonly number[], random: Random): number[] {
  const mixed = [...values];
  for (let i = mixed.length - 1; i > 0; i--) {
    const j = randomInt(random, i + 1);
    [mixed[i], mixed[j]] = [mixed[j]!, mixed[i]!];
  }
  return mixed;
}
