/** The peer that a Node program would be written as first: `node:http2` on both sides, see `node-proxy.ts`. */
import { join } from 'node:path';
import { assertFree, assertOwned } from '../processes.ts';
import type { Stage } from '../stage.ts';
import { answering } from './backend.ts';
import type { Certificates } from './certificates.ts';
import type { Subject, Way } from './subject.ts';

const program = join(import.meta.dirname, 'node-proxy.ts');

export async function startNodeHttp2(stage: Stage, certificates: Certificates, way: Way): Promise<Subject> {
  for (const endpoint of [way.inbound.http, way.client.http]) assertFree(endpoint);
  const options = JSON.stringify({ certificates, way });
  const start = (side: string) => stage.start(process.execPath, [program, side, options]);
  const inbound = start('inbound');
  const outbound = start('outbound');
  await answering(stage, way.client.http, outbound);
  assertOwned(way.inbound.http, [inbound.pid]);
  return { name: 'node-http2', endpoints: way.client, proxies: [outbound, inbound] };
}
