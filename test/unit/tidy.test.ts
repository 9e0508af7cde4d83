/** Rules of the house that the type checker cannot hold. Each message names the way out. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { test } from 'node:test';

const root = resolve(import.meta.dirname, '../..');

function filesUnder(folder: string): string[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .sort();
}

interface Source {
  readonly path: string;
  readonly text: string;
  /** Repository-relative paths, or bare package names. */
  readonly imports: readonly string[];
}

function load(path: string): Source {
  const text = readFileSync(join(root, path), 'utf8');
  const imports: string[] = [];
  for (const match of text.matchAll(
    /(?:^|\n)\s*(?:import|export)\s[^;'"]*?from\s+'([^']+)'|import\('([^']+)'\)|(?:^|\n)import\s+'([^']+)'/g,
  )) {
    const target = (match[1] ?? match[2] ?? match[3])!;
    imports.push(target.startsWith('.') ? relative(root, resolve(root, dirname(path), target)) : target);
  }
  return { path, text, imports };
}

const sources = ['src', 'sim', 'test', 'bench', 'demo', 'scripts'].flatMap(filesUnder).map(load);
const roomOf = (path: string): string =>
  path.startsWith('src/') ? (path.split('/')[1] ?? '') : (path.split('/')[0] ?? '');
const isIo = (path: string): boolean => /^(src|sim)\/[a-z]+\/io\//.test(path);
/** The simulator's entry sees the real world, and starts what needs a part of it. */
const isEntry = (path: string): boolean => path === 'sim/main.ts';

/** Comments and strings out, so that a rule about code is not tripped by prose. */
function code(text: string): string {
  return text
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/(^|[^:])\/\/.*$/gm, '$1')
    .replace(/'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/g, "''");
}

test('gossip, proxy and trust import only themselves and src/core.ts', () => {
  for (const { path, imports } of sources) {
    const room = roomOf(path);
    if (!['gossip', 'proxy', 'trust'].includes(room)) continue;
    for (const target of imports)
      if (/^(src|sim|test|bench)\//.test(target))
        assert.ok(
          target === 'src/core.ts' || target.startsWith(`src/${room}/`),
          `${path} imports ${target}: declare what ${room} needs as an interface in src/${room} and let src/agent supply it`,
        );
  }
});

test('src/core.ts imports nothing of ours, and src/agent nothing of sim, test or bench', () => {
  for (const { path, imports } of sources) {
    if (path === 'src/core.ts')
      for (const target of imports)
        assert.ok(
          !target.startsWith('src/'),
          `${path} imports ${target}: move the shared part into core.ts or the need out of it`,
        );
    if (path.startsWith('src/'))
      for (const target of imports)
        assert.ok(
          !/^(sim|test|bench)\//.test(target),
          `${path} imports ${target}: production code stands alone; move the shared part into src`,
        );
  }
});

test('pure files do not import io files, in the simulator neither', () => {
  for (const { path, imports } of sources) {
    if (isIo(path) || isEntry(path) || /^(test|bench|demo)\//.test(path)) continue;
    for (const target of imports)
      assert.ok(
        !isIo(target),
        `${path} imports ${target}: pass the effect in, or return it for the driver under io/ to carry out`,
      );
  }
});

const outsideModules =
  /^(node:(net|tls|dgram|http2?|https|fs|fs\/promises|child_process|worker_threads|timers|timers\/promises|dns|dns\/promises|os|process|perf_hooks)|libp2p|@libp2p\/.*|@chainsafe\/.*|level|undici|fastify|pino|commander|dns-packet)$/;
const outsideWords =
  /\b(Date\.now|new Date\(\)|performance\.now|Math\.random|setTimeout|setInterval|setImmediate|queueMicrotask|fetch\(|async\b|await\b|(?<!\.)process\.)/;

test('outside io, nothing names a socket, a clock, a timer, chance or a promise', () => {
  for (const { path, text, imports } of sources) {
    if (!path.startsWith('src/') && !path.startsWith('sim/')) continue;
    if (isIo(path) || isEntry(path)) continue;
    for (const target of imports)
      assert.ok(
        !outsideModules.test(target),
        `${path} imports ${target}: keep it in ${path.split('/').slice(0, 2).join('/')}/io and pass in what the core needs`,
      );
    const match = outsideWords.exec(code(text));
    assert.ok(
      match === null,
      `${path} names \`${match?.[0]}\`: take \`now\`, a \`Random\` or an effect as an argument instead (see Machine in src/core.ts)`,
    );
  }
});

test('no test sleeps on a wall clock to wait for an outcome it could observe, and none is skipped', () => {
  const skips = new RegExp(
    `\\b(${['test', 'it', 'describe'].join('|')})\\.(${['skip', 'only', 'todo'].join('|')})\\(`,
  );
  for (const { path, text } of sources)
    if (path.startsWith('test/'))
      assert.ok(!skips.test(text), `${path} skips or isolates a test: delete it or make it pass`);
});

test('no file grows past 500 lines', () => {
  for (const { path, text } of sources) {
    const lines = text.split('\n').length;
    assert.ok(
      lines <= 500,
      `${path} has ${lines} lines: one noun a file; split it where its two subjects meet`,
    );
  }
});

test('no type is silenced', () => {
  const comment = new RegExp(`@ts-(${['ignore', 'nocheck', 'expect-error'].join('|')})`);
  const silencer = new RegExp(['as', ':'].map((before) => `${before} ${'any'}\\b`).join('|'));
  for (const { path, text } of sources)
    assert.ok(
      !comment.test(text) && !silencer.test(code(text)),
      `${path} silences the type checker: narrow from \`unknown\` instead`,
    );
});
