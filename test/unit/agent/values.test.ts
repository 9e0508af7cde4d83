import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CHECK, CHECK_DEFINITION, HOST, SERVICE, TRUST_ACK, TRUST_EPOCH } from '../../../src/agent/kinds.ts';
import { decodeValue } from '../../../src/agent/values.ts';
import { Fault } from '../../../src/core.ts';
import { genesisEpoch } from '../../../src/trust/epoch/descriptor.ts';
import { createRecord } from '../../../src/trust/epoch/record.ts';
import { checkOf, definitionOf, hostValue } from '../../support/agent.ts';
import { KnownMesh, recordOf } from '../../support/records.ts';
import { founder, genesis } from '../trust/mesh.ts';

const host = hostValue('one', '10.0.0.1');
const service = definitionOf({ name: 'web', checks: [checkOf({ id: 'c' })] });
const check = { name: 'c', status: 'passing', notes: '', output: '', serviceId: 'web', type: 'ttl' };

function malformed(kind: string, key: string, value: object | Uint8Array): string {
  try {
    decodeValue(recordOf({ kind, key, value }));
  } catch (error) {
    assert.ok(error instanceof Fault && error.code === 'malformed', String(error));
    return error.message;
  }
  throw new Error(`taken: ${kind} ${JSON.stringify(value)}`);
}

test('what this version writes it reads, as it was', () => {
  for (const [kind, key, value] of [
    [HOST, '', host],
    [HOST, '', hostValue('one', '2001:db8::1', { zone: 'a' })],
    [SERVICE, 'web', service],
    [
      SERVICE,
      'web',
      {
        ...service,
        uid: 1000,
        upstreams: [{ destination: 'api', bindAddress: '127.0.0.1', bindPort: 9, datacenter: '' }],
      },
    ],
    [CHECK, 'c', check],
    [CHECK_DEFINITION, 'c', { serviceId: '', check: checkOf({ id: 'c' }) }],
  ] as const)
    assert.deepEqual(decodeValue(recordOf({ kind, key, value })), value);
});

test('fields and kinds of a later version are let be, and a tombstone is no value', () => {
  assert.deepEqual(decodeValue(recordOf({ kind: HOST, value: { ...host, colour: 'red' } })), {
    ...host,
    colour: 'red',
  });
  assert.deepEqual(decodeValue(recordOf({ kind: 'of-later', value: [1] })), [1]);
  assert.equal(decodeValue(recordOf({ kind: SERVICE, key: 'web', value: null })), null);
});

test('what agents said of their certificates before they told their own from those of others is understood', () => {
  const old = { believes: [1, 2], uses: 1, lastsUntil: 1_800_000_000_000, withdrawn: false };
  assert.deepEqual(decodeValue(recordOf({ kind: TRUST_ACK, value: old })), old);
  const now = { ...old, externalUntil: 0 };
  assert.deepEqual(decodeValue(recordOf({ kind: TRUST_ACK, value: now })), now);
  assert.match(malformed(TRUST_ACK, '', { ...old, externalUntil: 'soon' }), /externalUntil/);
});

test('a value says which of its fields is not what it should be', () => {
  const wrong: readonly (readonly [string, string, object, RegExp])[] = [
    [HOST, '', { ...host, name: 'Not A Name' }, /host\/name/],
    [HOST, '', { ...host, address: 'localhost' }, /host\/address/],
    [HOST, '', { ...host, gossipPort: 65_536 }, /host\/gossipPort/],
    [HOST, '', { ...host, inboundPort: 1.5 }, /host\/inboundPort/],
    [SERVICE, 'web', { ...service, port: -1 }, /service\/port/],
    [SERVICE, 'web', { ...service, weights: { passing: 1 } }, /service\/weights/],
    [SERVICE, 'web', { ...service, tags: ['x', 5] }, /service\/tags\/1/],
    [SERVICE, 'web', { ...service, meta: { a: 1 } }, /service\/meta\/a/],
    [SERVICE, 'other', service, /service\/id/],
    [CHECK, 'c', { ...check, status: 'unknown' }, /check\/status/],
    [CHECK_DEFINITION, 'c', { serviceId: '' }, /check-definition/],
  ];
  for (const [kind, key, value, message] of wrong) assert.match(malformed(kind, key, value), message);
});

test('what is not JSON, or not an object, is malformed', () => {
  for (const text of ['', '{', 'null', '5', '[]', '"x"']) malformed(HOST, '', new TextEncoder().encode(text));
  malformed(HOST, '', new Uint8Array([0xff, 0xfe]));
});

test('an admitted host’s nonsense hides what it overwrites, is reported, and is over when it is mended', () => {
  const mesh = new KnownMesh();
  const author = 'a'.repeat(64);
  mesh.apply(
    recordOf({ kind: HOST, author, value: host }),
    recordOf({ kind: SERVICE, key: 'web', author, value: service }),
  );
  mesh.knowledge.catalog.member({ id: author, state: 'alive', incarnation: 0, since: 0, roundTripMs: null });
  assert.deepEqual(mesh.knowledge.catalog.serviceNames(), ['web']);
  mesh.apply(recordOf({ kind: HOST, author, value: { ...host, address: 'nowhere' }, version: 2 }));
  assert.deepEqual(mesh.knowledge.catalog.serviceNames(), []);
  assert.deepEqual(mesh.malformed, ['host: host/address is not an IP address']);
  mesh.apply(recordOf({ kind: HOST, author, value: host, version: 3 }));
  assert.deepEqual(mesh.knowledge.catalog.serviceNames(), ['web']);
  assert.equal(mesh.knowledge.catalog.hostNamed('one')?.state, 'alive');
});

test('what is told of an epoch is a record of that epoch, or nothing', () => {
  const first = genesisEpoch(genesis.hash, founder.publicKey, genesis.root.publicKey, genesis.createdAt);
  const { bytes } = createRecord(first, [], new Uint8Array(64));
  const record = Buffer.from(bytes).toString('base64');
  assert.deepEqual(decodeValue(recordOf({ kind: TRUST_EPOCH, value: { epoch: 0, record } })), {
    epoch: 0,
    record,
  });
  assert.match(malformed(TRUST_EPOCH, '', { epoch: 2 ** 50, record }), /of epoch 0, not/);
  for (const junk of ['', 'anVuaw==', `${record.slice(0, -8)}`])
    malformed(TRUST_EPOCH, '', { epoch: 2 ** 50, record: junk });
});
