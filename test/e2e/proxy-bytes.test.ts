/** The same bytes in other divisions and at another pace: split anywhere, many requests in one, or hardly coming. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { until } from '../../demo/flock.ts';
import { exchange, startHttpApp, startMesh, startTcpApp, type TestMesh } from '../support/mesh.ts';

/** An application that says what it was asked, with the body. */
async function startEcho(t: TestContext): Promise<TestMesh> {
  const app = await startHttpApp(t, (request, response) => {
    let body = '';
    request.setEncoding('latin1').on('data', (text: string) => {
      body += text;
    });
    request.on('end', () => {
      const text = `<${request.method} ${request.url} ${body}>`;
      response.writeHead(200, { 'content-length': text.length }).end(text);
    });
  });
  return startMesh(t, [app]);
}

class Client {
  received = '';
  ended = false;
  readonly socket: Socket;

  constructor(t: TestContext, port: number) {
    this.socket = connect(port, '127.0.0.1').setNoDelay(true);
    this.socket.on('data', (bytes) => {
      this.received += bytes.toString('latin1');
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.ended = true;
    });
    t.after(() => this.socket.destroy());
  }

  answers(): string[] {
    return [...this.received.matchAll(/<[^>]*>/g)].map(([text]) => text);
  }

  async until(what: string, isSo: () => boolean): Promise<void> {
    await until(what, 60_000, () => Promise.resolve(isSo()));
  }
}

const requests = [
  'GET /first HTTP/1.1\r\nHost: api\r\nX-Long: aaaaaaaa\r\n\r\n',
  'POST /second HTTP/1.1\r\nHost: api\r\nContent-Length: 5\r\n\r\nhello',
  'PUT /third HTTP/1.1\r\nHost: api\r\nTransfer-Encoding: chunked\r\n\r\n3;ext=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n',
  'DELETE /fourth HTTP/1.1\r\nHost: api\r\nContent-Length: 0\r\n\r\n',
];
const wanted = ['<GET /first >', '<POST /second hello>', '<PUT /third abc0123456789>', '<DELETE /fourth >'];

test('four requests on one connection, split at every position, are the same four requests', async (t) => {
  const mesh = await startEcho(t);
  const bytes = Buffer.from(requests.join(''));
  await Promise.all(
    Array.from({ length: bytes.length - 1 }, async (_, index) => {
      const client = new Client(t, mesh.port);
      client.socket.write(bytes.subarray(0, index + 1));
      await new Promise(setImmediate);
      client.socket.write(bytes.subarray(index + 1));
      await client.until(
        `all answers with a cut at ${index + 1}`,
        () => client.answers().length === wanted.length,
      );
      assert.deepEqual(client.answers(), wanted, `cut at ${index + 1}`);
      client.socket.destroy();
    }),
  );
});

test('requests that come byte by byte are the same requests', async (t) => {
  const mesh = await startEcho(t);
  const client = new Client(t, mesh.port);
  for (const byte of Buffer.from(requests.join(''))) {
    client.socket.write(Buffer.of(byte));
    await new Promise(setImmediate);
  }
  await client.until('all answers', () => client.answers().length === wanted.length);
  assert.deepEqual(client.answers(), wanted);
});

test('answers split at every position are the same answers', async (t) => {
  const forms = [
    'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n<length>',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n<chu\r\n4\r\nnks>\r\n0\r\nX-Sum: 2\r\n\r\n',
    'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n<hints>',
  ];
  const app = await startTcpApp(t, (socket) => {
    socket.setNoDelay(true);
    socket.on('data', (bytes) => {
      // The path says which form, and where it is cut.
      const [, form, cut] = /GET \/(\d)\/(\d+) /.exec(bytes.toString('latin1')) ?? [];
      const text = forms[Number(form)]!;
      socket.write(text.slice(0, Number(cut)));
      setImmediate(() => socket.write(text.slice(Number(cut))));
    });
  });
  const mesh = await startMesh(t, [app]);
  for (const [form, text] of forms.entries()) {
    const whole = text.slice(text.lastIndexOf('\r\n\r\n', text.length - 5));
    await Promise.all(
      Array.from({ length: text.length - 1 }, async (_, index) => {
        const request = `GET /${form}/${index + 1} HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n`;
        const answer = await exchange(mesh.port, request);
        assert.ok(
          !answer.cut && answer.text.endsWith(whole),
          `form ${form} cut at ${index + 1}: ${answer.text}`,
        );
      }),
    );
  }
});

