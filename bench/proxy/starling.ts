/** The subject: two real agents, or three, whose embedded proxies carry the client's requests to the service. */
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

/** Agents, by their last octets and how many threads of theirs carry traffic. */
interface Agents {
  readonly name: string;
  readonly near: number;
  readonly far: readonly number[];
  readonly workers: number;
}

export const starling: Agents = { name: 'starling', near, far: [far], workers: 1 };
/** The same with two threads in each. */
export const starlingOfTwo: Agents = { name: 'starling-2', near: 44, far: [45], workers: 2 };
/** The same with two hosts that serve, so that the client's has a choice to make. */
export const starlingOfThree: Agents = { name: 'starling-3', near: 46, far: [47, 48], workers: 1 };

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
  agents: Agents,
  way: Way,
  say: (text: string) => void,
): Promise<Subject> {
  assertFree(way.client.http);
  const flock = stage.flock();
  const extra = ['--proxy-workers', String(agents.workers)];
  const [nearBird, ...farBirds] = (await flock.start([
    { n: agents.near, name: 'near', extra },
    ...agents.far.map((n, i) => ({ n, name: `far-${i}`, extra })),
  ])) as [Bird, ...Bird[]];
  await watchUpstreams(flock, nearBird);
  const carried = await declareProtocols(flock, nearBird, say);
  for (const bird of farBirds)
    for (const kind of carried)
      await register(flock, bird, { name: serviceOf[kind], ...ends(way.application[kind]) });
  await registerClient(flock, nearBird, way, carried);
  for (const kind of carried) await allow(flock, nearBird, serviceOf[kind]);
  await answering(stage, way.client.http, nearBird.program!);
  for (const { address, inboundPort, program } of farBirds)
    assertOwned(`${address}:${inboundPort}`, [program!.pid]);
  const endpoints = carried.includes('grpc')
    ? await withoutUnserved(agents.name, way.client, say)
    : { http: way.client.http, tcp: way.client.tcp };
  const proxies = [nearBird, ...farBirds].map(({ program }) => program!);
  return { name: agents.name, endpoints, proxies };
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
