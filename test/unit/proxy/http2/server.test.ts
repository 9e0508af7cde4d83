/** Requests of an HTTP/2 client as the engine sees them, and its answers as the client sees them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ErrorCode, Flag, FrameType, Setting } from '../../../../src/proxy/http2/frames.ts';
import {
  block,
  data,
  type Fields,
  frame,
  getFields,
  headers,
  postFields,
  settings,
  TestServer,
  u32,
} from '../../../support/http2.ts';

const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const okLines = (id: number): string[] => [
  `${id} HEADERS :status: 200 | content-length: 2`,
  `${id} DATA ok end`,
];

test('a request is a head of HTTP/1.1, and its answer goes out as frames', () => {
  const server = new TestServer();
  server.send(headers(1, [...getFields, ['accept', '*/*'], ['te', 'trailers']], true));
  const [engine] = server.engine;
  assert.equal(engine!.text, 'GET /a HTTP/1.1\r\nhost: api\r\naccept: */*\r\nte: trailers\r\n\r\n');
  engine!.write(`${ok}`);
  assert.deepEqual(server.seen(), okLines(1));
  assert.equal(server.session.streamCount, 0);
});

test('one connection of the engine serves request after request, another one what comes at the same time', () => {
  const server = new TestServer();
  for (const id of [1, 3, 5]) {
    server.send(headers(id, getFields, true));
    server.engine[0]!.write(ok);
    assert.deepEqual(server.seen(), okLines(id));
  }
  assert.equal(server.engine.length, 1);
  server.send(headers(7, getFields, true), headers(9, getFields, true));
  assert.equal(server.engine.length, 2);
  server.engine[1]!.write(ok);
  server.engine[0]!.write(ok);
  assert.deepEqual(server.seen(), [...okLines(9), ...okLines(7)]);
});

test('a body without a length comes in chunks, together with the head where it came with it', () => {
  const server = new TestServer();
  server.send(headers(1, postFields, false), data(1, 'hello', false), data(1, 'x'.repeat(300), true));
  const [engine] = server.engine;
  assert.equal(engine!.parts.length, 1);
  const body = `5\r\nhello\r\n12c\r\n${'x'.repeat(300)}\r\n0\r\n\r\n`;
  assert.equal(engine!.text, `POST /a HTTP/1.1\r\nhost: api\r\ntransfer-encoding: chunked\r\n\r\n${body}`);
});

test('a body with a length comes as it is, padding is nothing, and an end by itself is an end', () => {
  const server = new TestServer();
  server.send(headers(1, [...postFields, ['content-length', '5']], false));
  server.send(
    frame(FrameType.data, Flag.padded, 1, '\x03he\0\0\0'),
    data(1, 'llo', false),
    data(1, '', true),
  );
  assert.equal(server.engine[0]!.text, 'POST /a HTTP/1.1\r\nhost: api\r\ncontent-length: 5\r\n\r\nhello');
  server.engine[0]!.write(ok);
  assert.deepEqual(server.seen(), okLines(1));
});

test('cookies become one, Host is what authority says, and trailers are trailers', () => {
  const server = new TestServer();
  const fields: Fields = [...postFields, ['cookie', 'a=1'], ['host', 'API'], ['cookie', 'b=2'], ['x', '']];
  server.send(headers(1, fields, false), data(1, 'hi', false));
  server.send(
    headers(
      1,
      [
        ['grpc-status', '0'],
        ['content-length', '9'],
        ['x-checksum', 'abc'],
      ],
      true,
    ),
  );
  assert.equal(
    server.engine[0]!.text,
    'POST /a HTTP/1.1\r\nhost: api\r\nx: \r\ncookie: a=1; b=2\r\ntransfer-encoding: chunked\r\n\r\n' +
      '2\r\nhi\r\n0\r\ngrpc-status: 0\r\nx-checksum: abc\r\n\r\n',
  );
});

