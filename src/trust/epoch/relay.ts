/**
 * Carries the messages of one session of the cryptography: each arrives once and in order although the
 * network loses, repeats and reorders, so that the protocols above it need no timers.
 */
import type { HostId } from '../../core.ts';
import { maxRelayBytes, maxRelaySequence } from './message.ts';

interface Correspondence {
  readonly sent: Uint8Array[];
  /** How many of `sent` have arrived there. */
  arrived: number;
  /** How many of theirs have arrived here, and none before them is missing. */
  received: number;
  /** Those that overtook others, by their number. */
  readonly ahead: Map<number, Uint8Array>;
}

/** Messages of one host that wait for one before them; what is further ahead comes again. */
const maxAhead = 64;

export interface Letter {
  readonly to: HostId;
  readonly sequence: number;
  readonly bytes: Uint8Array;
}

export class Relay {
  private readonly peers = new Map<HostId, Correspondence>();

  /** Only `participants` may send here or be sent to. */
  constructor(participants: Iterable<HostId>) {
    for (const host of participants)
      this.peers.set(host, { sent: [], arrived: 0, received: 0, ahead: new Map() });
  }

  /** Takes a message to be sent; null when it is to a stranger, too large, or one too many. */
  post(to: HostId, bytes: Uint8Array): Letter | null {
    const peer = this.peers.get(to);
    if (peer === undefined || peer.sent.length >= maxRelaySequence || bytes.length > maxRelayBytes)
      return null;
    peer.sent.push(bytes);
    return { to, sequence: peer.sent.length - 1, bytes };
  }

  /** What arrived: how many there are now (to be told to the sender), and which are to be delivered. Null: a stranger's. */
  receive(
    from: HostId,
    sequence: number,
    bytes: Uint8Array,
  ): { readonly count: number; readonly news: readonly Uint8Array[] } | null {
    const peer = this.peers.get(from);
    if (peer === undefined) return null;
    if (sequence >= peer.received && sequence < peer.received + maxAhead) peer.ahead.set(sequence, bytes);
    const news: Uint8Array[] = [];
    for (let next = peer.ahead.get(peer.received); next; next = peer.ahead.get(peer.received)) {
      news.push(next);
      peer.ahead.delete(peer.received++);
    }
    return { count: peer.received, news };
  }

  /** `from` says how many have arrived there. */
  confirm(from: HostId, count: number): void {
    const peer = this.peers.get(from);
    if (peer !== undefined && count <= peer.sent.length) peer.arrived = Math.max(peer.arrived, count);
  }

  /** Everything that has not arrived, as far as is known here. */
  unconfirmed(): Letter[] {
    const letters: Letter[] = [];
    for (const [to, peer] of this.peers)
      for (let i = peer.arrived; i < peer.sent.length; i++)
        letters.push({ to, sequence: i, bytes: peer.sent[i]! });
    return letters;
  }
}
