/** What a request or response head may look like, and what two parsers could read in two ways. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { incomplete, malformed, RequestHead, ResponseHead } from '../../../../src/proxy/http1/head.ts';

function parseRequest(text: string): { head: RequestHead; result: number; bytes: Buffer } {
  const bytes = Buffer.from(text, 'latin1');
  const head = new RequestHead();
  return { head, bytes, result: head.parse(bytes, 0, bytes.length) };
}

function parseResponse(text: string): { head: ResponseHead; result: number } {
  const bytes = Buffer.from(text, 'latin1');
  const head = new ResponseHead();
  return { head, result: head.parse(bytes, 0, bytes.length) };
}

/** What is left of a head after the cuts, without the empty line. */
function kept({ head, bytes }: { head: RequestHead; bytes: Buffer }): string {
  let text = '';
  let from = head.start;
  for (let i = 0; i < head.cutCount; i += 2) {
    text += bytes.toString('latin1', from, head.cuts[i]);
    from = head.cuts[i + 1]!;
  }
  return text + bytes.toString('latin1', from, head.end - 2);
}

/** Each must be refused, with the status; `~` stands for a NUL, so that it can be read. */
const refusedRequests: readonly (readonly [string, string, number])[] = [
  ['Content-Length beside Transfer-Encoding', 'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n', 400],
  ['Transfer-Encoding beside Content-Length', 'Transfer-Encoding: chunked\r\nContent-Length: 5\r\n', 400],
  ['two different lengths', 'Content-Length: 5\r\nContent-Length: 6\r\n', 400],
  ['the same length twice', 'Content-Length: 5\r\nContent-Length: 5\r\n', 400],
  ['a list of lengths', 'Content-Length: 5, 5\r\n', 400],
  ['a signed length', 'Content-Length: +5\r\n', 400],
  ['a negative length', 'Content-Length: -1\r\n', 400],
  ['a hexadecimal length', 'Content-Length: 0x5\r\n', 400],
  ['a length with an inner space', 'Content-Length: 1 0\r\n', 400],
  ['an empty length', 'Content-Length: \r\n', 400],
  ['a length beyond what is exact', 'Content-Length: 99999999999999999999\r\n', 400],
  ['a coding that is not chunked', 'Transfer-Encoding: gzip\r\n', 400],
  ['chunked last of several codings', 'Transfer-Encoding: gzip, chunked\r\n', 400],
  ['chunked twice in one field', 'Transfer-Encoding: chunked, chunked\r\n', 400],
  ['chunked twice in two fields', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n', 400],
  ['a coding that only looks like chunked', 'Transfer-Encoding: xchunked\r\n', 400],
  ['a quoted coding', 'Transfer-Encoding: "chunked"\r\n', 400],
  ['a vertical tab in the coding', 'Transfer-Encoding: \vchunked\r\n', 400],
  ['an empty coding', 'Transfer-Encoding:\r\n', 400],
  ['white space before the colon', 'Content-Length : 5\r\n', 400],
  ['a tab before the colon', 'Transfer-Encoding\t: chunked\r\n', 400],
  ['a folded line', 'X-A: 1\r\n folded\r\n', 400],
  ['a line folded with a tab', 'X-A: 1\r\n\tfolded\r\n', 400],
  ['a leading space in the first field', ' X-A: 1\r\n', 400],
  ['a bare line feed', 'X-A: 1\nX-B: 2\r\n', 400],
  ['a bare carriage return', 'X-A: 1\rX-B: 2\r\n', 400],
  ['NUL in a value', 'X-A: a~b\r\n', 400],
  ['NUL in a name', 'X-~A: 1\r\n', 400],
  ['DEL in a value', 'X-A: a\x7fb\r\n', 400],
  ['an empty name', ': 1\r\n', 400],
  ['a name that is not a token', 'X(A): 1\r\n', 400],
  ['a name beyond ASCII', 'X\xe9: 1\r\n', 400],
  ['a line without a colon', 'X-A\r\n', 400],
  ['two hosts', 'Host: b\r\n', 400],
  ['an unknown expectation', 'Expect: 200-ok\r\n', 417],
];

for (const [name, fields, status] of refusedRequests)
  test(`a request with ${name} is refused with ${status}`, () => {
    const { head, result } = parseRequest(
      `POST / HTTP/1.1\r\nHost: a\r\n${fields.replaceAll('~', '\0')}\r\nhello`,
    );
    assert.equal(result, malformed);
    assert.equal(head.problemStatus, status);
  });

const refusedHosts = ['user@a', 'a,b', 'a/b', 'a b', 'a?b', 'a#b', 'a\\b', 'a"b', 'h\xf6st'];
for (const host of refusedHosts)
  test(`the host ${JSON.stringify(host)} is refused`, () => {
    assert.equal(parseRequest(`GET / HTTP/1.1\r\nHost: ${host}\r\n\r\n`).result, malformed);
  });

const refusedLines: readonly (readonly [string, number])[] = [
  ['GET  / HTTP/1.1', 400],
  ['GET /  HTTP/1.1', 400],
  ['GET / HTTP/1.1 ', 400],
  [' GET / HTTP/1.1', 400],
  ['GET\t/ HTTP/1.1', 400],
  ['GET / HTTP/1.2', 505],
  ['GET / HTTP/2.0', 505],
  ['GET / http/1.1', 400],
  ['GET / HTTP/1.10', 400],
  ['GET /', 400],
  ['GE(T / HTTP/1.1', 400],
  ['GET /a#b HTTP/1.1', 400],
  ['GET /a\0b HTTP/1.1', 400],
  ['GET /\xe9 HTTP/1.1', 400],
  ['GET a HTTP/1.1', 400],
  ['GET * HTTP/1.1', 400],
  ['GET https://a/ HTTP/1.1', 400],
  ['GET http:///x HTTP/1.1', 400],
  ['GET http://b/ HTTP/1.1', 400],
  ['GET http://user@a/ HTTP/1.1', 400],
  ['GET http://a?x HTTP/1.1', 400],
  [`${'A'.repeat(33)} / HTTP/1.1`, 400],
];
for (const [line, status] of refusedLines)
  test(`the request line ${JSON.stringify(line)} is refused with ${status}`, () => {
    const { head, result } = parseRequest(`${line}\r\nHost: a\r\n\r\n`);
    assert.equal(result, malformed);
    assert.equal(head.problemStatus, status);
  });

test('HTTP/1.1 needs a host, HTTP/1.0 does not', () => {
  assert.equal(parseRequest('GET / HTTP/1.1\r\n\r\n').result, malformed);
  assert.ok(parseRequest('GET / HTTP/1.0\r\n\r\n').result > 0);
});

test('a transfer coding in HTTP/1.0 is refused, in requests and responses', () => {
  const fields = 'Host: a\r\nTransfer-Encoding: chunked\r\n\r\n';
  assert.equal(parseRequest(`POST / HTTP/1.0\r\n${fields}`).result, malformed);
  assert.equal(parseResponse(`HTTP/1.0 200 OK\r\n${fields}`).result, malformed);
});

const refusedResponses = [
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n',
  'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n',
  'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n',
  'HTTP/1.1 200 OK\r\nX-A: 1\r\n folded\r\n\r\n',
  'HTTP/1.1 200 OK\r\nX-A : 1\r\n\r\n',
  'HTTP/1.1 200 OK\nX-A: 1\r\n\r\n',
  'HTTP/1.1 099 No\r\n\r\n\r\n',
  'HTTP/1.1 600 No\r\n\r\n\r\n',
  'HTTP/1.1 2000 OK\r\n\r\n\r\n',
  'HTTP/1.1  200 OK\r\n\r\n\r\n',
  'HTTP/2.0 200 OK\r\n\r\n\r\n',
  'ICY 200 OK\r\n\r\n\r\n\r\n\r\n',
  'HTTP/1.1 200 O\0K\r\n\r\n\r\n',
];
for (const text of refusedResponses)
  test(`the response ${JSON.stringify(text.slice(0, 60))} is refused`, () => {
    assert.equal(parseResponse(text).result, malformed);
  });

test('more than 128 fields are refused with 431', () => {
  const fields = (count: number): string => 'X-A: 1\r\n'.repeat(count);
  assert.ok(parseRequest(`GET / HTTP/1.1\r\nHost: a\r\n${fields(127)}\r\n`).result > 0);
  const { head, result } = parseRequest(`GET / HTTP/1.1\r\nHost: a\r\n${fields(128)}\r\n`);
  assert.equal(result, malformed);
  assert.equal(head.problemStatus, 431);
});

test('every beginning of a sound head is incomplete, never refused', () => {
  const text =
    '\r\nPOST http://a:80/x?y=%2F HTTP/1.1\r\nHost: A:80\r\nConnection: keep-alive, x-a\r\nX-A:\t1 \r\n\r\n';
  for (let length = 1; length < text.length; length++)
    assert.equal(
      parseRequest(text.slice(0, length)).result,
      incomplete,
      JSON.stringify(text.slice(0, length)),
    );
  assert.equal(parseRequest(text).result, text.length);
});

test('the same holds for a response', () => {
  const text = 'HTTP/1.1 200 All right\r\nContent-Length: 3\r\nServer:\r\n\r\n';
  for (let length = 1; length < text.length; length++)
    assert.equal(parseResponse(text.slice(0, length)).result, incomplete);
  assert.equal(parseResponse(text).result, text.length);
});

test('hop-by-hop fields are cut, with those that Connection names', () => {
  const parsed = parseRequest(
    'GET / HTTP/1.1\r\nX-A: 1\r\nHost: a\r\nConnection: x-a, Keep-Alive\r\nKeep-Alive: 5\r\n' +
      'TE: gzip\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nX-B: 2\r\n\r\n',
  );
  assert.equal(kept(parsed), 'GET / HTTP/1.1\r\nHost: a\r\nX-B: 2\r\n');
});

test('that a client wants trailers is passed on, unless it says that only to the next', () => {
  const wish = 'GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n';
  assert.equal(kept(parseRequest(`${wish}\r\n`)), wish);
  assert.equal(kept(parseRequest(`${wish}Connection: TE\r\n\r\n`)), 'GET / HTTP/1.1\r\nHost: a\r\n');
});

test('Connection cannot have framing, host or request id dropped', () => {
  const parsed = parseRequest(
    'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nX-Request-Id: r\r\n' +
      'Connection: content-length, host, x-request-id, transfer-encoding\r\n\r\n',
  );
  assert.equal(kept(parsed), 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nX-Request-Id: r\r\n');
});

test('what a client says of its own identity is cut, however it is spelled', () => {
  const parsed = parseRequest(
    'GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Client-Cert: URI=spiffe://x\r\nX_FORWARDED-client_cert: y\r\n' +
      'x-starling-source: root\r\nX_Starling_Reason: z\r\nX-Starlings: fine\r\n\r\n',
  );
  assert.equal(kept(parsed), 'GET / HTTP/1.1\r\nHost: a\r\nX-Starlings: fine\r\n');
});

test('close outweighs keep-alive, whatever their order and version', () => {
  const keepAlive = (version: string, ...options: string[]): boolean =>
    parseRequest(`GET / ${version}\r\nHost: a\r\n${options.map((o) => `Connection: ${o}\r\n`).join('')}\r\n`)
      .head.keepAlive;
  assert.equal(keepAlive('HTTP/1.1'), true);
  assert.equal(keepAlive('HTTP/1.0'), false);
  assert.equal(keepAlive('HTTP/1.0', 'keep-alive'), true);
  assert.equal(keepAlive('HTTP/1.0', 'Keep-Alive, x-a'), true);
  assert.equal(keepAlive('HTTP/1.1', 'close', 'keep-alive'), false);
  assert.equal(keepAlive('HTTP/1.0', 'close', 'keep-alive'), false);
  assert.equal(keepAlive('HTTP/1.1', 'x-a, close'), false);
});

test('an upgrade is one protocol that is named, and not HTTP or TLS once more', () => {
  const upgrades = (fields: string): boolean =>
    parseRequest(`GET / HTTP/1.1\r\nHost: a\r\n${fields}\r\n`).head.upgrades;
  assert.equal(upgrades('Connection: Upgrade\r\nUpgrade: WebSocket\r\n'), true);
  assert.equal(upgrades('Upgrade: websocket\r\nConnection: keep-alive, upgrade\r\n'), true);
  assert.equal(upgrades('Upgrade: websocket\r\n'), false);
  assert.equal(upgrades('Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\n'), true);
  assert.equal(upgrades('Connection: Upgrade\r\nUpgrade: tcp\r\n'), true);
  for (const other of ['h2c', 'H2C', 'HTTP/2.0', 'http', 'TLS/1.2', 'websocket, h2c', 'web socket', ''])
    assert.equal(upgrades(`Connection: upgrade\r\nUpgrade: ${other}\r\n`), false, other);
  assert.equal(upgrades('Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n'), false);
});

test('which body follows a response depends on its status and on the request', () => {
  const kind = (text: string, toHead = false): string => parseResponse(text).head.bodyKind(toHead);
  assert.equal(kind('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n'), 'length');
  assert.equal(kind('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n', true), 'none');
  assert.equal(kind('HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n'), 'none');
  assert.equal(kind('HTTP/1.1 304 No\r\nTransfer-Encoding: chunked\r\n\r\n'), 'none');
  assert.equal(kind('HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n'), 'chunked');
  assert.equal(kind('HTTP/1.1 200 OK\r\nServer: x\r\n\r\n'), 'until-close');
  assert.equal(kind('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'), 'none');
});