/** What the engine may write for an answer, and what the client sees of it. */
const answers: readonly (readonly [answer: string, lines: readonly string[], method?: string])[] = [
  ['HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n', ['1 HEADERS :status: 404 | content-length: 0 end']],
  ['HTTP/1.1 204 No Content\r\n\r\n', ['1 HEADERS :status: 204 end']],
  ['HTTP/1.1 304 x\r\nContent-Length: 9\r\n\r\n', ['1 HEADERS :status: 304 | content-length: 9 end']],
  ['HTTP/1.1 200 \r\nContent-Length: 9\r\n\r\n', ['1 HEADERS :status: 200 | content-length: 9 end'], 'HEAD'],
  [
    'HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\nKeep-Alive: 1\r\nContent-Length: 1\r\n\r\nx',
    ['1 HEADERS :status: 103 | link: </a>', '1 HEADERS :status: 200 | content-length: 1', '1 DATA x end'],
  ],
  [
    'HTTP/1.1 418 x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;a=b\r\nde\r\n0\r\n\r\n',
    ['1 HEADERS :status: 418', '1 DATA abc', '1 DATA de end'],
  ],
  [
    'HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nGrpc-Status: 0\r\ngrpc-message: a b \r\n\r\n',
    ['1 HEADERS :status: 200', '1 DATA abc', '1 HEADERS grpc-status: 0 | grpc-message: a b end'],
  ],
  [
    'HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\ngrpc-status: 5\r\n\r\n',
    ['1 HEADERS :status: 200', '1 HEADERS grpc-status: 5 end'],
  ],
  [
    'HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ['1 HEADERS :status: 200', '1 DATA  end'],
  ],
  [
    'HTTP/1.1 200 x\r\ncontent-type: application/grpc\r\ngrpc-status: 7\r\ncontent-length: 0\r\n\r\n',
    ['1 HEADERS :status: 200 | content-type: application/grpc | grpc-status: 7 | content-length: 0 end'],
  ],
];

/** Data frames of one stream in a row as one: how they are cut is nobody's business. */
function joined(lines: readonly string[]): string[] {
  const result: string[] = [];
  for (const line of lines) {
    const last = result.at(-1);
    if (line.startsWith('1 DATA ') && last?.startsWith('1 DATA '))
      result[result.length - 1] = last + line.slice(7);
    else result.push(line);
  }
  return result;
}

test('every kind of answer ends where it ends, however it was cut when it was written', () => {
  for (const [answer, lines, method] of answers)
    for (let cut = 0; cut < answer.length; cut++) {
      const server = new TestServer();
      const fields: Fields = [[':method', method ?? 'GET'], ...getFields.slice(1)];
      server.send(headers(1, fields, true));
      const engine = server.engine[0]!;
      for (const part of [answer.slice(0, cut), answer.slice(cut)]) engine.write(part);
      const seen = server.seen();
      if (cut === 0) assert.deepEqual(seen, lines);
      assert.deepEqual(
        joined(seen).map((line) => line.replace('DATA end', 'DATA  end')),
        joined(lines),
        `${answer} cut at ${cut}`,
      );
      assert.equal(server.session.streamCount, 0);
    }
});

test('heads and trailers may be longer than a frame', () => {
  const server = new TestServer();
  const long = [1, 2, 3].map((i) => `x-${i}: ${String(i).repeat(9000)}`);
  const fields = long.map((line) => line.split(': ') as [string, string]);
  const cut = frame(FrameType.headers, 0, 1, block(getFields));
  server.send(cut, frame(FrameType.continuation, 0, 1, block(fields.slice(0, 1))));
  server.send(frame(FrameType.continuation, Flag.endHeaders, 1, block(fields.slice(1, 2))));
  server.send(data(1, 'hi', false));
  const last = fields.slice(1).map(([name, value]) => [`t${name}`, value] as const);
  server.send(frame(FrameType.headers, Flag.endStream, 1, block(last.slice(0, 1))));
  server.send(frame(FrameType.continuation, Flag.endHeaders, 1, block(last.slice(1))));
  const trailers = last.map(([name, value]) => `${name}: ${value}`).join('\r\n');
  const head = `GET /a HTTP/1.1\r\nhost: api\r\n${long[0]}\r\n${long[1]}\r\ntransfer-encoding: chunked\r\n\r\n`;
  assert.equal(server.engine[0]!.text, `${head}2\r\nhi\r\n0\r\n${trailers}\r\n\r\n`);
  server.engine[0]!.write(`HTTP/1.1 200 OK\r\n${long.join('\r\n')}\r\nTransfer-Encoding: chunked\r\n\r\n`);
  server.engine[0]!.write(`0\r\n${trailers}\r\n\r\n`);
  assert.deepEqual(server.seen(), [
    `1 HEADERS :status: 200 | ${long.join(' | ')}`,
    `1 HEADERS ${trailers.replaceAll('\r\n', ' | ')} end`,
  ]);
});

