import assert from 'node:assert/strict';
import { test } from 'node:test';
import { answer, type DnsAnswer, type DnsView, hexOfAddress } from '../../../../src/agent/dns/dns.ts';
import { seededRandom } from '../../../../src/core.ts';
import { checkOf, definitionOf, hostValue, MemoryAgent, selfId } from '../../../support/agent.ts';

const two = 'b'.repeat(64);
const far = 'c'.repeat(64);

function mesh(): { agent: MemoryAgent; view: DnsView } {
  const agent = new MemoryAgent();
  agent.addHost(two, hostValue('two', '10.0.0.2'));
  agent.addHost(far, hostValue('far', '10.0.0.3', { datacenter: 'dc2' }));
  agent.addService(selfId, definitionOf({ name: 'api', port: 9001, tags: ['v1'] }));
  agent.addService(
    two,
    definitionOf({ name: 'api', port: 9001, tags: ['V2'], weights: { passing: 3, warning: 1 } }),
  );
  agent.addService(two, definitionOf({ name: 'db', port: 5432, address: '10.9.9.9' }));
  agent.addService(far, definitionOf({ name: 'api', port: 9001 }));
  const view: DnsView = {
    catalog: agent.catalog,
    domain: 'mesh',
    datacenter: 'dc1',
    zone: '',
    datacenters: new Set(['dc1', 'dc2']),
    serverAddress: '127.0.0.1',
    vipOf: (service) => (service === 'api' ? '127.64.0.9' : null),
  };
  return { agent, view };
}

const { view } = mesh();
const random = seededRandom(1);

function ask(name: string, type = 'A', from: DnsView = view): DnsAnswer {
  return answer({ name, type, class: 'IN' }, from, random);
}

function addresses(found: DnsAnswer): unknown[] {
  return found.answers.map(({ data }) => data).sort();
}

test('a service name alone answers the loopback address of this host', () => {
  assert.deepEqual(addresses(ask('api.mesh')), ['127.64.0.9']);
  assert.deepEqual(addresses(ask('api.mesh', 'ANY')), ['127.64.0.9']);
  assert.deepEqual(addresses(ask('api.service.mesh')), ['127.64.0.9']);
  assert.equal(ask('api.service.mesh', 'SRV').answers.length, 2);
});

test('below service the instances of this datacenter answer, or of the one named', () => {
  assert.deepEqual(addresses(ask('api.service.dc1.mesh')), ['10.0.0.2', '127.0.0.1']);
  assert.deepEqual(addresses(ask('api.service.dc2.mesh')), ['10.0.0.3']);
  assert.equal(ask('api.service.dc3.mesh').code, 'NXDOMAIN');
});

test('tags choose instances in both forms, in any case', () => {
  assert.deepEqual(addresses(ask('v1.api.service.mesh')), ['127.0.0.1']);
  assert.deepEqual(addresses(ask('v2.api.service.dc1.mesh')), ['10.0.0.2']);
  assert.deepEqual(addresses(ask('_api._v2.mesh')), ['10.0.0.2']);
  assert.equal(ask('v9.api.service.mesh').code, 'NXDOMAIN');
});

test('SRV answers carry ports, weights times 256, and the addresses of their targets', () => {
  for (const name of [
    'api.mesh',
    'api.service.mesh',
    '_api._tcp.mesh',
    '_api._tcp.service.mesh',
    '_api._tcp.service.dc1.mesh',
  ]) {
    const found = ask(name, 'SRV');
    const two = found.answers.find(
      ({ data }) => typeof data === 'object' && 'target' in data && data.target.startsWith('two'),
    );
    assert.deepEqual(two?.data, { priority: 1, weight: 768, port: 9001, target: 'two.node.dc1.mesh' }, name);
    assert.equal(found.answers.length, 2);
    assert.deepEqual(found.additionals.map(({ name, data }) => `${name} ${data}`).sort(), [
      'one.node.dc1.mesh 127.0.0.1',
      'two.node.dc1.mesh 10.0.0.2',
    ]);
  }
});

