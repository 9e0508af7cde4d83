/** The thread of the threshold cryptography: drives the engine by a clock, with real randomness. */
import { randomBytes } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import { assert, ed25519Signer, ed25519Verify, type Millis } from '../../core.ts';
import { genesisShare } from '../epoch/crypto-port.ts';
import { recipientOf } from '../frost/key-agreement.ts';
import { type EngineInput, ThresholdEngine } from '../quorum/engine.ts';
import type { EngineReport } from '../quorum/engine-port.ts';
import type { EngineThreadData, FromEngineThread, ToEngineThread } from './engine-messages.ts';
import { collectGarbage } from './garbage.ts';

assert(parentPort !== null, 'this is the entry of a worker thread');
const parent = parentPort;

const startedAt = Date.now() - performance.now();
const now = (): Millis => startedAt + performance.now();

const data = workerData as EngineThreadData;
const engine = new ThresholdEngine({
  signer: ed25519Signer(data.seed),
  verify: ed25519Verify,
  agree: recipientOf(data.seed),
  entropy: (bytes) => randomBytes(bytes),
  trustDomain: data.trustDomain,
  bootId: data.bootId,
  nonceCount: data.nonceCount,
  timings: data.timings,
});
data.seed.fill(0);

let timer: NodeJS.Timeout | undefined;

function feed(input: EngineInput): void {
  say(engine.step(input, now()));
  clearTimeout(timer);
  const wakeAt = engine.nextWake();
  if (wakeAt !== null)
    timer = setTimeout(() => feed({ type: 'wake' }), Math.max(0, Math.ceil(wakeAt - now())));
}

/** Secrets are handed over, not left behind in another copy. */
function say(reports: readonly EngineReport[]): void {
  if (reports.length === 0) return;
  const transferred: ArrayBuffer[] = [];
  const sent = reports.map((report) => {
    if (report.type !== 'established') return report;
    const secret = Uint8Array.from(report.secret);
    report.secret.fill(0);
    transferred.push(secret.buffer);
    return { ...report, secret };
  });
  const message: FromEngineThread = { type: 'reports', reports: sent };
  parent.postMessage(message, transferred);
}

/** Ends the thread, unless something is under way: what is promised or half done is known here alone. */
function rest(): void {
  const estate = engine.rest(now());
  const message: FromEngineThread = estate === null ? { type: 'busy' } : { type: 'rested', estate };
  parent.postMessage(message, estate?.secrets.map(({ secret }) => secret.buffer) ?? []);
  if (estate !== null) end();
}

function end(): void {
  clearTimeout(timer);
  parent.close();
}

parent.on('message', (message: ToEngineThread) => {
  if (message.type === 'stop') return end();
  if (message.type === 'rest') return rest();
  const { order } = message;
  feed(order);
  if (order.type === 'hold') order.secret.fill(0);
  if (order.type === 'forget' && order.names.includes(genesisShare)) setImmediate(collectGarbage);
});
