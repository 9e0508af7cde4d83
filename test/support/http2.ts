/** HTTP/2 spoken byte by byte, and the codec between it and an engine that the test plays. */

import { seededRandom } from '../../src/core.ts';
import { Deadlines } from '../../src/proxy/deadlines.ts';
import type { EngineContext } from '../../src/proxy/engine.ts';
import { ClientPool } from '../../src/proxy/http2/client-pool.ts';
import { Flag, FrameType, frameHeaderBytes, preface } from '../../src/proxy/http2/frames.ts';
import { Decoder } from '../../src/proxy/http2/hpack/decoder.ts';
import { Encoder, fieldOverheadBytes } from '../../src/proxy/http2/hpack/encoder.ts';
import { Http2ServerSession } from '../../src/proxy/http2/server-session.ts';
import {
  type CloseReason,
  keepReceived,
  type Transport,
  type TransportOwner,
} from '../../src/proxy/transport.ts';
import { MemoryTransport } from './transport.ts';

export type Fields = readonly (readonly [name: string, value: string])[];

export const getFields: Fields = [
  [':method', 'GET'],
  [':scheme', 'http'],
  [':authority', 'api'],
  [':path', '/a'],
];
export const postFields: Fields = [[':method', 'POST'], ...getFields.slice(1)];

export function frame(type: number, flags: number, streamId: number, payload: Buffer | string = ''): Buffer {
  const body = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : payload;
  const header = Buffer.alloc(frameHeaderBytes);
  header.writeUIntBE(body.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(streamId, 5);
  return Buffer.concat([header, body]);
}

export function u32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [i, value] of values.entries()) bytes.writeUInt32BE(value >>> 0, i * 4);
  return bytes;
}

export function settings(...values: (readonly [number, number])[]): Buffer {
  return frame(
    FrameType.settings,
    0,
    0,
    Buffer.concat(values.map(([id, value]) => Buffer.concat([Buffer.from([id >> 8, id]), u32(value)]))),
  );
}

/** Fields as they stand, without a table: a block that means the same at any time. */
export function block(fields: Fields): Buffer {
  const encoder = new Encoder();
  const bytes = fields.reduce(
    (sum, [name, value]) => sum + name.length + value.length + fieldOverheadBytes,
    0,
  );
  const output = Buffer.alloc(bytes);
  let at = 0;
  for (const [name, value] of fields) {
    const bytes = Buffer.from(name + value, 'latin1');
    at = encoder.field(output, at, bytes, 0, name.length, name.length, bytes.length);
  }
  return output.subarray(0, at);
}

export function headers(streamId: number, fields: Fields, endStream: boolean): Buffer {
  const flags = Flag.endHeaders | (endStream ? Flag.endStream : 0);
  return frame(FrameType.headers, flags, streamId, block(fields));
}

export function data(streamId: number, text: string | Buffer, endStream: boolean): Buffer {
  return frame(FrameType.data, endStream ? Flag.endStream : 0, streamId, text);
}

export interface SeenFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

/** Reads what the codec sends; header blocks in the order of the connection. */
export class FrameLog {
  private readonly decoder = new Decoder();
  private rest = Buffer.alloc(0);

  /** The frames of `bytes` and of what was left over before, one line each. */
  lines(bytes: Buffer): string[] {
    return this.frames(bytes).map((each) => this.line(each));
  }

  /** A header block in several frames counts as one. */
  frames(bytes: Buffer): SeenFrame[] {
    this.rest = Buffer.concat([this.rest, bytes]);
    if (this.rest.subarray(0, preface.length).equals(preface)) this.rest = this.rest.subarray(preface.length);
    const frames: SeenFrame[] = [];
    while (this.rest.length >= frameHeaderBytes) {
      const end = frameHeaderBytes + this.rest.readUIntBE(0, 3);
      if (this.rest.length < end) break;
      const { rest } = this;
      const payload = rest.subarray(frameHeaderBytes, end);
      const begun = frames.at(-1);
      if (rest[3] === FrameType.continuation && begun !== undefined)
        frames[frames.length - 1] = { ...begun, payload: Buffer.concat([begun.payload, payload]) };
      else frames.push({ type: rest[3]!, flags: rest[4]!, streamId: rest.readUInt32BE(5), payload });
      this.rest = rest.subarray(end);
    }
    return frames;
  }

