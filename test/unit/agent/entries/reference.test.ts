import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { entryReference } from '../../../../src/agent/entries/reference.ts';

test('the reference says what entries may say (anew: bin/with-node scripts/policy-reference.ts)', () => {
  const written = readFileSync(join(import.meta.dirname, '../../../../docs/policy.md'), 'utf8');
  assert.equal(written, entryReference());
});
