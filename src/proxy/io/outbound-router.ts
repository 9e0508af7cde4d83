/** One local client connection: remembers where its last request went, for the next is nearly always alike. */
import type { Caller } from '../caller.ts';
import type { RequestHead } from '../http1/head.ts';
import { type HttpRoute, isRefused, type RefusedRoute, type RequestRouter } from '../http1/route.ts';
import type { RouteTable } from '../http1/route-table.ts';
import type { TrafficCounter } from '../observe/traffic.ts';
import type { OutboundRoutes } from './outbound-routes.ts';

export class OutboundRouter implements RequestRouter {
  readonly clientAddress: string;
  private readonly routes: OutboundRoutes;
  private readonly caller: Caller;
  /** Null where Host decides. */
  private readonly destination: string | null;
  private generation = -1;
  private last: RouteTable | RefusedRoute | null = null;
  private lastHost: Buffer = Buffer.alloc(0);

  constructor(routes: OutboundRoutes, caller: Caller, destination: string | null, clientAddress: string) {
    this.clientAddress = clientAddress;
    this.routes = routes;
    this.caller = caller;
    this.destination = destination;
  }

  get unread(): TrafficCounter {
    return this.routes.unreadCounter(this.caller.service, this.destination);
  }

  route(bytes: Buffer, head: RequestHead): HttpRoute | RefusedRoute {
    const found = this.find(bytes, head);
    if (isRefused(found)) return found;
    return found.route(bytes, head);
  }

  private find(bytes: Buffer, head: RequestHead): RouteTable | RefusedRoute {
    const isFresh = this.generation === this.routes.generation;
    if (this.last !== null && isFresh && (this.destination !== null || this.isLastHost(bytes, head)))
      return this.last;
    this.generation = this.routes.generation;
    this.last =
      this.destination !== null ? this.routes.find(this.caller, this.destination) : this.byHost(bytes, head);
    return this.last;
  }

  private isLastHost(bytes: Buffer, head: RequestHead): boolean {
    const length = head.hostCount === 0 ? 0 : head.hostEnd - head.hostStart;
    if (length !== this.lastHost.length) return false;
    for (let i = 0; i < length; i++) if (bytes[head.hostStart + i] !== this.lastHost[i]) return false;
    return true;
  }

  private byHost(bytes: Buffer, head: RequestHead): RouteTable | RefusedRoute {
    const host = head.hostCount === 0 ? Buffer.alloc(0) : bytes.subarray(head.hostStart, head.hostEnd);
    this.lastHost = Buffer.from(host);
    return this.routes.findHost(this.caller, host.toString('latin1'));
  }
}
