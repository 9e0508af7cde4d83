/** Who owns a local socket, by the kernel's tables. */
import assert from 'node:assert/strict';
import { endianness } from 'node:os';
import { test } from 'node:test';
import { uidIn } from '../../../../src/proxy/io/socket-owner.ts';

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
