/** Kernel sockets as transports: how they end. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { test } from 'node:test';
import { seededRandom } from '../../../../src/core.ts';
import { Deadlines } from '../../../../src/proxy/deadlines.ts';
import { SocketTransport } from '../../../../src/proxy/io/socket.ts';
import { listenOn } from '../../../support/mesh.ts';

const deadlines = new Deadlines();
const context = {
  now: () => performance.now(),
  random: seededRandom(1),
  deadlines,
  promptDeadlines: deadlines,
};

test('a side that was ended can still be cut: its peer sees a break, and the socket is gone', async (t) => {
  const server = createServer({ pauseOnConnect: true });
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const port = await listenOn(t, server);
  const transport = await new Promise<SocketTransport>((resolve) =>
    SocketTransport.connect('127.0.0.1', port, 1000, context, resolve),
  );
  const [peer] = await accepted;
  // More than the kernel takes from who sends to somebody that does not read.
  const bytes = Buffer.alloc(32 * 1024 * 1024);
  transport.write(bytes, 0, bytes.length);
  transport.finish();
  assert.ok(transport.pendingBytes > 0);
  transport.destroy();
  let ended = false;
  peer.on('end', () => {
    ended = true;
  });
  peer.resume();
  const [error] = (await once(peer, 'error')) as [NodeJS.ErrnoException];
  assert.deepEqual([error.code, ended], ['ECONNRESET', false]);
});

test('a side that was ended ends once everything has left', async (t) => {
  const server = createServer({ pauseOnConnect: true });
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const port = await listenOn(t, server);
  const transport = await new Promise<SocketTransport>((resolve) =>
    SocketTransport.connect('127.0.0.1', port, 1000, context, resolve),
  );
  const [peer] = await accepted;
  const bytes = Buffer.alloc(32 * 1024 * 1024);
  transport.write(bytes, 0, bytes.length);
  transport.finish();
  let received = 0;
  peer.on('data', (chunk: Buffer) => {
    received += chunk.length;
  });
  peer.resume();
  await once(peer, 'end');
  assert.equal(received, bytes.length);
  transport.close();
});
