/**
 * A data plane on several cores: each worker thread has one of its own and binds every port beside the others
 * (SO_REUSEPORT), so that the kernel spreads connections over them. One configuration, added counters.
 */
import type { Worker } from 'node:worker_threads';
import { Fault } from '../../../core.ts';
import type { ProxyConfig } from '../../config.ts';
import type { DataPlane, DataPlaneStats } from '../../dataplane.ts';
import { lingerMs } from '../../engine.ts';
import { maxTaps, type OnTap, type TapFilter } from '../../observe/tap.ts';
import { mergeStats, noStats } from '../../workers/merge.ts';
import type { FromWorker, ToWorker } from '../../workers/messages.ts';
import { LimitSharing } from '../../workers/share.ts';
import { TapReceipts } from '../../workers/tap-window.ts';
import type { Log } from '../options.ts';

export interface WorkersOptions {
  readonly count: number;
  /** Starts a thread that calls `serveDataPlane` with its parent port. */
  spawn(): Worker;
  readonly log: Log;
}

export function createDataPlaneWorkers(options: WorkersOptions): DataPlane {
  return new DataPlaneWorkers(options);
}

class DataPlaneWorkers implements DataPlane {
  private readonly members: readonly Member[];
  private readonly sharing: LimitSharing;
  private readonly taps = new Map<number, OnTap>();
  private lastTap = 0;

  constructor({ count, spawn, log }: WorkersOptions) {
    this.sharing = new LimitSharing(count);
    this.members = Array.from(
      { length: count },
      () =>
        new Member(spawn(), log, (tap, event) => {
          this.taps.get(tap)?.(event);
        }),
    );
  }

  async apply(config: ProxyConfig): Promise<void> {
    const shared = this.sharing.share(config);
    await Promise.all(this.members.map((member) => member.ask({ type: 'apply', config: shared })));
  }

  stats(): DataPlaneStats {
    return mergeStats(
      this.members.map(({ stats }) => stats),
      this.sharing.divided,
    );
  }

  async refresh(): Promise<void> {
    await Promise.all(this.members.map((member) => member.refresh()));
  }

  tap(filter: TapFilter, onTap: OnTap): () => void {
    if (this.taps.size >= maxTaps) throw new Fault('too-many-waiting', `${maxTaps} taps are open already`);
    const tap = ++this.lastTap;
    this.taps.set(tap, onTap);
    for (const member of this.members) member.say({ type: 'tap', tap, filter });
    return () => {
      if (this.taps.delete(tap)) for (const member of this.members) member.say({ type: 'untap', tap });
    };
  }

  async close(graceMs: number): Promise<void> {
    await Promise.all(this.members.map((member) => member.close(graceMs)));
  }
}

/** An order without the number that its answer carries. */
type Order =
  | { readonly type: 'apply'; readonly config: ProxyConfig }
  | { readonly type: 'refresh' }
  | { readonly type: 'close'; readonly graceMs: number };

interface Waiting {
  readonly done: () => void;
  readonly failed: (error: Error) => void;
}

class Member {
  stats: DataPlaneStats = noStats;
  private readonly worker: Worker;
  private readonly exited: Promise<void>;
  private readonly waiting = new Map<number, Waiting>();
  private readonly tapReceipts = new TapReceipts();
  private lastRequest = 0;
  private isClosing = false;

  constructor(worker: Worker, log: Log, onTap: (tap: number, event: Parameters<OnTap>[0]) => void) {
    this.worker = worker;
    this.exited = new Promise((resolve) => worker.once('exit', () => resolve()));
    worker.on('message', (message: FromWorker) => {
      if (message.type === 'stats') this.stats = message.stats;
      else if (message.type === 'log') log(message.level, message.event, message.fields);
      else if (message.type === 'tapped') {
        onTap(message.tap, message.event);
        if (this.tapReceipts.take()) this.say({ type: 'taken' });
      } else this.answered(message.request, message.problem);
    });
    // A bug in a thread ends the process, as one in this thread would: half a data plane is none.
    worker.on('error', (error) => {
      throw error;
    });
    worker.once('exit', () => {
      if (!this.isClosing) throw new Error('a thread of the data plane ended by itself');
    });
  }

  ask(order: Order): Promise<void> {
    const request = ++this.lastRequest;
    return new Promise((done, failed) => {
      this.waiting.set(request, { done, failed });
      this.say({ ...order, request });
    });
  }

  /** One that is going has told all that it counted. */
  async refresh(): Promise<void> {
    if (!this.isClosing) await this.ask({ type: 'refresh' });
  }

  say(message: ToWorker): void {
    this.worker.postMessage(message);
  }

  private answered(request: number, problem: string | null): void {
    const waiting = this.waiting.get(request);
    this.waiting.delete(request);
    if (problem === null) waiting?.done();
    else waiting?.failed(new Error(problem));
  }

  async close(graceMs: number): Promise<void> {
    if (!this.isClosing) {
      this.isClosing = true;
      await this.ask({ type: 'close', graceMs });
      // It has carried all it will: whatever keeps it, such as a handshake just begun, must not keep the agent.
      const lingering = setTimeout(() => void this.worker.terminate(), lingerMs);
      void this.exited.then(() => clearTimeout(lingering));
    }
    await this.exited;
  }
}
