/**
 * Bodies far larger than memory, through two real agents: they arrive whole, and neither agent grows with them, also
 * when one end does not keep up. `STARLING_BODY_GB` says how large (1).
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type IncomingMessage, request, type ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { after, before, test } from 'node:test';
import { residentBytes } from '../../bench/processes.ts';
import { until } from '../../demo/flock.ts';
import { type Application, type Pair, startHttp, startPair } from './proxy-pair.ts';

const gigabytes = Number(process.env.STARLING_BODY_GB ?? '1');
const chunk = Buffer.alloc(1 << 20, 'a body that repeats itself, ');
const chunks = Math.ceil((gigabytes * 1e9) / chunk.length);
const bodyBytes = chunks * chunk.length;
/**
 * What an agent may grow by while a body goes through, whatever its size: buffers on the way, those that wait to be
 * collected as garbage, and what its other work takes.
 */
const mostGrowthMegabytes = 80;

let app: Application;
let pair: Pair;
/** Bytes of the last upload that have reached the application, and bytes it could send of the last download. */
let taken = 0;
let given = 0;
let slowRequest: IncomingMessage | null = null;

before(async () => {
  app = await startHttp('127.0.1.52', (incoming, outgoing) => {
    if (incoming.url === '/down') send(outgoing);
    else if (incoming.url === '/slow-up') slowRequest = incoming;
    else receive(incoming, outgoing);
  });
  pair = await startPair(51, [{ name: 'api', port: app.port, protocol: 'http' }]);
});
after(async () => {
  await pair?.stop();
  await app?.stop();
});

function bodyOf(count: number): Readable {
  let left = count;
  return new Readable({
    highWaterMark: chunk.length,
    read() {
      if (left-- <= 0) {
        this.push(null);
        return;
      }
      given += chunk.length;
      this.push(chunk);
    },
  });
}

function send(outgoing: ServerResponse): void {
  outgoing.writeHead(200, { 'content-length': bodyBytes });
  bodyOf(chunks)
    .on('error', () => {})
    .pipe(outgoing);
}

function receive(incoming: IncomingMessage, outgoing: ServerResponse): void {
  taken = 0;
  incoming.on('data', (bytes: Buffer) => {
    taken += bytes.length;
  });
  incoming.on('end', () => outgoing.end(String(taken)));
}

/** Has `work` go on, and asserts that no agent grows while it does. */
async function withFlatMemory(work: (settled: () => void) => Promise<void>): Promise<void> {
  const pids = [pair.near.program!.pid, pair.far.program!.pid];
  const megabytes = (): number[] => pids.map((pid) => residentBytes(pid) / 1e6);
  let base: number[] = [];
  let most = pids.map(() => 0);
  const timer = setInterval(() => {
    most = megabytes().map((now, index) => Math.max(now, most[index]!));
  }, 100);
  try {
    // Code that is compiled and pools that are filled at first are not growth with the body.
    await work(() => {
      if (base.length === 0) base = megabytes();
    });
  } finally {
    clearInterval(timer);
  }
  assert.ok(base.length > 0, 'the body never got under way');
  const growth = most.map((now, index) => Math.round(now - base[index]!));
  assert.ok(
    growth.every((more) => more <= mostGrowthMegabytes),
    `the agents grew by ${growth.join(' and ')} MB over ${base.map(Math.round).join(' and ')}`,
  );
}

/** Part of a body after which the agents have what they need. */
const warmBytes = Math.min(bodyBytes / 4, 256e6);

test(`${gigabytes} GB come down whole, and no agent grows`, async () => {
  await withFlatMemory(async (settled) => {
    const asked = request({ host: pair.address, port: pair.port, path: '/down' }).end();
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    let received = 0;
    response.on('data', (bytes: Buffer) => {
      received += bytes.length;
      if (received >= warmBytes) settled();
    });
    await once(response, 'end');
    assert.equal(received, bodyBytes);
  });
});

for (const framing of ['a length', 'chunks'])
  test(`${gigabytes} GB go up whole in ${framing}, and no agent grows`, async () => {
    const headers = framing === 'chunks' ? {} : { 'content-length': bodyBytes };
    await withFlatMemory(async (settled) => {
      const asked = request({ host: pair.address, port: pair.port, path: '/up', method: 'POST', headers });
      const timer = setInterval(() => {
        if (taken >= warmBytes) settled();
      }, 20);
      bodyOf(chunks).pipe(asked);
      const [response] = (await once(asked, 'response')) as [IncomingMessage];
      clearInterval(timer);
      let text = '';
      for await (const bytes of response) text += String(bytes);
      assert.equal(Number(text), bodyBytes);
    });
  });

/** Resolves once `bytes()` has not moved for a while: whoever sends is held back. */
async function standsStill(bytes: () => number): Promise<number> {
  let before = -1;
  let since = performance.now();
  await until('the sender is held back', 20_000, () => {
    if (bytes() !== before) {
      before = bytes();
      since = performance.now();
    }
    return Promise.resolve(before > 0 && performance.now() - since > 500);
  });
  return before;
}

/** What may be on the way when nobody reads: mostly in the kernel, whose buffers of two sockets may grow to so much. */
const mostInFlightBytes = 150e6;

test('a client that does not read holds the application back, and gets the rest when it does', async () => {
  given = 0;
  await withFlatMemory(async (settled) => {
    const asked = request({ host: pair.address, port: pair.port, path: '/down' }).end();
    const [response] = (await once(asked, 'response')) as [IncomingMessage];
    settled();
    response.pause();
    const held = await standsStill(() => given);
    assert.ok(held < Math.min(mostInFlightBytes, bodyBytes), `${held} bytes were taken from the application`);
    let received = 0;
    response.on('data', (bytes: Buffer) => {
      received += bytes.length;
    });
    response.resume();
    await once(response, 'end');
    assert.equal(received, bodyBytes);
  });
});

test('an application that does not read holds the client back, while others are served', async () => {
  given = 0;
  await withFlatMemory(async (settled) => {
    const path = '/slow-up';
    const asked = request({ host: pair.address, port: pair.port, path, method: 'POST' });
    bodyOf(chunks).pipe(asked);
    await until('it reached the application', 10_000, () => Promise.resolve(slowRequest !== null));
    settled();
    const held = await standsStill(() => given);
    assert.ok(held < Math.min(mostInFlightBytes, bodyBytes), `${held} bytes were taken from the client`);
    // The same session carries others meanwhile.
    const other = await fetch(`http://${pair.address}:${pair.port}/up`, { method: 'POST', body: 'small' });
    assert.equal(await other.text(), '5');
    asked.on('error', () => {});
    asked.destroy();
    // An application that reads nothing does not hear of it either; what was on the way is followed by a break.
    const gone = new Promise((done) => slowRequest!.once('close', done));
    slowRequest!.on('error', () => {});
    slowRequest!.resume();
    await gone;
    assert.equal(slowRequest!.complete, false);
  });
});