test('an answer that lasts until close ends with it, one that was cut is never ended', () => {
  const server = new TestServer();
  server.send(headers(1, getFields, true), headers(3, getFields, true), headers(5, getFields, true));
  const [first, second, third] = server.engine;
  first!.write('HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall');
  first!.transport.close();
  second!.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf');
  second!.transport.destroy();
  third!.write('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf');
  third!.transport.close();
  assert.deepEqual(server.seen(), [
    '1 HEADERS :status: 200',
    '1 DATA all',
    '1 DATA  end',
    '3 HEADERS :status: 200 | content-length: 9',
    '3 DATA half',
    `3 RESET ${ErrorCode.internalError}`,
    '5 HEADERS :status: 200 | content-length: 9',
    '5 DATA half',
    `5 RESET ${ErrorCode.internalError}`,
  ]);
});

test('a call of gRPC whose answer breaks off ends as unavailable, not as a bug', () => {
  const begin = (type = 'application/grpc+proto'): TestServer => {
    const server = new TestServer();
    server.send(headers(1, postFields, false), headers(3, getFields, true));
    const head = `HTTP/1.1 200 OK\r\nContent-Type: ${type}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n`;
    for (const engine of server.engine) engine.write(head);
    server.seen();
    return server;
  };
  const told = 'HEADERS grpc-status: 14 | grpc-message: starling: the answer broke off end';
  const server = begin();
  for (const { transport } of server.engine) transport.destroy();
  assert.deepEqual(server.seen(), [`1 ${told}`, `1 RESET ${ErrorCode.noError}`, `3 ${told}`]);
  const aborted = begin();
  aborted.session.abort();
  assert.deepEqual([aborted.seen(), aborted.client.end], [[`1 ${told}`, `3 ${told}`], 'finish']);
  const web = begin('application/grpc-web');
  web.engine[1]!.transport.destroy();
  assert.deepEqual(web.seen(), [`3 RESET ${ErrorCode.internalError}`]);
});

test('an answer before the end of its request ends the request, and what was under way is not wrong', () => {
  const server = new TestServer();
  server.send(headers(1, postFields, false), data(1, 'some', false));
  server.engine[0]!.write(ok);
  server.engine[0]!.transport.close();
  assert.deepEqual(server.seen(), [...okLines(1), `1 RESET ${ErrorCode.noError}`]);
  server.send(data(1, 'more', false), headers(1, [['x', 'y']], true), headers(3, getFields, true));
  assert.deepEqual(server.seen(), []);
  assert.equal(server.engine.length, 2);
});

test('a client that takes a request back is told to the engine as a break', () => {
  const server = new TestServer();
  server.send(headers(1, getFields, true), frame(FrameType.reset, 0, 1, u32(ErrorCode.cancel)));
  assert.equal(server.engine[0]!.closed, 'reset');
  server.engine[0]!.write(ok);
  assert.deepEqual(server.seen(), []);
  server.send(headers(3, getFields, true));
  assert.equal(server.engine.length, 2, 'a broken connection is not used again');
});

test('no more is sent than the client takes, on a stream or in all, and the writer hears when there is room', () => {
  const server = new TestServer();
  server.send(
    settings([Setting.initialWindowSize, 10]),
    headers(1, getFields, true),
    headers(3, getFields, true),
  );
  server.seen();
  const [first, second] = server.engine;
  first!.write(`HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n${'a'.repeat(15)}`);
  second!.write(
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbbbb\r\n8\r\ncccccccc\r\n0\r\nx: y\r\n\r\n',
  );
  assert.deepEqual(
    server.seen().filter((line) => line.includes('DATA')),
    ['1 DATA aaaaaaaaaa', '3 DATA bbbb', '3 DATA cccccc'],
  );
  assert.ok(first!.transport.pendingBytes >= 5);
  server.send(frame(FrameType.windowUpdate, 0, 1, u32(5)));
  assert.deepEqual(server.seen(), ['1 DATA aaaaa end']);
  server.send(settings([Setting.initialWindowSize, 12]));
  assert.deepEqual(server.seen(), ['SETTINGS ack', '3 DATA cc', '3 HEADERS x: y end']);
  // The connection that was given back last is used first.
  const third = server.engine[1]!;
  server.send(headers(5, getFields, true), frame(FrameType.windowUpdate, 0, 5, u32(1_000_000)));
  const big = 'z'.repeat(100_000);
  third.write(`HTTP/1.1 200 OK\r\nContent-Length: ${big.length * 2}\r\n\r\n${big}`);
  const sent = server.seen().filter((line) => line.startsWith('5 DATA'));
  assert.equal(
    sent.reduce((sum, line) => sum + line.length - '5 DATA '.length, 0),
    65_535 - 15 - 12,
  );
  assert.equal(third.drained, 0);
  server.send(frame(FrameType.windowUpdate, 0, 0, u32(100_000)));
  assert.equal(third.drained, 1);
  assert.equal(third.transport.pendingBytes, 0);
});

