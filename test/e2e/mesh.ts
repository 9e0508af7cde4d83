/** What the end-to-end tests share: a three-host mesh with `web` and two `api`, and ways to call as a client. */

import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { type Bird, type CommandResult, command, Flock, type Program, until } from '../../demo/flock.ts';

export interface TestMesh {
  readonly flock: Flock;
  readonly one: Bird;
  readonly two: Bird;
  readonly three: Bird;
  readonly apps: { readonly web: Program; readonly api2: Program; readonly api3: Program };
}

/** Where `web`'s declared upstream to `api` listens, on host one. */
export const upstreamPort = 9100;
export const apiPort = 9001;

/** Starts three agents, one `web` on host one and `api` on hosts two and three, all registered and passing. */
export async function startMesh(extra: readonly string[] = []): Promise<TestMesh> {
  const flock = new Flock();
  const [one, two, three] = (await flock.start([
    { n: 1, name: 'one', extra },
    { n: 2, name: 'two' },
    { n: 3, name: 'three' },
  ])) as [Bird, Bird, Bird];
  const apps = {
    web: await startService(flock, 'web', `${one.address}:9000`),
    api2: await startService(flock, 'api', `${two.address}:${apiPort}`),
    api3: await startService(flock, 'api', `${three.address}:${apiPort}`),
  };
  await registerWeb(flock, one, 'api');
  for (const bird of [two, three]) await registerApi(flock, bird);
  await until('both api instances pass on host one', 20_000, async () => (await passing(one, 'api')) === 2);
  return { flock, one, two, three, apps };
}

export async function startService(flock: Flock, name: string, listen: string): Promise<Program> {
  const program = flock.program('demo/service.ts', ['--name', name, '--listen', listen]);
  await program.line('service: ready', 60_000);
  return program;
}

/** `web`, which calls each of `destinations` by a port of its own: `upstreamPort` and those after it. */
export function registerWeb(flock: Flock, bird: Bird, ...destinations: readonly string[]): Promise<void> {
  const upstreams = destinations.map((destination_name, at) => ({
    destination_name,
    local_bind_address: bird.address,
    local_bind_port: upstreamPort + at,
  }));
  const connect = { sidecar_service: { proxy: { upstreams } } };
  return register(flock, bird, { name: 'web', address: bird.address, port: 9000, connect });
}

/** With a check that finds a dead instance at once, and has patience with one on a busy machine. */
export function registerApi(flock: Flock, bird: Bird): Promise<void> {
  return register(flock, bird, {
    name: 'api',
    address: bird.address,
    port: apiPort,
    check: { http: `http://${bird.address}:${apiPort}/health`, interval: '500ms', timeout: '10s' },
  });
}

/** Registers a definition by file and `starling register`. */
export async function register(flock: Flock, bird: Bird, service: object): Promise<void> {
  const file = join(flock.directory, `${bird.name}-${Math.random().toString(36).slice(2)}.json`);
  writeFileSync(file, JSON.stringify({ service }));
  const result = await bird.cli('register', file);
  if (result.code !== 0) throw new Error(`register: ${result.stderr}`);
}

/** How many instances of a service pass, as this bird sees it. */
export async function passing(bird: Bird, service: string): Promise<number> {
  return (await bird.get<unknown[]>(`/v1/health/service/${service}?passing`)).length;
}

/** `curl` with the status code as last line of stdout. */
export async function curl(...args: string[]): Promise<CommandResult & { status: number; body: string }> {
  const result = await command('curl', ['-sS', '-m', '15', '-w', '\n%{http_code}', ...args]);
  const cut = result.stdout.lastIndexOf('\n');
  return {
    ...result,
    status: Number(result.stdout.slice(cut + 1)),
    body: result.stdout.slice(0, Math.max(0, cut)),
  };
}

/** Opens a TCP connection, sends `text`, and says how it ended: with what bytes, by a reset or by an end. */
export function tcpExchange(
  host: string,
  port: number,
  text: string,
): Promise<{ received: string; end: string }> {
  return new Promise((done) => {
    const socket = connect(port, host);
    let received = '';
    let end = 'closed';
    socket.setTimeout(15_000, () => {
      end = 'timeout';
      socket.destroy();
    });
    socket.on('connect', () => socket.write(text));
    socket.on('data', (bytes) => {
      received += bytes.toString('latin1');
      socket.end();
    });
    socket.on('end', () => {
      end = 'end';
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      end = error.code ?? error.message;
    });
    socket.on('close', () => done({ received, end }));
  });
}

/** The value of the first metric line that contains every one of `parts`; 0 when there is none. */
export async function metric(bird: Bird, ...parts: string[]): Promise<number> {
  const text = await (await fetch(`${bird.httpUrl}/metrics`)).text();
  const line = text
    .split('\n')
    .find((candidate) => !candidate.startsWith('#') && parts.every((part) => candidate.includes(part)));
  return line === undefined ? 0 : Number(line.slice(line.lastIndexOf(' ') + 1));
}