test('two thousand pipelined requests are answered in order', async (t) => {
  const mesh = await startEcho(t);
  const client = new Client(t, mesh.port);
  const count = 2000;
  const paths = Array.from({ length: count }, (_, index) => `/${index}`);
  client.socket.write(paths.map((path) => `GET ${path} HTTP/1.1\r\nHost: api\r\n\r\n`).join(''));
  await client.until('all answers', () => client.answers().length === count);
  assert.deepEqual(
    client.answers(),
    paths.map((path) => `<GET ${path} >`),
  );
});

test('a client that pipelines without reading is not read for ever', async (t) => {
  const large = Buffer.alloc(64 * 1024, 'x');
  const app = await startHttpApp(t, (_request, response) => response.end(large));
  const mesh = await startMesh(t, [app]);
  const socket = connect(mesh.port, '127.0.0.1');
  t.after(() => socket.destroy());
  socket.on('error', () => {});
  socket.pause();
  const batch = Buffer.from('GET / HTTP/1.1\r\nHost: api\r\n\r\n'.repeat(1000));
  let stalledAt = -1;
  // Writes until the kernel takes no more for a while: everybody on the way has stopped reading.
  await until('the client is held back', 30_000, async () => {
    while (socket.writableLength === 0) {
      socket.write(batch);
      await new Promise(setImmediate);
      if (socket.bytesWritten > 512e6) throw new Error('half a gigabyte of requests was taken');
    }
    const stalled = socket.bytesWritten - socket.writableLength;
    const isSame = stalled === stalledAt;
    stalledAt = stalled;
    await new Promise((done) => setTimeout(done, 200));
    return isSame;
  });
});

/** A mesh whose calling side lives by a clock of the test's. */
async function startWithClock(t: TestContext): Promise<{ mesh: TestMesh; advance: (ms: number) => void }> {
  let skewMs = 0;
  const now = (): number => performance.now() + skewMs;
  const app = await startHttpApp(t, (_request, response) => response.end('<well>'));
  const protocol = 'http';
  const mesh = await startMesh(t, [app], { caller: { now }, cluster: { protocol }, inbound: { protocol } });
  return {
    mesh,
    advance(ms) {
      skewMs += ms;
    },
  };
}

test('heads that trickle in are given up in time, and cost those who are quicker nothing', async (t) => {
  const { mesh, advance } = await startWithClock(t);
  const slow = Array.from({ length: 200 }, () => new Client(t, mesh.port));
  for (const { socket } of slow) socket.write('GET / HTTP/1.1\r\nHost: api\r\n');
  const quick = await fetch(`http://127.0.0.1:${mesh.port}/`);
  assert.equal(await quick.text(), '<well>');
  // A little comes every now and then: it is from the first byte that time is counted.
  for (let second = 0; second < 12; second++) {
    advance(1000);
    for (const { socket } of slow) if (!socket.destroyed) socket.write('X');
    await new Promise(setImmediate);
  }
  await until('they are given up', 30_000, () => Promise.resolve(slow.every(({ ended }) => ended)));
  for (const { received } of slow) assert.match(received, /^HTTP\/1\.1 408 [\s\S]*connection: close\r\n/);
});

test('a connection that never says anything is closed in the end', async (t) => {
  const { mesh, advance } = await startWithClock(t);
  const client = new Client(t, mesh.port);
  await once(client.socket, 'connect');
  const used = new Client(t, mesh.port);
  used.socket.write('GET / HTTP/1.1\r\nHost: api\r\n\r\n');
  await used.until('it is answered', () => used.answers().length === 1);
  advance(121_000);
  await client.until('both are closed', () => client.ended && used.ended);
  assert.equal(used.answers().length, 1);
});
