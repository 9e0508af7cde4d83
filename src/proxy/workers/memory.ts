/**
 * Memory that all threads of a data plane see, for the counters of one limit. It is sent along with every
 * configuration that has the limit, and is gone with the last who refers to it: nothing has to be given back,
 * and no place is ever used by one limit while another still counts there. A thread that dies takes the process
 * and so the memory with it: none is left that holds what the dead one counted.
 */

export interface SharedMemory {
  /** The same for the same memory, which is another object in each message. */
  readonly id: number;
  readonly buffer: SharedArrayBuffer;
}

/** Where each limit is counted, by the keys below. */
export type SharedLimits = ReadonlyMap<string, SharedMemory>;

/** What one service of this host has under way. */
export function inboundKey(service: string): string {
  return JSON.stringify(['inbound', service]);
}

/** The token buckets of one service of this host. */
export function ratesKey(service: string): string {
  return JSON.stringify(['rates', service]);
}

/** What one service of this host has under way to one cluster. */
export function outboundKey(source: string, cluster: string): string {
  return JSON.stringify(['outbound', source, cluster]);
}
