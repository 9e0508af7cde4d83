/** Writes docs/policy.md anew, after a change of what config entries may say. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { entryReference } from '../src/agent/entries/reference.ts';

writeFileSync(join(import.meta.dirname, '../docs/policy.md'), entryReference());
