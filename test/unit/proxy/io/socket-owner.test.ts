/** Who owns a local socket, by the kernel's tables. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { endianness } from 'node:os';
import { test } from 'node:test';
import { isConnected, peerOwner, socketOwners, uidIn } from '../../../../src/proxy/io/socket-owner.ts';

const header =
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
const little = endianness() === 'LE';
const v4 = little ? ['0100007F:C350', '0100007F:4E20'] : ['7F000001:C350', '7F000001:4E20'];
const rows = [
  `   0: ${v4[1]} ${v4[0]} 01 00000000:00000000 00:00000000 00000000   100        0 1 1 0\n`,
  `   1: ${v4[0]} ${v4[1]} 01 00000000:00000000 00:00000000 00000000  1001        0 2 1 0\n`,
];
const mapped = little
  ? '   0: 0000000000000000FFFF00000100007F:C351 0000000000000000FFFF00000100007F:4E20 01 00000000:00000000 02:0000014E 00000000  1002        0 3 2 0\n'
  : '   0: 00000000000000000000FFFF7F000001:C351 00000000000000000000FFFF7F000001:4E20 01 00000000:00000000 02:0000014E 00000000  1002        0 3 2 0\n';
const loopback6 = little ? '00000000000000000000000001000000' : '00000000000000000000000000000001';
const v6 = `   1: ${loopback6}:C352 ${loopback6}:4E20 01 00000000:00000000 00:00000000 00000000  1003        0 4 1 0\n`;
const table = header + rows.join('') + header + mapped + v6;

const ends = (localPort: number, address = '127.0.0.1') => ({
  localAddress: address,
  localPort,
  remoteAddress: address,
  remotePort: 20000,
});

test('the row whose local end is the caller counts, not the one of our own end', () => {
  assert.equal(uidIn(table, ends(50000)), 1001);
});

test('a caller on an IPv6 socket is found by its IPv4 address', () => {
  assert.equal(uidIn(table, ends(50001)), 1002);
  assert.equal(uidIn(table, ends(50001, '::ffff:127.0.0.1')), 1002);
});

test('an IPv6 caller is found', () => {
  assert.equal(uidIn(table, ends(50002, '::1')), 1003);
});

test('a connection that is not in the tables has no owner', () => {
  assert.equal(uidIn(table, ends(50003)), null);
  assert.equal(uidIn('', ends(50000)), null);
});

test('a socket without a process, or that is only being opened, has no owner', () => {
  const row = (state: string, inode: number) =>
    `${header}   1: ${v4[0]} ${v4[1]} ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0\n`;
  assert.equal(uidIn(row('01', 9), ends(50000)), 0);
  assert.equal(uidIn(row('05', 9), ends(50000)), 0, 'a caller that has said all waits for its answer');
  assert.equal(uidIn(row('05', 0), ends(50000)), null, 'closed by its process');
  assert.equal(uidIn(row('06', 0), ends(50000)), null, 'TIME_WAIT');
  assert.equal(uidIn(row('02', 9), ends(50000)), null, 'SYN_SENT');
});

test('both kinds of socket are found in the tables of this very kernel, and one that is cut is nobody’s', async (t) => {
  const server = createServer();
  t.after(() => server.close());
  server.listen(0, '::');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const owners = socketOwners();
  for (const host of ['127.0.0.1', '::1']) {
    const client = connect(port, host);
    const [accepted] = (await once(server, 'connection')) as [Socket];
    accepted.on('error', () => undefined);
    const owner = () => new Promise((done) => peerOwner(accepted, owners, done));
    assert.equal(await owner(), process.getuid!(), host);
    client.resetAndDestroy();
    assert.equal(isConnected(accepted), false);
    assert.equal(await owner(), null);
    accepted.destroy();
  }
});