test('an answer that nobody takes is not kept for ever, one that is taken slowly is', () => {
  const server = new TestServer();
  server.send(settings([Setting.initialWindowSize, 1]));
  server.send(headers(1, getFields, true), headers(3, getFields, true));
  for (const engine of server.engine) {
    engine.write('HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nfour');
    engine.transport.close();
  }
  server.seen();
  for (let i = 0; i < 3; i++) {
    server.pass(20_000);
    server.send(frame(FrameType.windowUpdate, 0, 1, u32(1)));
  }
  assert.deepEqual(server.seen(), ['1 DATA o', `3 RESET ${ErrorCode.cancel}`, '1 DATA u', '1 DATA r end']);
  assert.equal(server.session.streamCount, 0);
});

test('what is bad about a request ends its stream alone', () => {
  const cases: readonly (readonly [why: string, fields: Fields])[] = [
    ['no method', getFields.slice(1)],
    ['no path', getFields.slice(0, 3)],
    ['no scheme', [getFields[0]!, ...getFields.slice(2)]],
    ['empty path', [...getFields.slice(0, 3), [':path', '']]],
    ['path with a blank', [...getFields.slice(0, 3), [':path', '/a b']]],
    ['path of no form', [...getFields.slice(0, 3), [':path', 'http://other/']]],
    ['two paths', [...getFields, [':path', '/b']]],
    ['method of no token', [[':method', 'GE T'], ...getFields.slice(1)]],
    ['line end in the authority', [...getFields.slice(0, 2), [':authority', 'a\r\nx: y'], getFields[3]!]],
    ['another scheme', [getFields[0]!, [':scheme', 'ftp'], ...getFields.slice(2)]],
    ['unknown pseudo-field', [...getFields, [':protocol', 'websocket']]],
    ['pseudo-field of answers', [...getFields, [':status', '200']]],
    ['pseudo-field behind others', [...getFields.slice(0, 3), ['a', 'b'], getFields[3]!]],
    ['connection', [...getFields, ['connection', 'close']]],
    ['keep-alive', [...getFields, ['keep-alive', '1']]],
    ['proxy-connection', [...getFields, ['proxy-connection', 'close']]],
    ['transfer-encoding', [...getFields, ['transfer-encoding', 'chunked']]],
    ['upgrade', [...getFields, ['upgrade', 'websocket']]],
    ['te', [...getFields, ['te', 'gzip']]],
    ['blank before a value', [...getFields, ['a', ' b']]],
    ['blank behind a value', [...getFields, ['a', 'b\t']]],
    ['line end in a value', [...getFields, ['a', 'b\r\nc: d']]],
    ['NUL in a value', [...getFields, ['a', 'b\0']]],
    ['name of no token', [...getFields, ['a b', 'c']]],
    ['empty name', [...getFields, ['', 'c']]],
    ['another Host', [...getFields, ['host', 'other']]],
    ['two lengths', [...getFields, ['content-length', '0'], ['content-length', '0']]],
    ['length of no number', [...getFields, ['content-length', '+1']]],
    ['length without a body', [...getFields, ['content-length', '1']]],
    ['CONNECT with a path', [[':method', 'CONNECT'], ...getFields.slice(1)]],
  ];
  const server = new TestServer();
  let id = 1;
  for (const [why, fields] of cases) {
    server.send(headers(id, fields, true));
    assert.deepEqual(server.seen(), [`${id} RESET ${ErrorCode.protocolError}`], why);
    id += 2;
  }
  // The encoder writes names in lower case, so this one comes by hand.
  server.send(frame(FrameType.headers, Flag.endHeaders | Flag.endStream, id, '\x82\x86\x84\x00\x01A\x01b'));
  assert.deepEqual(server.seen(), [`${id} RESET ${ErrorCode.protocolError}`]);
  assert.equal(server.engine.length, 0);
  server.send(headers(id + 2, getFields, true));
  assert.equal(server.engine.length, 1);
});

