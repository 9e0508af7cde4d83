/** The engine between both sides of the codec: a client and applications of HTTP/2, byte by byte. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DownstreamConnection } from '../../../../src/proxy/http1/downstream.ts';
import { plainRoute } from '../../../../src/proxy/http1/route.ts';
import { idleOnly } from '../../../../src/proxy/http1/timeouts.ts';
import { ClientPool } from '../../../../src/proxy/http2/client-pool.ts';
import { ErrorCode, FrameType, preface } from '../../../../src/proxy/http2/frames.ts';
import { Http2ServerSession } from '../../../../src/proxy/http2/server-session.ts';
import { Upstream, UpstreamGroup } from '../../../../src/proxy/upstream/upstreams.ts';
import {
  data,
  type Fields,
  FrameLog,
  frame,
  getFields,
  headers,
  postFields,
  settings,
  u32,
} from '../../../support/http2.ts';
import { MemoryTransport, TestEngine } from '../../../support/transport.ts';

const ok: Fields = [[':status', '200']];

/** A client and two applications, with the engine between them. */
class Bridge extends TestEngine {
  readonly client = new MemoryTransport();
  readonly apps: MemoryTransport[] = [];
  private readonly log = new FrameLog();
  private readonly logs: FrameLog[] = [];

  constructor(ids: readonly string[] = ['one', 'two']) {
    super();
    const { context } = this;
    const group = new UpstreamGroup(context.random);
    const connect = (): MemoryTransport => {
      this.logs.push(new FrameLog());
      this.apps.push(new MemoryTransport());
      return this.apps.at(-1)!;
    };
    group.update(
      ids.map((id) => ({
        upstream: new Upstream(id, new ClientPool(connect, context, () => {}), context),
        weight: 1,
      })),
    );
    const route = plainRoute(this.targetOf([group]), null, idleOnly);
    const router = { route: () => route, clientAddress: '127.0.0.1', unread: this.counter };
    new Http2ServerSession(
      this.client,
      context,
      (stream) => new DownstreamConnection(stream, router, context, () => {}, 'http2'),
      () => {},
    );
  }

  /** What the client sees, and what one application does. */
  seen(): string[] {
    return this.log.lines(Buffer.concat(this.client.written.splice(0)));
  }
  asked(index = 0): string[] {
    const lines = this.logs[index]!.lines(Buffer.concat(this.apps[index]!.written.splice(0)));
    return lines.map((line) => line.replace(/ \| x-request-id: \w+/, ''));
  }
  answer(index: number, ...frames: Buffer[]): void {
    this.apps[index]!.receive(Buffer.concat(frames));
  }
}

const greeting = Buffer.concat([preface, settings()]);
const grpc: Fields = [...postFields, ['content-type', 'application/grpc'], ['te', 'trailers']];
const question = Buffer.concat([greeting, headers(1, grpc, false), data(1, 'ask', true)]);
const reply = Buffer.concat([
  settings(),
  headers(1, [...ok, ['content-type', 'application/grpc']], false),
  data(1, 'answer', false),
  headers(
    1,
    [
      ['grpc-status', '0'],
      ['grpc-message', 'fine'],
    ],
    true,
  ),
]);

/** All data in the lines, and whether the last of it ended the stream. */
function dataIn(lines: readonly string[]): string {
  const data = lines.filter((line) => line.startsWith('1 DATA '));
  return data.map((line) => line.slice('1 DATA '.length)).join('');
}

