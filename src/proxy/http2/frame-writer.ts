/**
 * Writes frames to a transport. They are put down one behind the other, so that a transport that gathers what is
 * written in one turn of the event loop finds them in one piece.
 */
import { type Transport, writeMade } from '../transport.ts';
import { type ErrorCode, Flag, FrameType, frameHeaderBytes, maxFrameBytes, preface } from './frames.ts';

const slabBytes = 64 * 1024;
/** Slabs with less room are let go. */
const usefulBytes = 4 * 1024;
/** Slabs that wait for a connection with something to say; beyond, they are let go. */
const maxSpareSlabs = 64;
/** More data than this is not copied behind its header. */
const maxCopiedBytes = 4 * 1024;

/** Bytes are written once and never again, since whoever sends them may refer to them for long. */
interface Slab {
  readonly bytes: Buffer;
  used: number;
}

const spareSlabs: Slab[] = [];

export class FrameWriter {
  private readonly transport: Transport;
  /** Only while there are streams: most connections are idle most of the time. */
  private slab: Slab | null = null;

  constructor(transport: Transport) {
    this.transport = transport;
  }

  /** Nothing is to be written for a while. */
  rest(): void {
    const { slab } = this;
    this.slab = null;
    if (slab !== null && slabBytes - slab.used >= usefulBytes && spareSlabs.length < maxSpareSlabs)
      spareSlabs.push(slab);
  }

  /** A slab with so much room, behind what is used of it. */
  private room(count: number): Slab {
    const { slab } = this;
    if (slab !== null && slab.bytes.length - slab.used >= count) return slab;
    const spare = slab === null && count <= usefulBytes ? spareSlabs.pop() : undefined;
    this.slab = spare ?? { bytes: Buffer.allocUnsafeSlow(Math.max(slabBytes, count)), used: 0 };
    return this.slab;
  }

  private send(slab: Slab, end: number): void {
    const start = slab.used;
    slab.used = end;
    writeMade(this.transport, slab.bytes, start, end);
  }

  preface(): void {
    writeMade(this.transport, preface, 0, preface.length);
  }

  settings(values: readonly (readonly [setting: number, value: number])[]): void {
    const slab = this.room(frameHeaderBytes + values.length * 6);
    let at = header(slab.bytes, slab.used, values.length * 6, FrameType.settings, 0, 0);
    for (const [setting, value] of values) {
      at = slab.bytes.writeUInt16BE(setting, at);
      at = slab.bytes.writeUInt32BE(value, at);
    }
    this.send(slab, at);
  }

  settingsAck(): void {
    const slab = this.room(frameHeaderBytes);
    this.send(slab, header(slab.bytes, slab.used, 0, FrameType.settings, Flag.ack, 0));
  }

  ping(payload: Buffer, at: number, isAck: boolean): void {
    const slab = this.room(frameHeaderBytes + 8);
    const end = header(slab.bytes, slab.used, 8, FrameType.ping, isAck ? Flag.ack : 0, 0);
    this.send(slab, end + payload.copy(slab.bytes, end, at, at + 8));
  }

  goAway(lastStreamId: number, code: ErrorCode): void {
    const slab = this.room(frameHeaderBytes + 8);
    let at = header(slab.bytes, slab.used, 8, FrameType.goAway, 0, 0);
    at = slab.bytes.writeUInt32BE(lastStreamId, at);
    this.send(slab, slab.bytes.writeUInt32BE(code, at));
  }

  windowUpdate(streamId: number, increment: number): void {
    this.number(FrameType.windowUpdate, streamId, increment);
  }

  reset(streamId: number, code: ErrorCode): void {
    this.number(FrameType.reset, streamId, code);
  }

  private number(type: number, streamId: number, value: number): void {
    const slab = this.room(frameHeaderBytes + 4);
    const at = header(slab.bytes, slab.used, 4, type, 0, streamId);
    this.send(slab, slab.bytes.writeUInt32BE(value, at));
  }

  /** At most `maxFrameBytes` of data. */
  data(streamId: number, bytes: Buffer, start: number, end: number, endStream: boolean): void {
    const length = end - start;
    const isCopied = length <= maxCopiedBytes;
    const slab = this.room(frameHeaderBytes + (isCopied ? length : 0));
    const flags = endStream ? Flag.endStream : 0;
    const at = header(slab.bytes, slab.used, length, FrameType.data, flags, streamId);
    if (isCopied) this.send(slab, at + bytes.copy(slab.bytes, at, start, end));
    else {
      this.send(slab, at);
      this.transport.write(bytes, start, end);
    }
  }

  /**
   * HEADERS, and CONTINUATION where one frame does not hold it: `encode` writes the block, at most `atMost` bytes,
   * and returns where it ends.
   */
  headers(streamId: number, endStream: boolean, atMost: number, block: HeaderBlock): void {
    const slab = this.room(frameHeaderBytes + atMost);
    const start = slab.used + frameHeaderBytes;
    const end = block.encode(slab.bytes, start);
    const flags = endStream ? Flag.endStream : 0;
    if (end - start <= maxFrameBytes) {
      header(slab.bytes, slab.used, end - start, FrameType.headers, flags | Flag.endHeaders, streamId);
      this.send(slab, end);
    } else this.longHeaders(streamId, flags, Buffer.from(slab.bytes.subarray(start, end)));
  }

  private longHeaders(streamId: number, flags: number, block: Buffer): void {
    for (let at = 0; at < block.length; at += maxFrameBytes) {
      const length = Math.min(maxFrameBytes, block.length - at);
      const slab = this.room(frameHeaderBytes + length);
      const type = at === 0 ? FrameType.headers : FrameType.continuation;
      const isLast = at + length === block.length;
      const frameFlags = (at === 0 ? flags : 0) | (isLast ? Flag.endHeaders : 0);
      const payloadAt = header(slab.bytes, slab.used, length, type, frameFlags, streamId);
      this.send(slab, payloadAt + block.copy(slab.bytes, payloadAt, at, at + length));
    }
  }
}

/** Something that becomes a header block. */
export interface HeaderBlock {
  encode(output: Buffer, at: number): number;
}

function header(
  bytes: Buffer,
  at: number,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): number {
  bytes[at] = length >>> 16;
  bytes[at + 1] = length >>> 8;
  bytes[at + 2] = length;
  bytes[at + 3] = type;
  bytes[at + 4] = flags;
  bytes[at + 5] = streamId >>> 24;
  bytes[at + 6] = streamId >>> 16;
  bytes[at + 7] = streamId >>> 8;
  bytes[at + 8] = streamId;
  return at + frameHeaderBytes;
}
