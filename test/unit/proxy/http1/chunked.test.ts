/** Where a chunked body ends, and which ones are refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ChunkedTracker, chunkedMalformed } from '../../../../src/proxy/http1/chunked.ts';

function feed(text: string): { used: number; done: boolean } {
  const tracker = new ChunkedTracker();
  const bytes = Buffer.from(text, 'latin1');
  return { used: tracker.feed(bytes, 0, bytes.length), done: tracker.done };
}

const sound = [
  '0\r\n\r\n',
  '5\r\nhello\r\n0\r\n\r\n',
  'A\r\n0123456789\r\na\r\n0123456789\r\n000\r\n\r\n',
  '5;name=value;other="quoted"\r\nhello\r\n0\r\n\r\n',
  '5\r\nhello\r\n0\r\nX-Checksum: abc\r\nServer-Timing: x\r\n\r\n',
  '0000000000000005\r\nhello\r\n0\r\n\r\n',
];
for (const body of sound)
  test(`the body ${JSON.stringify(body)} ends where it ends, whatever follows and however it is cut`, () => {
    assert.deepEqual(feed(`${body}GET / HTTP/1.1`), { used: body.length, done: true });
    for (let cut = 1; cut < body.length; cut++) {
      const tracker = new ChunkedTracker();
      assert.equal(tracker.feed(Buffer.from(body.slice(0, cut)), 0, cut), cut);
      assert.equal(tracker.done, false);
      assert.equal(tracker.feed(Buffer.from(body.slice(cut)), 0, body.length - cut), body.length - cut);
      assert.equal(tracker.done, true);
    }
  });

const refused = [
  '\r\n',
  'g\r\n',
  ' 5\r\nhello\r\n0\r\n\r\n',
  '5 \r\nhello\r\n0\r\n\r\n',
  '+5\r\nhello\r\n0\r\n\r\n',
  '0x5\r\nhello\r\n0\r\n\r\n',
  '5\nhello\n0\n\n',
  '5\r\nhello0\r\n\r\n',
  '5\r\nhelloX\r\n0\r\n\r\n',
  '5\r\nhello\n0\r\n\r\n',
  '5\rxhello\r\n0\r\n\r\n',
  '00000000000000005\r\nhello\r\n0\r\n\r\n',
  'FFFFFFFFFFFFFFFF\r\n',
  `5;${'x'.repeat(300)}\r\nhello\r\n0\r\n\r\n`,
  '5;a\0\r\nhello\r\n0\r\n\r\n',
  '0\r\nContent-Length: 5\r\n\r\n',
  '0\r\ntransfer-encoding: chunked\r\n\r\n',
  '0\r\nHost: b\r\n\r\n',
  '0\r\nX-Forwarded-Client-Cert: URI=x\r\n\r\n',
  '0\r\nx_forwarded_client_cert: URI=x\r\n\r\n',
  '0\r\nX-Starling-Source: x\r\n\r\n',
  '0\r\nAuthorization: x\r\n\r\n',
  '0\r\nX-A : 1\r\n\r\n',
  '0\r\n X-A: 1\r\n\r\n',
  '0\r\nX-A: 1\r\n folded\r\n\r\n',
  '0\r\n: 1\r\n\r\n',
  `0\r\nX-A: ${'x'.repeat(70_000)}\r\n\r\n`,
  `0\r\n${'X'.repeat(200)}: 1\r\n\r\n`,
];
for (const body of refused)
  test(`the body ${JSON.stringify(body.slice(0, 50))} is refused`, () => {
    assert.equal(feed(body).used, chunkedMalformed);
  });
