import assert from 'node:assert/strict';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { after, before, test } from 'node:test';
import { decode } from 'dns-packet';
import { type DnsServer, startDnsServer } from '../../../../src/agent/io/dns/server.ts';
import { definitionOf, hostValue, MemoryAgent, selfId } from '../../../support/agent.ts';
import { ask, askByTcp, questionBytes, udpExchange } from '../../../support/dns.ts';

const agent = new MemoryAgent();
const resolver = new Resolver({ timeout: 2000, tries: 1 });
const instances = 80;
let server: DnsServer;
before(async () => {
  agent.vips = { api: '127.64.0.9' };
  agent.addService(selfId, definitionOf({ name: 'api', port: 9001 }));
  for (let i = 0; i < instances; i++) {
    const id = i.toString(16).padStart(64, '0');
    agent.addHost(id, hostValue(`host-${i}`, `10.0.1.${i + 1}`));
    agent.addService(id, definitionOf({ name: 'big', port: 7000 + i }));
  }
  server = await startDnsServer({ agent, listen: { address: '127.0.0.1', port: 0 } });
  resolver.setServers([`127.0.0.1:${server.port}`]);
});
after(() => server.close());

test('a real resolver finds services, instances and hosts', async () => {
  assert.deepEqual(await resolver.resolve4('api.mesh'), ['127.64.0.9']);
  assert.deepEqual(await resolver.resolve4('api.service.mesh'), ['127.64.0.9']);
  assert.deepEqual(await resolver.resolve4('api.service.dc1.mesh'), ['127.0.0.1']);
  assert.deepEqual(await resolver.resolve4('host-7.node.dc1.mesh'), ['10.0.1.8']);
  const [srv] = await resolver.resolveSrv('_api._tcp.mesh');
  assert.equal(`${srv?.priority} ${srv?.weight} ${srv?.port} ${srv?.name}`, '1 256 9001 one.node.dc1.mesh');
  assert.equal((await resolver.resolveSoa('mesh')).nsname, 'ns.mesh');
});

test('a real resolver tells apart no such name, no data and a refusal', async () => {
  await assert.rejects(resolver.resolve4('nothing.mesh'), { code: 'ENOTFOUND' });
  await assert.rejects(resolver.resolve6('api.mesh'), { code: 'ENODATA' });
  await assert.rejects(resolver.resolve4('service.mesh'), { code: 'ENODATA' });
  await assert.rejects(resolver.resolve4('example.com'), { code: 'EREFUSED' });
});

test('a real resolver follows a truncated answer to TCP', async () => {
  assert.equal((await resolver.resolveSrv('big.service.mesh')).length, instances);
});

test('an answer that does not fit a datagram is cut and marked; TCP carries it whole', async () => {
  const plain = await udpExchange(server, questionBytes('big.service.mesh', 'A'));
  assert.ok(plain.length <= 512, `${plain.length} bytes`);
  const cut = decode(plain);
  assert.equal(cut.flag_tc, true);
  assert.ok((cut.answers ?? []).length > 20, 'compressed names leave room for many');
  const roomy = await ask(server, 'big.service.mesh', 'A', 4096);
  assert.equal(roomy.flag_tc, false);
  assert.equal(roomy.answers?.length, instances);
  const whole = await askByTcp(server, 'big.service.mesh', 'SRV');
  assert.equal(whole.flag_tc, false);
  assert.equal(whole.answers?.length, instances);
  assert.equal(whole.additionals?.length, instances);
});

test('EDNS is answered with EDNS, an unknown version with BADVERS, and none with none', async () => {
  const found = await ask(server, 'api.mesh', 'A', 1232);
  assert.deepEqual(
    found.additionals?.map(({ type }) => type),
    ['OPT'],
  );
  assert.equal((await ask(server, 'api.mesh', 'A')).additionals?.length, 0);
  const message = questionBytes('api.mesh', 'A', 1232);
  message[message.length - 5] = 7;
  const [opt] = decode(await udpExchange(server, message)).additionals ?? [];
  assert.ok(opt?.type === 'OPT' && opt.extendedRcode === 1);
});

test('the question comes back byte by byte, upper and lower case included', async () => {
  const message = questionBytes('aPi.SERVICE.mesh', 'A');
  const reply = await udpExchange(server, message);
  assert.deepEqual(reply.subarray(12, message.length), message.subarray(12));
  assert.equal(decode(reply).answers?.[0]?.name, 'aPi.SERVICE.mesh');
});

test('what is not a question gets an error or silence, and the next question an answer', async () => {
  const question = questionBytes('api.mesh', 'A');
  const twoQuestions = Buffer.from(question);
  twoQuestions.writeUInt16BE(2, 4);
  assert.equal((await udpExchange(server, twoQuestions))[3], 1, 'FORMERR');
  const update = Buffer.from(question);
  update[2] = 0x28;
  assert.equal((await udpExchange(server, update))[3]! & 15, 4, 'NOTIMP');
  const pointer = Buffer.concat([question.subarray(0, 12), Buffer.from([0xc0, 12, 0, 1, 0, 1])]);
  assert.equal((await udpExchange(server, pointer))[3], 1);
  assert.equal((await ask(server, 'api.mesh', 'A')).answers?.length, 1);
});

test('several questions on one TCP connection are answered in order, in whatever pieces they come', async () => {
  const socket = connect(server.port, server.address);
  await once(socket, 'connect');
  const framed = ['api.mesh', 'host-1.node.mesh', 'nothing.mesh'].map((name) => {
    const message = questionBytes(name, 'A');
    return Buffer.concat([Buffer.from([0, message.length]), message]);
  });
  for (const byte of Buffer.concat(framed)) socket.write(Buffer.from([byte]));
  const codes: number[] = [];
  let received: Buffer = Buffer.alloc(0);
  for await (const chunk of socket) {
    received = Buffer.concat([received, chunk as Buffer]);
    while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
      const end = 2 + received.readUInt16BE(0);
      codes.push(received[5]! & 15);
      received = received.subarray(end);
    }
    if (codes.length === framed.length) break;
  }
  assert.deepEqual(codes, [0, 0, 3]);
});

test('an address that is taken is refused in words', async () => {
  const listen = { address: server.address, port: server.port };
  await assert.rejects(startDnsServer({ agent, listen }), { code: 'address-in-use', field: 'dns' });
});

test('a client that asks and never reads is cut off, and a connection too many is closed', async () => {
  const closing = (socket: Socket): Promise<void> =>
    new Promise((done) => socket.on('error', () => undefined).on('close', () => done()));
  const socket = connect(server.port, server.address);
  const message = questionBytes('big.service.mesh', 'SRV');
  const frame = Buffer.concat([Buffer.from([0, message.length]), message]);
  socket.pause();
  for (let i = 0; i < 8000; i++) socket.write(frame);
  await closing(socket);

  const idle = Array.from({ length: 256 }, () => connect(server.port, server.address));
  await Promise.all(idle.map((one) => once(one, 'connect')));
  await closing(connect(server.port, server.address));
  const closed = Promise.all(idle.map(closing));
  for (const one of idle) one.destroy();
  await closed;
  assert.equal((await ask(server, 'api.mesh', 'A')).answers?.length, 1);
});
