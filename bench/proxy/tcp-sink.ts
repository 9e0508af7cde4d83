/**
 * Takes bytes from a TCP server on several connections for a while, and prints how many came.
 * `node tcp-sink.ts ADDRESS:PORT CONNECTIONS SECONDS`.
 */
import { connect } from 'node:net';

const [endpoint = '', connections, seconds] = process.argv.slice(2);
const [host = '', port] = endpoint.split(':');
const buffer = Buffer.alloc(256 * 1024);
let bytes = 0;
let broken = 0;

const callback = (count: number): boolean => {
  bytes += count;
  return true;
};
const sockets = Array.from({ length: Number(connections) }, () => {
  const socket = connect({ host, port: Number(port), onread: { buffer, callback } });
  socket.on('error', () => socket.destroy());
  socket.on('close', () => {
    broken++;
  });
  socket.write('go');
  return socket;
});
setTimeout(() => {
  process.stdout.write(`${JSON.stringify({ bytes, broken })}\n`, () => process.exit());
  for (const socket of sockets) socket.destroy();
}, Number(seconds) * 1000);
