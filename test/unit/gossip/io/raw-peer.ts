/** An admitted peer that speaks to a transport by hand: raw libp2p streams, and gossipsub RPCs as bytes. */
import type { Connection, Stream } from '@libp2p/interface';
import { noise } from '@libp2p/noise';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { createLibp2p } from 'libp2p';
import { dialAddress } from '../../../../src/gossip/io/dialer.ts';
import { peerIdOf, privateKeyFromSeed } from '../../../../src/gossip/io/identity.ts';
import { type Directory, type Host, idOf, seedOf } from './helpers.ts';

export const meshsub = '/meshsub/1.2.0';

export interface RawPeer {
  readonly connection: Connection;
  /** The gossipsub stream that it writes to. */
  readonly stream: Stream;
  /** Bytes that the other side wrote to its gossipsub streams. */
  received(): number;
  stop(): Promise<void>;
}

/** Connects peer number `number`, which `directory` admits from now on, to `host`. */
export async function startRawPeer(directory: Directory, number: number, host: Host): Promise<RawPeer> {
  directory.admitted.add(idOf(number));
  let receivedBytes = 0;
  const greeted = Promise.withResolvers<void>();
  const node = await createLibp2p({
    privateKey: privateKeyFromSeed(seedOf(number)),
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
  });
  await node.handle(meshsub, (stream) => {
    stream.addEventListener('message', (event) => {
      receivedBytes += event.data.byteLength;
      greeted.resolve();
    });
  });
  const address = directory.addresses.get(host.id)!;
  const connection = await node.dial(dialAddress(address, peerIdOf(host.id)));
  const stream = await connection.newStream(meshsub);
  // From then on the host takes it for a gossipsub peer.
  await greeted.promise;
  return {
    connection,
    stream,
    received: () => receivedBytes,
    stop: async () => {
      await node.stop();
    },
  };
}

/** A peer that takes connections and streams, and never says a word on a stream. */
export interface SilentPeer {
  /** Resolves once `host` has opened a stream to it and waits for an answer, ... */
  readonly asked: Promise<void>;
  /** ... and once it has given one up. */
  readonly givenUp: Promise<void>;
  stop(): Promise<void>;
}

export async function startSilentPeer(directory: Directory, number: number, host: Host): Promise<SilentPeer> {
  directory.admitted.add(idOf(number));
  const asked = Promise.withResolvers<void>();
  const givenUp = Promise.withResolvers<void>();
  const unanswered = (stream: Stream): void => {
    stream.addEventListener('close', () => givenUp.resolve());
    asked.resolve();
  };
  const node = await createLibp2p({
    privateKey: privateKeyFromSeed(seedOf(number)),
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [
      () => {
        const factory = yamux()();
        return {
          protocol: factory.protocol,
          createStreamMuxer: (connection) => {
            const muxer = factory.createStreamMuxer(connection);
            const dispatch = muxer.safeDispatchEvent.bind(muxer);
            // What libp2p is not told of, it does not answer.
            muxer.safeDispatchEvent = (type, event) => {
              if (type !== 'stream') return dispatch(type, event);
              unanswered((event as CustomEvent<Stream>).detail);
              return true;
            };
            return muxer;
          },
        };
      },
    ],
  });
  await node.dial(dialAddress(directory.addresses.get(host.id)!, peerIdOf(host.id)));
  return {
    asked: asked.promise,
    givenUp: givenUp.promise,
    stop: async () => {
      await node.stop();
    },
  };
}

/** Writes all of it, however slowly it is taken. */
export async function sendAll(stream: Stream, bytes: Uint8Array): Promise<void> {
  const chunkBytes = 32 * 1024;
  for (let start = 0; start < bytes.length; start += chunkBytes)
    if (!stream.send(bytes.subarray(start, start + chunkBytes))) await stream.onDrain();
}

export function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
}

/** A length-delimited field (Protocol Buffers encoding, wire type 2). */
export function field(number: number, body: Uint8Array | string): Buffer {
  const bytes = Buffer.from(body);
  return Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
}

/** An RPC as it is on the stream: with its length before it. */
export function framed(...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([varint(body.length), body]);
}

/** The parts of an RPC, by the field numbers of gossipsub's rpc.proto. */
export const rpc = {
  subscription: (topic: string, subscribe = true): Buffer =>
    field(1, Buffer.concat([Buffer.from([8, subscribe ? 1 : 0]), field(2, topic)])),
  message: (topic: string, data: Uint8Array): Buffer =>
    field(2, Buffer.concat([field(2, data), field(4, topic)])),
  control: (...parts: readonly Uint8Array[]): Buffer => field(3, Buffer.concat(parts)),
  ihave: (topic: string, ids: readonly Uint8Array[]): Buffer =>
    field(1, Buffer.concat([field(1, topic), ...ids.map((id) => field(2, id))])),
  iwant: (ids: readonly Uint8Array[]): Buffer => field(2, Buffer.concat(ids.map((id) => field(1, id)))),
  graft: (topic: string): Buffer => field(3, field(1, topic)),
  prune: (topic: string): Buffer => field(4, field(1, topic)),
};
