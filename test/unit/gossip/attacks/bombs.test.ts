/** Small things that claim to be large, and large things that nest: none is believed, none makes anybody throw. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ADMISSION, CHECK, CHECK_DEFINITION, HOST, LIFECYCLE, SERVICE } from '../../../../src/agent/kinds.ts';
import { decodeValue } from '../../../../src/agent/values.ts';
import { ByteReader, ByteWriter, Fault, parseJson } from '../../../../src/core.ts';
import { decodeFrame, encodeFrame } from '../../../../src/gossip/framecodec.ts';
import { maxFrameBytes } from '../../../../src/gossip/frames.ts';
import { decodeRecord, encodeRecord } from '../../../../src/gossip/replica/codec.ts';
import { parseLifecycle } from '../../../../src/gossip/replica/lifecycle.ts';
import { maxValueBytes } from '../../../../src/gossip/replica/record.ts';
import { decodeDelta, encodeDelta } from '../../../../src/gossip/spread/dissemination.ts';
import { Flock } from '../../../support/flock.ts';
import { Mesh } from '../mesh.ts';
import { idleSigner, makeRecord } from '../records.ts';

const isMalformed = (error: unknown) => error instanceof Fault && error.code === 'malformed';

test('a varint that is too long, too large or not minimal is malformed', () => {
  for (const hex of ['ffffffffffffffffff01', 'ffffffffffffff7f01', '8000', '80808000', 'ffffffffffffffff'])
    assert.throws(() => new ByteReader(Buffer.from(hex, 'hex')).varint(), isMalformed, hex);
  assert.throws(() => new ByteReader(new ByteWriter().varint(2 ** 40).done()).bytes(2 ** 20), isMalformed);
});

/** The head of a frame, up to where a count stands. */
const heads: readonly [string, Uint8Array][] = [
  ['rumors', encodeFrame({ type: 'rumors', rumors: [] }).slice(0, -1)],
  ['sync-listing', encodeFrame({ type: 'sync-listing', session: 1, last: true, ranges: [] }).slice(0, -1)],
  ['sync-parts', encodeFrame({ type: 'sync-parts', session: 1, buckets: [] }).slice(0, -1)],
  ['sync-want', encodeFrame({ type: 'sync-want', session: 1, slots: [] }).slice(0, -1)],
  ['sync-records', encodeFrame({ type: 'sync-records', session: 1, last: true, records: [] }).slice(0, -1)],
  ['sync-collected', encodeFrame({ type: 'sync-collected', session: 1, slots: [] }).slice(0, -1)],
  ['sync-open', encodeFrame({ type: 'sync-open', session: 1, buckets: null }).slice(0, -1)],
];

