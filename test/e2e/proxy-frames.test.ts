/**
 * What a peer with a valid certificate may do to the inbound port: any bytes under the name of starling/1. Only its
 * own session may suffer.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { connect, type TLSSocket } from 'node:tls';
import fc from 'fast-check';
import { until } from '../../demo/flock.ts';
import { FrameType, initialWindowBytes, maxDataBytes, OpenCode } from '../../src/proxy/mux/frames.ts';
import { identityOf, sniOf, startHttpApp, startMesh, type TestMesh, testAuthority } from '../support/mesh.ts';

async function startApi(t: TestContext): Promise<TestMesh> {
  const app = await startHttpApp(t, (request, response) => {
    request.resume();
    request.on('end', () => response.end('well'));
  });
  return startMesh(t, [app]);
}

/** A session of `web`'s, as its proxy would open it; resolves with the server's first frame, a ping, read. */
async function openSession(t: TestContext, mesh: TestMesh): Promise<TLSSocket> {
  const { certPem, keyPem } = identityOf('web');
  const socket = connect({
    ...{ host: '127.0.0.1', port: mesh.inboundPort, servername: sniOf('api') },
    ...{ cert: certPem, key: keyPem, ca: testAuthority().rootPem },
    checkServerIdentity: () => undefined,
    ALPNProtocols: ['starling/1'],
  });
  t.after(() => socket.destroy());
  socket.on('error', () => {});
  await once(socket, 'data');
  assert.equal(socket.alpnProtocol, 'starling/1');
  return socket;
}

function frame(type: number, streamId: number, payload: Uint8Array, length = payload.length): Buffer {
  const bytes = Buffer.alloc(8 + payload.length);
  bytes.writeUInt32BE(length, 0);
  bytes[0] = type;
  bytes.writeUInt32BE(streamId, 4);
  bytes.set(payload, 8);
  return bytes;
}

const open = (streamId: number): Buffer => frame(FrameType.open, streamId, Uint8Array.of(OpenCode.http1));
const data = (streamId: number, text: string | Buffer): Buffer =>
  frame(FrameType.data, streamId, Buffer.from(text));
const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};

/** The caller's real proxy still gets its answers: nobody else was hurt. */
async function assertOthersServed(mesh: TestMesh): Promise<void> {
  const response = await fetch(`http://127.0.0.1:${mesh.port}/`);
  assert.deepEqual([response.status, await response.text()], [200, 'well']);
}

/** However it came to its end. */
async function closed(socket: TLSSocket): Promise<void> {
  if (!socket.closed) await new Promise((done) => socket.once('close', done));
}

async function assertCut(socket: TLSSocket, what: string): Promise<void> {
  socket.resume();
  await until(`the session is cut: ${what}`, 20_000, () => Promise.resolve(socket.destroyed));
}

const request = 'GET / HTTP/1.1\r\nHost: api\r\n\r\n';

test('each way to break the rules ends the session that did it, and no other', async (t) => {
  const mesh = await startApi(t);
  const empty = new Uint8Array();
  const broken: readonly (readonly [string, Buffer])[] = [
    ['an unknown type', frame(8, 0, empty)],
    ['an unknown type on a stream', frame(255, 1, empty)],
    ['data longer than a frame may be', frame(FrameType.data, 1, empty, maxDataBytes + 1)],
    ['data on a stream that was never opened', data(1, 'x')],
    ['data on the session itself', frame(FrameType.data, 0, Buffer.from('x'))],
    ['no data in a data frame', Buffer.concat([open(1), frame(FrameType.data, 1, empty)])],
    ['an even stream', open(2)],
    ['a stream number with the highest bit', open(0x80000001)],
    ['a stream opened twice', Buffer.concat([open(1), open(1)])],
    ['streams that go backwards', Buffer.concat([open(5), open(3)])],
    ['a protocol that does not exist', frame(FrameType.open, 1, Uint8Array.of(0x1f))],
    ['another version', frame(FrameType.open, 1, Uint8Array.of(0x21))],
    ['an open without its byte', frame(FrameType.open, 1, empty)],
    ['a finish with a payload', Buffer.concat([open(1), frame(FrameType.finish, 1, Uint8Array.of(1))])],
    [
      'data behind a finish',
      Buffer.concat([open(1), data(1, request), frame(FrameType.finish, 1, empty), data(1, 'x')]),
    ],
    ['a reset of unknown kind', Buffer.concat([open(1), frame(FrameType.reset, 1, Uint8Array.of(99))])],
    ['a window of nothing', Buffer.concat([open(1), frame(FrameType.window, 1, u32(0))])],
    ['a window beyond every bound', Buffer.concat([open(1), frame(FrameType.window, 1, u32(0xffffffff))])],
    ['a window of three bytes', Buffer.concat([open(1), frame(FrameType.window, 1, Buffer.alloc(3))])],
    ['a ping on a stream', Buffer.concat([open(1), frame(FrameType.ping, 1, Buffer.alloc(8))])],
    ['a short ping', frame(FrameType.ping, 0, Buffer.alloc(7))],
    ['a farewell from a client', frame(FrameType.goAway, 0, empty)],
    [
      'more data than there was credit for',
      Buffer.concat([
        open(1),
        data(1, `POST / HTTP/1.1\r\nHost: api\r\nContent-Length: ${1 << 30}\r\n\r\n`),
        ...Array.from({ length: (2 * initialWindowBytes) / maxDataBytes }, () =>
          data(1, Buffer.alloc(maxDataBytes)),
        ),
      ]),
    ],
  ];
  for (const [what, bytes] of broken) {
    const socket = await openSession(t, mesh);
    socket.write(bytes);
    // Credit comes back while the application reads: only what arrives in one piece is sure to be too much.
    if (!what.startsWith('more data')) await assertCut(socket, what);
    else socket.destroy();
    await assertOthersServed(mesh);
  }
});

