/** What one host sends, on average, in a second of a stretch of a run. */
import type { NetworkCounters } from '../network/network.ts';

export interface Traffic {
  readonly datagrams: number;
  readonly datagramBytes: number;
  /** Membership's frames over connections. */
  readonly frames: number;
  readonly frameBytes: number;
  /** Deltas, passed on ones and repeated ones among them. */
  readonly publishes: number;
  readonly publishBytes: number;
  readonly dials: number;
}

export function trafficBetween(
  before: NetworkCounters,
  after: NetworkCounters,
  hosts: number,
  lengthMs: number,
): Traffic {
  const rate = (name: keyof Traffic): number => ((after[name] - before[name]) * 1000) / hosts / lengthMs;
  return {
    datagrams: rate('datagrams'),
    datagramBytes: rate('datagramBytes'),
    frames: rate('frames'),
    frameBytes: rate('frameBytes'),
    publishes: rate('publishes'),
    publishBytes: rate('publishBytes'),
    dials: rate('dials'),
  };
}

/** What membership sends, by datagram and over connections. */
export function membershipBytes({ datagramBytes, frameBytes }: Traffic): number {
  return datagramBytes + frameBytes;
}

/**
 * CPU of each on one of two cores, Node 24, milliseconds, as measured with real sockets: a sealed datagram and a
 * frame on a connection, to send or to receive one; a delivery by gossipsub with its signature; a side of a dial.
 */
const datagramMs = 0.0375;
const frameMs = 0.09;
export const deliveryMs = 1.8;
const dialMs = 6.2;

/** The share of one core that membership's traffic takes by these costs. What one host sends another receives. */
export function membershipCpuShare({ datagrams, frames, dials }: Traffic): number {
  return (2 * (datagrams * datagramMs + frames * frameMs + dials * dialMs)) / 1000;
}
