/** The entry of a thread that carries traffic beside others. */
import { parentPort, workerData } from 'node:worker_threads';
import { assert } from '../../core.ts';
import { serveDataPlane } from '../../proxy/io/workers/worker-side.ts';
import { monotonicClock, systemClock } from './clock.ts';
import { peerVerifier } from './peer-verifier.ts';

export interface ProxyWorkerData {
  readonly trustDomain: string;
}

assert(parentPort !== null, 'this is the entry of a worker thread');
const { trustDomain } = workerData as ProxyWorkerData;
serveDataPlane(parentPort, {
  // Token buckets that threads share go by it.
  now: systemClock(),
  random: { next: () => Math.random() },
  verifyPeer: peerVerifier(trustDomain, monotonicClock()),
  sharesPorts: true,
});
