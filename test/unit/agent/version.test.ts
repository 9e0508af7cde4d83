import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { version } from '../../../src/agent/version.ts';

test('the version that agents tell each other is the package’s', () => {
  const path = new URL('../../../package.json', import.meta.url);
  assert.equal(version, (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version);
});
