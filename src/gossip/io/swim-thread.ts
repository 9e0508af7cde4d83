/** The agent's end of the membership thread. */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { Fault, type HostId } from '../../core.ts';
import type { SwimOrder, SwimReport } from '../swim-port.ts';
import type { JoinHandler } from './join.ts';
import {
  type DatagramCounters,
  type FromSwimThread,
  type Location,
  noDatagramCounters,
  type SwimThreadData,
  type ThreadHealth,
  type ToSwimThread,
} from './swim-messages.ts';

export interface SwimThreadHandlers {
  report(report: SwimReport): void;
  joinRequest: JoinHandler;
  introduction(payload: Uint8Array): void;
}

/** Heap limits of the thread, MB: it holds one table of members and nothing that grows with the mesh's records. */
const resourceLimits = { maxYoungGenerationSizeMb: 2, maxOldGenerationSizeMb: 128 };

/**
 * How long a new root may wait for company, milliseconds: to wake the thread takes as much CPU as a delta does,
 * and who hears an old root takes this host for a little behind, which it then is not for long.
 */
const rootDelayMs = 200;

export class SwimThread {
  readonly port: number;
  counters: Readonly<DatagramCounters> = noDatagramCounters();
  health: ThreadHealth = { lagMs: 0, waitingReports: 0 };
  private readonly worker: Worker;
  private readonly handlers: SwimThreadHandlers;
  private readonly exited: Promise<void>;
  private orders: (SwimOrder | Location)[] = [];
  private root: Extract<SwimOrder, { type: 'root' }> | null = null;
  private rootTimer: NodeJS.Timeout | undefined;
  private stopping: Promise<void> | null = null;

  private constructor(worker: Worker, port: number, handlers: SwimThreadHandlers) {
    this.worker = worker;
    this.port = port;
    this.handlers = handlers;
    this.exited = new Promise((resolve) => worker.on('exit', () => resolve()));
    worker.on('message', (message: FromSwimThread) => this.told(message));
    // Without membership the agent is blind: whatever threw there is a bug, and ends the process as one here would.
    worker.on('error', (error) => {
      throw error;
    });
  }

  /** Binds UDP `bind:port`; 0 takes any port. Throws `Fault('address-in-use')` or `Fault('bind-failed')`. */
  static async start(data: SwimThreadData, handlers: SwimThreadHandlers): Promise<SwimThread> {
    const worker = new Worker(new URL('./swim-worker.ts', import.meta.url), {
      workerData: data,
      resourceLimits,
      name: 'membership',
    });
    const ended = once(worker, 'exit');
    // A thread that ends without a word would be waited for without end.
    const [first] = (await Promise.race([
      once(worker, 'message'),
      ended.then(([code]): [FromSwimThread] => [
        { type: 'failed', code: 'bind-failed', message: `the membership thread ended with code ${code}` },
      ]),
    ])) as [FromSwimThread];
    if (first.type === 'listening') return new SwimThread(worker, first.port, handlers);
    await ended;
    if (first.type === 'failed') throw new Fault(first.code, first.message);
    throw new Fault('bind-failed', `the membership thread began with "${first.type}"`);
  }

  /** Queues an order; those of one turn travel together, and a new root with the next ones. */
  order(order: SwimOrder | Location): void {
    if (this.stopping !== null) return;
    if (order.type === 'root') {
      this.root = order;
      this.rootTimer ??= setTimeout(() => this.sayOrders(), rootDelayMs);
      return;
    }
    this.orders.push(order);
    if (this.orders.length > 1) return;
    queueMicrotask(() => this.sayOrders());
  }

  private sayOrders(): void {
    clearTimeout(this.rootTimer);
    this.rootTimer = undefined;
    const orders = this.root === null ? this.orders : [...this.orders, this.root];
    this.root = null;
    this.orders = [];
    if (orders.length > 0) this.say({ type: 'orders', orders });
  }

  /** From now on datagrams for this host go there. */
  locate(host: HostId, address: string, port: number): void {
    this.order({ type: 'locate', host, address, port });
  }

  /** Sends introductions to a host, if it is known where that is; nothing is sealed. */
  introduce(to: HostId, introductions: readonly Uint8Array[]): void {
    if (this.stopping !== null) return;
    this.sayOrders();
    this.say({ type: 'introduce', to, introductions });
  }

  /** Closes the socket and ends the thread; no handler is called afterwards. */
  stop(): Promise<void> {
    this.stopping ??= this.end();
    return this.stopping;
  }

  private async end(): Promise<void> {
    this.sayOrders();
    this.say({ type: 'stop' });
    await this.exited;
  }

  private told(message: FromSwimThread): void {
    if (this.stopping !== null) return;
    if (message.type === 'reports') {
      this.counters = message.counters;
      this.health = message.health;
      for (const report of message.reports) this.handlers.report(report);
      this.say({ type: 'taken' });
    } else if (message.type === 'join') {
      const { exchange } = message;
      this.handlers.joinRequest(message.payload, (payload) => {
        this.say({ type: 'join-reply', exchange, payload });
        return true;
      });
    } else if (message.type === 'introduction') this.handlers.introduction(message.payload);
  }

  private say(message: ToSwimThread): void {
    this.worker.postMessage(message);
  }
}
