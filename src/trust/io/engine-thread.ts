/**
 * The agent's end of the thread of threshold cryptography: to make a key takes hundreds of milliseconds, in
 * which gossip must not stand still. Most hosts are no trustees and never start it; where nothing was asked of it
 * for a while it ends, for it takes 9 MB, and the next order starts another.
 */
import { randomBytes } from 'node:crypto';
import { Worker } from 'node:worker_threads';
import type { ShareName } from '../epoch/crypto-port.ts';
import type { EngineOrder, EngineReport } from '../quorum/engine-port.ts';
import type { EngineThreadData, FromEngineThread, ToEngineThread } from './engine-messages.ts';

/** Heap limits of the thread, MB. Arithmetic on big integers leaves much behind that is dead at once. */
const resourceLimits = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 64 };

/** Longer than any promise of a nonce lasts. A start takes a tenth of a second, which a certificate then waits for. */
const restAfterMs = 40_000;

/** Until a thread is tried again that could not be started, for want of a file descriptor or of memory. */
const retryAfterMs = 1000;
/** Orders that wait for a thread, at most; who gave others is not answered, which it is prepared for. */
const maxDelayed = 1024;

const bootIdBytes = 16;

/** What each thread of one process is given alike. */
export type EngineSetup = Omit<EngineThreadData, 'bootId' | 'nonceCount'>;

/** Takes orders in the order they are given and reports in the order they arise. */
export class EngineThread {
  private readonly setup: EngineSetup;
  private readonly report: (report: EngineReport) => void;
  /** One for all threads that this process starts, and what they named under it: no name is given twice. */
  private readonly bootId: string = randomBytes(bootIdBytes).toString('hex');
  private nonceCount = 0;
  private worker: Worker | null = null;
  private exited: Promise<void> = Promise.resolve();
  /** Copies of secrets from the store, for a thread that is yet to start. */
  private readonly waiting = new Map<ShareName, Uint8Array>();
  /** Orders given since the thread was asked to rest, or to start; null while it takes them at once. */
  private delayed: EngineOrder[] | null = null;
  private readonly restAfterMs: number;
  private restTimer: NodeJS.Timeout | null = null;
  private retryTimer: NodeJS.Timeout | null = null;
  private isStopped = false;

  /** Starts nothing yet. */
  constructor(setup: EngineSetup, report: (report: EngineReport) => void, restAfter: number = restAfterMs) {
    this.setup = setup;
    this.report = report;
    this.restAfterMs = restAfter;
  }

  get isRunning(): boolean {
    return this.worker !== null;
  }

  /** The array of a `hold` is copied: the caller may wipe it. */
  order(order: EngineOrder): void {
    if (this.isStopped) return;
    if (this.delayed !== null) this.delay(order, this.delayed);
    else if (this.worker !== null) {
      this.say(order);
      this.restTimer?.refresh();
    } else if (this.isForThread(order)) {
      this.delayed = [order];
      this.start();
    }
  }

  /** What is to be held or forgotten is always minded. */
  private delay(order: EngineOrder, delayed: EngineOrder[]): void {
    if (order.type === 'hold') delayed.push({ ...order, secret: Uint8Array.from(order.secret) });
    else if (order.type === 'forget' || delayed.length < maxDelayed) delayed.push(order);
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

  private start(): void {
    const { setup, bootId, nonceCount } = this;
    const workerData: EngineThreadData = { ...setup, bootId, nonceCount };
    const worker = new Worker(new URL('./engine-worker.ts', import.meta.url), {
      workerData,
      resourceLimits,
      name: 'trustee',
    });
    const exit = new Promise<void>((resolve) => worker.on('exit', () => resolve()));
    this.exited = this.exited.then(() => exit);
    worker.on('message', (message: FromEngineThread) => this.told(message));
    worker.once('online', () => this.started());
    // It alone knows which nonces were used: whatever threw there is a bug, and ends the process as one here would.
    worker.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'ERR_WORKER_INIT_FAILED') throw error;
      // Nothing ran, and it was told nothing.
      this.worker = null;
      if (!this.isStopped) this.retryTimer = setTimeout(() => this.start(), retryAfterMs);
    });
    this.worker = worker;
  }

  private started(): void {
    if (this.isStopped) return;
    this.restTimer = setTimeout(() => this.askToRest(), this.restAfterMs).unref();
    for (const [name, secret] of this.waiting) {
      this.say({ type: 'hold', name, secret });
      this.drop(name);
    }
    this.goOn();
  }

  private goOn(): void {
    const delayed = this.delayed ?? [];
    this.delayed = null;
    for (const order of delayed) {
      this.order(order);
      if (order.type === 'hold') order.secret.fill(0);
    }
  }

  private askToRest(): void {
    if (this.isStopped || this.worker === null || this.delayed !== null) return;
    this.delayed = [];
    const message: ToEngineThread = { type: 'rest' };
    this.worker.postMessage(message);
  }

  private told(message: FromEngineThread): void {
    if (this.isStopped) return;
    if (message.type === 'reports') {
      this.restTimer?.refresh();
      for (const report of message.reports) if (!this.isStopped) this.report(report);
      return;
    }
    if (message.type === 'rested') {
      this.worker = null;
      if (this.restTimer !== null) clearTimeout(this.restTimer);
      this.restTimer = null;
      const { secrets, nonceCount } = message.estate;
      this.nonceCount = nonceCount;
      for (const { name, secret } of secrets) this.waiting.set(name, secret);
    } else this.restTimer?.refresh();
    this.goOn();
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
      clearTimeout(this.restTimer ?? undefined);
      clearTimeout(this.retryTimer ?? undefined);
      for (const name of this.waiting.keys()) this.drop(name);
      const message: ToEngineThread = { type: 'stop' };
      this.worker?.postMessage(message);
    }
    await this.exited;
  }
}