test('SRV of a service name alone needs no loopback address, and keeps to this datacenter', () => {
  const port = (found: DnsAnswer) => (found.answers[0]?.data as { port: number } | undefined)?.port;
  assert.equal(port(ask('db.mesh', 'SRV')), 5432);
  const { agent, view } = mesh();
  agent.addService(far, definitionOf({ name: 'remote', port: 1 }));
  for (const vip of [null, '127.64.0.7']) {
    const found = ask('remote.mesh', 'SRV', { ...view, vipOf: () => vip });
    assert.deepEqual([found.code, found.answers.length, found.authorities.length], ['NOERROR', 0, 1]);
  }
  assert.equal(ask('nothing.mesh', 'SRV').code, 'NXDOMAIN');
  assert.equal(ask('node.mesh', 'SRV').code, 'NOERROR');
});

test('an instance with an address of its own is named by that address', () => {
  const found = ask('db.service.mesh', 'SRV');
  assert.equal((found.answers[0]!.data as { target: string }).target, '0a090909.addr.dc1.mesh');
  assert.deepEqual(addresses(ask('0a090909.addr.dc1.mesh')), ['10.9.9.9']);
  assert.deepEqual(addresses(ask('7f000001.addr.mesh')), ['127.0.0.1']);
  assert.equal(ask('nothex.addr.mesh').code, 'NXDOMAIN');
  assert.equal(hexOfAddress('fe80::1'), 'fe800000000000000000000000000001');
  assert.equal(hexOfAddress('::'), '0'.repeat(32));
  for (const none of ['db.example', '1.2.3', '999.1.1.1', '1::2::3', '1:2:3', 'fe80::1%eth0', 'g::1', ''])
    assert.equal(hexOfAddress(none), null, none);
  assert.deepEqual(addresses(ask('fe800000000000000000000000000001.addr.mesh', 'AAAA')), [
    'fe80:0:0:0:0:0:0:1',
  ]);
});

test('hosts are found by name in their datacenter', () => {
  assert.deepEqual(addresses(ask('two.node.mesh')), ['10.0.0.2']);
  assert.deepEqual(addresses(ask('far.node.dc2.mesh')), ['10.0.0.3']);
  assert.equal(ask('far.node.mesh').code, 'NXDOMAIN');
  assert.equal(ask('nobody.node.mesh').code, 'NXDOMAIN');
});

test('instances that are critical, or on a host that is down, are not answered', () => {
  const { agent, view } = mesh();
  agent.addService(selfId, definitionOf({ name: 'api', port: 9001, checks: [checkOf({ id: 'sick' })] }));
  assert.deepEqual(addresses(ask('api.service.dc1.mesh', 'A', view)), ['10.0.0.2']);
  agent.member(two, 'down');
  const none = ask('api.service.dc1.mesh', 'A', view);
  assert.equal(none.code, 'NOERROR', 'the name is there, the answer is empty');
  assert.equal(none.answers.length, 0);
});

test('instances of this zone come first, in changing order, and the others follow', () => {
  const agent = new MemoryAgent();
  for (const [i, zone] of ['a', 'b', 'a', '', 'a', 'b'].entries()) {
    const id = i.toString(16).padStart(64, '0');
    agent.addHost(id, hostValue(`host-${i}`, `10.0.0.${i}`, { zone }));
    agent.addService(id, definitionOf({ name: 'api', port: 9000 + i }));
  }
  const zoned: DnsView = { ...view, catalog: agent.catalog, zone: 'a', vipOf: () => null };
  const orders = new Set<string>();
  for (let i = 0; i < 60; i++) {
    const found = ask('api.service.mesh', 'A', zoned).answers.map(({ data }) => String(data));
    assert.deepEqual(found.slice(0, 3).sort(), ['10.0.0.0', '10.0.0.2', '10.0.0.4']);
    assert.equal(found.length, 6);
    orders.add(found.slice(0, 3).join(' '));
    const { target } = ask('api.service.mesh', 'SRV', zoned).answers[0]!.data as { target: string };
    assert.match(target, /^host-[024]\./);
  }
  assert.equal(orders.size, 6, 'each order of the three is seen');
});

