/**
 * Memory that all threads of a data plane see, for the counters of one limit. It is sent along with every
 * configuration that has the limit, and is gone with the last who refers to it: nothing has to be given back,
 * and no place is ever used by one limit while another still counts there. A thread that dies takes the process
 * and so the memory with it: none is left that holds what the dead one counted.
 */

import type { BreakerPolicy } from '../policy.ts';

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

/** The circuit breaker of one service of this host for one cluster: another policy begins anew. */
export function breakerKey(source: string, cluster: string, policy: BreakerPolicy): string {
  return JSON.stringify(['breaker', source, cluster, policy]);
}

/** What threads share of one service's way to one cluster; each null where they share nothing. */
export interface GroupMemory {
  readonly limits: SharedMemory | null;
  readonly breaker: SharedMemory | null;
}

export const notShared: GroupMemory = { limits: null, breaker: null };

/** Where that is, among all of a host. */
export function groupMemory(
  shared: SharedLimits,
  source: string,
  cluster: string,
  breaker: BreakerPolicy | null,
): GroupMemory {
  return {
    limits: shared.get(outboundKey(source, cluster)) ?? null,
    breaker: (breaker && shared.get(breakerKey(source, cluster, breaker))) ?? null,
  };
}