for (const [type, head] of heads)
  test(`a ${type} frame that claims more than it holds is malformed, and costs nothing`, () => {
    for (const count of [1, 100, 512, 4000, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
      const frame = Buffer.concat([head, new ByteWriter().varint(count).done()]);
      const before = process.memoryUsage().heapUsed;
      for (let i = 0; i < 100; i++) assert.throws(() => decodeFrame(frame), isMalformed);
      assert.ok(process.memoryUsage().heapUsed - before < 32 * 1024 * 1024);
    }
    const full = Buffer.alloc(maxFrameBytes, 0xff);
    full.set(head);
    assert.throws(() => decodeFrame(full), isMalformed);
    assert.throws(() => decodeFrame(Buffer.concat([full, full])), isMalformed);
  });

test('a delta of more records than it holds, and a record of longer parts, are malformed', () => {
  const head = encodeDelta([]).slice(0, -1);
  for (const count of [1, 512, 513, 2 ** 40])
    assert.throws(
      () => decodeDelta(Buffer.concat([head, new ByteWriter().varint(count).done()])),
      isMalformed,
    );
  const { bytes } = makeRecord({});
  for (let at = 34; at < bytes.length - 64; at++) {
    const longer = Uint8Array.from(bytes);
    longer[at] = 0xff;
    try {
      decodeRecord(longer);
    } catch (error) {
      assert.ok(error instanceof Fault, `byte ${at}`);
    }
  }
});

/** Values of the largest size that nest as deep as they can, or that have odd names. */
const half = Math.floor(maxValueBytes / 2) - 100;
const bombs: readonly [string, string][] = [
  ['arrays in arrays', '['.repeat(half) + ']'.repeat(half)],
  ['arrays that never end', '['.repeat(maxValueBytes)],
  ['objects in objects', `${'{"a":'.repeat(half / 4)}1${'}'.repeat(half / 4)}`],
  [
    'depth under a field that is read',
    `{"id":"web","name":"web","meta":{"a":${'['.repeat(half / 2)}${']'.repeat(half / 2)}}}`,
  ],
  ['a prototype', '{"__proto__":{"polluted":true},"constructor":{"prototype":{"polluted":true}},"id":"web"}'],
  ['a number too large', '{"id":"web","port":1e999,"state":"left","incarnation":1e308}'],
  ['many names', `{${Array.from({ length: 3000 }, (_, i) => `"k${i}":1`).join(',')}}`],
  ['no value', 'null'],
  ['half a character', '"\\ud800"'],
];
const kinds = [HOST, SERVICE, CHECK, CHECK_DEFINITION, LIFECYCLE, ADMISSION, 'unknown-kind'];

for (const [name, text] of bombs)
  test(`a value of ${name} makes no reader of it throw anything but a fault`, () => {
    for (const kind of kinds) {
      const key = kind === SERVICE ? 'web' : '';
      const value = Buffer.from(text);
      const fields = { scope: 'host', kind, key, version: 1, hlc: 1, value } as const;
      const record = encodeRecord(fields, idleSigner('bomber'));
      for (const read of [() => decodeValue(record), () => parseLifecycle(record), () => parseJson(value)])
        try {
          read();
        } catch (error) {
          assert.ok(error instanceof Fault, `${kind}: ${String(error)}`);
        }
    }
    assert.ok(!('polluted' in {}));
  });

test('an agent that was sent every bomb lives, keeps its catalog, and starts again from the same disk', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  const third = flock.join('third', first, flock.token(first));
  third.register('api');
  flock.run(500);
  let version = second.epoch * 2 ** 32 + 1000;
  for (const [, text] of bombs)
    for (const kind of kinds) {
      if (kind === ADMISSION) continue;
      const key = kind === SERVICE || kind.startsWith(CHECK) ? 'web' : '';
      const value = Buffer.from(text);
      const hlc = flock.now * 1024;
      const record = encodeRecord(
        { scope: 'host', kind, key, version: version++, hlc, value },
        second.signer,
      );
      first.feed({ type: 'delta', bytes: encodeDelta([record.bytes]) });
    }
  flock.run(500);
  assert.deepEqual(first.core.catalog.serviceNames(), ['api']);
  assert.ok(first.core.malformedValues > 0);
  for (let round = 0; round < 2; round++) {
    first.kill();
    first.start();
    flock.run(500);
    assert.deepEqual(first.core.catalog.serviceNames(), ['api']);
  }
});

test('frames and deltas of any such kind, from a member, leave a mesh as it was', () => {
  const mesh = new Mesh({ seed: 9, size: 4 });
  mesh.run(3000);
  const [victim, liar] = mesh.hosts as [Mesh['hosts'][0], Mesh['hosts'][0]];
  const root = victim.gossip.replica.root();
  for (const [, head] of heads)
    for (const tail of ['ff', 'ffffffffffffff0f', '00ff', '8000', '']) {
      const bytes = Buffer.concat([head, Buffer.from(tail, 'hex')]);
      mesh.feed(victim, { type: 'frame', from: liar.id, bytes });
      mesh.feed(victim, { type: 'datagram', from: liar.id, bytes });
      mesh.feed(victim, { type: 'delta', bytes });
    }
  mesh.run(3000);
  assert.equal(victim.gossip.replica.root(), root);
  assert.equal(mesh.observations.filter(({ state }) => state !== 'alive').length, 0);
});
