/** Deltas over gossipsub: validation, delivery, and a short wait for the first peer that can take one. */
import { type MeshPeer, TopicValidatorResult } from '@chainsafe/libp2p-gossipsub';
import type { PeerId } from '@libp2p/interface';
import { Fault } from '../../core.ts';
import type { RelayVerdict } from '../port.ts';
import { deltaTopic, maxDeltaBytes } from './delta-gossipsub.ts';
import type { Libp2pNode } from './node.ts';

/** Deltas kept while no peer can take one; beyond either bound the oldest is dropped and counted. */
const maxHeldDeltas = 256;
const maxHeldBytes = 4 * 1024 * 1024;

const verdicts: { readonly [verdict in RelayVerdict]: TopicValidatorResult } = {
  accept: TopicValidatorResult.Accept,
  ignore: TopicValidatorResult.Ignore,
  reject: TopicValidatorResult.Reject,
};

/**
 * Heartbeats (5 s) from one look for peers that do not speak gossipsub, or do not let it be spoken to them, to the
 * next; who was one at two of them is let go: gossipsub drops for good a peer that once sent more than it reads, and
 * says so to nobody. Connected anew, by whichever side wants it as a neighbour, it is taken in again.
 */
const heartbeatsPerLook = 17;

/** Takes a delta in, once per content, and says whether it is to be relayed. */
export type DeltaHandler = (bytes: Uint8Array) => RelayVerdict;

/**
 * gossipsub drops a message that it can send to nobody, and says so to nobody. So what is published before
 * the first peer has subscribed is held here and published with that subscription, or at the next
 * heartbeat. A peer that connects later learns of it by anti-entropy; so does one that is connected but not
 * yet in the mesh when a delta is relayed, which lasts at most one heartbeat.
 */
export class DeltaPubsub {
  readonly counters = {
    published: 0,
    received: 0,
    ignored: 0,
    rejected: 0,
    /** Published while nobody could take it, and kept. */
    held: 0,
    /** Pushed out of the waiting room, larger than `maxDeltaBytes`, or refused by a broken stream. */
    dropped: 0,
    /** Connections closed because their peers did not, or no longer, speak gossipsub. */
    mutePeersCut: 0,
  };
  private readonly node: Libp2pNode;
  private readonly take: DeltaHandler;
  private readonly waiting: Uint8Array[] = [];
  private waitingBytes = 0;
  private readonly onChange = (): void => this.release();
  /** Connected peers that were without gossipsub at the last look, by libp2p id. */
  private mute = new Set<string>();
  private heartbeats = 0;
  private readonly onHeartbeat = (): void => {
    this.release();
    this.heartbeats += 1;
    if (this.heartbeats % heartbeatsPerLook === 0) this.cutMute();
  };
  /** Peers in the mesh, by libp2p id; those who disconnected are sorted out when it is read. */
  private readonly grafted = new Set<string>();
  private readonly onGraft = (event: CustomEvent<MeshPeer>): void => {
    this.grafted.add(event.detail.peerId);
    this.release();
  };
  private readonly onPrune = (event: CustomEvent<MeshPeer>): void => {
    this.grafted.delete(event.detail.peerId);
  };

  constructor(node: Libp2pNode, take: DeltaHandler) {
    this.node = node;
    this.take = take;
  }

  /** Subscribes; the node must have been started. */
  start(): void {
    const { pubsub } = this.node.services;
    pubsub.topicValidators.set(deltaTopic, (_from, message) => verdicts[this.judge(message.data)]);
    pubsub.addEventListener('subscription-change', this.onChange);
    pubsub.addEventListener('gossipsub:heartbeat', this.onHeartbeat);
    pubsub.addEventListener('gossipsub:graft', this.onGraft);
    pubsub.addEventListener('gossipsub:prune', this.onPrune);
    pubsub.subscribe(deltaTopic);
  }

  stop(): void {
    const { pubsub } = this.node.services;
    pubsub.removeEventListener('subscription-change', this.onChange);
    pubsub.removeEventListener('gossipsub:heartbeat', this.onHeartbeat);
    pubsub.removeEventListener('gossipsub:graft', this.onGraft);
    pubsub.removeEventListener('gossipsub:prune', this.onPrune);
    this.counters.dropped += this.waiting.length;
    this.waiting.length = 0;
  }

  /** Sends a delta to the mesh, or holds it until there is one. */
  publish(bytes: Uint8Array): void {
    if (bytes.length > maxDeltaBytes) {
      this.counters.dropped += 1;
      return;
    }
    if (this.waiting.length === 0 && this.readyPeers() > 0) {
      this.hand(bytes);
      return;
    }
    this.counters.held += 1;
    this.waiting.push(bytes);
    this.waitingBytes += bytes.length;
    while (this.waiting.length > maxHeldDeltas || this.waitingBytes > maxHeldBytes) {
      this.waitingBytes -= this.waiting.shift()!.length;
      this.counters.dropped += 1;
    }
  }

  /** Subscribed peers to whom a stream is open, so that a message handed over now leaves for them. */
  readyPeers(): number {
    return this.node.services.pubsub.getSubscribers(deltaTopic).filter((peer) => this.hasStream(peer)).length;
  }

  private hasStream(peer: PeerId): boolean {
    return this.node
      .getConnections(peer)
      .some((connection) =>
        connection.streams.some(
          (stream) =>
            stream.direction === 'outbound' &&
            stream.protocol.startsWith('/meshsub/') &&
            stream.status === 'open',
        ),
      );
  }

  /** Peers to whom every delta is relayed at once. */
  meshPeers(): number {
    const connected = new Set(this.node.getPeers().map(String));
    for (const peer of this.grafted) if (!connected.has(peer)) this.grafted.delete(peer);
    return this.grafted.size;
  }

  private cutMute(): void {
    const speaking = new Set(this.node.services.pubsub.getPeers().map(String));
    const mute = new Set<string>();
    for (const peer of this.node.getPeers()) {
      const id = peer.toString();
      if (speaking.has(id) && this.hasStream(peer)) continue;
      mute.add(id);
      if (!this.mute.has(id)) continue;
      this.counters.mutePeersCut += 1;
      for (const connection of this.node.getConnections(peer))
        connection.abort(new Fault('no-gossipsub', 'the peer does not speak gossipsub'));
    }
    this.mute = mute;
  }

  private release(): void {
    if (this.waiting.length === 0 || this.readyPeers() === 0) return;
    this.waitingBytes = 0;
    for (const bytes of this.waiting.splice(0)) this.hand(bytes);
  }

  private hand(bytes: Uint8Array): void {
    this.counters.published += 1;
    this.node.services.pubsub.publish(deltaTopic, bytes).catch(() => {
      // A neighbour's stream broke while it was written to; anti-entropy brings the neighbour up to date.
      this.counters.dropped += 1;
    });
  }

  private judge(delta: Uint8Array): RelayVerdict {
    try {
      this.counters.received += 1;
      const verdict = this.take(delta);
      if (verdict === 'ignore') this.counters.ignored += 1;
      else if (verdict === 'reject') this.counters.rejected += 1;
      return verdict;
    } catch (bug) {
      // gossipsub would swallow it; a bug stops the process.
      process.nextTick(() => {
        throw bug;
      });
      return 'ignore';
    }
  }
}
