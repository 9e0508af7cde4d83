/** The subject `starling-plane`: two data planes without their agents, configured as two agents would configure them. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rolldown } from 'rolldown';
import type { Program } from '../../demo/flock.ts';
import type { Cluster, OutboundListener, ProxyConfig } from '../../src/proxy/config.ts';
import {
  cluster,
  emptyConfig,
  identityOf,
  inboundService,
  listener,
  withClusters,
} from '../../test/support/mesh.ts';
import { assertFree, assertOwned } from '../processes.ts';
import type { Stage } from '../stage.ts';
import { answering } from './backend.ts';
import { withoutUnserved } from './grpc.ts';
import { ends, serviceOf } from './starling.ts';
import { kinds, type Subject, type Way } from './subject.ts';

/** All three meet at one inbound port: the name asked for tells them apart. */
export async function startPlanes(stage: Stage, way: Way, say: (text: string) => void): Promise<Subject> {
  const meeting = way.inbound.http;
  for (const endpoint of [meeting, way.client.http]) assertFree(endpoint);
  const program = await bundled(stage);
  const inbound = await launch(stage, program, 'plane-inbound', inboundConfig(way));
  const outbound = await launch(stage, program, 'plane-outbound', outboundConfig(way));
  await answering(stage, way.client.http, outbound);
  assertOwned(meeting, [inbound.pid]);
  const endpoints = await withoutUnserved('starling-plane', way.client, say);
  return { name: 'starling-plane', endpoints, proxies: [outbound, inbound] };
}

/** As the agent runs: bundled, for stripping types takes memory of its own. */
async function bundled(stage: Stage): Promise<string> {
  const bundle = await rolldown({
    input: join(import.meta.dirname, 'plane-process.ts'),
    platform: 'node',
    checks: { pluginTimings: false },
  });
  // What is loaded later is a file of its own.
  const [dir, entryFileNames, chunkFileNames] = [stage.directory, 'plane.mjs', 'plane-[name].mjs'];
  await bundle.write({ dir, entryFileNames, chunkFileNames, charset: 'ascii', comments: false });
  await bundle.close();
  return join(dir, entryFileNames);
}

/** What bin/starling sets besides. */
const environmentOfAgent = ['MALLOC_ARENA_MAX=2'];

/** Flags that bin/starling sets for the agent. */
const nodeFlags = /--[a-z][a-z-]*(?:=\d+)?(?= )/g;

function flagsOfAgent(): string[] {
  const script = readFileSync(join(import.meta.dirname, '../../bin/starling'), 'utf8');
  const start = script.slice(script.lastIndexOf('\nexec '));
  return start.match(nodeFlags) ?? [];
}

async function launch(stage: Stage, program: string, name: string, config: ProxyConfig): Promise<Program> {
  const file = join(stage.directory, `${name}.json`);
  writeFileSync(file, JSON.stringify(config), { mode: 0o600 });
  const process_ = stage.start('env', [
    ...environmentOfAgent,
    ...[process.execPath, ...flagsOfAgent(), program, file],
  ]);
  await process_.line('ready', 10_000);
  return process_;
}

function inboundConfig({ inbound, application }: Way): ProxyConfig {
  const services = kinds.map((kind) => {
    const { address, port } = ends(application[kind]);
    const endpoints = [{ id: kind, address, port, weight: 100 }];
    return inboundService(serviceOf[kind], [], { protocol: kind, endpoints });
  });
  return {
    ...emptyConfig(),
    inbound: { ...ends(inbound.http), services },
    identities: kinds.map((kind) => identityOf(serviceOf[kind])),
  };
}

function outboundConfig({ client, inbound }: Way): ProxyConfig {
  const host = { id: 'far', hostName: 'far', ...ends(inbound.http), weight: 100, zone: 'a' };
  const clusters: Cluster[] = kinds.map((kind) =>
    cluster(serviceOf[kind], [], { protocol: kind, endpoints: [host] }),
  );
  const outbound: OutboundListener[] = kinds.map((kind) => ({
    ...listener('client', serviceOf[kind]),
    ...ends(client[kind]),
  }));
  return withClusters({ ...emptyConfig(), outbound, identities: [identityOf('client')] }, clusters);
}
