/** What one host sends, on average, in a second of a stretch of a run. */
import type { NetworkCounters } from './network.ts';

export interface Traffic {
  readonly datagrams: number;
  readonly datagramBytes: number;
  /** Membership's frames over connections. */
  readonly frames: number;
  readonly frameBytes: number;
  /** Deltas, and what passing them on repeats. */
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

/**
 * CPU of each, milliseconds, as measured on one core of the machine that this was written on, Node 24: a sealed
 * datagram sent or received, a frame on a connection, a delivery by gossipsub with its signature, and one side of
 * a dial. A duplicate delivery is dropped before its signature is looked at.
 */
const datagramMs = 0.08;
const frameMs = 0.18;
const deliveryMs = 1.8;
const duplicateMs = 0.3;
const dialMs = 6.2;

/** The share of one core that this traffic takes, by those costs; each thing is sent once and received once. */
export function modelledCpuShare(traffic: Traffic, deliveries: number, duplicates: number): number {
  const { datagrams, frames, dials } = traffic;
  const milliseconds =
    2 * (datagrams * datagramMs + frames * frameMs + dials * dialMs) +
    deliveries * deliveryMs +
    duplicates * duplicateMs;
  return milliseconds / 1000;
}
