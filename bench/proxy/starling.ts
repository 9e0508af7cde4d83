/** The subject: two real agents, whose embedded proxies carry the client's requests to the service. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Bird, Flock } from '../../demo/flock.ts';
import { assertFree, assertOwned } from '../processes.ts';
import type { Stage } from '../stage.ts';
import { answering } from './backend.ts';
import { withoutUnserved } from './grpc.ts';
import { type Kind, kinds, type Subject, type Way } from './subject.ts';

/** Last octets of the addresses 127.0.1.N beside the client, and beside the applications. */
export const near = 41;
export const far = 42;

/** Two agents, by their last octets and how many threads of theirs carry traffic. */
interface Pair {
  readonly name: string;
  readonly near: number;
  readonly far: number;
  readonly workers: number;
}

export const starling: Pair = { name: 'starling', near, far, workers: 1 };
/** The same with two threads in each. */
export const starlingOfTwo: Pair = { name: 'starling-2', near: 44, far: 45, workers: 2 };

/** One service for each kind of traffic. */
export const serviceOf: { readonly [kind in Kind]: string } = {
  http: 'bench',
  grpc: 'bench-grpc',
  tcp: 'bench-tcp',
};

/**
 * Client -> upstream port of the near agent -> `starling/1` over mutual TLS -> inbound port of the far agent ->
 * application. The agents are whole: they gossip and renew while they proxy, and that is in their cost.
 */
export async function startStarling(
  stage: Stage,
  pair: Pair,
  way: Way,
  say: (text: string) => void,
): Promise<Subject> {
  assertFree(way.client.http);
  const flock = stage.flock();
  const extra = ['--proxy-workers', String(pair.workers)];
  const [nearBird, farBird] = (await flock.start([
    { n: pair.near, name: 'near', extra },
    { n: pair.far, name: 'far', extra },
  ])) as [Bird, Bird];
  await watchUpstreams(flock, nearBird);
  const carried = await declareProtocols(flock, nearBird, say);
  for (const kind of carried)
    await register(flock, farBird, { name: serviceOf[kind], ...ends(way.application[kind]) });
  await registerClient(flock, nearBird, way, carried);
  for (const kind of carried) await allow(flock, nearBird, serviceOf[kind]);
  const programs = [nearBird.program!, farBird.program!] as const;
  await answering(stage, way.client.http, programs[0]);
  assertOwned(`${farBird.address}:${farBird.inboundPort}`, [programs[1].pid]);
  const endpoints = carried.includes('grpc')
    ? await withoutUnserved(pair.name, way.client, say)
    : { http: way.client.http, tcp: way.client.tcp };
  return { name: pair.name, endpoints, proxies: programs };
}

interface NamedService {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly connect?: object;
}

/** Says what each service speaks. Returns the kinds whose protocol this version knows. */
async function declareProtocols(flock: Flock, bird: Bird, say: (text: string) => void): Promise<Kind[]> {
  const known: Kind[] = [];
  for (const kind of kinds) {
    const file = join(flock.directory, `defaults-${kind}.json`);
    writeFileSync(file, JSON.stringify({ Kind: 'service-defaults', Name: serviceOf[kind], Protocol: kind }));
    const written = await bird.cli('config', 'write', file, ...flock.operator());
    if (written.code === 0) known.push(kind);
    else if (kind === 'grpc') say(`starling does not serve gRPC: ${written.stderr.trim()}`);
    else throw new Error(`config write: ${written.stderr.trim()}`);
  }
  return known;
}

/** Has the client's proxy eject whoever fails again and again, which is off by default. */
async function watchUpstreams(flock: Flock, bird: Bird): Promise<void> {
  const file = join(flock.directory, 'defaults-client.json');
  const UpstreamConfig = { Defaults: { PassiveHealthCheck: { MaxFailures: 5 } } };
  writeFileSync(file, JSON.stringify({ Kind: 'service-defaults', Name: 'client', UpstreamConfig }));
  const written = await bird.cli('config', 'write', file, ...flock.operator());
  if (written.code !== 0) throw new Error(`config write: ${written.stderr.trim()}`);
}

async function registerClient(flock: Flock, bird: Bird, way: Way, carried: readonly Kind[]): Promise<void> {
  const upstreams = carried.map((kind) => {
    const { address, port } = ends(way.client[kind]);
    return { destination_name: serviceOf[kind], local_bind_address: address, local_bind_port: port };
  });
  const connect = { sidecar_service: { proxy: { upstreams } } };
  await register(flock, bird, { name: 'client', address: bird.address, port: 9001, connect });
}

async function allow(flock: Flock, bird: Bird, service: string): Promise<void> {
  const allowed = await bird.cli('intention', 'create', 'client', service, '--allow', ...flock.operator());
  if (allowed.code !== 0) throw new Error(`intention create: ${allowed.stderr.trim()}`);
}

async function register(flock: Flock, bird: Bird, service: NamedService): Promise<void> {
  const file = join(flock.directory, `${service.name}.json`);
  writeFileSync(file, JSON.stringify({ service }));
  const result = await bird.cli('register', file);
  if (result.code !== 0) throw new Error(`register on ${bird.name}: ${result.stderr.trim()}`);
}

export function ends(endpoint: string): { address: string; port: number } {
  const [address = '', port] = endpoint.split(':');
  return { address, port: Number(port) };
}
