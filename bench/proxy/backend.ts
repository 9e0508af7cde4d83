/** The application behind every proxy: nginx with two static files, as cheap a server as there is. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Program } from '../../demo/flock.ts';
import { assertFree, assertOwned } from '../processes.ts';
import type { Stage } from '../stage.ts';

/** What clients ask for: a reply as most API calls give, and one where copying bytes begins to tell. */
export const replies = [
  { size: 'small', path: '/small', bytes: 256 },
  { size: '10k', path: '/10k', bytes: 10 * 1024 },
] as const;

export type Reply = (typeof replies)[number];

/** Starts nginx on `endpoint` with everything it writes inside the stage's directory. */
export async function startBackend(stage: Stage, endpoint: string): Promise<Program> {
  const folder = join(stage.directory, 'backend');
  mkdirSync(join(folder, 'www'), { recursive: true });
  for (const { path, bytes } of replies) writeFileSync(join(folder, 'www', path), body(bytes));
  const configFile = join(folder, 'nginx.conf');
  writeFileSync(configFile, nginxConfig(folder, endpoint));
  assertFree(endpoint);
  const program = stage.start('nginx', ['-p', folder, '-c', configFile, '-e', join(folder, 'error.log')]);
  await answering(stage, endpoint, program);
  assertOwned(endpoint, [program.pid]);
  return program;
}

/** Text that looks like a reply and does not compress to nothing. */
function body(bytes: number): string {
  const items = Array.from({ length: bytes / 8 }, (_, index) => `{"id":${index * 7919}},\n`);
  return items.join('').slice(0, bytes);
}

/**
 * One process, no root needed. Connections never end by count: nginx would close one after 1000 requests by
 * default, and the proxies' reconnects would be measured.
 */
function nginxConfig(folder: string, endpoint: string): string {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `daemon off;
master_process off;
worker_processes 1;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log warn;
events { worker_connections 4096; }
http {
  access_log off;
  ${temporary.map((name) => `${name}_temp_path ${folder}/${name};`).join('\n  ')}
  default_type application/json;
  keepalive_timeout 3600s;
  keepalive_requests 1000000000;
  open_file_cache max=16 inactive=3600s;
  open_file_cache_valid 3600s;
  tcp_nodelay on;
  server {
    listen ${endpoint} backlog=1024;
    root ${folder}/www;
  }
}
`;
}

/** Resolves once both replies arrive whole through `endpoint`; rejects when `program` ends or after 10 s. */
export async function answering(stage: Stage, endpoint: string, program: Program): Promise<void> {
  const deadlineMs = performance.now() + 10_000;
  for (;;) {
    const wrong = await firstWrongReply(endpoint);
    if (wrong === null) return;
    if (!program.running || program.pid === -1)
      throw new Error(`${program.child.spawnfile} ended: ${program.stderr.trim() || '(silent)'}`);
    if (performance.now() > deadlineMs) throw new Error(`${endpoint} does not answer as it should: ${wrong}`);
    await stage.pause(50);
  }
}

/** Why the replies through `endpoint` are not the ones the backend holds; null when they are. */
async function firstWrongReply(endpoint: string): Promise<string | null> {
  for (const { path, bytes } of replies) {
    try {
      const response = await fetch(`http://${endpoint}${path}`, { signal: AbortSignal.timeout(5000) });
      const text = await response.text();
      if (response.status !== 200 || text !== body(bytes))
        return `${path} gave status ${response.status} and ${text.length} bytes: ${text.slice(0, 200)}`;
    } catch (error) {
      const { message, cause } = error as Error;
      return `${path}: ${message} (${cause instanceof Error ? cause.message : 'no cause given'})`;
    }
  }
  return null;
}
