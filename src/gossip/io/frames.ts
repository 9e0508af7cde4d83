/** Frames on a byte stream: a 32-bit big-endian length, then that many bytes. No IO of its own. */
import { assert, Fault } from '../../core.ts';

/** The largest frame, bytes. An anti-entropy reply or a join snapshot is split to stay below it. */
export const maxFrameBytes = 1024 * 1024;

const headerBytes = 4;
/** The least that is set aside for an incomplete frame. */
const minHeldBytes = 256;
const nothing = Buffer.alloc(0);

/** The frame that carries `body`. */
export function encodeFrame(body: Uint8Array): Uint8Array {
  assert(body.length <= maxFrameBytes, `frame of ${body.length} bytes`);
  const frame = Buffer.allocUnsafe(headerBytes + body.length);
  frame.writeUInt32BE(body.length, 0);
  frame.set(body, headerBytes);
  return frame;
}

/**
 * Cuts the chunks of one stream back into frames. Holds at most one incomplete frame, copied into one buffer that
 * is at most twice as large as what has arrived of it: neither a length that is claimed nor chunks of one byte
 * take more.
 */
export class FrameReader {
  private held: Buffer = nothing;
  private heldBytes = 0;
  /** How many bytes must be there before there is anything to do. */
  private neededBytes = headerBytes;

  /** Bytes set aside for an incomplete frame. */
  get reservedBytes(): number {
    return this.held.length;
  }

  /**
   * The bodies that `chunk` completes, as copies. Throws `Fault('frame-too-large')`; the reader is of no
   * use afterwards, because the boundary of the next frame is unknown.
   */
  push(chunk: Uint8Array): Uint8Array[] {
    if (this.heldBytes + chunk.length < this.neededBytes) {
      this.hold(chunk);
      return [];
    }
    const bytes = this.heldBytes === 0 ? asBuffer(chunk) : this.hold(chunk);
    const bodies: Uint8Array[] = [];
    let offset = 0;
    this.neededBytes = headerBytes;
    while (bytes.length - offset >= headerBytes) {
      const bodyBytes = bytes.readUInt32BE(offset);
      if (bodyBytes > maxFrameBytes)
        throw new Fault('frame-too-large', `a frame of ${bodyBytes} bytes exceeds ${maxFrameBytes}`);
      const end = offset + headerBytes + bodyBytes;
      if (end > bytes.length) {
        this.neededBytes = headerBytes + bodyBytes;
        break;
      }
      bodies.push(new Uint8Array(bytes.subarray(offset + headerBytes, end)));
      offset = end;
    }
    this.held = nothing;
    this.heldBytes = 0;
    if (offset < bytes.length) this.hold(bytes.subarray(offset));
    return bodies;
  }

  /** All that is held, `chunk` included. */
  private hold(chunk: Uint8Array): Buffer {
    const total = this.heldBytes + chunk.length;
    if (total > this.held.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(minHeldBytes, 2 * total));
      this.held.copy(larger, 0, 0, this.heldBytes);
      this.held = larger;
    }
    this.held.set(chunk, this.heldBytes);
    this.heldBytes = total;
    return this.held.subarray(0, total);
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