test('a flood of pings whose answers nobody reads is cut', async (t) => {
  const mesh = await startApi(t);
  const socket = await openSession(t, mesh);
  socket.pause();
  const pings = Buffer.concat(Array.from({ length: 8192 }, () => frame(FrameType.ping, 0, Buffer.alloc(8))));
  const flood = (): void => {
    let more = true;
    while (more && !socket.destroyed) more = socket.write(pings);
  };
  socket.on('drain', flood);
  flood();
  await closed(socket);
  await assertOthersServed(mesh);
});

test('streams that are opened and left, or reset at once, cost nobody else anything', async (t) => {
  const mesh = await startApi(t);
  const socket = await openSession(t, mesh);
  const count = 2000;
  const bytes: Buffer[] = [];
  for (let index = 0; index < count; index++) {
    const id = 2 * index + 1;
    bytes.push(open(id), data(id, request), frame(FrameType.reset, id, Uint8Array.of(0)));
  }
  socket.resume();
  socket.write(Buffer.concat(bytes));
  await assertOthersServed(mesh);
  // Left open and silent: beyond so many, the server says that it takes no more.
  const left: Buffer[] = [];
  for (let index = 0; index < 3000; index++) left.push(open(2 * (count + index) + 1));
  const refusals = new Promise<void>((done) => {
    let seen = 0;
    socket.on('data', (chunk: Buffer) => {
      seen += chunk.length;
      // Nine bytes each: 3000 that were opened, less the 1024 that a session carries.
      if (seen >= 9 * (3000 - 1024)) done();
    });
  });
  socket.write(Buffer.concat(left));
  await refusals;
  await assertOthersServed(mesh);
});

const anyFrame = fc.oneof(
  { weight: 3, arbitrary: fc.nat(6).map((index) => open(2 * index + 1)) },
  {
    weight: 4,
    arbitrary: fc.tuple(fc.nat(6), fc.string({ maxLength: 40 })).map(([i, text]) => data(2 * i + 1, text)),
  },
  { weight: 3, arbitrary: fc.nat(6).map((index) => data(2 * index + 1, request)) },
  {
    weight: 2,
    arbitrary: fc.nat(6).map((index) => frame(FrameType.finish, 2 * index + 1, new Uint8Array())),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.nat(6), fc.nat(6))
      .map(([index, code]) => frame(FrameType.reset, 2 * index + 1, Uint8Array.of(code))),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.nat(6), fc.integer({ min: 0, max: 0x7fffffff }))
      .map(([index, credit]) => frame(FrameType.window, 2 * index + 1, u32(credit))),
  },
  { weight: 1, arbitrary: fc.constant(frame(FrameType.ping, 0, Buffer.alloc(8))) },
  {
    weight: 2,
    arbitrary: fc
      .record({
        type: fc.nat(255),
        streamId: fc.oneof(fc.nat(20), fc.nat(0xffffffff)),
        payload: fc.uint8Array({ maxLength: 64 }),
        length: fc.oneof(fc.nat(64), fc.nat(0xffffff)),
      })
      .map(({ type, streamId, payload, length }) => frame(type, streamId, payload, length)),
  },
  {
    weight: 1,
    arbitrary: fc.uint8Array({ minLength: 1, maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
  },
);

test('whatever frames a session sends, in whatever pieces, others are served and nothing of it stays', async (t) => {
  const mesh = await startApi(t);
  await assertOthersServed(mesh);
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyFrame, { minLength: 1, maxLength: 30 }),
      fc.nat(100),
      async (frames, cut) => {
        const socket = await openSession(t, mesh);
        socket.resume();
        const bytes = Buffer.concat(frames);
        const at = Math.min(cut, bytes.length);
        if (at > 0) socket.write(bytes.subarray(0, at));
        await new Promise(setImmediate);
        if (at < bytes.length) socket.write(bytes.subarray(at));
        await new Promise(setImmediate);
        await assertOthersServed(mesh);
        socket.destroy();
        await closed(socket);
      },
    ),
    { numRuns: 100 },
  );
  // The session of the caller's own proxy is what remains.
  await until('they are let go', 20_000, () => Promise.resolve(mesh.callee.stats().activeConnections <= 1));
});
