/** Two real agents: `web` on the first host calls services on the second, which are applications of the test. */

import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type { Server as HttpServer, RequestListener } from 'node:http';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { type Bird, Flock, until } from '../../demo/flock.ts';
import { passing, register, registerWeb, upstreamPort } from './mesh.ts';

export interface Pair {
  readonly flock: Flock;
  readonly near: Bird;
  readonly far: Bird;
  /** Where `web` reaches the services, on the near host: the first at `port`, each other one at the next. */
  readonly address: string;
  readonly port: number;
  stop(): Promise<void>;
}

export interface PairService {
  readonly name: string;
  /** Where it listens, on the far host. */
  readonly port: number;
  /** By a config entry; `auto` without. */
  readonly protocol?: 'http' | 'tcp';
}

/**
 * `n` is the last octet of the near host's address 127.0.1.N; the far one has the next. Resolves once `web` may call
 * every service and knows where it is.
 */
export async function startPair(n: number, services: readonly PairService[]): Promise<Pair> {
  const flock = new Flock();
  try {
    const [near, far] = (await flock.start([
      { n, name: 'near' },
      { n: n + 1, name: 'far' },
    ])) as [Bird, Bird];
    for (const { name, protocol } of services)
      if (protocol !== undefined) await declare(flock, near, name, protocol);
    for (const { name, port } of services) await register(flock, far, { name, address: far.address, port });
    await registerWeb(flock, near, ...services.map(({ name }) => name));
    for (const { name } of services) await allow(flock, near, far, name);
    return { flock, near, far, address: near.address, port: upstreamPort, stop: () => flock.stop() };
  } catch (error) {
    await flock.stop();
    throw error;
  }
}

async function allow(flock: Flock, near: Bird, far: Bird, service: string): Promise<void> {
  const allowed = await near.cli('intention', 'create', 'web', service, '--allow', ...flock.operator());
  if (allowed.code !== 0) throw new Error(`intention create: ${allowed.stderr}`);
  await until(`web may call ${service}`, 20_000, async () => {
    const decided = await far.cli('intention', 'check', 'web', service);
    return decided.code === 0 && (await passing(near, service)) === 1;
  });
}

async function declare(flock: Flock, bird: Bird, name: string, protocol: string): Promise<void> {
  const file = join(flock.directory, `${name}-defaults.json`);
  writeFileSync(file, JSON.stringify({ Kind: 'service-defaults', Name: name, Protocol: protocol }));
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
