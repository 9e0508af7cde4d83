/** Keeps strangers out at the connection: nobody who is not admitted completes one, in either direction. */
import type { ConnectionGater, PeerId } from '@libp2p/interface';
import type { HostId } from '../../core.ts';
import { hostIdOf } from './identity.ts';

/**
 * Asks `admitted` anew for every connection. An inbound peer is judged right after the Noise handshake, the
 * first moment its identity is proven and before any multiplexer or protocol of ours runs.
 */
export function admissionGater(
  admitted: (host: HostId) => boolean,
  refused: (host: HostId | null) => void,
): ConnectionGater {
  const denied = (peerId: PeerId): boolean => {
    const host = hostIdOf(peerId);
    if (host !== null && admitted(host)) return false;
    refused(host);
    return true;
  };
  return {
    denyDialPeer: denied,
    denyDialMultiaddr: () => false,
    denyInboundEncryptedConnection: denied,
    denyOutboundEncryptedConnection: denied,
    denyInboundUpgradedConnection: denied,
    denyOutboundUpgradedConnection: denied,
  };
}
