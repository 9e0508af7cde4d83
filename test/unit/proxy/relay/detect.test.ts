/** Which protocol a client speaks, by its first bytes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type DetectedProtocol, detectProtocol } from '../../../../src/proxy/relay/detect.ts';

const cases: readonly (readonly [string, DetectedProtocol | null])[] = [
  ['', null],
  ['GET / HTTP/1.1\r\n', 'http1'],
  ['GET / HTTP/1.0\r\n', 'http1'],
  ['OPTIONS * HTTP/1.1\r\n', 'http1'],
  ['GET http://api.mesh/ HTTP/1.1\r\n', 'http1'],
  ['GET /', null],
  ['G', null],
  [`GET /${'a'.repeat(300)}`, 'http1'],
  ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'http2'],
  ['PRI * HTTP/2.0\r\n', null],
  ['POST / HTTP/1.1', 'http1'],
  // What servers take for a request though it is none: those of Node, nginx or Python.
  ['GET / HTTP/2.0\r\n', 'http1'],
  ['\r\n\n\rGET / HTTP/1.1\r\n', 'http1'],
  ['GET /a#b HTTP/1.1\r\n', 'http1'],
  ['GET   /   HTTP/1.1\r\n', 'http1'],
  ['GET /\xe9 HTTP/1.1\r\n', 'http1'],
  ['GET / RTSP/1.0\r\n', 'http1'],
  ['SOURCE / ICE/1.0\r\n', 'http1'],
  ['GET /\r\n', 'http1'],
  ['GET *\n', 'http1'],
  ['GET a://b\n', 'http1'],
  ['GET /  \r\n', 'http1'],
  ['GET\t/\tHTTP/1.1\r\n', 'http1'],
  [' \tGET\x0b/\xa0http/1.1\r\n', 'http1'],
  ['GET\r/\rHTTP/1.1\n', 'http1'],
  ['CONNECT {"a":"b://c"}\r\n', 'tcp'],
  ['CONNECT\naccept-version:1.2\n', 'tcp'],
  ['GET a b HTTP/1.1\r\n', 'tcp'],
  ['GET /a b HTTP/1.1\r\n', 'http1'],
  [`GET${' '.repeat(400)}`, 'http1'],
  ['\r\n'.repeat(200), 'http1'],
  ['\r\n', null],
  ['get / HTT', null],
  ['get / HTTP/', 'http1'],
  ['INVITE sip:a@b SIP/2.0\r\n', 'tcp'],
  ['get /key\r\n', 'tcp'],
  ['SET key value\r\n', 'tcp'],
  ['PING\r\n', 'tcp'],
  ['*1\r\n$4\r\nPING\r\n', 'tcp'],
  ['get key\r\n', 'tcp'],
  ['EHLO host\r\n', 'tcp'],
  ['\x16\x03\x01\x02\x00', 'tcp'],
  ['\x00\x00\x00\x08\x04\xd2\x16\x2f', 'tcp'],
  ['A'.repeat(40), 'tcp'],
];

for (const [bytes, expected] of cases)
  test(`${JSON.stringify(bytes.slice(0, 40))} is taken for ${expected ?? 'nothing yet'}`, () => {
    assert.equal(detectProtocol(Buffer.from(bytes, 'latin1')), expected);
  });

test('a decision never changes as more bytes come', () => {
  for (const [bytes] of cases) {
    let decided: DetectedProtocol | null = null;
    for (let length = 0; length <= bytes.length; length++) {
      const now = detectProtocol(Buffer.from(bytes.slice(0, length), 'latin1'));
      if (decided !== null) assert.equal(now, decided);
      decided = now;
    }
  }
});
