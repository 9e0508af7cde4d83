/** HTTP/1.1 from one application to another through both data planes, over real sockets and TLS. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exchange, startHttpApp, startMesh, trafficOf } from '../../../support/mesh.ts';

test('a GET reaches the application and its answer comes back', async (t) => {
  const app = await startHttpApp(t, (request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify({ url: request.url, headers: request.headers }));
  });
  const mesh = await startMesh(t, [app]);
  const response = await fetch(`http://127.0.0.1:${mesh.port}/hello?x=1`);
  assert.equal(response.status, 200);
  const seen = (await response.json()) as { url: string; headers: { [name: string]: string } };
  assert.equal(seen.url, '/hello?x=1');
  assert.match(seen.headers['x-request-id'] ?? '', /^[0-9a-f]{32}$/);
  assert.equal(seen.headers['x-forwarded-client-cert'], 'URI=spiffe://test.mesh/ns/default/dc/dc1/svc/web');
  assert.equal(trafficOf(mesh.caller, 'source').byClass[2], 1);
  assert.equal(trafficOf(mesh.callee, 'destination').byClass[2], 1);
});

test('several requests in one write are answered in order on one connection', async (t) => {
  const app = await startHttpApp(t, (request, response) => response.end(`answer to ${request.url}`));
  const mesh = await startMesh(t, [app]);
  const requests = ['/1', '/2', '/3'].map((path) => `GET ${path} HTTP/1.1\r\nHost: api\r\n\r\n`);
  const last = 'GET /4 HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n';
  const { text, cut } = await exchange(mesh.port, requests.join('') + last);
  assert.equal(cut, false);
  assert.deepEqual(text.match(/answer to \/\d/g), [
    'answer to /1',
    'answer to /2',
    'answer to /3',
    'answer to /4',
  ]);
});
