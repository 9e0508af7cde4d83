/** Applications and clients that die in the middle, at every point there is: nobody is told a lie, nothing is left. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { until } from '../../demo/flock.ts';
import type { DataPlane } from '../../src/proxy/dataplane.ts';
import { exchange, startMesh, startTcpApp } from '../support/mesh.ts';

const withLength = 'HTTP/1.1 200 OK\r\nContent-Length: 10\r\nX-From: app\r\n\r\n';
const inChunks = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n';
const untilClose = 'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n';

/** How an application goes: by a reset, or as an ended process does. */
type Going = 'reset' | 'end';
const goings: readonly Going[] = ['reset', 'end'];

function go(socket: Socket, going: Going): void {
  if (going === 'reset') socket.resetAndDestroy();
  else socket.end();
}

/** An application that reads one request, says `text`, and is gone once that has left. */
function startDying(t: TestContext, text: string, going: Going): Promise<number> {
  return startTcpApp(t, (socket) => {
    let seen = '';
    socket.on('data', (bytes) => {
      seen += bytes.toString('latin1');
      if (!seen.includes('\r\n\r\n')) return;
      seen = '';
      if (text === '') go(socket, going);
      else socket.write(text, () => setImmediate(() => go(socket, going)));
    });
  });
}

const request = 'POST /order HTTP/1.1\r\nHost: api\r\nConnection: close\r\nContent-Length: 0\r\n\r\n';

async function answerTo(t: TestContext, text: string, going: Going): Promise<{ text: string; cut: boolean }> {
  const app = await startDying(t, text, going);
  const mesh = await startMesh(t, [app]);
  return exchange(mesh.port, request);
}

/** Waits until neither of them holds a connection of an application, which is soon: the sessions between them stay. */
async function settled(...planes: readonly [DataPlane, number][]): Promise<void> {
  await until('connections are let go', 20_000, () =>
    Promise.resolve(planes.every(([plane, count]) => plane.stats().activeConnections <= count)),
  );
}

for (const going of goings) {
  test(`an application that goes by ${going} before its answer is a 502 or 503, once`, async (t) => {
    const { text, cut } = await answerTo(t, '', going);
    assert.match(text, /^HTTP\/1\.1 50[23] /);
    assert.equal(text.match(/HTTP\/1\.1/g)?.length, 1);
    assert.equal(cut, false);
  });

  test(`an application that goes by ${going} in the middle of its head is a 502, wherever that is`, async (t) => {
    for (const length of [1, 9, 17, withLength.length - 2, withLength.length - 1]) {
      const { text, cut } = await answerTo(t, withLength.slice(0, length), going);
      assert.match(text, /^HTTP\/1\.1 502 /, `after ${length} bytes`);
      assert.equal(cut, false);
    }
  });

  test(`an application that goes by ${going} within its body is a cut, and what came before is delivered`, async (t) => {
    for (const body of [
      withLength,
      `${withLength}12345`,
      inChunks,
      `${inChunks}5\r\n123`,
      `${inChunks}5\r\n12345\r\n`,
    ]) {
      const { text, cut } = await answerTo(t, body, going);
      assert.match(text, /^HTTP\/1\.1 200 /, JSON.stringify(body));
      assert.ok(!/50[234]/.test(text), 'no second answer behind the first');
      assert.ok(!text.endsWith('0\r\n\r\n'), 'no end that the application did not send');
      assert.equal(cut, true, JSON.stringify(body));
    }
  });

  test(`an application that goes by ${going} after its body has answered`, async (t) => {
    for (const whole of [`${withLength}1234567890`, `${inChunks}3\r\nabc\r\n0\r\n\r\n`]) {
      const { text, cut } = await answerTo(t, whole, going);
      assert.match(text, /^HTTP\/1\.1 200 /);
      assert.ok(text.endsWith(whole.slice(whole.indexOf('\r\n\r\n'))));
      assert.equal(cut, false);
    }
  });
}

