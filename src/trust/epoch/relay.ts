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
  /** How many of theirs have arrived here. */
  received: number;
}

export interface Letter {
  readonly to: HostId;
  readonly sequence: number;
  readonly bytes: Uint8Array;
}

export class Relay {
  private readonly peers = new Map<HostId, Correspondence>();

  /** Only `participants` may send here or be sent to. */
  constructor(participants: Iterable<HostId>) {
    for (const host of participants) this.peers.set(host, { sent: [], arrived: 0, received: 0 });
  }

  /** Takes a message to be sent; null when it is to a stranger, too large, or one too many. */
  post(to: HostId, bytes: Uint8Array): Letter | null {
    const peer = this.peers.get(to);
    if (peer === undefined || peer.sent.length >= maxRelaySequence || bytes.length > maxRelayBytes)
      return null;
    peer.sent.push(bytes);
    return { to, sequence: peer.sent.length - 1, bytes };
  }

  /** What arrived: how many there are now (to be told to the sender), and whether this one is to be delivered. */
  receive(from: HostId, sequence: number): { readonly count: number; readonly isNew: boolean } | null {
    const peer = this.peers.get(from);
    if (peer === undefined) return null;
    const isNew = sequence === peer.received;
    if (isNew) peer.received++;
    return { count: peer.received, isNew };
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
