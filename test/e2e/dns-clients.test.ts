/** dig, as people type it, against the DNS server. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { command } from '../../demo/flock.ts';
import { type DnsServer, startDnsServer } from '../../src/agent/io/dns/server.ts';
import { definitionOf, hostValue, MemoryAgent, selfId } from '../support/agent.ts';

const agent = new MemoryAgent();
let server: DnsServer;
before(async () => {
  agent.vips = { api: '127.64.0.9' };
  agent.addService(selfId, definitionOf({ name: 'api', port: 9001, tags: ['v1'] }));
  for (let i = 0; i < 60; i++) {
    const id = i.toString(16).padStart(64, '0');
    agent.addHost(id, hostValue(`host-${i}`, `10.0.1.${i + 1}`));
    agent.addService(id, definitionOf({ name: 'big', port: 7000 + i }));
  }
  server = await startDnsServer({ agent, listen: { address: '127.0.0.1', port: 0 } });
});
after(() => server.close());

async function dig(...args: string[]): Promise<string> {
  const result = await command('dig', [
    '@127.0.0.1',
    '-p',
    String(server.port),
    '+tries=1',
    '+time=10',
    ...args,
  ]);
  assert.equal(result.code, 0, result.stderr + result.stdout);
  assert.doesNotMatch(result.stdout, /malformed|FORMERR|extra bytes/i);
  return result.stdout;
}

test('dig finds the loopback address, instances, ports and hosts', async () => {
  assert.equal(await dig('+short', 'api.mesh'), '127.64.0.9\n');
  assert.equal(await dig('+short', 'v1.api.service.dc1.mesh'), '127.0.0.1\n');
  assert.equal(await dig('+short', '_api._tcp.mesh', 'SRV'), '1 256 9001 one.node.dc1.mesh.\n');
  assert.equal(await dig('+short', 'host-5.node.mesh'), '10.0.1.6\n');
  assert.equal(await dig('+short', '0a090909.addr.dc1.mesh'), '10.9.9.9\n');
});

test('dig sees authority, the SOA of negative answers, and refusals', async () => {
  assert.match(await dig('api.mesh'), /flags: qr aa rd;/);
  assert.match(await dig('nothing.mesh'), /status: NXDOMAIN[\s\S]*AUTHORITY SECTION:\nmesh\.\s+0\s+IN\s+SOA/);
  assert.match(await dig('api.mesh', 'AAAA'), /status: NOERROR[\s\S]*IN\s+SOA/);
  assert.match(await dig('example.com'), /status: REFUSED/);
  assert.match(await dig('+norecurse', '-c', 'CH', 'version.bind', 'TXT'), /status: REFUSED/);
});

test('dig goes on by TCP where a datagram is too small', async () => {
  assert.match(await dig('+noedns', '+ignore', 'big.service.mesh'), /flags: qr aa tc rd/);
  assert.equal((await dig('+short', '+noedns', 'big.service.mesh')).trim().split('\n').length, 60);
  assert.equal((await dig('+short', '+tcp', 'big.service.mesh', 'SRV')).trim().split('\n').length, 60);
});
