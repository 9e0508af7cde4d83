/** How much may come: on a stream as its reader takes it, on the connection whoever reads. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultWindowBytes, ErrorCode } from '../../../../src/proxy/http2/frames.ts';
import { connectionWindowBytes, streamWindowBytes } from '../../../../src/proxy/http2/limits.ts';
import {
  data,
  grantedIn,
  headers,
  postFields,
  settings,
  TestApp,
  TestServer,
} from '../../../support/http2.ts';

test('a client may send as much as the engine takes, and a window more while it takes nothing', () => {
  const server = new TestServer();
  server.send(headers(1, postFields, false));
  const engine = server.engine[0]!;
  const piece = data(1, Buffer.alloc(16_384), false);
  for (let i = 0; i < streamWindowBytes / 16_384 / 2; i++) server.send(piece);
  assert.deepEqual(server.seen(), [`1 WINDOW ${streamWindowBytes / 2}`]);
  engine.transport.pause();
  for (let i = 0; i < streamWindowBytes / 16_384; i++) server.send(piece);
  assert.deepEqual(server.seen(), []);
  engine.transport.resume();
  assert.deepEqual(server.seen(), [`1 WINDOW ${streamWindowBytes}`]);
  engine.transport.pause();
  for (let i = 0; i < streamWindowBytes / 16_384; i++) server.send(piece);
  server.send(data(1, 'x', false));
  assert.deepEqual(server.seen(), [`1 RESET ${ErrorCode.flowControlError}`]);
  assert.equal(engine.closed, 'reset');
});

test('uploads that nobody takes for now leave room for all others', () => {
  const server = new TestServer();
  let credit = connectionWindowBytes;
  const upload = (id: number, bytes: number): void => {
    for (let sent = 0; sent < bytes; sent += 16_384) {
      assert.ok(credit >= 16_384, `stream ${id} may send`);
      credit -= 16_384;
      server.send(data(id, Buffer.alloc(16_384), false));
      credit += grantedIn(server.seen());
    }
  };
  for (let i = 0; i < 20; i++) {
    server.send(headers(2 * i + 1, postFields, false));
    server.engine[i]!.transport.pause();
    upload(2 * i + 1, streamWindowBytes);
  }
  server.send(headers(41, postFields, false));
  upload(41, 1_000_000);
  server.send(data(1, 'x', false));
  assert.deepEqual(server.seen(), [`1 RESET ${ErrorCode.flowControlError}`]);
});

test('answers that nobody reads for now leave room for all others', () => {
  const app = new TestApp();
  let credit = defaultWindowBytes;
  const send = (frames: Buffer): void => {
    app.send(0, frames);
    credit += grantedIn(app.seen());
  };
  for (let i = 0; i < 20; i++) {
    const engine = app.dial();
    engine.write('GET /a HTTP/1.1\r\nHost: api\r\n\r\n');
    engine.transport.pause();
    if (i === 0) send(settings());
    send(headers(2 * i + 1, [[':status', '200']], false));
    for (let sent = 0; sent < streamWindowBytes; sent += 16_384) {
      assert.ok(credit >= 16_384, `answer ${i} may come`);
      credit -= 16_384;
      send(data(2 * i + 1, Buffer.alloc(16_384), false));
    }
  }
  const engine = app.dial();
  engine.write('GET /a HTTP/1.1\r\nHost: api\r\n\r\n');
  assert.ok(credit >= 2000);
  send(Buffer.concat([headers(41, [[':status', '200']], false), data(41, 'small', true)]));
  assert.match(engine.text, /small/);
  assert.equal(app.servers.length, 1);
});
