/**
 * Who is at the other end of a connection. The kernel is asked once a connection: the owner of a socket does
 * not change while it lasts.
 */
import type { Socket } from 'node:net';
import { peerOwner, socketOwners } from '../../../proxy/io/socket-owner.ts';
import type { Caller } from '../../access.ts';

export class CallerLookup {
  private readonly known = new WeakMap<Socket, Promise<Caller>>();
  private readonly unix: boolean;
  private readonly uidOfSocket = socketOwners();

  /** `unix`: the server listens on a unix socket. */
  constructor(unix: boolean) {
    this.unix = unix;
  }

  /** Whether the peer is on this host without asking the kernel. */
  isLoopback(socket: Socket): boolean {
    const address = socket.remoteAddress ?? '';
    return this.unix || address === '::1' || /^(::ffff:)?127\./.test(address);
  }

  of(socket: Socket): Promise<Caller> {
    let caller = this.known.get(socket);
    if (caller === undefined) {
      caller = this.lookUp(socket);
      this.known.set(socket, caller);
    }
    return caller;
  }

  private async lookUp(socket: Socket): Promise<Caller> {
    if (this.unix) return { type: 'unix' };
    const loopback = this.isLoopback(socket);
    const owner = await new Promise<number | null>((done) => peerOwner(socket, this.uidOfSocket, done));
    if (owner !== null) return { type: 'local', uid: owner };
    return loopback ? { type: 'local', uid: null } : { type: 'remote' };
  }
}
