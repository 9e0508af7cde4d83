import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '../../../src/core.ts';
import { decodeFrame, encodeFrame, needsStream } from '../../../src/gossip/framecodec.ts';
import {
  type Frame,
  maxFrameBytes,
  maxRumors,
  maxSlotsPerFrame,
  type Rumor,
} from '../../../src/gossip/frames.ts';
import { defaultSwimParameters } from '../../../src/gossip/parameters.ts';
import { rumorBytes } from '../../../src/gossip/rumors.ts';

const id = 'ab'.repeat(32);
const belief = { state: 'suspect', incarnation: 9 } as const;
const rumors: Rumor[] = [
  { state: 'alive', id, incarnation: 2 ** 50, proof: new Uint8Array(64).fill(7) },
  { state: 'down', id, incarnation: 0, accuser: id },
];
const digest = '\u0000\u00ff345678';
const frames: Frame[] = [
  { type: 'ping', sequence: 2 ** 32 - 1, incarnation: 65536, belief, rumors },
  { type: 'ack', sequence: 1, incarnation: 65536, belief, root: digest, rumors: [] },
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

test('only anti-entropy needs a stream, and everything else fits a datagram of 1,400 bytes', () => {
  for (const frame of frames) assert.equal(needsStream(encodeFrame(frame)), frame.type.startsWith('sync-'));
  const full = Array.from({ length: defaultSwimParameters.rumorsPerFrame }, () => rumors[0]!);
  const largest = encodeFrame({
    type: 'ack',
    sequence: 1,
    incarnation: 2 ** 52,
    belief,
    root: digest,
    rumors: full,
  });
  assert.ok(largest.length <= 1400, `${largest.length} bytes`);
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
