/** One way from the client to the application, as the load generators see it. */
import type { Program } from '../../demo/flock.ts';
import { assertOwned } from '../processes.ts';

/** What a client may send: plain HTTP/1.1, gRPC over HTTP/2 in the clear, or bytes. */
export const kinds = ['http', 'grpc', 'tcp'] as const;
export type Kind = (typeof kinds)[number];

/** An `address:port` for each kind. */
export type Addresses = { readonly [kind in Kind]: string };

/** Where the client connects, where the two proxies of a pair meet, and where the application listens. */
export interface Way {
  readonly client: Addresses;
  readonly inbound: Addresses;
  readonly application: Addresses;
}

export interface Subject {
  readonly name: string;
  /** Where the client connects; without the kinds that these proxies do not carry. */
  readonly endpoints: Readonly<Partial<Addresses>>;
  /** The proxies on the way, whose cost is measured; empty for the direct way. */
  readonly proxies: readonly Program[];
}

/** A subject that does not keep up, or fails: said in the table, and no reason to end the whole measurement. */
export class CannotCarry extends Error {}

/** Throws when a proxy has ended, or someone else answers on the endpoint. */
export function assertInPlace({ name, proxies }: Subject, endpoint: string): void {
  for (const { child, running, stderr } of proxies)
    if (!running) throw new Error(`a proxy of ${name} ended (${child.spawnfile}): ${stderr.slice(-500)}`);
  const pids = proxies.map(({ pid }) => pid);
  if (pids.length > 0) assertOwned(endpoint, pids);
}

/** Less CPU than this for one request is not work of a proxy: the traffic goes another way. */
export const leastCpuMicroseconds = 0.5;

export function assertWorked(name: string, cost: readonly number[]): void {
  if (cost.some((microseconds) => microseconds < leastCpuMicroseconds))
    throw new Error(
      `${name} used ${cost.map((it) => it.toFixed(2)).join(' and ')} us of CPU a request: ` +
        'the traffic does not reach the processes under measurement',
    );
}
