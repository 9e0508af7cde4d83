import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';

const moduleUrl = new URL('../../../../src/trust/io/garbage.ts', import.meta.url).href;
const threads = 4;
/** So often that one finds the other in between, where they are in each other's way. */
const rounds = 60;

const code = `
  import(${JSON.stringify(moduleUrl)}).then(({ collectGarbage }) => {
    for (let i = 0; i < ${rounds}; i++) collectGarbage();
  });
`;

function run(): Promise<number> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(code, { eval: true });
    worker.on('error', reject);
    worker.on('exit', resolve);
  });
}

test('threads that forget one key at one time all collect, and none ends the process', async () => {
  const codes = await Promise.all(Array.from({ length: threads }, run));
  assert.deepEqual(new Set(codes), new Set([0]));
});
