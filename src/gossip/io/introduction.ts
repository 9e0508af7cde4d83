/**
 * Presents every new connection to gossipsub at once. libp2p's own identify asks the peer for what is known
 * here without asking: all agents speak the same protocols, and where they are is told by signed records. It
 * costs both sides two streams a connection, half of all CPU that a connection takes.
 */
import {
  type Connection,
  type Libp2pEvents,
  serviceCapabilities,
  type TypedEventTarget,
} from '@libp2p/interface';

interface Components {
  readonly events: TypedEventTarget<Libp2pEvents>;
}

/** A libp2p service. A peer that does not speak one of `protocols` after all will refuse its stream. */
export function introduction(protocols: string[]): (components: Components) => object {
  return ({ events }) => {
    events.addEventListener('connection:open', ({ detail: connection }: CustomEvent<Connection>) => {
      const { remotePeer: peerId } = connection;
      events.safeDispatchEvent('peer:identify', {
        detail: { peerId, listenAddrs: [], protocols, connection },
      });
    });
    // What gossipsub asks for: somebody who tells it of peers and their protocols.
    return { [serviceCapabilities]: ['@libp2p/identify'] };
  };
}