test('to ANY one type of address is answer enough', () => {
  const agent = new MemoryAgent();
  agent.addService(selfId, definitionOf({ name: 'dual', id: 'four', address: '10.0.0.1' }));
  agent.addService(selfId, definitionOf({ name: 'dual', id: 'six', address: 'fd00::1' }));
  const found = ask('dual.service.mesh', 'ANY', { ...view, catalog: agent.catalog });
  assert.equal(found.answers.length, 1);
});

test('names that lead on, and types there are none of, answer no data with the SOA', () => {
  for (const name of [
    'mesh',
    'service.mesh',
    'node.mesh',
    'addr.mesh',
    'dc1.mesh',
    'service.dc1.mesh',
    '_tcp.mesh',
    '_tcp.service.mesh',
    '_tcp.service.dc1.mesh',
    'db.mesh',
  ]) {
    const found = ask(name);
    assert.equal(found.code, 'NOERROR', name);
    assert.equal(found.answers.length, 0, name);
    assert.deepEqual(
      found.authorities.map(({ type }) => type),
      ['SOA'],
      name,
    );
  }
  for (const type of ['AAAA', 'TXT', 'MX', 'TYPE65']) {
    assert.equal(ask('api.mesh', type).code, 'NOERROR', type);
    assert.equal(ask('api.mesh', type).answers.length, 0, type);
  }
});

test('what is not there is denied with the SOA, what is not ours refused', () => {
  for (const name of [
    'nothing.mesh',
    'a.b.c.mesh',
    'nothing.service.mesh',
    '_x._tcp.mesh',
    'a.b.addr.mesh',
  ]) {
    const found = ask(name);
    assert.equal(found.code, 'NXDOMAIN', name);
    assert.deepEqual(
      found.authorities.map(({ type }) => type),
      ['SOA'],
    );
    assert.equal(found.authoritative, true);
  }
  for (const name of ['example.com', 'mesh.example', 'notmesh', ''])
    assert.equal(ask(name).code, 'REFUSED', name);
  assert.equal(answer({ name: 'api.mesh', type: 'A', class: 'CLASS3' }, view, random).code, 'REFUSED');
});

test('the zone has an SOA and a name server with its address', () => {
  assert.equal(ask('mesh', 'SOA').answers[0]?.type, 'SOA');
  assert.deepEqual(addresses(ask('mesh', 'NS')), ['ns.mesh']);
  assert.deepEqual(addresses(ask('ns.mesh')), ['127.0.0.1']);
});

test('the name comes back as it was asked, and instances come in changing order', () => {
  assert.equal(ask('API.Service.MESH').answers[0]?.name, 'API.Service.MESH');
  const firsts = new Set(
    Array.from({ length: 40 }, () => String(ask('api.service.dc1.mesh').answers[0]?.data)),
  );
  assert.equal(firsts.size, 2);
});

test('an instance whose address is a host name has no address record, but a target for SRV', () => {
  const { agent, view } = mesh();
  agent.addService(two, definitionOf({ name: 'ext', port: 443, address: 'ext.example.com' }));
  agent.addService(two, definitionOf({ name: 'odd', port: 443, address: 'a..b' }));
  assert.equal(ask('ext.service.mesh', 'A', view).answers.length, 0);
  const target = (name: string) => (ask(name, 'SRV', view).answers[0]!.data as { target: string }).target;
  assert.equal(target('ext.service.mesh'), 'ext.example.com');
  assert.equal(target('odd.service.mesh'), 'two.node.dc1.mesh');
});
