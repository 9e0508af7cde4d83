import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  parseChildren,
  parseInterfaces,
  parseListeners,
  parseOnCpuNs,
  parseResidentBytes,
  parseSocketInode,
} from '../../../bench/procfs.ts';

test('the first number of schedstat is the time on a CPU', () => {
  assert.equal(parseOnCpuNs('852526272 2277952077 8985\n'), 852526272);
  assert.throws(() => parseOnCpuNs('nonsense'), /schedstat/);
});

test('resident memory is read in bytes, and a process without any is an error', () => {
  assert.equal(parseResidentBytes('Name:\tnode\nVmHWM:\t   90000 kB\nVmRSS:\t   58000 kB\n'), 58000 * 1024);
  assert.throws(() => parseResidentBytes('Name:\tkthreadd\n'), /VmRSS/);
});

test('children are pids between blanks, and none is none', () => {
  assert.deepEqual(parseChildren('101 102 \n'), [101, 102]);
  assert.deepEqual(parseChildren(''), []);
});

test('only links to sockets have a socket inode', () => {
  assert.equal(parseSocketInode('socket:[12345]'), '12345');
  assert.equal(parseSocketInode('/dev/null'), null);
  assert.equal(parseSocketInode('pipe:[12345]'), null);
});

const tcp = [
  '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
  '   0: 2901007F:23DC 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 80 1 x 100 0 0 10 0',
  '   1: 2901007F:23DC 2901007F:8000 01 00000000:00000000 00:00000000 00000000     0        0 81 1 x 100 0 0 10 0',
  '   2: 2A01007F:23DC 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 82 1 x 100 0 0 10 0',
  '   3: 00000000:23DD 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 83 1 x 100 0 0 10 0',
  '',
].join('\n');

test('a listener is found by address and port, and an established connection is none', () => {
  assert.deepEqual(parseListeners(tcp, '127.0.1.41', 9180), ['80']);
  assert.deepEqual(parseListeners(tcp, '127.0.1.42', 9180), ['82']);
  assert.deepEqual(parseListeners(tcp, '127.0.1.43', 9180), []);
});

test('a listener on every address of a port counts for any address, of both families', () => {
  assert.deepEqual(parseListeners(tcp, '127.0.1.41', 9181), ['83']);
  const six = tcp.replace('00000000:23DD', `${'0'.repeat(32)}:23DD`);
  assert.deepEqual(parseListeners(six, '127.0.1.41', 9181), ['83']);
});

const headings = [
  'Inter-|   Receive                                                |  Transmit',
  ' face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed',
];

test('traffic is read by interface, received and sent', () => {
  const text = [
    ...headings,
    '    lo:  100       1    0    0    0     0          0         0      100       1    0    0    0     0       0          0',
    'to-host12: 5400      60    0    0    0     0          0         0     4200      50    0    0    0     0       0          0',
    '',
  ].join('\n');
  const interfaces = parseInterfaces(text);
  assert.deepEqual([...interfaces.keys()], ['lo', 'to-host12']);
  assert.deepEqual(interfaces.get('to-host12'), {
    receivedBytes: 5400,
    receivedPackets: 60,
    sentBytes: 4200,
    sentPackets: 50,
  });
});

test('a line of traffic that lacks columns is an error', () => {
  assert.throws(() => parseInterfaces([...headings, 'eth0: 1 2 3'].join('\n')), /proc\/net\/dev/);
});
