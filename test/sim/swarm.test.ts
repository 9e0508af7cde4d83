/** Fifty mixes of faults, a few agents each, by the very command that people type. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

const simulator = join(import.meta.dirname, '../../sim/main.ts');

test('five agents keep their promises under fifty mixes of faults', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [
    simulator,
    '--seeds',
    '1..50',
    '--hosts',
    '5',
  ]);
  assert.match(stdout, /^50 runs, 0 violated /);
});
