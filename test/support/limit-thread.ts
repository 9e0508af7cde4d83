/** A thread that takes from limits it shares with others, as quickly as it can. */
import { parentPort, workerData } from 'node:worker_threads';
import type { RateLimitsPolicy } from '../../src/proxy/policy.ts';
import { noRoute, RateLimiter } from '../../src/proxy/resilience/rate-limiter.ts';
import type { SharedMemory } from '../../src/proxy/workers/memory.ts';
import { Tally } from '../../src/proxy/workers/tally.ts';

export interface LimitThreadData {
  readonly threads: number;
  /** How often it takes one of `most`, ... */
  readonly takes: number;
  readonly most: number;
  /** ... and how often a request is to be admitted at `rates`. */
  readonly rounds: number;
  readonly rates: RateLimitsPolicy;
  readonly rateMemory: SharedMemory;
  readonly tallyMemory: SharedMemory;
  /** How many threads are there, and how many are within the tally's limit. */
  readonly gauges: SharedArrayBuffer;
}

export interface LimitThreadReport {
  /** Whether there were ever more than `most` at once. */
  readonly isExceeded: boolean;
  readonly admitted: number;
}

const data = workerData as LimitThreadData;
const gauges = new Int32Array(data.gauges);
const tally = new Tally(data.tallyMemory, 0);
const limiter = new RateLimiter(data.rates, 0, data.rateMemory);

// All begin together.
if (Atomics.add(gauges, 0, 1) + 1 === data.threads) Atomics.notify(gauges, 0);
for (let here = Atomics.load(gauges, 0); here < data.threads; here = Atomics.load(gauges, 0))
  Atomics.wait(gauges, 0, here);

let isExceeded = false;
for (let i = 0; i < data.takes; i++)
  if (tally.take(data.most)) {
    if (Atomics.add(gauges, 1, 1) + 1 > data.most) isExceeded = true;
    Atomics.sub(gauges, 1, 1);
    tally.add(-1);
  }

let admitted = 0;
// A clock that runs on alike for all of them, by a microsecond a round.
for (let round = 0; round < data.rounds; round++)
  if (limiter.admit(round / 1000, `caller${round % 7}`, noRoute) === null) admitted++;
parentPort!.postMessage({ isExceeded, admitted } satisfies LimitThreadReport);
