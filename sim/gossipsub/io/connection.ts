/** Connections between simulated libp2p nodes: in order, each message after the delay of its path. */
import {
  type Connection,
  type MessageStreamDirection,
  type MessageStreamEvents,
  type PeerId,
  type Stream,
  type StreamHandler,
  StreamMessageEvent,
  TypedEventEmitter,
} from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import type { Links } from '../../network/links.ts';
import type { World } from '../../world.ts';

/** All that a stream carries. */
type Frame = Parameters<Stream['send']>[0];

/** Where a connection ends. */
export interface Endpoint {
  readonly peerId: PeerId;
  /** What serves streams that the other side opens. */
  handler(protocol: string): StreamHandler;
  sent(frame: Uint8Array): void;
}

/**
 * What libp2p hands to a service, as far as that touches it: whatever else it asks for is undefined, and the
 * use of that an error.
 */
export function standIn<T extends object>(members: Partial<T>): T {
  return members as T;
}

/** Nobody looks where a peer is, beside the part of scoring that agents switch off. */
const address = multiaddr('/ip4/127.0.0.1/tcp/1');

/** One direction, which keeps the order as TCP does. */
class Path {
  private readonly world: World;
  private readonly links: Links;
  private lastArrival = 0;

  constructor(world: World, links: Links) {
    this.world = world;
    this.links = links;
  }

  carry(arrive: () => void): void {
    this.lastArrival = Math.max(this.lastArrival, this.world.now + this.links.delayMs());
    this.world.at(this.lastArrival, arrive);
  }
}

/** One end of a stream. gossipsub writes to those it opened, and reads from those it was offered. */
class VirtualStream extends TypedEventEmitter<MessageStreamEvents> {
  readonly protocol: string;
  readonly send: Stream['send'];

  constructor(protocol: string, send: (frame: Frame) => void) {
    super();
    this.protocol = protocol;
    this.send = (frame) => {
      send(frame);
      return true;
    };
  }
}

/** Both sides of a new connection, each as its own end sees it. */
export function connect(
  world: World,
  links: Links,
  dialler: Endpoint,
  listener: Endpoint,
): readonly [Connection, Connection] {
  const side = (
    own: Endpoint,
    other: Endpoint,
    direction: MessageStreamDirection,
    seenByOther: () => Connection,
  ) => {
    const path = new Path(world, links);
    return standIn<Connection>({
      remotePeer: other.peerId,
      remoteAddr: address,
      direction,
      status: 'open',
      newStream: async (protocols) => {
        const protocol = [protocols].flat()[0]!;
        const far = new VirtualStream(protocol, () => undefined);
        path.carry(() => void other.handler(protocol)(standIn<Stream>(far), seenByOther()));
        const near = new VirtualStream(protocol, (frame) => {
          own.sent(frame.subarray());
          path.carry(() => far.dispatchEvent(new StreamMessageEvent(frame)));
        });
        return standIn<Stream>(near);
      },
    });
  };
  const outbound = side(dialler, listener, 'outbound', () => inbound);
  const inbound: Connection = side(listener, dialler, 'inbound', () => outbound);
  return [outbound, inbound];
}
