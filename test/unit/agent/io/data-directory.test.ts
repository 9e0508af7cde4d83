import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { makeDataDirectory } from '../../../../src/agent/io/data-directory.ts';
import { Fault } from '../../../../src/core.ts';

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'starling-data-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

const unusable = (reason: RegExp) => (error: unknown) => {
  assert.ok(error instanceof Fault, String(error));
  assert.equal(error.code, 'data-dir-unusable');
  assert.match(error.message, reason);
  return true;
};

test('every missing level is made for its owner alone, and what is there is left as it is', async (t) => {
  const base = folder(t);
  const path = join(base, 'var', 'lib', 'starling');
  await makeDataDirectory(path);
  for (const level of ['var', 'var/lib', 'var/lib/starling'])
    assert.equal(statSync(join(base, level)).mode & 0o777, 0o700, level);
  writeFileSync(join(path, 'genesis'), 'kept');
  await makeDataDirectory(path);
  assert.deepEqual(readdirSync(path), ['genesis']);
});

test('a link to a directory is one', async (t) => {
  const base = folder(t);
  await makeDataDirectory(join(base, 'disk'));
  symlinkSync(join(base, 'disk'), join(base, 'link'));
  await makeDataDirectory(join(base, 'link'));
});

test('a path that cannot be a directory is refused at once with its reason', async (t) => {
  const base = folder(t);
  writeFileSync(join(base, 'file'), '');
  symlinkSync(join(base, 'nowhere'), join(base, 'dangling'));
  await assert.rejects(
    makeDataDirectory('/proc/starling'),
    unusable(/\/proc\/starling: \/proc takes no folders/),
  );
  await assert.rejects(makeDataDirectory('/proc/starling/data'), unusable(/\/proc takes no folders/));
  await assert.rejects(makeDataDirectory(join(base, 'file')), unusable(/a file of that name/));
  await assert.rejects(makeDataDirectory(join(base, 'file', 'below')), unusable(/file\/below: ENOTDIR/));
  await assert.rejects(makeDataDirectory(join(base, 'dangling')), unusable(/dangling: .*ENOENT/));
  await assert.rejects(makeDataDirectory(join(base, 'x'.repeat(300))), unusable(/ENAMETOOLONG/));
  assert.deepEqual(readdirSync(base).sort(), ['dangling', 'file']);
});
