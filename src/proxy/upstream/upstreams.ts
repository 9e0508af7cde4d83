/** One endpoint as requests are sent to it: how to connect, and its connections that wait for work. */
import type { EngineContext } from '../engine.ts';
import { UpstreamConnection } from '../http1/upstream.ts';
import type { Transport } from '../transport.ts';

export { UpstreamGroup } from './upstream-group.ts';

/** What a connection is going to carry; the peer is told. */
export type CarriedProtocol = 'http1' | 'http2' | 'tcp';

/** What requests are carried by: an HTTP/1.1 message each, for an application that speaks one or the other. */
export type RequestProtocol = Exclude<CarriedProtocol, 'tcp'>;

/** The most idle connections kept for one endpoint. */
const maxIdlePerEndpoint = 512;

/** Opens connections to one endpoint. */
export interface Dialer {
  /** False while what is sent waits for a connection that is being made; left out where nothing ever does. */
  readonly isReady?: boolean;
  /** The owner is set by the caller before anything is told, so failures are told later, never at once. */
  dial(protocol: CarriedProtocol): Transport;
  /** As `dial`, for who must not send before the peer is there: `done` is told of it, or of null. */
  open(protocol: CarriedProtocol, done: (transport: Transport | null) => void): void;
  /** Nothing is under way that is worth keeping: what stays open only for what might come is closed. */
  release?(): void;
}

/** One endpoint of a group with its idle connections for requests, most recently used last. */
export class Upstream {
  readonly id: string;
  /** What callers and operators know it by. */
  readonly name: string;
  private readonly idle = { http1: [] as UpstreamConnection[], http2: [] as UpstreamConnection[] };
  /** Connections of an earlier generation are not used again. */
  generation = 0;
  readonly dialer: Dialer;
  private readonly context: EngineContext;

  constructor(id: string, dialer: Dialer, context: EngineContext, name: string = id) {
    this.id = id;
    this.name = name;
    this.dialer = dialer;
    this.context = context;
  }

  /** An idle connection, or a new one. `fresh` asks for a new one, after an idle one turned out to be dead. */
  take(protocol: RequestProtocol, fresh: boolean): UpstreamConnection {
    const waiting = fresh ? undefined : this.idle[protocol].pop();
    return waiting ?? new UpstreamConnection(this, this.dialer.dial(protocol), protocol, this.context);
  }

  /** Takes back a connection that finished its request; false when it is not wanted any more. */
  give(connection: UpstreamConnection): boolean {
    const idle = this.idle[connection.protocol];
    if (connection.generation !== this.generation || idle.length >= maxIdlePerEndpoint) return false;
    idle.push(connection);
    return true;
  }

  forget(connection: UpstreamConnection): void {
    const idle = this.idle[connection.protocol];
    const index = idle.lastIndexOf(connection);
    if (index >= 0) idle.splice(index, 1);
  }

  /** Makes every connection there is its last: idle ones close, busy ones close after their request. */
  renew(): void {
    this.generation++;
    for (const idle of [this.idle.http1, this.idle.http2])
      for (const connection of idle.splice(0)) connection.close();
    this.dialer.release?.();
  }
}
