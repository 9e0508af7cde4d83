/**
 * `npm run bundle`, and at the end of every `npm ci`: the program and its packages as a few files in dist/,
 * which `bin/starling` prefers while they are newer than the sources. Some thousand modules, each with its
 * own bookkeeping in the engine, cost an agent 25 MB and half of its start.
 */
import { execFileSync } from 'node:child_process';
import { renameSync, rmSync, utimesSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { type Plugin, rolldown } from 'rolldown';

const root = resolve(import.meta.dirname, '..');
const target = join(root, 'dist');
const draft = join(root, `dist.${process.pid}`);

/** Threads are files of their own: each becomes an entry, named as its source is. */
const threads: Plugin = {
  name: 'threads',
  transform(code, id) {
    return code.replaceAll(/new URL\('\.\/([\w-]+)\.ts', import\.meta\.url\)/g, (_, name: string) => {
      this.emitFile({ type: 'chunk', id: join(dirname(id), `${name}.ts`), fileName: `${name}.js` });
      return `new URL('./${name}.js', import.meta.url)`;
    });
  },
};

/** Noise is given its ciphers: those that it falls back to would be set up all the same when it is loaded. */
const givenCiphers: Plugin = {
  name: 'given-ciphers',
  load: {
    filter: { id: /@libp2p[\\/]noise[\\/]dist[\\/]src[\\/]crypto[\\/]index\.js$/ },
    handler: () => 'export const defaultCrypto = undefined;',
  },
};

/** libp2p sorts addresses by the rules of a language, which takes 2 MB of them; they are ASCII. */
const plainOrder: Plugin = {
  name: 'plain-order',
  transform: {
    filter: { id: /libp2p/, code: /\.localeCompare\(/ },
    handler: (code) =>
      code.replaceAll(
        /([\w.]+(?:\(\))?)\.localeCompare\(([\w.]+(?:\(\))?)\)/g,
        '(($1) < ($2) ? -1 : ($1) > ($2) ? 1 : 0)',
      ),
  },
};

const began = new Date();
try {
  const bundle = await rolldown({
    input: join(root, 'src/agent/io/main.ts'),
    platform: 'node',
    external: [
      // It loads its compiled half from beside its own file.
      'classic-level',
      // Parts of Fastify that are loaded when they are asked for, which they never are.
      '@fastify/ajv-compiler',
      '@fastify/fast-json-stringify-compiler',
      'light-my-request',
    ],
    plugins: [threads, givenCiphers, plainOrder],
    checks: { pluginTimings: false },
  });
  await bundle.write({
    dir: draft,
    entryFileNames: '[name].js',
    chunkFileNames: '[name].js',
    // One character beyond Latin-1 and the engine keeps all of a file at two bytes a character.
    charset: 'ascii',
    // Names and lines stay, so that a stack trace can be read; comments would be kept in memory.
    minify: false,
    comments: false,
  });
  await bundle.close();
  // As old as what went in: a source that was changed meanwhile is newer.
  utimesSync(join(draft, 'main.js'), began, began);
  // Whoever starts an agent meanwhile finds the old files, none, or the new ones: never half of them.
  rmSync(target, { recursive: true, force: true });
  renameSync(draft, target);
  // The first start finds it compiled, even one that may not write there. And what cannot be loaded shows here.
  rmSync(join(root, 'node_modules/.cache/starling'), { recursive: true, force: true });
  for (const args of [['agent', '--help'], ['--version']])
    execFileSync(join(root, 'bin/starling'), args, { stdio: ['ignore', 'ignore', 'inherit'] });
} catch (error) {
  // The sources serve instead.
  for (const folder of [draft, target]) rmSync(folder, { recursive: true, force: true });
  throw error;
}
