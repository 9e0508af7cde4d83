/**
 * Who is at the other end of a connection. The kernel is asked once a connection: the owner of a socket does
 * not change while it lasts.
 */
import type { Socket } from 'node:net';
import { socketOwners } from '../../../proxy/io/socket-owner.ts';
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
    const { remoteAddress, remotePort, localAddress, localPort } = socket;
    if (!remoteAddress || !remotePort || !localAddress || !localPort)
      return loopback ? { type: 'local', uid: null } : { type: 'remote' };
    // The caller's end of the connection is the remote one here, and its local one in the kernel's table.
    const ends = {
      localAddress: remoteAddress,
      localPort: remotePort,
      remoteAddress: localAddress,
      remotePort: localPort,
    };
    const owner = await new Promise<number | null>((done) => this.uidOfSocket(ends, done));
    if (owner !== null) return { type: 'local', uid: owner };
    return loopback ? { type: 'local', uid: null } : { type: 'remote' };
  }
}
