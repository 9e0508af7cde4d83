/** Where lines and spans go, and what becomes of them when they cannot. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rename, rm, stat } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { LineSink } from '../../../../src/proxy/io/observe/line-sink.ts';
import { SpanExporter } from '../../../../src/proxy/io/observe/span-exporter.ts';
import { listenOn } from '../../../support/mesh.ts';

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'starling-sink-'));
  t.after(() => rm(folder, { recursive: true }));
  return folder;
}

test('lines are appended to a file in their order, and all of them are there when it is closed', async (t) => {
  const path = join(await folderOf(t), 'access.log');
  const lines = Array.from({ length: 5000 }, (_, index) => `{"line":${index}}\n`);
  for (const half of [lines.slice(0, 2500), lines.slice(2500)]) {
    const sink = new LineSink(path, assert.fail);
    for (const line of half) sink.add(line);
    await sink.close();
    assert.equal(sink.lost, 0);
  }
  assert.equal(await readFile(path, 'latin1'), lines.join(''));
  assert.equal((await stat(path)).mode & 0o777, 0o640);
});

test('a file that was moved away is left, and a new one begun', async (t) => {
  const path = join(await folderOf(t), 'access.log');
  const sink = new LineSink(path, assert.fail, { waitingBytes: 1000, lookEveryMs: 0 });
  sink.add('before\n');
  while ((await readFile(path, 'latin1').catch(() => '')) === '') await setImmediate();
  await rename(path, `${path}.1`);
  sink.add('after\n');
  await sink.close();
  assert.equal(await readFile(`${path}.1`, 'latin1'), 'before\n');
  assert.equal(await readFile(path, 'latin1'), 'after\n');
});

test('lines that find no room are lost and counted, and what is wrong is said once', async (t) => {
  const folder = await folderOf(t);
  const problems: string[] = [];
  let told = (): void => {};
  const said = new Promise<void>((resolve) => {
    told = resolve;
  });
  // A folder cannot be written to.
  const path = join(folder, 'access.log');
  await mkdir(path);
  const sink = new LineSink(
    path,
    (problem) => {
      problems.push(problem);
      told();
    },
    { waitingBytes: 100, lookEveryMs: 5_000 },
  );
  for (let line = 0; line < 30; line++) sink.add('123456789\n');
  assert.equal(sink.lost, 20);
  await said;
  await rename(path, `${path}.d`);
  await sink.close();
  assert.equal(problems.length, 1);
  assert.match(problems[0]!, /EISDIR/);
  assert.equal(await readFile(path, 'latin1'), '123456789\n'.repeat(10));
});

interface Collected {
  readonly path: string;
  readonly type: string | undefined;
  readonly body: { resourceSpans: { resource: object; scopeSpans: { spans: { name: string }[] }[] }[] };
}

async function startCollector(t: TestContext, status = 200) {
  const collected: Collected[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as Collected['body'];
      collected.push({ path: request.url ?? '', type: request.headers['content-type'], body });
      response.writeHead(status).end('{}');
      server.emit('collected');
    });
  });
  return { collected, server, port: await listenOn(t, server) };
}

const span = (service: string, name: string) => ({ service, json: { name } });

test('spans go to the collector in batches, under the services they are of', async (t) => {
  const { collected, port } = await startCollector(t);
  const exporter = new SpanExporter(`http://127.0.0.1:${port}`, 'host-a', assert.fail);
  for (let request = 0; request < 200; request++)
    exporter.add(span(request % 2 === 0 ? 'web' : 'api', `${request}`));
  await exporter.close();
  assert.deepEqual(
    collected.map(({ path, type }) => [path, type]),
    [
      ['/v1/traces', 'application/json'],
      ['/v1/traces', 'application/json'],
    ],
  );
  const names = collected.flatMap(({ body }) =>
    body.resourceSpans.flatMap(({ scopeSpans }) => scopeSpans[0]!.spans.map(({ name }) => Number(name))),
  );
  assert.deepEqual(
    names.sort((a, b) => a - b),
    Array.from({ length: 200 }, (_, index) => index),
  );
  assert.deepEqual(collected[0]!.body.resourceSpans[0]!.resource, {
    attributes: [
      { key: 'service.name', value: { stringValue: 'web' } },
      { key: 'host.name', value: { stringValue: 'host-a' } },
    ],
  });
  assert.equal(exporter.lost, 0);
});

test('a collector that refuses or is away costs spans, and is complained of once', async (t) => {
  const { collected, server, port } = await startCollector(t, 500);
  const problems: string[] = [];
  const exporter = new SpanExporter(`http://127.0.0.1:${port}/custom`, 'host-a', (problem) =>
    problems.push(problem),
  );
  const refused = once(server, 'collected');
  for (let request = 0; request < 5000; request++) exporter.add(span('web', 'x'));
  // One batch is on its way, and no more than the queue holds waits.
  assert.equal(exporter.lost, 5000 - 128 - 4096);
  await refused;
  await exporter.close();
  assert.equal(collected[0]!.path, '/custom');
  assert.equal(exporter.lost, 5000);
  assert.deepEqual(problems, ['the collector answered 500']);
});
