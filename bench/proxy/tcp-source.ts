/** A TCP server that sends as much as a client takes once it has said something. `node tcp-source.ts ADDRESS:PORT`. */
import { createServer, type Socket } from 'node:net';

const [host, port] = (process.argv[2] ?? '').split(':');
const chunk = Buffer.alloc(256 * 1024, 'starling');

function send(socket: Socket): void {
  let more = true;
  while (more && !socket.destroyed) more = socket.write(chunk);
}

const server = createServer((socket) => {
  socket.on('error', () => socket.destroy());
  socket.on('drain', () => send(socket));
  socket.once('data', () => send(socket));
});
server.listen({ host, port: Number(port) }, () => process.stdout.write('ready\n'));
