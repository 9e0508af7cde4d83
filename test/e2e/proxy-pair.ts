/** Two real agents with one service between them: `web` on the first host calls `api`, an application of the test. */

import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type { Server as HttpServer, RequestListener } from 'node:http';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { type Bird, Flock, until } from '../../demo/flock.ts';
import { register, upstreamPort } from './mesh.ts';

export interface Pair {
  readonly flock: Flock;
  readonly near: Bird;
  readonly far: Bird;
  /** Where `web` reaches `api`, on the near host. */
  readonly address: string;
  readonly port: number;
  stop(): Promise<void>;
}

export interface PairOptions {
  /** Of `api`, by a config entry; `auto` without. */
  readonly protocol?: 'http' | 'tcp';
  /** Where the application listens, on the far host. */
  readonly port: number;
  /** The last octet of the near host's address 127.0.1.N; the far one has the next. */
  readonly n: number;
}

/** Resolves once a connection through both agents reaches the application. */
export async function startPair({ protocol, port, n }: PairOptions): Promise<Pair> {
  const flock = new Flock();
  try {
    const [near, far] = (await flock.start([
      { n, name: 'near' },
      { n: n + 1, name: 'far' },
    ])) as [Bird, Bird];
    if (protocol !== undefined) await declare(flock, near, protocol);
    await register(flock, far, { name: 'api', address: far.address, port });
    const upstream = {
      destination_name: 'api',
      local_bind_address: near.address,
      local_bind_port: upstreamPort,
    };
    const connect = { sidecar_service: { proxy: { upstreams: [upstream] } } };
    await register(flock, near, { name: 'web', address: near.address, port: 9000, connect });
    const allowed = await near.cli('intention', 'create', 'web', 'api', '--allow', ...flock.operator());
    if (allowed.code !== 0) throw new Error(`intention create: ${allowed.stderr}`);
    await until('web may call api', 10_000, async () => {
      const decided = await far.cli('intention', 'check', 'web', 'api');
      const known = await near.get<unknown[]>('/v1/health/service/api?passing');
      return decided.code === 0 && known.length === 1;
    });
    return { flock, near, far, address: near.address, port: upstreamPort, stop: () => flock.stop() };
  } catch (error) {
    await flock.stop();
    throw error;
  }
}

async function declare(flock: Flock, bird: Bird, protocol: string): Promise<void> {
  const file = join(flock.directory, 'api-defaults.json');
  writeFileSync(file, JSON.stringify({ Kind: 'service-defaults', Name: 'api', Protocol: protocol }));
  const written = await bird.cli('config', 'write', file, ...flock.operator());
  if (written.code !== 0) throw new Error(`config write: ${written.stderr}`);
}

export interface Application {
  readonly port: number;
  stop(): Promise<void>;
}

/** An HTTP application inside the test, on the far host's address. */
export function startHttp(address: string, handler: RequestListener): Promise<Application> {
  return listening(createHttpServer({ keepAliveTimeout: 60_000 }, handler), address);
}

export function startTcp(address: string, serve: (socket: Socket) => void): Promise<Application> {
  return listening(createServer({ allowHalfOpen: true }, serve), address);
}

async function listening(server: Server | HttpServer, address: string): Promise<Application> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
  });
  server.listen(0, address);
  await once(server, 'listening');
  const stop = async (): Promise<void> => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  return { port: (server.address() as AddressInfo).port, stop };
}