test('a call of gRPC and its answer are the same on both sides, however either is cut', () => {
  const expected = [
    '1 HEADERS :method: POST | :scheme: http | :authority: api | :path: /a | content-type: application/grpc | te: trailers',
    '1 HEADERS :status: 200 | content-type: application/grpc',
    '1 HEADERS grpc-status: 0 | grpc-message: fine end',
  ];
  for (let cut = 0; cut < Math.max(question.length, reply.length); cut++) {
    const bridge = new Bridge();
    for (const part of [question.subarray(0, cut), question.subarray(cut)]) bridge.client.receive(part);
    const sent = bridge.asked();
    assert.ok(sent.includes(expected[0]!), sent.join('\n'));
    assert.equal(dataIn(sent), 'ask end', `cut at ${cut}`);
    bridge.seen();
    for (const part of [reply.subarray(0, cut), reply.subarray(cut)]) bridge.answer(0, part);
    const seen = bridge.seen();
    assert.equal(seen[0], expected[1]);
    assert.equal(seen.at(-1), expected[2]);
    assert.equal(dataIn(seen), 'answer', `cut at ${cut}`);
    assert.equal(bridge.apps.length, 1);
  }
});

test('what one application has not seen is asked of another, what it may have acted on is not', () => {
  for (const [code, isRetried] of [
    [ErrorCode.refusedStream, true],
    [ErrorCode.internalError, false],
  ] as const) {
    const bridge = new Bridge();
    bridge.client.receive(question);
    bridge.answer(0, settings(), frame(FrameType.reset, 0, 1, u32(code)));
    assert.equal(bridge.apps.length, isRetried ? 2 : 1);
    if (isRetried) {
      assert.ok(bridge.asked(1).includes('1 DATA ask end'));
      bridge.answer(1, reply);
    }
    const last = bridge.seen().at(-1)!;
    assert.match(last, isRetried ? /grpc-status: 0/ : /grpc-status: 14 .* end$/);
  }
});

test('where there is no other application, the same one is asked again by another connection', () => {
  const bridge = new Bridge(['only']);
  bridge.client.receive(question);
  bridge.answer(0, settings(), frame(FrameType.goAway, 0, 0, u32(0, 0)));
  assert.equal(bridge.apps.length, 2);
  bridge.answer(1, reply);
  assert.match(bridge.seen().at(-1)!, /grpc-status: 0/);
});

test('an application that takes nothing on any connection is asked twice, and no more', () => {
  const bridge = new Bridge(['only']);
  bridge.client.receive(question);
  for (let i = 0; i < 5 && i < bridge.apps.length; i++)
    bridge.answer(i, settings(), frame(FrameType.goAway, 0, 0, u32(0, 0)));
  assert.equal(bridge.apps.length, 2);
  assert.match(bridge.seen().at(-1)!, /grpc-status: 14/);
});

test('an answer that breaks off is never ended, and a request that is taken back is taken back', () => {
  const bridge = new Bridge();
  bridge.client.receive(Buffer.concat([greeting, headers(1, getFields, true), headers(3, getFields, true)]));
  bridge.seen();
  bridge.asked();
  bridge.answer(0, settings(), headers(1, ok, false), data(1, 'half', false));
  bridge.answer(0, frame(FrameType.reset, 0, 1, u32(ErrorCode.cancel)));
  assert.deepEqual(bridge.seen(), [
    '1 HEADERS :status: 200',
    '1 DATA half',
    `1 RESET ${ErrorCode.internalError}`,
  ]);
  bridge.client.receive(frame(FrameType.reset, 0, 3, u32(ErrorCode.cancel)));
  const lines = bridge.apps.flatMap((_, i) => bridge.asked(i));
  assert.ok(
    lines.some((line) => line.endsWith(`RESET ${ErrorCode.cancel}`)),
    lines.join('\n'),
  );
});

test('requests one after the other make no new connection anywhere', () => {
  const bridge = new Bridge();
  bridge.client.receive(greeting);
  const app = (): number => bridge.apps.findIndex((each) => each.written.length > 0);
  const next = [1, 1];
  for (let id = 1; id < 100; id += 2) {
    bridge.client.receive(headers(id, getFields, true));
    const index = app();
    bridge.asked(index);
    bridge.answer(index, ...(next[index] === 1 ? [settings()] : []), headers(next[index]!, ok, true));
    next[index]! += 2;
    bridge.asked(index);
    assert.equal(bridge.seen().at(-1), `${id} HEADERS :status: 200 | content-length: 0 end`);
  }
  assert.ok(bridge.apps.length <= 2);
});
