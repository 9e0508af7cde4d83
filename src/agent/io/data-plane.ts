/** The data plane that the settings ask for: none, one on the agent's own thread, or one on several threads. */
import { performance } from 'node:perf_hooks';
import { Worker } from 'node:worker_threads';
import type { Millis, Random } from '../../core.ts';
import type { DataPlane } from '../../proxy/dataplane.ts';
import type { Log } from '../../proxy/io/options.ts';
import { createDataPlaneWorkers } from '../../proxy/io/workers/workers.ts';
import type { AgentSettings } from '../settings.ts';
import { peerVerifier } from './peer-verifier.ts';
import type { ProxyWorkerData } from './proxy-worker.ts';

export interface DataPlaneNeeds {
  readonly settings: Pick<AgentSettings, 'proxy' | 'proxyWorkers'>;
  readonly trustDomain: string;
  readonly random: Random;
  readonly log: Log;
  now(): Millis;
}

export async function dataPlaneFor({
  settings,
  trustDomain,
  random,
  log,
  now,
}: DataPlaneNeeds): Promise<DataPlane | null> {
  if (settings.proxy !== 'embedded') return null;
  if (settings.proxyWorkers > 0) return inThreads(settings.proxyWorkers, trustDomain, log);
  // Code that the agent's own thread has no use for while others carry the traffic.
  const { createDataPlane } = await import('../../proxy/io/embedded.ts');
  return createDataPlane({
    now: () => performance.now(),
    random,
    verifyPeer: peerVerifier(trustDomain, now),
    log,
  });
}

function inThreads(count: number, trustDomain: string, log: Log): DataPlane {
  const workerData: ProxyWorkerData = { trustDomain };
  return createDataPlaneWorkers({
    count,
    spawn: () => new Worker(new URL('./proxy-worker.ts', import.meta.url), { workerData, name: 'proxy' }),
    log,
  });
}
