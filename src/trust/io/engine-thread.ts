/**
 * The agent's end of the thread of threshold cryptography: to make a key takes hundreds of milliseconds, in
 * which gossip must not stand still. Most hosts are no trustees and never start it.
 */
import { Worker } from 'node:worker_threads';
import type { ShareName } from '../epoch/crypto-port.ts';
import type { EngineOrder, EngineReport } from '../quorum/engine-port.ts';
import type { EngineThreadData, FromEngineThread, ToEngineThread } from './engine-messages.ts';

/** Heap limits of the thread, MB. Arithmetic on big integers leaves much behind that is dead at once. */
const resourceLimits = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64 };

/** Takes orders in the order they are given and reports in the order they arise. */
export class EngineThread {
  private readonly data: EngineThreadData;
  private readonly report: (report: EngineReport) => void;
  private worker: Worker | null = null;
  private exited: Promise<void> = Promise.resolve();
  /** Copies of secrets from the store, for a thread that is yet to start. */
  private readonly waiting = new Map<ShareName, Uint8Array>();
  private isStopped = false;

  /** Starts nothing yet. */
  constructor(data: EngineThreadData, report: (report: EngineReport) => void) {
    this.data = data;
    this.report = report;
  }

  get isRunning(): boolean {
    return this.worker !== null;
  }

  /** The array of a `hold` is copied: the caller may wipe it. */
  order(order: EngineOrder): void {
    if (this.isStopped) return;
    if (this.worker === null && !this.isForThread(order)) return;
    this.worker ??= this.start();
    this.say(order);
  }

  /** Whether the order takes a thread; what does not is done here while there is none. */
  private isForThread(order: EngineOrder): boolean {
    switch (order.type) {
      case 'hold':
        this.waiting.set(order.name, Uint8Array.from(order.secret));
        return false;
      case 'forget':
        for (const name of order.names) this.drop(name);
        return false;
      // Of a session that never began here.
      case 'deliver':
      case 'kept':
      case 'end':
        return false;
      case 'begin':
      case 'offer':
      case 'contribute':
        return true;
    }
  }

  private drop(name: ShareName): void {
    this.waiting.get(name)?.fill(0);
    this.waiting.delete(name);
  }

  private start(): Worker {
    const worker = new Worker(new URL('./engine-worker.ts', import.meta.url), {
      workerData: this.data,
      resourceLimits,
      name: 'trustee',
    });
    this.exited = new Promise((resolve) => worker.on('exit', () => resolve()));
    worker.on('message', ({ reports }: FromEngineThread) => {
      for (const report of reports) if (!this.isStopped) this.report(report);
    });
    // It alone knows which nonces were used: whatever threw there is a bug, and ends the process as one here would.
    worker.on('error', (error) => {
      throw error;
    });
    this.worker = worker;
    for (const [name, secret] of this.waiting) {
      this.say({ type: 'hold', name, secret });
      this.drop(name);
    }
    return worker;
  }

  /** A secret is handed over, not left behind in another copy. */
  private say(order: EngineOrder): void {
    const secret = order.type === 'hold' ? Uint8Array.from(order.secret) : null;
    const sent = order.type === 'hold' && secret !== null ? { ...order, secret } : order;
    const message: ToEngineThread = { type: 'order', order: sent };
    this.worker?.postMessage(message, secret === null ? [] : [secret.buffer]);
  }

  /** Ends the thread, and with it all it knows; no handler is called afterwards. */
  async stop(): Promise<void> {
    if (!this.isStopped) {
      this.isStopped = true;
      for (const name of this.waiting.keys()) this.drop(name);
      const message: ToEngineThread = { type: 'stop' };
      this.worker?.postMessage(message);
    }
    await this.exited;
  }
}
