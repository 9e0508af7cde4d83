/** Golden cases: `test/golden/<suite>/<case>/{in,out}.json`; `UPDATE_GOLDEN=1` writes what comes out. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

/** Declares one test for each case of a suite. `run` maps the parsed input to what is compared. */
export function goldenSuite(suite: string, run: (input: unknown) => unknown): void {
  const folder = join(import.meta.dirname, suite);
  for (const name of readdirSync(folder).sort())
    test(`golden ${suite}: ${name}`, () => {
      const input: unknown = JSON.parse(readFileSync(join(folder, name, 'in.json'), 'utf8'));
      const output = `${JSON.stringify(run(input), null, 2)}\n`;
      const path = join(folder, name, 'out.json');
      if (process.env.UPDATE_GOLDEN === '1') writeFileSync(path, output);
      assert.equal(output, readFileSync(path, 'utf8'), 'UPDATE_GOLDEN=1 accepts the difference');
    });
}
