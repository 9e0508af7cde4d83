import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '../../../src/core.ts';
import { type Coordinate, encodeCoordinate } from '../../../src/gossip/coordinates/coordinate.ts';
import { decodeFrame, encodeFrame, needsStream } from '../../../src/gossip/framecodec.ts';
import {
  type Frame,
  maxFrameBytes,
  maxRumors,
  maxSlotsPerFrame,
  type Rumor,
} from '../../../src/gossip/frames.ts';
import { rumorBytes } from '../../../src/gossip/membership/rumors.ts';
import { maxDatagramBytes, sealedOverheadBytes } from '../../../src/gossip/membership/sealing.ts';
import { defaultSwimParameters } from '../../../src/gossip/parameters.ts';

const id = 'ab'.repeat(32);
const belief = { state: 'suspect', incarnation: 9 } as const;
const rumors: Rumor[] = [
  { state: 'alive', id, incarnation: 2 ** 50, proof: new Uint8Array(64).fill(7) },
  { state: 'down', id, incarnation: 0, accuser: id },
];
const coordinate: Coordinate = {
  vectorMs: [1, -2, 0.5, 10_000, -10_000, 0, 64, 0.25],
  heightMs: 3,
  adjustmentMs: -0.5,
  error: 1.5,
};
const digest = '\u0000\u00ff345678';
const frames: Frame[] = [
  { type: 'ping', sequence: 2 ** 32 - 1, incarnation: 65536, coordinate, belief, rumors },
  {
    type: 'ack',
    sequence: 1,
    incarnation: 65536,
    coordinate,
    belief,
    clock: 1_800_000_000_000,
    root: digest,
    rumors: [],
  },
  { type: 'ping-req', sequence: 1, target: id, urgent: true, rumors },
  { type: 'relayed-ack', sequence: 1 },
  { type: 'nack', sequence: 1 },
  { type: 'corroborate', target: id, incarnation: 3, rumors },
  { type: 'rumors', rumors },
  { type: 'sync-open', session: 5, buckets: null },
  { type: 'sync-open', session: 5, buckets: new Uint8Array(4096).fill(3) },
  {
    type: 'sync-listing',
    session: 5,
    last: true,
    ranges: [{ range: 16_895, entries: [{ slot: digest, record: digest }] }],
  },
  { type: 'sync-parts', session: 5, buckets: [{ bucket: 511, digests: new Uint8Array(256).fill(9) }] },
  { type: 'sync-collected', session: 5, slots: [{ slot: digest, floor: 2 ** 50 }] },
  { type: 'sync-want', session: 5, slots: [digest, digest] },
  { type: 'sync-records', session: 5, last: false, records: [new Uint8Array([1, 2]), new Uint8Array(0)] },
  { type: 'sync-credit', session: 5 },
  { type: 'sync-close', session: 5, reason: 'busy' },
];

test('every frame is read as it was written', () => {
  for (const frame of frames) assert.deepEqual(plain(decodeFrame(encodeFrame(frame))), plain(frame));
});

/** The records of a frame alias its bytes as a `Buffer`; compared as what they hold. */
function plain(frame: Frame): Frame {
  if (frame.type !== 'sync-records') return frame;
  return { ...frame, records: frame.records.map((record) => new Uint8Array(record)) };
}

test('anything cut short or lengthened is refused', () => {
  for (const frame of frames) {
    const bytes = encodeFrame(frame);
    for (let end = 0; end < Math.min(bytes.length, 300); end++)
      assert.throws(() => decodeFrame(bytes.subarray(0, end)), Fault, `${frame.type} cut at ${end}`);
    assert.throws(() => decodeFrame(new Uint8Array([...bytes, 0])), Fault, `${frame.type} lengthened`);
  }
});

test('a frame of a later release is told apart from garbage', () => {
  assert.throws(
    () => decodeFrame(new Uint8Array([200])),
    (error) => error instanceof Fault && error.code === 'unknown-frame',
  );
  assert.throws(() => decodeFrame(new Uint8Array(maxFrameBytes + 1)), Fault);
});

test('a coordinate that no host can have is refused with its frame', () => {
  const bytes = encodeFrame({ type: 'ping', sequence: 1, incarnation: 1, coordinate, belief, rumors: [] });
  const at = Buffer.from(bytes).indexOf(encodeCoordinate(coordinate));
  for (const impossible of [Number.NaN, 10_001, Number.POSITIVE_INFINITY]) {
    const altered = Buffer.from(bytes);
    altered.writeFloatBE(impossible, at);
    assert.throws(
      () => decodeFrame(altered),
      (error) => error instanceof Fault && error.code === 'malformed',
    );
  }
});

test('only anti-entropy needs a stream, and the fullest probe, sealed, passes every path in one piece', () => {
  for (const frame of frames) assert.equal(needsStream(encodeFrame(frame)), frame.type.startsWith('sync-'));
  const incarnation = Number.MAX_SAFE_INTEGER;
  const fullest: Rumor = { state: 'alive', id, incarnation, proof: new Uint8Array(64) };
  const ack = (count: number): number =>
    encodeFrame({
      type: 'ack',
      sequence: 2 ** 32 - 1,
      incarnation,
      coordinate,
      belief: { state: 'suspect', incarnation },
      clock: Number.MAX_SAFE_INTEGER,
      root: digest,
      rumors: new Array(count).fill(fullest),
    }).length + sealedOverheadBytes;
  const { rumorsPerFrame } = defaultSwimParameters;
  assert.equal(ack(rumorsPerFrame), 1170);
  assert.ok(ack(rumorsPerFrame) <= maxDatagramBytes);
  assert.ok(ack(rumorsPerFrame + 1) > maxDatagramBytes, 'one more would not fit');
});

test('the fullest frames stay within the largest frame', () => {
  assert.ok(maxRumors * rumorBytes < maxFrameBytes);
  const entries = Array.from({ length: maxSlotsPerFrame }, () => ({ slot: digest, record: digest }));
  const listing = encodeFrame({
    type: 'sync-listing',
    session: 1,
    last: true,
    ranges: [{ range: 1, entries }],
  });
  assert.ok(listing.length <= maxFrameBytes);
});
