import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { readableLine } from '../../../../src/agent/io/logger.ts';

const line = (fields: object): string =>
  readableLine(JSON.stringify({ level: 30, time: '2026-01-01T00:00:00.000Z', event: 'happened', ...fields }));

test('a readable line has time, level, event and fields', () => {
  assert.equal(line({ host: 'two', count: 3 }), '2026-01-01T00:00:00.000Z info happened host=two count=3\n');
});

test('text that could be misread is quoted', () => {
  assert.equal(
    line({ a: 'two words', b: 'x=y', c: 'say "so"', d: '', e: { k: 1 } }),
    '2026-01-01T00:00:00.000Z info happened a="two words" b="x=y" c="say \\"so\\"" d="" e="{\\"k\\":1}"\n',
  );
});

test('nothing that a peer sent moves the cursor, starts a line or turns text around', () => {
  const nasty = '\u001b[31mred\u0007\nforged line\u009b2J\u202egnp\u2028';
  const text = line({ detail: nasty });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none is the point
  assert.doesNotMatch(text.slice(0, -1), /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e]/);
  assert.match(text, /red/);
});

test('lines that cannot be written are counted, and cost no more than that', async () => {
  const logger = JSON.stringify(import.meta.resolve('../../../../src/agent/io/logger.ts'));
  const script = `
    import { createLogger, linesLost } from ${logger};
    for (const logFormat of ['text', 'json']) {
      const log = createLogger({ logFormat, logLevel: 'info' });
      log.info('one');
      log.info('two');
    }
    setImmediate(() => console.log(linesLost()));
  `;
  const url = `data:text/javascript,${encodeURIComponent(script)}`;
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '-e', 'import(process.argv[1])', url],
    { stdio: ['ignore', 'pipe', openSync('/dev/full', 'w')] },
  );
  const [printed, [code]] = await Promise.all([text(child.stdout!), once(child, 'close')]);
  assert.deepEqual([printed, code], ['4\n', 0]);
});
