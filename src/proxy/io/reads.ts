/** How sockets in the clear are read: into a place of their own, again and again. */
import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net';
import { type TransportOwner, takeKept } from '../transport.ts';

/** The most room for one read, once so much comes at a time. */
const maxReadBytes = 64 * 1024;

/**
 * Reads go to one buffer as long as nobody keeps what was read: most is copied on at once, and would otherwise be
 * most of the garbage there is. There is room for `firstBytes`, and for more once that was filled.
 */
export function readsInto(firstBytes: number, owner: () => TransportOwner): OnReadOpts {
  let buffer = Buffer.allocUnsafeSlow(firstBytes);
  let wantedBytes = firstBytes;
  return {
    buffer() {
      if (takeKept() || wantedBytes > buffer.length) buffer = Buffer.allocUnsafeSlow(wantedBytes);
      return buffer;
    },
    callback(count) {
      if (count === buffer.length) wantedBytes = Math.min(4 * count, maxReadBytes);
      // What others left to be said of deliveries of theirs.
      takeKept();
      owner().onData(buffer, 0, count);
      return true;
    },
  };
}

/** By which Node's own modules hand connections on. */
interface Handed {
  _handle: object | null;
  _server: object | null;
}

/**
 * What a server accepted, paused, as a socket that reads as `onread` says: servers do not offer that. Its server goes on
 * counting it.
 */
export function reopened(accepted: Socket, onread: OnReadOpts): Socket {
  const from = accepted as unknown as Handed;
  const options = { handle: from._handle, allowHalfOpen: true, onread };
  const socket = new Socket(options as SocketConstructorOpts);
  (socket as unknown as Handed)._server = from._server;
  from._handle = null;
  from._server = null;
  return socket;
}
