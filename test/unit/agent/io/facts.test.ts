import assert from 'node:assert/strict';
import { rmSync, statSync } from 'node:fs';
import { test } from 'node:test';
import { defaultInterface, machineFacts } from '../../../../src/agent/io/facts.ts';
import { Fault, ipVersion } from '../../../../src/core.ts';

const head = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n';
const route = (name: string, destination: string, flags: string, metric: number, mask: string): string =>
  `${name}\t${destination}\t0102A8C0\t${flags}\t0\t0\t${metric}\t${mask}\t0\t0\t0\n`;

test('the default route is the one to everywhere that is up and has the lowest metric', () => {
  const lan = route('eth0', '0002A8C0', '0001', 0, '00FFFFFF');
  const slow = route('wlan0', '00000000', '0003', 600, '00000000');
  const fast = route('eth0', '00000000', '0003', 100, '00000000');
  const down = route('eth1', '00000000', '0002', 1, '00000000');
  const half = route('wg0', '00000000', '0001', 0, '00000080');
  assert.equal(defaultInterface(head + lan + slow + fast + down + half), 'eth0');
  assert.equal(defaultInterface(head + half + slow), 'wlan0');
});

test('without a default route, or a table that can be read, there is none', () => {
  for (const table of ['', head, `${head}garbage\n\n\t\t\n`, 'x'.repeat(100)])
    assert.equal(defaultInterface(table), null);
});

test('a machine knows its name, an address others may reach, and a fresh directory', () => {
  const facts = machineFacts();
  assert.ok(facts.hostName.length > 0);
  assert.ok(facts.routeAddress === null || ipVersion(facts.routeAddress) === 4);
  const folder = facts.temporaryDirectory();
  assert.equal(statSync(folder).mode & 0o777, 0o700);
  rmSync(folder, { recursive: true });
});

test('a file that cannot be read is a fault that names it', () => {
  assert.throws(
    () => machineFacts().readText('/nonexistent/token'),
    (error: unknown) =>
      error instanceof Fault && error.code === 'unreadable-file' && error.field === '/nonexistent/token',
  );
});
