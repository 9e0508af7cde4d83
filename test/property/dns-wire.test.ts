/** Whatever bytes arrive, the DNS server neither throws nor answers more than was offered. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decode, encode, type RecordType } from 'dns-packet';
import fc from 'fast-check';
import { answer } from '../../src/agent/dns/dns.ts';
import { encodeAnswer, parseQuery, sizeLimit } from '../../src/agent/dns/dns-wire.ts';
import { seededRandom } from '../../src/core.ts';
import { definitionOf, hostValue, MemoryAgent } from '../support/agent.ts';

const agent = new MemoryAgent();
for (let i = 0; i < 40; i++) {
  const id = i.toString(16).padStart(64, '0');
  agent.addHost(id, hostValue(`host-${i}`, i % 3 === 0 ? `fd00::${i.toString(16)}` : `10.0.0.${i}`));
  agent.addService(
    id,
    definitionOf({ name: 'api', port: 9000 + i, address: i % 5 === 0 ? `10.9.9.${i}` : '' }),
  );
}
const view = {
  catalog: agent.catalog,
  domain: 'mesh',
  datacenter: 'dc1',
  zone: '',
  datacenters: new Set(['dc1']),
  serverAddress: '127.0.0.1',
  vipOf: () => '127.64.0.1',
};

/** What the server would send back; null for silence. */
function respond(bytes: Uint8Array): Uint8Array | null {
  const query = parseQuery(bytes);
  if ('reply' in query) return query.reply;
  const found = answer(query.question, view, seededRandom(1));
  const limit = sizeLimit(query, 'udp');
  const reply = encodeAnswer(query, found, limit);
  assert.ok(reply.length <= limit, `${reply.length} bytes of ${limit}`);
  return reply;
}

const label = fc.oneof(
  fc.constantFrom('api', 'service', 'node', 'addr', 'dc1', '_api', '_tcp', 'host-3', 'ns', '0a000001', 'API'),
  fc.stringMatching(/^[a-z0-9_-]{1,63}$/),
);
const name = fc.array(label, { maxLength: 5 }).map((labels) => [...labels, 'mesh'].join('.'));
const type = fc.constantFrom<RecordType>('A', 'AAAA', 'SRV', 'SOA', 'NS', 'TXT', 'PTR', 'MX');

test('random bytes are answered by an error or by silence', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const reply = respond(bytes);
      if (reply !== null) assert.deepEqual([...reply.subarray(0, 2)], [...bytes.subarray(0, 2)]);
    }),
    { numRuns: 2000 },
  );
});

test('questions with any byte changed, cut or added are survived', () => {
  fc.assert(
    fc.property(name, type, fc.nat(200), fc.nat(255), fc.nat(200), (asked, kind, at, value, length) => {
      const bytes = Buffer.from(encode({ type: 'query', id: 1, questions: [{ name: asked, type: kind }] }));
      bytes[at % bytes.length] = value;
      respond(bytes.subarray(0, Math.max(1, length)));
      respond(Buffer.concat([bytes, Buffer.alloc(length % 50, value)]));
    }),
    { numRuns: 2000 },
  );
});

test('names that point at themselves, at one another or nowhere are read once and not followed', () => {
  const header = (counts: readonly number[]) => {
    const bytes = Buffer.from([0, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for (const [i, count] of counts.entries()) bytes.writeUInt16BE(count, 4 + 2 * i);
    return bytes;
  };
  const question = Buffer.from('\x03api\x04mesh\x00\x00\x01\x00\x01', 'latin1');
  const rcode = (...parts: Buffer[]) => respond(Buffer.concat(parts))![3]! & 15;
  for (const name of ['\xc0\x0c', '\xc0\x0e\xc0\x0c', '\x03api\xc0\x0c', '\xff\xff', '\x80x', '\x40x'])
    assert.equal(rcode(header([1, 0, 0, 0]), Buffer.from(`${name}\x00\x01\x00\x01`, 'latin1')), 1, name);
  const record = Buffer.from('\xc0\x1a\x00\x01\x00\x01\x00\x00\x00\x00\x00\x00', 'latin1');
  assert.equal(
    rcode(header([1, 0, 0, 1]), question, record),
    0,
    'a pointer to itself is skipped, not followed',
  );
  assert.equal(rcode(header([1, 65535, 65535, 65535]), question, record), 1, 'records that are not there');
  assert.equal(rcode(header([1, 0, 0, 65535]), question, Buffer.alloc(65_000, record)), 1);
});

test('every answer to a well-formed question decodes, repeats it, and fits', () => {
  fc.assert(
    fc.property(name, type, (asked, kind) => {
      fc.pre(asked.length < 250);
      const reply = respond(encode({ type: 'query', id: 77, questions: [{ name: asked, type: kind }] }));
      assert.ok(reply !== null);
      const decoded = decode(Buffer.from(reply));
      assert.equal(decoded.id, 77);
      assert.equal(decoded.questions?.[0]?.name, asked);
      for (const record of decoded.answers ?? []) assert.equal(record.name, asked);
    }),
    { numRuns: 1000 },
  );
});
