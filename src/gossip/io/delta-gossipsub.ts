/** gossipsub as agents run it, here and in the simulator: one topic, content as identity, and every limit set. */
import { hash } from 'node:crypto';
import {
  type GossipSub,
  type GossipSubComponents,
  gossipsub,
  StrictNoSign,
} from '@chainsafe/libp2p-gossipsub';
import { createTopicScoreParams } from '@chainsafe/libp2p-gossipsub/score';
import type { Connection, PeerId } from '@libp2p/interface';
import { defaultSpreadParameters as spread } from '../parameters.ts';

/** What peers are taken to speak; gossipsub agrees on an older version with those that do not. */
export const gossipsubProtocol = '/meshsub/1.2.0';
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
export function deltaPubsub(): (components: GossipSubComponents) => GossipSub {
  const create = gossipsub({
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
    D: spread.degree,
    Dlo: spread.minDegree,
    Dhi: spread.maxDegree,
    Dlazy: spread.lazyDegree,
    gossipFactor: spread.lazyShare,
    Dscore: spread.scoreDegree,
    Dout: spread.outboundDegree,
    heartbeatInterval: spread.heartbeatMs,
    mcacheLength: spread.keptHeartbeats,
    mcacheGossip: spread.offeredHeartbeats,
    seenTTL: spread.seenMs,
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
  return (components) => openingAtOnce(create(components));
}

interface StreamOpening {
  createOutboundStream(peer: PeerId, connection: Connection): Promise<void>;
}

/**
 * gossipsub opens one stream after the other, and waits for each until its peer has answered: one that is silent would
 * keep all others without deltas. Here only the streams to one peer wait for each other.
 */
function openingAtOnce(pubsub: GossipSub): GossipSub {
  const opening = pubsub as unknown as StreamOpening;
  const open = opening.createOutboundStream.bind(pubsub);
  const latest = new Map<string, Promise<void>>();
  opening.createOutboundStream = async (peer, connection) => {
    const id = peer.toString();
    // It never rejects.
    const opened = (latest.get(id) ?? Promise.resolve()).then(() => open(peer, connection));
    latest.set(id, opened);
    void opened.then(() => {
      if (latest.get(id) === opened) latest.delete(id);
    });
  };
  return pubsub;
}
