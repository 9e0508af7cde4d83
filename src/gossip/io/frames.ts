/** Frames on a byte stream: a 32-bit big-endian length, then that many bytes. No IO of its own. */
import { assert, Fault } from '../../core.ts';

/** The largest frame, bytes. An anti-entropy reply or a join snapshot is split to stay below it. */
export const maxFrameBytes = 1024 * 1024;

const headerBytes = 4;

/** The frame that carries `body`. */
export function encodeFrame(body: Uint8Array): Uint8Array {
  assert(body.length <= maxFrameBytes, `frame of ${body.length} bytes`);
  const frame = Buffer.allocUnsafe(headerBytes + body.length);
  frame.writeUInt32BE(body.length, 0);
  frame.set(body, headerBytes);
  return frame;
}

/**
 * Cuts the chunks of one stream back into frames. Holds at most one incomplete frame, so never more than
 * `maxFrameBytes` and the chunk that completes it.
 */
export class FrameReader {
  private chunks: Uint8Array[] = [];
  private heldBytes = 0;
  /** How many bytes must be held before there is anything to do. */
  private neededBytes = headerBytes;

  /**
   * The bodies that `chunk` completes, as copies. Throws `Fault('frame-too-large')`; the reader is of no
   * use afterwards, because the boundary of the next frame is unknown.
   */
  push(chunk: Uint8Array): Uint8Array[] {
    this.chunks.push(chunk);
    this.heldBytes += chunk.length;
    if (this.heldBytes < this.neededBytes) return [];
    const held = this.chunks.length === 1 ? asBuffer(chunk) : Buffer.concat(this.chunks);
    const bodies: Uint8Array[] = [];
    let offset = 0;
    this.neededBytes = headerBytes;
    while (held.length - offset >= headerBytes) {
      const bodyBytes = held.readUInt32BE(offset);
      if (bodyBytes > maxFrameBytes)
        throw new Fault('frame-too-large', `a frame of ${bodyBytes} bytes exceeds ${maxFrameBytes}`);
      const end = offset + headerBytes + bodyBytes;
      if (end > held.length) {
        this.neededBytes = headerBytes + bodyBytes;
        break;
      }
      bodies.push(new Uint8Array(held.subarray(offset + headerBytes, end)));
      offset = end;
    }
    this.chunks = offset === held.length ? [] : [held.subarray(offset)];
    this.heldBytes = held.length - offset;
    return bodies;
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
