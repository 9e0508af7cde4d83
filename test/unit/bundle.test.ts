import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { test } from 'node:test';

const root = resolve(import.meta.dirname, '../..');
const [before, between, after] = [1000, 2000, 3000];

test('bin/starling runs the bundle while it is newer than the sources, and else the sources', (context) => {
  const home = mkdtempSync(join(tmpdir(), 'starling-bundle-'));
  context.after(() => rmSync(home, { recursive: true }));
  const write = (path: string, text: string, time: number): void => {
    const file = join(home, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    for (const touched of [file, dirname(file)]) utimesSync(touched, time, time);
  };
  const ran = (): string => execFileSync(join(home, 'bin/starling'), { encoding: 'utf8' }).trim();
  cpSync(join(root, 'bin'), join(home, 'bin'), { recursive: true });
  mkdirSync(join(home, 'node_modules'));
  symlinkSync(join(root, 'node_modules/.bin'), join(home, 'node_modules/.bin'));
  write('package.json', '{ "type": "module" }', before);
  write('package-lock.json', '{}', before);
  write('scripts/bundle.ts', '', before);
  write('src/agent/io/main.ts', "console.log('sources' as string);", before);
  for (const folder of ['src/agent', 'src']) utimesSync(join(home, folder), before, before);
  assert.equal(ran(), 'sources');
  write('dist/main.js', "console.log('bundle');", between);
  assert.equal(ran(), 'bundle');
  for (const path of ['src/agent/io/main.ts', 'src/agent', 'scripts/bundle.ts', 'package-lock.json']) {
    utimesSync(join(home, path), after, after);
    assert.equal(ran(), 'sources', path);
    utimesSync(join(home, path), before, before);
  }
});
