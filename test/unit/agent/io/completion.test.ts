import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { resolve } from 'node:path';
import { test } from 'node:test';

const starling = resolve(import.meta.dirname, '../../../../bin/starling');

test('completion knows subcommands, flags and the words that arguments may be, at every depth', () => {
  const script = execFileSync(starling, ['completion', 'bash'], { encoding: 'utf8' });
  const complete = (line: string): string[] => {
    const words = line.split(' ');
    const ask = `${script}\nCOMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')})\nCOMP_CWORD=${words.length - 1}\n`;
    const all = execFileSync('bash', ['-c', `${ask}_starling\nprintf '%s\\n' "\${COMPREPLY[@]}"`], {
      encoding: 'utf8',
    });
    return all.trim().split('\n');
  };
  assert.deepEqual(complete('starling sna'), ['snapshot']);
  assert.deepEqual(complete('starling config hist'), ['history']);
  assert.deepEqual(complete('starling config read service-r'), ['service-resolver', 'service-router']);
  assert.deepEqual(complete('starling config rollback service-router api --t'), ['--timeout', '--to']);
  assert.deepEqual(complete('starling ca recovery-key cr'), ['create']);
  assert.deepEqual(complete('starling ca recovery-key create --se'), ['--seats']);
  assert.deepEqual(complete('starling explain web api --why'), ['--why-not']);
  assert.deepEqual(complete('starling agent --vip'), ['--vip-range']);
  assert.deepEqual(complete('starling completion z'), ['zsh']);
  assert.deepEqual(complete('starling token create --role '), ['agent', 'operator', 'trustee']);
  assert.deepEqual(complete('starling token create --role = op'), ['operator']);
  assert.deepEqual(complete('starling token create --ttl 1h --us'), ['--uses']);
  assert.deepEqual(complete('starling config --json wri'), ['write']);
  assert.deepEqual(complete('starling config --http 127.0.0.1:8500 read mes'), ['mesh']);
  assert.deepEqual(complete('starling agent --bootstrap --log-level w'), ['warn']);
});
