import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { test } from 'node:test';
import { socketOwners, uidIn } from '../../../../src/proxy/io/socket-owner.ts';

async function listening(host: string): Promise<{ server: Server; port: number }> {
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, host);
  await once(server, 'listening');
  const address = server.address();
  assert.ok(typeof address === 'object' && address !== null);
  return { server, port: address.port };
}

/** Both ends of one connection. */
async function pair(server: Server, port: number, host: string): Promise<[Socket, Socket]> {
  const client = connect(port, host);
  const [[accepted]] = (await Promise.all([once(server, 'connection'), once(client, 'connect')])) as [
    [Socket],
    unknown,
  ];
  return [client, accepted];
}

/** The owner of the other end of an accepted connection. */
function ownerAt(accepted: Socket): Promise<number | null> {
  const ends = {
    localAddress: accepted.remoteAddress!,
    localPort: accepted.remotePort!,
    remoteAddress: accepted.localAddress!,
    remotePort: accepted.localPort!,
  };
  return new Promise((done) => socketOwners()(ends, done));
}

test('a connected socket belongs to the user whose process made it', async () => {
  const { server, port } = await listening('127.0.0.1');
  const [client, accepted] = await pair(server, port, '127.0.0.1');
  assert.equal(await ownerAt(accepted), process.getuid?.());
  client.destroy();
  accepted.destroy();
  server.close();
});

test('a socket that its process has closed belongs to nobody, whatever the kernel shows', async () => {
  const { server, port } = await listening('127.0.0.1');
  const [client, accepted] = await pair(server, port, '127.0.0.1');
  client.destroy();
  accepted.resume();
  await once(accepted, 'end');
  assert.equal(await ownerAt(accepted), null);
  accepted.destroy();
  server.close();
});

test("a socket that only finished sending is still its user's", async () => {
  const { server, port } = await listening('127.0.0.1');
  const [client, accepted] = await pair(server, port, '127.0.0.1');
  client.end();
  accepted.resume();
  await once(accepted, 'end');
  assert.equal(await ownerAt(accepted), process.getuid?.());
  client.destroy();
  accepted.destroy();
  server.close();
});

test('only a row with an inode names an owner', () => {
  const row = (state: string, uid: number, inode: number) =>
    `   1: 0100007F:1F90 0100007F:A0A0 ${state} 00000000:00000000 00:00000000 00000000  ${uid}        0 ${inode} 1 0000000000000000 20 4 30 10 -1\n`;
  const ends = { localAddress: '127.0.0.1', localPort: 8080, remoteAddress: '127.0.0.1', remotePort: 41120 };
  assert.equal(uidIn(row('01', 1000, 77), ends), 1000);
  assert.equal(uidIn(row('04', 0, 0), ends), null, 'closed by its process, not yet by the peer');
  assert.equal(uidIn(row('06', 0, 0), ends), null, 'TIME_WAIT shows uid 0');
  assert.equal(uidIn('', ends), null);
});
