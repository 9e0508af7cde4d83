/** The libp2p node: TCP, Noise, Yamux and gossipsub, set up for a mesh of admitted hosts. */

import { isIPv6 } from 'node:net';
import type { GossipSub } from '@chainsafe/libp2p-gossipsub';
import type { ComponentLogger, ConnectionGater, Logger, PrivateKey } from '@libp2p/interface';
import { tcp } from '@libp2p/tcp';
import { createLibp2p, type Libp2p } from 'libp2p';
import { deltaPubsub, gossipsubProtocol } from './delta-gossipsub.ts';
import { gatheringYamux, wholeNoise } from './gathering.ts';
import { introduction } from './introduction.ts';

export type Libp2pNode = Libp2p<{ introduction: unknown; pubsub: GossipSub }>;

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
