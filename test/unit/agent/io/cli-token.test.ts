/** An operator's token with commands that change nothing: what another host's agent answers nobody without. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { after, before, test } from 'node:test';
import type { Command } from 'commander';
import { buildProgram } from '../../../../src/agent/io/cli/program.ts';
import { operatorToken } from '../../../support/api.ts';

const starling = resolve(import.meta.dirname, '../../../../bin/starling');
let server: Server;
let address: string;
let folder: string;
let tokenFile: string;
before(async () => {
  // As an agent answers callers of other hosts; those of this one it would let read.
  server = createServer((request, response) => {
    if (request.headers.authorization === `Bearer ${operatorToken}`) {
      if (request.url?.startsWith('/v1/mesh/tap') === true)
        response.end(`event: request\ndata: ${JSON.stringify({ path: '/seen' })}\n\n`);
      else response.end('[]');
      return;
    }
    response.statusCode = 403;
    response.end('Permission denied: callers from other hosts need an operator token');
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  folder = mkdtempSync(join(tmpdir(), 'starling-token-'));
  tokenFile = join(folder, 'operator.token');
  writeFileSync(tokenFile, `${operatorToken}\n`, { mode: 0o600 });
});
after(() => {
  server.close();
  rmSync(folder, { recursive: true });
});

/** Runs `starling` against the test's server, in a folder without an agent's data. */
function cli(
  args: readonly string[],
  tokenInEnvironment?: string,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const env: NodeJS.ProcessEnv = { ...process.env, STARLING_HTTP: address, STARLING_DATA_DIR: '' };
  delete env.STARLING_OPERATOR_TOKEN_FILE;
  if (tokenInEnvironment !== undefined) env.STARLING_OPERATOR_TOKEN_FILE = tokenInEnvironment;
  return new Promise((done) => {
    execFile(starling, args, { cwd: folder, env }, (error, stdout, stderr) =>
      done({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
    );
  });
}

/** Every command that can be run, by its full name. */
function leaves(command: Command, path: readonly string[] = []): [string, Command][] {
  const below = command.commands.flatMap((sub) => leaves(sub, [...path, sub.name()]));
  return below.length > 0 ? below : [[path.join(' '), command]];
}

test('every command that asks an agent takes an operator token', () => {
  const without = leaves(buildProgram('0'))
    .filter(([, { options }]) => !options.some(({ long }) => long === '--operator-token-file'))
    .map(([name]) => name);
  assert.deepEqual(without, ['agent', 'completion']);
});

test('a token that is named, by flag or environment, goes along with what only reads', async () => {
  const refused = await cli(['members']);
  assert.deepEqual([refused.code, /callers from other hosts/.test(refused.stderr)], [1, true]);
  assert.equal((await cli(['members'], '')).code, 1, 'an empty name is none');
  const byFlag = await cli(['members', '--json', '--operator-token-file', tokenFile]);
  assert.deepEqual([byFlag.code, byFlag.stdout], [0, '[]\n'], byFlag.stderr);
  const byEnvironment = await cli(['ca', 'deny', 'list', '--json'], tokenFile);
  assert.deepEqual([byEnvironment.code, byEnvironment.stdout], [0, '[]\n'], byEnvironment.stderr);
  const stream = await cli(['tap', '--limit', '1', '--json'], tokenFile);
  assert.deepEqual([stream.code, stream.stdout], [0, '{"path":"/seen"}\n'], stream.stderr);
});

test('a token that is named and cannot be read is said, not left out', async () => {
  const gone = await cli(['members'], join(folder, 'gone.token'));
  assert.deepEqual(
    [gone.code, gone.stderr],
    [1, `starling: there is no operator token at ${join(folder, 'gone.token')}\n`],
  );
  const lines = join(folder, 'lines.token');
  writeFileSync(lines, 'two\nlines\n', { mode: 0o600 });
  const noToken = await cli(['services', '--operator-token-file', lines]);
  assert.deepEqual(
    [noToken.code, noToken.stderr],
    [1, `starling: ${lines} does not hold an operator token\n`],
  );
  chmodSync(lines, 0o644);
  assert.match((await cli(['services', '--operator-token-file', lines])).stderr, /chmod 600/);
  const definition = join(folder, 'api.json');
  writeFileSync(definition, '{"name": "api", "port": 80}');
  const offline = await cli(['validate', definition], join(folder, 'gone.token'));
  assert.equal(offline.code, 0, 'what asks no agent needs no token');
});
