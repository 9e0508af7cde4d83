/** The libp2p node: TCP, Noise, Yamux and gossipsub, set up for a mesh of admitted hosts. */

import { hash } from 'node:crypto';
import { isIPv6 } from 'node:net';
import { type GossipSub, gossipsub, StrictNoSign } from '@chainsafe/libp2p-gossipsub';
import { createTopicScoreParams } from '@chainsafe/libp2p-gossipsub/score';
import type { ComponentLogger, ConnectionGater, Logger, PrivateKey } from '@libp2p/interface';
import { tcp } from '@libp2p/tcp';
import { createLibp2p, type Libp2p } from 'libp2p';
import { gatheringYamux, wholeNoise } from './gathering.ts';
import { introduction } from './introduction.ts';

export type Libp2pNode = Libp2p<{ introduction: unknown; pubsub: GossipSub }>;

/** What peers are taken to speak; gossipsub agrees on an older version with those that do not. */
const gossipsubProtocol = '/meshsub/1.2.0';
/** The one topic: batches of signed records. */
export const deltaTopic = 'starling/deltas/1';
/** The largest delta that is read, bytes; the core keeps its batches to a fraction of it. */
export const maxDeltaBytes = 256 * 1024;

/**
 * The largest RPC that is read, bytes: an answer to who missed a second of deltas. Who sends a larger one is
 * dropped by gossipsub, see `DeltaPubsub`.
 */
const maxRpcBytes = 1024 * 1024;
/** What one RPC may ask for; more spoils that RPC, no more. There is one topic, and IHAVE names each id once. */
const decodeRpcLimits = {
  maxSubscriptions: 16,
  maxMessages: 512,
  maxControlMessages: 64,
  maxIhaveMessageIDs: 5000,
  maxIwantMessageIDs: 5000,
  maxIdontwantMessageIDs: 512,
  maxPeerInfos: 0,
};

/** What a gossipsub stream may hold for a peer that reads too slowly, bytes; then the stream is reset. */
const maxOutboundBufferBytes = 4 * 1024 * 1024;
/** How long a delta is remembered, so that a late copy of it is not delivered twice. */
const seenMs = 150_000;
/** Well above the active view, so that a whole small mesh or a join storm is not pruned by libp2p. */
const maxConnections = 1024;

/** libp2p's default logger builds a formatter for every connection and stream; ours reports by events. */
const silent: Logger = Object.assign(() => undefined, {
  error: () => undefined,
  trace: () => undefined,
  enabled: false,
  newScope: () => silent,
});
const silence: ComponentLogger = { forComponent: () => silent };

/** Content is the identity of a delta: 128 bits of its SHA-256. */
function deltaId(data: Uint8Array): Uint8Array {
  return hash('sha256', data, 'buffer').subarray(0, 16);
}

function idText(id: Uint8Array): string {
  return Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('latin1');
}

/**
 * gossipsub for our own signed batches: the signature is the origin's and is checked by the topic's
 * validator, after duplicates are gone. A peer that relays what fails is scored down until it is ignored.
 */
function deltaPubsub() {
  return gossipsub({
    globalSignaturePolicy: StrictNoSign,
    msgIdFn: (message) => deltaId(message.data),
    msgIdToStrFn: idText,
    fastMsgIdFn: (message) => idText(deltaId(message.data ?? new Uint8Array(0))),
    allowedTopics: [deltaTopic],
    fallbackToFloodsub: false,
    floodPublish: false,
    batchPublish: true,
    allowPublishToZeroTopicPeers: true,
    ignoreDuplicatePublishError: true,
    emitSelf: false,
    doPX: false,
    // Degree 3 to 4: a delta crosses 1,000 hosts in some eight hops, and each copy too many costs CPU.
    D: 3,
    Dlo: 3,
    Dhi: 4,
    Dlazy: 2,
    Dscore: 2,
    Dout: 1,
    // A new neighbour gets nothing relayed before it is grafted, at the next heartbeat.
    heartbeatInterval: 300,
    // Heartbeats for which a delta can be asked for, and for which it is offered; then anti-entropy has it.
    mcacheLength: 6,
    mcacheGossip: 2,
    seenTTL: seenMs,
    maxInboundDataLength: maxRpcBytes,
    decodeRpcLimits,
    maxOutboundBufferSize: maxOutboundBufferBytes,
    idontwantMinDataSize: 4096,
    scoreParams: {
      // Many hosts behind one address are normal (NAT, loopback); gossipsub would prune them.
      IPColocationFactorWeight: 0,
      behaviourPenaltyWeight: 0,
      topics: {
        [deltaTopic]: createTopicScoreParams({
          topicWeight: 1,
          timeInMeshWeight: 0,
          firstMessageDeliveriesWeight: 0,
          meshMessageDeliveriesWeight: 0,
          meshFailurePenaltyWeight: 0,
          // Four rejected batches within a minute reach the threshold of -80 below which a peer is ignored.
          invalidMessageDeliveriesWeight: -6,
          invalidMessageDeliveriesDecay: 0.9,
        }),
      },
    },
  });
}

/** What a node needs from its owner. */
export interface NodeOptions {
  readonly privateKey: PrivateKey;
  readonly bind: string;
  readonly port: number;
  readonly gater: ConnectionGater;
}

/** Builds the node without starting it, so that handlers can be attached first. */
export function createNode({ privateKey, bind, port, gater }: NodeOptions): Promise<Libp2pNode> {
  return createLibp2p({
    start: false,
    privateKey,
    logger: silence,
    addresses: { listen: [`/${isIPv6(bind) ? 'ip6' : 'ip4'}/${bind}/tcp/${port}`] },
    // An idle neighbour is a healthy one: only failure detection ends a connection.
    transports: [tcp({ inboundSocketInactivityTimeout: 0, outboundSocketInactivityTimeout: 0 })],
    connectionEncrypters: [wholeNoise()],
    streamMuxers: [gatheringYamux()],
    connectionGater: gater,
    connectionManager: {
      maxConnections,
      inboundConnectionThreshold: maxConnections,
      maxIncomingPendingConnections: 256,
      inboundUpgradeTimeout: 5000,
      // Reconnecting is the core's decision.
      reconnectRetries: 0,
    },
    connectionMonitor: { enabled: false },
    // Addresses come from signed records, never from what a peer says of itself.
    peerStore: { addressFilter: () => false },
    services: {
      introduction: introduction([gossipsubProtocol]),
      pubsub: deltaPubsub(),
    },
  });
}
