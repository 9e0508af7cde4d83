/**
 * Noise and Yamux that write once a connection and turn of the event loop. Left alone, Yamux hands every frame
 * down by itself, each is encrypted by itself, and Noise writes every message in two pieces: four system calls
 * and packets for a small message, because each piece of data is also answered by a frame that renews the
 * sender's window, for which nobody waits.
 */
import type { ConnectionEncrypter, MessageStream, StreamMuxer, StreamMuxerFactory } from '@libp2p/interface';
import { noise } from '@libp2p/noise';
import { yamux } from '@libp2p/yamux';
import { noiseCrypto } from './noise-crypto.ts';

type Data = Parameters<MessageStream['send']>[0];
type Components = Parameters<ReturnType<typeof noise>>[0];

/** Gathered at most before it is written at once; fits one Noise message. */
const maxGatheredBytes = 48 * 1024;
/** Half of Yamux's window: a sender gets the renewal long before it has used up the other half. */
const dueRenewalBytes = 128 * 1024;
/** Streams whose windows wait to be renewed; one more, and all are renewed at once. */
const maxRenewals = 32;

/** A Yamux frame's head: version, type, flags (2 bytes), stream (4 bytes), length (4 bytes), big-endian. */
const headBytes = 12;
const windowUpdateType = 1;

/** Noise that hands every message to the socket in one piece, and finds the end of what was read at no cost. */
export function wholeNoise(): (components: Components) => ConnectionEncrypter {
  const create = noise({ crypto: noiseCrypto });
  return (components) => {
    const encrypter = create(components);
    const { secureInbound, secureOutbound } = encrypter;
    encrypter.secureInbound = async (connection, options) =>
      readPlainly(await secureInbound.call(encrypter, inOnePiece(connection), options));
    encrypter.secureOutbound = async (connection, options) =>
      readPlainly(await secureOutbound.call(encrypter, inOnePiece(connection), options));
    return encrypter;
  };
}

function inOnePiece<Connection extends MessageStream>(connection: Connection): Connection {
  const send = connection.send.bind(connection);
  connection.send = (data) => send(data.subarray());
  return connection;
}

/** A Noise message's length in front of it: two bytes, big-endian. */
const lengthBytes = 2;
/** Made once: see `readPlainly`. */
const noLengthYet = new RangeError('the length of the next message has not arrived');

/** The part of Noise's stream that cuts what was read into messages. */
interface Cutting {
  readonly decoder?: { lengthDecoder: (read: { byteLength: number; get(index: number): number }) => number };
}

/**
 * After each message Noise looks for the length of the next, which has hardly ever arrived; that it is told by a
 * RangeError, and to make one, with the trace of its stack, took a fortieth of an agent's CPU. One made before has
 * none to take.
 */
function readPlainly<Secured extends { readonly connection: MessageStream }>(secured: Secured): Secured {
  const { decoder } = secured.connection as Cutting;
  if (decoder !== undefined)
    decoder.lengthDecoder = (read) => {
      if (read.byteLength < lengthBytes) throw noLengthYet;
      return (read.get(0) << 8) | read.get(1);
    };
  return secured;
}

/** Yamux whose frames leave together. Without keep-alives: only failure detection ends a connection. */
export function gatheringYamux(): () => StreamMuxerFactory {
  const create = yamux({ enableKeepAlive: false });
  return () => {
    const factory: StreamMuxerFactory = create();
    const { createStreamMuxer } = factory;
    factory.createStreamMuxer = (connection) => {
      const gathering = new Gathering(connection);
      connection.send = (frame) => gathering.send(frame);
      return flushedOnClose(createStreamMuxer.call(factory, connection), gathering);
    };
    return factory;
  };
}

/** What a muxer says last is written before its connection is closed. */
function flushedOnClose(muxer: StreamMuxer, gathering: Gathering): StreamMuxer {
  const close = muxer.close.bind(muxer);
  muxer.close = async (options) => {
    try {
      await close(options);
    } finally {
      gathering.flush();
    }
  };
  return muxer;
}

/** The frames of one connection that leave at the end of this turn. */
class Gathering {
  private readonly connection: MessageStream;
  private readonly write: MessageStream['send'];
  private readonly frames: Uint8Array[] = [];
  private bytes = 0;
  /** By stream: by how much its sender's window is to grow, once there is anything else to say or it is due. */
  private readonly renewals = new Map<number, number>();
  private scheduled = false;

  constructor(connection: MessageStream) {
    this.connection = connection;
    this.write = connection.send.bind(connection);
  }

  /** False when the connection can take no more for now; its `drain` event says when it can. */
  send(data: Data): boolean {
    const frame = data.subarray();
    if (!this.putOff(frame)) {
      this.frames.push(frame);
      this.bytes += frame.length;
      if (this.bytes >= maxGatheredBytes) this.flush();
      else this.schedule();
    }
    return !this.connection.writableNeedsDrain;
  }

  flush(): void {
    this.renew();
    if (this.frames.length === 0) return;
    const gathered = this.frames.length === 1 ? this.frames[0]! : Buffer.concat(this.frames, this.bytes);
    this.frames.length = 0;
    this.bytes = 0;
    if (this.connection.status !== 'open' && this.connection.status !== 'closing') return;
    try {
      this.write(gathered);
    } catch (error) {
      this.connection.abort(error instanceof Error ? error : new Error(String(error)));
    }
  }

  private schedule(): void {
    if (this.scheduled) return;
    this.scheduled = true;
    setImmediate(() => {
      this.scheduled = false;
      this.flush();
    });
  }

  /** Takes a frame that only renews a window, unless it is due. */
  private putOff(frame: Uint8Array): boolean {
    if (frame.length !== headBytes || frame[1] !== windowUpdateType) return false;
    const head = new DataView(frame.buffer, frame.byteOffset, headBytes);
    if (head.getUint16(2) !== 0) return false;
    const stream = head.getUint32(4);
    const renewal = (this.renewals.get(stream) ?? 0) + head.getUint32(8);
    this.renewals.set(stream, renewal);
    if (renewal >= dueRenewalBytes || this.renewals.size > maxRenewals) {
      this.renew();
      this.schedule();
    }
    return true;
  }

  private renew(): void {
    for (const [stream, renewal] of this.renewals) {
      const head = new DataView(new ArrayBuffer(headBytes));
      head.setUint8(1, windowUpdateType);
      head.setUint32(4, stream);
      head.setUint32(8, renewal);
      this.frames.push(new Uint8Array(head.buffer));
      this.bytes += headBytes;
    }
    this.renewals.clear();
  }
}
