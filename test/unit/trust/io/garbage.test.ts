import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { collectGarbage } from '../../../../src/trust/io/garbage.ts';

const moduleUrl = new URL('../../../../src/trust/io/garbage.ts', import.meta.url).href;
const rounds = 60;

test('two threads that forget one key at one time both collect, and neither ends the process', async () => {
  const code = `
    const { collectGarbage } = await import(${JSON.stringify(moduleUrl)});
    for (let i = 0; i < ${rounds}; i++) collectGarbage();
  `;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`));
  let isOver = false;
  const ended = new Promise<number>((resolve, reject) => {
    worker.on('error', reject);
    worker.on('exit', resolve);
  }).finally(() => {
    isOver = true;
  });
  while (!isOver) {
    for (let i = 0; i < 5; i++) collectGarbage();
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.equal(await ended, 0);
});