test('a body without a length that ends by a reset is a cut, and one that ends in order is whole', async (t) => {
  const broken = await answerTo(t, `${untilClose}some`, 'reset');
  assert.equal(broken.cut, true);
  const whole = await answerTo(t, `${untilClose}some`, 'end');
  assert.deepEqual([whole.cut, whole.text.endsWith('some')], [false, true]);
});

test('an application that resets while a body is on its way to it is said to have failed', async (t) => {
  const app = await startTcpApp(t, (socket) => socket.once('data', () => socket.resetAndDestroy()));
  const mesh = await startMesh(t, [app]);
  const socket = connect(mesh.port, '127.0.0.1');
  t.after(() => socket.destroy());
  let received = '';
  socket.on('data', (bytes) => {
    received += bytes.toString('latin1');
  });
  socket.on('error', () => {});
  socket.write('POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 10000000\r\n\r\nbegun');
  await once(socket, 'close');
  assert.match(received, /^HTTP\/1\.1 50[23] [\s\S]*connection: close\r\n/);
});

test('an early answer to a body that is still coming reaches the client', async (t) => {
  const refusal = 'HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nhuge';
  const app = await startTcpApp(t, (socket) => socket.once('data', () => socket.end(refusal)));
  const mesh = await startMesh(t, [app]);
  const { text, cut } = await exchange(
    mesh.port,
    'POST / HTTP/1.1\r\nHost: api\r\nContent-Length: 9999\r\n\r\nabc',
  );
  assert.match(text, /^HTTP\/1\.1 413 [\s\S]*huge$/);
  assert.equal(cut, false);
});

test('a client that goes at any point takes its request to the application with it, and nothing stays', async (t) => {
  const half = [
    'GET / HT',
    'GET / HTTP/1.1\r\nHost: api\r\n',
    'POST /wait HTTP/1.1\r\nHost: api\r\nContent-Length: 1000\r\n\r\nhalf',
    'POST /wait HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel',
  ];
  const whole = ['GET /wait HTTP/1.1\r\nHost: api\r\n\r\n', 'GET /body HTTP/1.1\r\nHost: api\r\n\r\n'];
  let open = 0;
  const app = await startTcpApp(t, (socket) => {
    open++;
    socket.on('close', () => open--);
    socket.on('end', () => socket.end());
    socket.on('data', (bytes) => {
      if (bytes.includes('/body')) socket.write(`${inChunks}5\r\nhello\r\n`);
    });
  });
  const mesh = await startMesh(t, [app]);
  const leave = async (phase: string, going: Going): Promise<void> => {
    const socket = connect(mesh.port, '127.0.0.1');
    socket.on('error', () => {});
    await once(socket, 'connect');
    socket.write(phase);
    if (phase.includes('/body')) await once(socket, 'data');
    else if (phase.includes('/wait'))
      await until('the application is asked', 20_000, () => Promise.resolve(open > 0));
    if (going === 'reset') socket.resetAndDestroy();
    else socket.destroy();
    await until(`nothing is left after ${going}`, 20_000, () => Promise.resolve(open === 0));
  };
  for (const phase of half) for (const going of goings) await leave(phase, going);
  // One that ended its side in order after a whole request may still want the answer.
  for (const phase of whole) await leave(phase, 'reset');
  await settled([mesh.caller, 0], [mesh.callee, 1]);
});

test('a hundred connections that break at once cost those that do not break nothing', async (t) => {
  const app = await startTcpApp(t, (socket) => {
    socket.on('data', (bytes) => {
      if (bytes.includes('/die')) socket.resetAndDestroy();
      else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    });
  });
  const mesh = await startMesh(t, [app]);
  const ask = (path: string) =>
    exchange(
      mesh.port,
      `POST ${path} HTTP/1.1\r\nHost: api\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
    );
  const answers = await Promise.all(
    Array.from({ length: 200 }, (_, index) => ask(index % 2 === 0 ? '/live' : '/die')),
  );
  for (const [index, { text }] of answers.entries())
    assert.match(text, index % 2 === 0 ? /^HTTP\/1\.1 200 [\s\S]*ok$/ : /^HTTP\/1\.1 50[23] /);
});
