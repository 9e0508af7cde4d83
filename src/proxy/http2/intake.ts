/** What comes on one connection: that more of it is allowed, and what of it an engine is to be told next. */
import { delivery } from './delivery.ts';
import type { FrameWriter } from './frame-writer.ts';
import { defaultWindowBytes } from './frames.ts';
import { connectionWindowBytes } from './limits.ts';
import type { StreamTransport } from './stream.ts';

export class Intake {
  private readonly writer: FrameWriter;
  /** Bytes that came, for which the peer was not allowed as many more yet. */
  private unreturned = 0;
  /** Whom what is in `delivery` is for, and how much of it counts for the window of its stream. */
  private stream: StreamTransport | null = null;
  private streamId = 0;
  private charge = 0;

  constructor(writer: FrameWriter) {
    this.writer = writer;
  }

  /** Tells the peer how much it may send, which is more than it would without. */
  open(): void {
    this.writer.windowUpdate(0, connectionWindowBytes - defaultWindowBytes);
  }

  /**
   * So many bytes come: the peer may send as many more, whoever they are for. What nobody takes for now is bounded
   * by the windows of its streams; if it counted here as well, a few slow readers would stop all the others.
   */
  arrives(count: number): void {
    this.unreturned += count;
    if (this.unreturned < connectionWindowBytes / 2) return;
    this.writer.windowUpdate(0, this.unreturned);
    this.unreturned = 0;
  }

  /**
   * Makes room for so many bytes to be put into `delivery` for a stream, behind what is there for it already; for
   * null, it is to be found out for whom. False: the stream is gone, for its engine was told of something before.
   */
  prepare(stream: StreamTransport | null, room: number): boolean {
    const streamId = stream === null ? 0 : stream.streamId;
    if (stream !== null && this.stream === stream && this.streamId === streamId && delivery.fits(room))
      return true;
    this.deliver();
    delivery.reserve(room);
    if (stream === null) return true;
    if (stream.streamId !== streamId) return false;
    this.address(stream);
    return true;
  }

  /** What is in `delivery` is for this stream. */
  address(stream: StreamTransport): void {
    this.stream = stream;
    this.streamId = stream.streamId;
  }

  /** So many bytes of what was put into `delivery` count for the window of their stream. */
  count(bytes: number): void {
    this.charge += bytes;
  }

  /** Tells the engine what was put together for it. */
  deliver(): void {
    const { stream, charge, streamId } = this;
    if (stream === null) return;
    this.stream = null;
    this.charge = 0;
    delivery.deliver(stream.owner);
    if (charge > 0 && stream.streamId === streamId) stream.delivered(charge);
  }

  /** The connection is over: what was put together and not told is told to nobody. */
  close(): void {
    if (this.stream !== null) delivery.drop();
    this.stream = null;
  }
}
