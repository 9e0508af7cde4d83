/** Connections that a server accepted, read in place. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import { readsInto, reopened } from '../../../../src/proxy/io/reads.ts';
import { keepReceived, nobody, type TransportOwner } from '../../../../src/proxy/transport.ts';
import { listenOn } from '../../../support/mesh.ts';

const firstBytes = 64;

/** A client's end of a connection, and the server's, which tells `owner` what it reads. */
async function connected(t: TestContext, owner: TransportOwner) {
  const server = createServer({ pauseOnConnect: true });
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const client = connect(await listenOn(t, server), '127.0.0.1');
  t.after(() => client.destroy());
  const socket = reopened(
    (await accepted)[0],
    readsInto(firstBytes, () => owner),
  );
  socket.resume();
  return { server, client, socket };
}

test('what is kept of a read stays as it was, however much comes', async (t) => {
  const sent = randomBytes(1024 * 1024);
  const pieces: Buffer[] = [];
  let received = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  const { client, socket } = await connected(t, {
    ...nobody,
    onData(bytes, start, end) {
      pieces.push(bytes.subarray(start, end));
      keepReceived();
      received += end - start;
      if (received === sent.length) resolve();
    },
  });
  client.write(sent);
  await promise;
  assert.deepEqual(Buffer.concat(pieces), sent);
  // Room grows with what comes at a time.
  assert.equal(pieces[0]!.length, firstBytes);
  assert.ok(pieces.length < sent.length / 1024, `${pieces.length} reads`);
  socket.destroy();
});

test('what nobody keeps is read to the same place, whatever was kept of what came elsewhere', async (t) => {
  const places = new Set<ArrayBufferLike>();
  const { client, socket } = await connected(t, {
    ...nobody,
    onData(bytes, start, end) {
      places.add(bytes.buffer);
      socket.write(bytes.toString('latin1', start, end));
    },
  });
  for (const word of ['one', 'two', 'three']) {
    keepReceived();
    client.write(word);
    assert.equal(String((await once(client, 'data'))[0]), word);
  }
  assert.equal(places.size, 1);
  socket.destroy();
});

test('a server counts the connection until it is over', async (t) => {
  const { server, client, socket } = await connected(t, nobody);
  const count = promisify(server.getConnections.bind(server));
  assert.equal(await count(), 1);
  client.end();
  await once(socket, 'end');
  socket.end();
  await once(socket, 'close');
  assert.equal(await count(), 0);
});
