/** How long a client may take: for a head, and between its requests. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { headReadMs, idleDownstreamMs } from '../../../../src/proxy/engine.ts';
import { FrameType, preface } from '../../../../src/proxy/http2/frames.ts';
import { maxUnreadBytes } from '../../../../src/proxy/http2/limits.ts';
import { block, data, frame, getFields, headers, postFields, TestServer } from '../../../support/http2.ts';

const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

test('who says nothing, stops within a head or is idle for long is closed; who waits for an answer is not', () => {
  const mute = new TestServer(false);
  mute.send(preface.subarray(0, 10));
  mute.pass(headReadMs);
  assert.equal(mute.client.end, 'close');
  const half = new TestServer();
  half.send(frame(FrameType.headers, 0, 1, block(getFields)));
  half.pass(headReadMs);
  assert.equal(half.client.end, 'close');
  const idle = new TestServer();
  idle.pass(idleDownstreamMs - 1);
  assert.equal(idle.client.end, null);
  idle.pass(1);
  assert.equal(idle.client.end, 'close');
  const busy = new TestServer();
  busy.send(headers(1, getFields, true));
  busy.pass(idleDownstreamMs * 2);
  assert.equal(busy.client.end, null);
  busy.engine[0]!.write(ok);
  busy.pass(idleDownstreamMs);
  assert.equal(busy.client.end, 'close');
});

test('a head that trickles in is given up, whatever else the client does meanwhile', () => {
  for (const isBusy of [false, true]) {
    const server = new TestServer();
    if (isBusy) server.send(headers(1, getFields, true));
    const trickle = headers(3, getFields, true);
    for (let i = 0; i < headReadMs / 1000; i++) {
      assert.equal(server.client.end, null);
      server.send(trickle.subarray(i, i + 1));
      if (isBusy && i === 4) server.engine[0]!.write(ok);
      server.pass(1000);
    }
    assert.equal(server.client.end, 'close');
  }
});

test('heads that are cut by every read are each given their time, and bodies all they want', () => {
  const server = new TestServer();
  let rest = Buffer.alloc(0);
  for (let i = 0; i < 100; i++) {
    const bytes = Buffer.concat([rest, headers(2 * i + 1, getFields, true)]);
    rest = Buffer.from(bytes.subarray(-5));
    server.send(bytes.subarray(0, -5));
    server.pass(headReadMs / 2);
  }
  server.send(rest, headers(201, postFields, false));
  const body = data(201, Buffer.alloc(1000), true);
  for (const byte of body) {
    server.send(Buffer.from([byte]));
    if (server.engine.at(-1)!.parts.length > 1) server.pass(headReadMs);
  }
  assert.equal(server.engine.length, 101);
  assert.equal(server.client.end, null);
});

test('a head that is cut because the client was not read from is given its time anew', () => {
  const server = new TestServer();
  const head = headers(1, getFields, true);
  server.client.pendingBytes = maxUnreadBytes + 1;
  server.send(head.subarray(0, 20));
  server.pass(headReadMs * 2);
  server.client.pendingBytes = 0;
  server.client.owner.onDrain();
  server.pass(headReadMs - 1);
  assert.equal(server.client.end, null);
  server.pass(1);
  assert.equal(server.client.end, 'close');
});
