/** Keeps strangers out at the connection: nobody who is not admitted completes one, in either direction. */
import type { ConnectionGater, MultiaddrConnection, PeerId } from '@libp2p/interface';
import type { HostId, Millis } from '../../core.ts';
import { Rates } from '../rates.ts';
import { sourceOf } from '../source.ts';
import { hostIdOf } from './identity.ts';

/**
 * Handshakes under way with one source, of the 256 in all: who opens connections and says nothing leaves room
 * for others. A whole join storm behind one NAT needs no more at a time, since each takes milliseconds.
 */
const maxHandshakesPerSource = 64;
/**
 * Connections that one source may have refused for want of admission, or given up half open: each may have cost
 * a handshake, 6 ms. Beyond, its connections are closed before that. Hosts that are admitted take nothing.
 */
const failuresPerSecond = 10;
const failuresAtOnce = 100;
const maxSources = 4096;

/**
 * Asks `admitted` anew for every connection. An inbound peer is judged right after the Noise handshake, the
 * first moment its identity is proven and before any multiplexer or protocol of ours runs. `limited` is told of
 * those that did not get so far, because their source asked too much.
 */
export function admissionGater(
  admitted: (host: HostId) => boolean,
  refused: (host: HostId | null) => void,
  limited: () => void,
  now: () => Millis,
): ConnectionGater {
  const denied = (peerId: PeerId): boolean => {
    const host = hostIdOf(peerId);
    if (host !== null && admitted(host)) return false;
    refused(host);
    return true;
  };
  const handshakes = new Handshakes(now);
  return {
    denyDialPeer: denied,
    denyDialMultiaddr: () => false,
    denyInboundConnection: (connection) => {
      if (handshakes.begin(connection)) return false;
      limited();
      return true;
    },
    denyInboundEncryptedConnection: denied,
    denyOutboundEncryptedConnection: denied,
    denyInboundUpgradedConnection: (peerId, connection) => {
      const isDenied = denied(peerId);
      if (!isDenied) handshakes.succeed(connection);
      return isDenied;
    },
    denyOutboundUpgradedConnection: denied,
  };
}

/** Inbound connections whose handshake is not over, by source. */
class Handshakes {
  private readonly underWay = new Map<string, number>();
  private readonly failures = new Rates({ perSecond: failuresPerSecond, burst: failuresAtOnce }, maxSources);
  /** What to do when the handshake of a connection is over, one way or the other. */
  private readonly ends = new WeakMap<MultiaddrConnection, (succeeded: boolean) => void>();
  private readonly now: () => Millis;

  constructor(now: () => Millis) {
    this.now = now;
  }

  /** False when the source of `connection` has too many under way, or too many that failed. */
  begin(connection: MultiaddrConnection): boolean {
    const source = sourceOf(connection.remoteAddr.getComponents()[0]?.value ?? '');
    const count = this.underWay.get(source) ?? 0;
    if (count >= maxHandshakesPerSource || !this.failures.allows(source, this.now())) return false;
    this.underWay.set(source, count + 1);
    const end = (succeeded: boolean): void => {
      if (!this.ends.delete(connection)) return;
      const left = this.underWay.get(source)! - 1;
      if (left > 0) this.underWay.set(source, left);
      else this.underWay.delete(source);
      if (!succeeded) this.failures.take(source, this.now());
    };
    this.ends.set(connection, end);
    connection.addEventListener('close', () => end(false), { once: true });
    return true;
  }

  succeed(connection: MultiaddrConnection): void {
    this.ends.get(connection)?.(true);
  }
}
