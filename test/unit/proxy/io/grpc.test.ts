/** grpc-js as client and as server, through two data planes. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import {
  type Client,
  credentials,
  type handleBidiStreamingCall,
  type handleClientStreamingCall,
  type handleServerStreamingCall,
  type handleUnaryCall,
  Metadata,
  type MethodDefinition,
  makeGenericClientConstructor,
  Server,
  ServerCredentials,
  type ServiceError,
  status,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import type { InboundService } from '../../../../src/proxy/config.ts';
import { startMesh, trafficOf } from '../../../support/mesh.ts';

function method(
  name: string,
  requestStream: boolean,
  responseStream: boolean,
): MethodDefinition<string, string> {
  const serialize = (text: string): Buffer => Buffer.from(text);
  const deserialize = (bytes: Buffer): string => bytes.toString();
  return {
    path: `/test.Echo/${name}`,
    requestStream,
    responseStream,
    requestSerialize: serialize,
    requestDeserialize: deserialize,
    responseSerialize: serialize,
    responseDeserialize: deserialize,
  };
}

const methods = {
  unary: method('Unary', false, false),
  download: method('Download', false, true),
  upload: method('Upload', true, false),
  chat: method('Chat', true, true),
  never: method('Never', false, false),
};

let cancelled: () => void = () => {};

const unaryCall: handleUnaryCall<string, string> = (call, done) => {
  if (call.request.startsWith('fail')) {
    const metadata = new Metadata();
    metadata.set('why-bin', Buffer.alloc(15_000, 255));
    done({ code: status.ALREADY_EXISTS, details: 'it is ä there', metadata });
    return;
  }
  const trailer = new Metadata();
  trailer.set('x-trailer', String(call.metadata.get('x-asked')[0] ?? ''));
  done(null, `${call.request}!`, trailer);
};

const downloadCall: handleServerStreamingCall<string, string> = (call) => {
  for (let i = 0; i < Number(call.request); i++) call.write(`${i}`.repeat(500));
  call.end();
};

const uploadCall: handleClientStreamingCall<string, string> = (call, done) => {
  let bytes = 0;
  call.on('data', (text: string) => {
    bytes += text.length;
  });
  call.on('end', () => done(null, String(bytes)));
};

const chatCall: handleBidiStreamingCall<string, string> = (call) => {
  call.on('data', (text: string) => call.write(text.toUpperCase()));
  call.on('end', () => call.end());
};

const neverCall: handleUnaryCall<string, string> = (call) => {
  call.once('cancelled', () => cancelled());
};

const implementation: UntypedServiceImplementation = {
  unary: unaryCall,
  download: downloadCall,
  upload: uploadCall,
  chat: chatCall,
  never: neverCall,
};

interface EchoClient extends Client {
  unary(
    text: string,
    metadata: Metadata,
    done: (error: ServiceError | null, answer?: string) => void,
  ): NodeJS.EventEmitter;
  download(text: string): AsyncIterable<string>;
  upload(
    done: (error: ServiceError | null, answer?: string) => void,
  ): NodeJS.WritableStream & { write(text: string): boolean };
  chat(): NodeJS.EventEmitter & { write(text: string): boolean; end(): void };
  never(text: string, options: { deadline: number }, done: (error: ServiceError) => void): { cancel(): void };
}

async function startServer(t: TestContext): Promise<number> {
  const server = new Server();
  server.addService(methods, implementation);
  t.after(() => server.forceShutdown());
  return new Promise((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error),
    ),
  );
}

const EchoConstructor = makeGenericClientConstructor(methods, 'test.Echo');

async function startEcho(
  t: TestContext,
  inbound: Partial<InboundService> = {},
  protocol: 'grpc' | 'auto' = 'grpc',
) {
  const port = await startServer(t);
  const mesh = await startMesh(t, [port], { inbound: { protocol, ...inbound }, cluster: { protocol } });
  const client = new EchoConstructor(
    `127.0.0.1:${mesh.port}`,
    credentials.createInsecure(),
  ) as unknown as EchoClient;
  t.after(() => client.close());
  return { mesh, client };
}

function unary(client: EchoClient, text: string, metadata = new Metadata()) {
  return new Promise<{
    error: ServiceError | null;
    answer: string | undefined;
    trailers: Promise<[{ metadata: Metadata }]>;
  }>((resolve) => {
    const call = client.unary(text, metadata, (error, answer) => resolve({ error, answer, trailers }));
    const trailers = once(call, 'status') as Promise<[{ metadata: Metadata }]>;
  });
}

test('calls of every shape go through, whether gRPC was declared or found out', async (t) => {
  for (const protocol of ['grpc', 'auto'] as const) {
    const { client, mesh } = await startEcho(t, {}, protocol);
    const asked = new Metadata();
    asked.set('x-asked', 'this');
    const { answer, trailers } = await unary(client, 'hello', asked);
    const [{ metadata }] = await trailers;
    assert.deepEqual([answer, metadata.get('x-trailer')], ['hello!', ['this']]);
    const many = await Promise.all(Array.from({ length: 300 }, (_, i) => unary(client, `m${i}`)));
    assert.deepEqual(
      many.map((each) => each.answer),
      many.map((_, i) => `m${i}!`),
    );
    let messages = 0;
    for await (const text of client.download('1000')) assert.equal(text, `${messages++}`.repeat(500));
    assert.equal(messages, 1000);
    const uploaded = new Promise<string | undefined>((resolve, reject) => {
      const call = client.upload((error, sum) => (error === null ? resolve(sum) : reject(error)));
      for (let i = 0; i < 200; i++) call.write('x'.repeat(10_000));
      call.end();
    });
    assert.equal(await uploaded, '2000000');
    const chat = client.chat();
    for (const word of ['one', 'two', 'three']) {
      chat.write(word);
      assert.deepEqual(await once(chat, 'data'), [word.toUpperCase()]);
    }
    const ended = once(chat, 'end');
    chat.end();
    await ended;
    assert.equal(trafficOf(mesh.caller, 'source', 'grpc').byClass[2], 304);
  }
});

test('a failure arrives with its code, its words and what came with it', async (t) => {
  const { client } = await startEcho(t);
  const { error } = await unary(client, 'fail');
  assert.deepEqual([error?.code, error?.details], [status.ALREADY_EXISTS, 'it is ä there']);
  assert.deepEqual(error?.metadata.get('why-bin'), [Buffer.alloc(15_000, 255)]);
});

test('a deadline and a cancellation reach the server', async (t) => {
  const { client } = await startEcho(t);
  for (const how of ['deadline', 'cancel'] as const) {
    const felt = new Promise<void>((resolve) => {
      cancelled = resolve;
    });
    const error = await new Promise<ServiceError>((resolve) => {
      const call = client.never('x', { deadline: Date.now() + (how === 'deadline' ? 300 : 60_000) }, resolve);
      // A call of its own first: what is cancelled at once would never be sent.
      if (how === 'cancel') void unary(client, 'y').then(() => call.cancel());
    });
    assert.equal(error.code, how === 'deadline' ? status.DEADLINE_EXCEEDED : status.CANCELLED);
    await felt;
  }
});

test('what a proxy refuses is an answer of gRPC', async (t) => {
  const { client } = await startEcho(t, { defaultAction: 'deny' });
  const denied = await unary(client, 'hello');
  assert.equal(denied.error?.code, status.PERMISSION_DENIED);
  const nobody = await startEcho(t, { endpoints: [], outOfRotation: 1 });
  assert.equal((await unary(nobody.client, 'hello')).error?.code, status.UNAVAILABLE);
});
