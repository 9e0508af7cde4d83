import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault, randomInt, seededRandom } from '../../../../src/core.ts';
import { encodeFrame, FrameReader, maxFrameBytes } from '../../../../src/gossip/io/frames.ts';

test('frames come out whole however the stream was cut', () => {
  const random = seededRandom(7);
  for (let round = 0; round < 200; round++) {
    const bodies = Array.from({ length: 1 + randomInt(random, 8) }, (_, i) =>
      new Uint8Array(randomInt(random, 300)).fill(i + 1),
    );
    const stream = Buffer.concat(bodies.map(encodeFrame));
    const reader = new FrameReader();
    const read: Uint8Array[] = [];
    for (let offset = 0; offset < stream.length; ) {
      const end = Math.min(stream.length, offset + 1 + randomInt(random, 120));
      read.push(...reader.push(stream.subarray(offset, end)));
      offset = end;
    }
    assert.deepEqual(read, bodies);
  }
});

test('a frame is a copy: later changes to the chunk do not reach it', () => {
  const chunk = encodeFrame(new Uint8Array([1, 2, 3]));
  const [body] = new FrameReader().push(chunk);
  chunk.fill(0);
  assert.deepEqual(body, new Uint8Array([1, 2, 3]));
});

test('the largest frame passes, and one byte more is refused before it arrives', () => {
  const largest = new Uint8Array(maxFrameBytes).fill(5);
  assert.deepEqual(new FrameReader().push(encodeFrame(largest)), [largest]);
  const header = Buffer.alloc(4);
  header.writeUInt32BE(maxFrameBytes + 1);
  assert.throws(
    () => new FrameReader().push(header),
    (error) => error instanceof Fault && error.code === 'frame-too-large',
  );
});

test('neither a length that is claimed nor chunks of one byte take more than twice what arrived', () => {
  const reader = new FrameReader();
  const frame = encodeFrame(new Uint8Array(maxFrameBytes).fill(7));
  for (let arrived = 1; arrived < 100_000; arrived++) {
    assert.deepEqual(reader.push(frame.subarray(arrived - 1, arrived)), []);
    assert.ok(reader.reservedBytes <= Math.max(256, 2 * arrived), `${reader.reservedBytes} for ${arrived}`);
  }
  const [body] = reader.push(frame.subarray(99_999));
  assert.deepEqual(body, new Uint8Array(maxFrameBytes).fill(7));
  assert.equal(reader.reservedBytes, 0);
});
