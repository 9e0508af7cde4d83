/** The HTTP/1.1 engine against requests of every shape: what goes on is what came in, and never more than that. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BodyTracker } from '../../src/proxy/http1/body.ts';
import { RequestHead } from '../../src/proxy/http1/head.ts';
import { TestEngine } from '../support/transport.ts';

const tokenCharacters = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const token = fc.string({ unit: fc.constantFrom(...tokenCharacters), minLength: 1, maxLength: 12 });
const value = fc
  .string({ unit: fc.constantFrom(...'abcXYZ09 \t;,="/'), maxLength: 20 })
  .map((text) => text.trim());
const field = fc.tuple(token, value).map(([name, text]) => `X-${name}: ${text}\r\n`);
const hopField = fc.constantFrom(
  'Connection: keep-alive\r\n',
  'Connection: x-gone\r\n',
  'X-Gone: 1\r\n',
  'Keep-Alive: timeout=5\r\n',
  'TE: gzip\r\n',
  'Upgrade: h2c\r\n',
  'X-Forwarded-Client-Cert: URI=spiffe://root\r\n',
  'X-Starling-Source: root\r\n',
);

interface Message {
  readonly bytes: string;
  readonly body: string;
}

const chunks = fc.array(fc.string({ unit: fc.constantFrom(...'abc\r\n0'), minLength: 1, maxLength: 30 }), {
  maxLength: 5,
});
const message: fc.Arbitrary<Message> = fc
  .record({
    method: fc.constantFrom('GET', 'POST', 'PUT', 'X-ODD'),
    path: fc.string({ unit: fc.constantFrom(...'abc/%2F?=&.~'), maxLength: 20 }),
    fields: fc.array(fc.oneof(field, hopField), { maxLength: 10 }),
    framing: fc.constantFrom('none', 'length', 'chunked'),
    chunks,
  })
  .map(({ method, path, fields, framing, chunks }) => {
    const text = chunks.join('');
    const chunked = [...chunks, ''].map((chunk) => `${chunk.length.toString(16)}\r\n${chunk}\r\n`).join('');
    const body = framing === 'none' ? '' : framing === 'length' ? text : chunked;
    const frame =
      framing === 'none'
        ? ''
        : framing === 'length'
          ? `Content-Length: ${text.length}\r\n`
          : 'Transfer-Encoding: chunked\r\n';
    return {
      bytes: `${method} /${path} HTTP/1.1\r\nHost: api\r\n${fields.join('')}${frame}\r\n${body}`,
      body,
    };
  });

/** Sends `bytes` cut at `cuts`, answering each request when it is complete; all that the servers got, one by one. */
function serve(bytes: Buffer, cuts: readonly number[]): { forwarded: string[]; answers: string } {
  const engine = new TestEngine();
  const { client } = engine.accept();
  const forwarded: string[] = [];
  let current = '';
  const settle = (): void => {
    for (const { transport } of engine.dialed) {
      for (let text = transport.take(); text !== ''; text = transport.take()) {
        current += text;
        if (!isComplete(current)) break;
        forwarded.push(current);
        current = '';
        transport.receive('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
      }
    }
  };
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))]
    .sort((a, b) => a - b)
    .concat(bytes.length);
  let from = 0;
  for (const end of ends) {
    if (end > from) client.receive(bytes.subarray(from, end));
    from = end;
    settle();
  }
  return { forwarded, answers: client.take() };
}

/** Whether `text` is exactly one request; more than one in it fails the test. */
function isComplete(text: string): boolean {
  const bytes = Buffer.from(text, 'latin1');
  const head = new RequestHead();
  const headEnd = head.parse(bytes, 0, bytes.length);
  assert.notEqual(headEnd, -1, `a server was sent ${JSON.stringify(text)}: ${head.problem}`);
  if (headEnd === 0) return false;
  const body = new BodyTracker();
  body.start(head.bodyKind(), head.contentLength);
  const end = body.feed(bytes, headEnd, bytes.length);
  assert.equal(end, bytes.length, `a server was sent more than one request: ${JSON.stringify(text)}`);
  return body.done;
}

const cuts = fc.array(fc.nat(2000), { maxLength: 12 });

test('however requests are cut, each goes on alone, with its body, path and end-to-end fields', () => {
  fc.assert(
    fc.property(fc.array(message, { minLength: 1, maxLength: 4 }), cuts, (messages, at) => {
      const { forwarded } = serve(Buffer.from(messages.map((each) => each.bytes).join(''), 'latin1'), at);
      assert.equal(forwarded.length, messages.length);
      messages.forEach((sent, index) => {
        const got = forwarded[index]!;
        assert.equal(got.slice(got.indexOf('\r\n\r\n') + 4), sent.body);
        assert.equal(got.split('\r\n')[0], sent.bytes.split('\r\n')[0]);
        const lines = got.slice(0, got.indexOf('\r\n\r\n')).split('\r\n').slice(1);
        const names = lines.map((line) => line.slice(0, line.indexOf(':')).toLowerCase());
        for (const gone of [
          'connection',
          'keep-alive',
          'te',
          'upgrade',
          'x-forwarded-client-cert',
          'x-starling-source',
        ])
          assert.ok(!names.includes(gone), `${gone} went on`);
        const namesGone = /^connection: x-gone/im.test(sent.bytes);
        assert.equal(names.includes('x-gone'), !namesGone && /^x-gone:/im.test(sent.bytes));
        assert.equal(names.filter((name) => name === 'x-request-id').length, 1);
      });
    }),
    { numRuns: 400 },
  );
});

test('whatever a client sends, a server is sent whole sound requests, and the client only sound answers', () => {
  // Sound requests with a few bytes changed, dropped or put in: where smuggling lives.
  const edit = fc.record({
    at: fc.nat(400),
    drop: fc.nat(2),
    put: fc.constantFrom(
      '',
      '\r',
      '\n',
      '\r\n',
      ' ',
      '\t',
      '\0',
      ':',
      ',',
      '0',
      'Content-Length: 3\r\n',
      'Transfer-Encoding: chunked\r\n',
      'Transfer-Encoding : chunked\r\n',
      ' folded\r\n',
    ),
  });
  fc.assert(
    fc.property(
      fc.array(message, { minLength: 1, maxLength: 3 }),
      fc.array(edit, { maxLength: 3 }),
      cuts,
      (messages, edits, at) => {
        let text = messages.map((each) => each.bytes).join('');
        for (const { at: place, drop, put } of edits) {
          const index = place % (text.length + 1);
          text = text.slice(0, index) + put + text.slice(index + drop);
        }
        const { answers } = serve(Buffer.from(text, 'latin1'), at);
        assert.match(answers, /^(HTTP\/1\.1 \d{3} [^\r\n]*\r\n([^\r\n]+\r\n)*\r\n([^\r\n]*\n)?)*$/);
      },
    ),
    { numRuns: 1500 },
  );
});

test('how a request is cut changes nothing of what goes on', () => {
  fc.assert(
    fc.property(message, cuts, ({ bytes }, at) => {
      const withId = Buffer.from(
        bytes.replace('Host: api\r\n', 'Host: api\r\nX-Request-Id: r\r\n'),
        'latin1',
      );
      const whole = serve(withId, []);
      const inParts = serve(withId, at);
      const byteByByte = serve(
        withId,
        Array.from({ length: withId.length }, (_, index) => index),
      );
      assert.deepEqual(inParts, whole);
      assert.deepEqual(byteByByte, whole);
    }),
    { numRuns: 150 },
  );
});