test('a body that is not as long as was said breaks its request', () => {
  for (const [first, second] of [
    ['toolong', ''],
    ['abc', ''],
    ['ab', 'cdef'],
  ] as const) {
    const server = new TestServer();
    server.send(headers(1, [...postFields, ['content-length', '5']], false), data(1, first, second === ''));
    if (second !== '') server.send(data(1, second, true));
    assert.deepEqual(server.seen(), [`1 RESET ${ErrorCode.protocolError}`]);
    assert.equal(server.engine[0]!.closed, 'reset');
  }
});

test('CONNECT is left to the engine to refuse', () => {
  const server = new TestServer();
  server.send(
    headers(
      1,
      [
        [':method', 'CONNECT'],
        [':authority', 'api:443'],
      ],
      false,
    ),
  );
  assert.match(server.engine[0]!.text, /^CONNECT api:443 HTTP\/1\.1\r\nhost: api:443\r\n/);
});

test('a head that is too long is answered as such, whatever it was made of', () => {
  const server = new TestServer();
  // Each field refers to one of four kilobytes in the table: a few bytes that stand for a megabyte.
  const big = block([
    ['x-big', 'v'.repeat(4000)],
    ['x-big', 'v'.repeat(4000)],
  ]);
  const bomb = Buffer.concat([block(getFields), big, Buffer.alloc(300, 0xbe)]);
  server.send(frame(FrameType.headers, Flag.endHeaders | Flag.endStream, 1, bomb));
  assert.deepEqual(server.seen(), ['1 HEADERS :status: 431 | content-length: 0 end']);
  assert.equal(server.engine.length, 0);
  server.send(headers(3, getFields, true));
  assert.equal(server.engine.length, 1);
});

test('a client that is to go finishes what it has, and one request that crossed on the way', () => {
  const server = new TestServer();
  server.send(headers(1, getFields, true));
  server.session.drain();
  assert.deepEqual(server.seen(), ['GOAWAY 2147483647 0', 'PING draining']);
  server.send(headers(3, getFields, true));
  server.send(frame(FrameType.ping, Flag.ack, 0, 'draining'));
  assert.deepEqual(server.seen(), ['GOAWAY 3 0']);
  server.send(headers(5, getFields, true));
  assert.deepEqual(server.seen(), [`5 RESET ${ErrorCode.refusedStream}`]);
  for (const engine of server.engine) engine.write(ok);
  assert.deepEqual(server.seen(), [...okLines(1), ...okLines(3)]);
  assert.equal(server.client.end, 'close');
  assert.equal(server.problem, null);
});

test('a client that does not answer is not waited for, and an idle one goes at once', () => {
  const silent = new TestServer();
  silent.send(headers(1, getFields, true));
  silent.session.drain();
  silent.pass(1000);
  assert.deepEqual(silent.seen(), ['GOAWAY 2147483647 0', 'PING draining', 'GOAWAY 1 0']);
  silent.engine[0]!.write(ok);
  assert.equal(silent.client.end, 'close');
  const idle = new TestServer();
  idle.session.drain();
  idle.send(frame(FrameType.ping, Flag.ack, 0, 'draining'));
  assert.equal(idle.client.end, 'close');
});

test('a client that ends its side is answered what it had asked, and no more', () => {
  const server = new TestServer();
  server.send(headers(1, getFields, true), headers(3, postFields, false));
  server.client.owner.onFinish();
  assert.deepEqual(
    server.engine.map((engine) => engine.closed),
    [null, 'reset'],
  );
  server.engine[0]!.write(ok);
  assert.deepEqual(server.seen().slice(-2), okLines(1));
  assert.equal(server.client.end, 'close');
});

test('a connection that the engine gave up while it waited is not used again', () => {
  const server = new TestServer();
  server.send(headers(1, getFields, true));
  server.engine[0]!.write(ok);
  server.engine[0]!.transport.close();
  server.send(headers(3, getFields, true));
  server.engine[1]!.write(ok);
  assert.deepEqual(server.seen(), [...okLines(1), ...okLines(3)]);
});

test('when the connection breaks, every request on it breaks, and nothing waits for another', () => {
  const server = new TestServer();
  server.send(headers(1, getFields, true));
  server.engine[0]!.write(ok);
  server.send(headers(3, getFields, true), headers(5, getFields, true));
  server.engine[1]!.write(ok);
  server.client.break('reset');
  assert.deepEqual(
    server.engine.map((engine) => engine.closed),
    ['reset', 'ended'],
  );
  assert.equal(server.problem, null);
});