  line({ type, flags, streamId, payload }: SeenFrame): string {
    const end = (flags & Flag.endStream) !== 0 ? ' end' : '';
    switch (type) {
      case FrameType.data:
        return `${streamId} DATA ${payload.toString('latin1')}${end}`;
      case FrameType.headers:
        return `${streamId} HEADERS ${this.fields(payload)}${end}`;
      case FrameType.reset:
        return `${streamId} RESET ${payload.readUInt32BE(0)}`;
      case FrameType.settings:
        return (flags & Flag.ack) !== 0 ? 'SETTINGS ack' : 'SETTINGS';
      case FrameType.ping:
        return `PING${(flags & Flag.ack) !== 0 ? ' ack' : ''} ${payload.toString('latin1')}`;
      case FrameType.goAway:
        return `GOAWAY ${payload.readUInt32BE(0)} ${payload.readUInt32BE(4)}`;
      case FrameType.windowUpdate:
        return `${streamId} WINDOW ${payload.readUInt32BE(0)}`;
      default:
        return `${streamId} type ${type}`;
    }
  }

  private fields(payload: Buffer): string {
    const found: string[] = [];
    const isRead = this.decoder.decode(payload, 0, payload.length, {
      field: (bytes, at, nameLength, valueLength) =>
        found.push(bytes.toString('latin1', at, at + nameLength + 2 + valueLength)),
    });
    return isRead ? found.join(' | ') : `broken: ${this.decoder.problem}`;
  }
}

/** How much more may be sent on the connection, by what was seen. */
export function grantedIn(lines: readonly string[]): number {
  return lines
    .filter((line) => line.startsWith('0 WINDOW '))
    .reduce((sum, line) => sum + Number(line.split(' ')[2]), 0);
}

/** The engine's side of one connection: keeps what it is told. */
export class Told implements TransportOwner {
  readonly transport: Transport;
  /** Some of what comes is kept as it is, and must stay as it was. */
  readonly parts: Buffer[] = [];
  closed: CloseReason | null = null;
  finished = false;
  drained = 0;
  /** Called with all that has come, after each piece. */
  answer: ((text: string) => void) | null = null;

  constructor(transport: Transport) {
    this.transport = transport;
    transport.owner = this;
  }
  get text(): string {
    return Buffer.concat(this.parts).toString('latin1');
  }
  onData(bytes: Buffer, start: number, end: number): void {
    const keeps = this.parts.length % 2 === 0;
    if (keeps) keepReceived();
    this.parts.push(keeps ? bytes.subarray(start, end) : Buffer.from(bytes.subarray(start, end)));
    this.answer?.(this.text);
  }
  onFinish(): void {
    this.finished = true;
  }
  onClose(reason: CloseReason): void {
    this.closed = reason;
  }
  onDrain(): void {
    this.drained++;
  }
  write(text: string): void {
    const bytes = Buffer.from(text, 'latin1');
    this.transport.write(bytes, 0, bytes.length);
  }
}

class Clock {
  nowMs = 1000;
  readonly context: EngineContext = {
    now: () => this.nowMs,
    random: seededRandom(1),
    deadlines: new Deadlines(),
    promptDeadlines: new Deadlines(),
  };
  pass(ms: number): void {
    this.nowMs += ms;
    this.context.promptDeadlines.expire(this.nowMs);
    this.context.deadlines.expire(this.nowMs);
  }
}

/** A client, byte by byte, of the codec's server side. */
export class TestServer extends Clock {
  readonly client = new MemoryTransport();
  /** Connections of the engine, in the order they were made. */
  readonly engine: Told[] = [];
  readonly session: Http2ServerSession;
  problem: string | null | undefined;
  private readonly log = new FrameLog();

  /** With `greeted`, both sides have said what they say first. */
  constructor(greeted = true) {
    super();
    this.session = new Http2ServerSession(
      this.client,
      this.context,
      (stream) => this.engine.push(new Told(stream)),
      (_session, problem) => {
        this.problem = problem;
      },
    );
    if (!greeted) return;
    this.send(preface, settings());
    this.seen();
  }

  send(...frames: Buffer[]): void {
    this.client.receive(Buffer.concat(frames));
  }

  /** What was sent to the client since the last time. */
  seen(): string[] {
    return this.log.lines(Buffer.concat(this.client.written.splice(0)));
  }
}

/** A server, byte by byte, of the codec's client side. */
export class TestApp extends Clock {
  readonly problems: string[] = [];
  /** Connections to the application, in the order they were opened. */
  readonly servers: MemoryTransport[] = [];
  private readonly logs: FrameLog[] = [];
  readonly pool = new ClientPool(
    () => {
      this.logs.push(new FrameLog());
      this.servers.push(new MemoryTransport());
      return this.servers.at(-1)!;
    },
    this.context,
    (problem) => this.problems.push(problem),
  );

  dial(): Told {
    return new Told(this.pool.dial('http2'));
  }

  send(index: number, ...frames: Buffer[]): void {
    this.servers[index]!.receive(Buffer.concat(frames));
  }

  seen(index = 0): string[] {
    return this.logs[index]!.lines(Buffer.concat(this.servers[index]!.written.splice(0)));
  }
}
