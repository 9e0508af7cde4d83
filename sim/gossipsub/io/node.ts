/** gossipsub as agents run it, unchanged, on a libp2p node of which there is only what it touches. */
import { type GossipSub, type GossipSubComponents, TopicValidatorResult } from '@chainsafe/libp2p-gossipsub';
import { RPC } from '@chainsafe/libp2p-gossipsub/message';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import {
  type Connection,
  type Logger,
  type PeerId,
  type StreamHandler,
  start,
  type Topology,
} from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { deltaPubsub, deltaTopic, gossipsubProtocol } from '../../../src/gossip/io/delta-gossipsub.ts';
import { deliveryMs } from '../../report/traffic.ts';
import { type Endpoint, standIn } from './connection.ts';

/** Who is told what a node does. */
export interface NodeWatcher {
  /** Whether the delta is to be passed on. */
  delivered(delta: Uint8Array): boolean;
  sent(bytes: number, deltas: number): void;
}

export class VirtualNode implements Endpoint {
  readonly peerId: PeerId;
  readonly pubsub: GossipSub;
  /** Peers it relays to at once. */
  readonly mesh = new Set<string>();
  private readonly watcher: NodeWatcher;
  private readonly handlers = new Map<string, StreamHandler>();
  private readonly topologies = new Map<string, Topology>();

  private constructor(privateKey: GossipSubComponents['privateKey'], watcher: NodeWatcher) {
    this.peerId = peerIdFromPrivateKey(privateKey);
    this.watcher = watcher;
    this.pubsub = deltaPubsub()({
      privateKey,
      peerId: this.peerId,
      logger: { forComponent: () => outspoken },
      registrar: standIn<GossipSubComponents['registrar']>({
        handle: async (protocol, handler) => void this.handlers.set(protocol, handler),
        register: async (protocol, topology) => {
          this.topologies.set(protocol, topology);
          return protocol;
        },
      }),
      peerStore: standIn<GossipSubComponents['peerStore']>({
        merge: async (id) => ({ id, addresses: [], protocols: [], metadata: new Map(), tags: new Map() }),
      }),
      connectionManager: standIn<GossipSubComponents['connectionManager']>({}),
    });
  }

  static async create(number: number, watcher: NodeWatcher): Promise<VirtualNode> {
    const seed = new Uint8Array(32);
    new DataView(seed.buffer).setUint32(0, number);
    return new VirtualNode(await generateKeyPairFromSeed('Ed25519', seed), watcher);
  }

  /** Subscribes as `DeltaPubsub` does: what is new comes by the validator, which takes as long as a signature. */
  async start(): Promise<void> {
    const { pubsub, mesh, watcher } = this;
    await start(pubsub);
    pubsub.topicValidators.set(deltaTopic, async (_from, { data }) => {
      await new Promise((resolve) => setTimeout(resolve, deliveryMs));
      return watcher.delivered(data) ? TopicValidatorResult.Accept : TopicValidatorResult.Ignore;
    });
    pubsub.addEventListener('gossipsub:graft', ({ detail }) => mesh.add(detail.peerId));
    pubsub.addEventListener('gossipsub:prune', ({ detail }) => mesh.delete(detail.peerId));
    pubsub.subscribe(deltaTopic);
  }

  async publish(delta: Uint8Array): Promise<void> {
    await this.pubsub.publish(deltaTopic, delta);
  }

  handler(protocol: string): StreamHandler {
    return this.handlers.get(protocol)!;
  }

  sent(frame: Uint8Array): void {
    this.watcher.sent(frame.length, deltasIn(frame));
  }

  /** As `introduction` presents a peer: speaking gossipsub, unasked. */
  meet(connection: Connection): void {
    this.topologies.get(gossipsubProtocol)!.onConnect?.(connection.remotePeer, connection);
  }
}

/** A frame is an RPC after its length, which is a varint: seven bits a byte, the last below 128. */
function deltasIn(frame: Uint8Array): number {
  const start = frame.findIndex((byte) => byte < 0x80) + 1;
  return RPC.decode(frame.subarray(start)).messages.length;
}

/** gossipsub keeps errors to its log. Here nothing fails by chance: each is a bug, and stops the run. */
function raise(...values: unknown[]): void {
  const error = values.find((value) => value instanceof Error);
  if (error !== undefined)
    process.nextTick(() => {
      throw error;
    });
}
const outspoken: Logger = Object.assign(raise, {
  error: raise,
  trace: () => undefined,
  enabled: false,
  newScope: () => outspoken,
});
