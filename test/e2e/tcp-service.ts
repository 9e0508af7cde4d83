/** A TCP service that says back what it hears: what a database looks like to a proxy that does not speak its language. */
import { type AddressInfo, createServer, type Socket } from 'node:net';

export interface TcpService {
  readonly port: number;
  stop(): Promise<void>;
}

export function startEcho(address: string): Promise<TcpService> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  const stop = (): Promise<void> =>
    new Promise((done) => {
      server.close(() => done());
      for (const socket of sockets) socket.destroy();
    });
  return new Promise((done, fail) => {
    server.once('error', fail);
    server.listen(0, address, () => done({ port: (server.address() as AddressInfo).port, stop }));
  });
}
