/** The applications behind every proxy, each as cheap a server as there is: nginx with static files, a source of bytes. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Program } from '../../demo/flock.ts';
import { assertFree, assertOwned } from '../processes.ts';
import type { Stage } from '../stage.ts';
import { head, httpOf } from './nginx-config.ts';
import type { Addresses } from './subject.ts';

/** What clients ask for: a reply as most API calls give, and one where copying bytes begins to tell. */
export const replies = [
  { size: 'small', path: '/small', bytes: 256 },
  { size: '10k', path: '/10k', bytes: 10 * 1024 },
] as const;

export type Reply = (typeof replies)[number];

/** What a gRPC client asks for, and what it gets: one message each way. */
export const call = { path: '/bench.Echo/Call', messageBytes: 128 } as const;

/** A gRPC message: not compressed, length, bytes. */
export function grpcMessage(): Buffer {
  const framed = Buffer.alloc(5 + call.messageBytes, 'm');
  framed[0] = 0;
  framed.writeUInt32BE(call.messageBytes, 1);
  return framed;
}

const tcpSource = join(import.meta.dirname, 'tcp-source.ts');

/** Starts the applications for each kind of traffic, with everything they write inside the stage's directory. */
export async function startBackend(stage: Stage, addresses: Addresses): Promise<void> {
  const folder = join(stage.directory, 'backend');
  mkdirSync(join(folder, 'www'), { recursive: true });
  for (const { path, bytes } of replies) writeFileSync(join(folder, 'www', path), body(bytes));
  writeFileSync(join(folder, 'www', 'message'), grpcMessage());
  const configFile = join(folder, 'nginx.conf');
  writeFileSync(configFile, `${nginxConfig(folder, addresses).join('\n')}\n`);
  for (const endpoint of Object.values(addresses)) assertFree(endpoint);
  const program = stage.start('nginx', ['-p', folder, '-c', configFile, '-e', join(folder, 'error.log')]);
  const source = stage.start(process.execPath, [tcpSource, addresses.tcp]);
  await answering(stage, addresses.http, program);
  await source.line('ready', 10_000);
  for (const kind of ['http', 'grpc'] as const) assertOwned(addresses[kind], [program.pid]);
}

/** Text that looks like a reply and does not compress to nothing. */
function body(bytes: number): string {
  const items = Array.from({ length: bytes / 8 }, (_, index) => `{"id":${index * 7919}},\n`);
  return items.join('').slice(0, bytes);
}

/** nginx has no gRPC service, but a file as answer to a POST and a trailer are one: a call costs it very little. */
function nginxConfig(folder: string, { http, grpc }: Addresses): string[] {
  return [
    ...head(folder, false),
    ...httpOf(folder, [
      'default_type application/json;',
      ...['open_file_cache max=16 inactive=3600s;', 'open_file_cache_valid 3600s;'],
      ...['server {', `listen ${http} backlog=1024;`, `root ${folder}/www;`, '}'],
      ...['server {', `listen ${grpc} http2 backlog=1024;`, `root ${folder}/www;`],
      // The mirror, which goes nowhere, has the call read to its end first: some proxies take offence otherwise.
      ...['location = /nowhere { internal; return 204; }', `location = ${call.path} {`],
      ...['mirror /nowhere;', 'error_page 405 =200 /message;', 'rewrite ^ /message break;', '}'],
      ...['location = /message { default_type application/grpc; add_trailer grpc-status 0; }', '}'],
    ]),
  ];
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
