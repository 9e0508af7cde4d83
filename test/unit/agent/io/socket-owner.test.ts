import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { test } from 'node:test';
import { ownerInTable, ownerOfSocket } from '../../../../src/agent/io/socket-owner.ts';

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

function ownerAt(accepted: Socket): Promise<number | null> {
  return ownerOfSocket(
    { address: accepted.remoteAddress!, port: accepted.remotePort! },
    { address: accepted.localAddress!, port: accepted.localPort! },
  );
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

test('a connection that does not exist belongs to nobody', async () => {
  const nowhere = { address: '127.9.9.9', port: 1 };
  assert.equal(await ownerOfSocket(nowhere, nowhere), null);
  assert.equal(await ownerOfSocket({ address: '::1', port: 1 }, { address: '::1', port: 2 }), null);
});

test('only an established row with an inode names an owner', () => {
  const row = (state: string, uid: number, inode: number) =>
    `   1: 0100007F:1F90 0100007F:A0A0 ${state} 00000000:00000000 00:00000000 00000000  ${uid}        0 ${inode} 1 0000000000000000 20 4 30 10 -1\n`;
  const owner = (table: string) => ownerInTable(table, '0100007F:1F90', '0100007F:A0A0');
  assert.equal(owner(row('01', 1000, 77)), 1000);
  assert.equal(owner(row('04', 0, 0)), null, 'closed by its process, not yet by the peer');
  assert.equal(owner(row('05', 0, 0)), null);
  assert.equal(owner(row('06', 0, 0)), null, 'TIME_WAIT shows uid 0');
  assert.equal(owner(row('01', 0, 0)), null, 'no inode');
  assert.equal(owner(''), null);
});
