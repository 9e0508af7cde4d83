/** Membership threads on loopback, and waiting for what they report. */
import { once } from 'node:events';
import type { TestContext } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { HostId } from '../../../../src/core.ts';
import type { JoinHandler } from '../../../../src/gossip/io/join.ts';
import {
  defaultPatience,
  type FromSwimThread,
  type SwimThreadData,
  type ToSwimThread,
} from '../../../../src/gossip/io/swim-messages.ts';
import { SwimThread } from '../../../../src/gossip/io/swim-thread.ts';
import { defaultSwimParameters } from '../../../../src/gossip/parameters.ts';
import type { SwimReport } from '../../../../src/gossip/swim-port.ts';
import { idOf, seedOf } from './helpers.ts';

/** Quick enough for a test, slow enough for a machine that does much else. */
const parameters = {
  ...defaultSwimParameters,
  probeIntervalMs: 100,
  probeTimeoutMs: 150,
  suspicionMinMs: 300,
  suspicionMaxFactor: 2,
  downProbeIntervalMs: 200,
};
const patience = { ...defaultPatience, tickMs: 50 };
/** Between two looks at what a thread counts. */
const lookMs = 5;
/** Far longer than anything here takes, and less than a test may. */
const limitMs = 25_000;

export const addressOf = (number: number): string => `127.0.1.${number}`;

export function dataOf(number: number, overrides: Partial<SwimThreadData> = {}): SwimThreadData {
  return {
    seed: seedOf(number),
    mesh: new Uint8Array(32).fill(7),
    epoch: 1,
    root: '\0'.repeat(8),
    bind: addressOf(number),
    port: 0,
    parameters,
    patience,
    ...overrides,
  };
}

/** Resolves once `holds`; throws when it does not within `limitMs`. */
export async function until(holds: () => boolean): Promise<void> {
  for (const end = performance.now() + limitMs; !holds(); await delay(lookMs))
    if (performance.now() > end) throw new Error('waited in vain');
}

/** A host whose agent answers, and has no connection to anybody: what cannot go by datagram does not go. */
export class ThreadHost {
  readonly id: HostId;
  readonly address: string;
  readonly reports: SwimReport[] = [];
  readonly introductions: Uint8Array[] = [];
  thread!: SwimThread;

  private constructor(number: number) {
    this.id = idOf(number);
    this.address = addressOf(number);
  }

  static async start(
    t: TestContext,
    number: number,
    overrides: Partial<SwimThreadData> = {},
    joinRequest: JoinHandler = () => {},
  ): Promise<ThreadHost> {
    const host = new ThreadHost(number);
    host.thread = await SwimThread.start(dataOf(number, overrides), {
      joinRequest,
      introduction: (payload) => host.introductions.push(payload),
      report(report) {
        host.reports.push(report);
        if (report.type === 'frame' || report.type === 'connect') {
          const peer = report.type === 'frame' ? report.to : report.peer;
          host.thread.order({ type: 'unreachable', peer });
        }
      },
    });
    t.after(() => host.thread.stop());
    return host;
  }

  /** Admits the other, and says where it is. */
  meet(other: { readonly id: HostId; readonly address: string; readonly port: number }): void {
    this.thread.order({ type: 'add', id: other.id });
    this.thread.locate(other.id, other.address, other.port);
  }

  get port(): number {
    return this.thread.port;
  }

  statesOf(id: HostId): string[] {
    return this.reports.flatMap((report) =>
      report.type === 'member' && report.member.id === id ? [report.member.state] : [],
    );
  }

  /** Resolves once the round trip to the other was measured after now. */
  untilMeasured(other: { readonly id: HostId }): Promise<void> {
    const from = this.reports.length;
    return until(() =>
      this.reports.slice(from).some((report) => report.type === 'measured' && report.id === other.id),
    );
  }
}

/** A membership thread whose agent is played by the test, down to not answering at all. */
export class BareThread {
  readonly id: HostId;
  readonly address: string;
  readonly said: FromSwimThread[] = [];
  /** While true, each batch of reports is answered. */
  isAnswering = true;
  port = 0;
  private readonly worker: Worker;

  private constructor(number: number, data: SwimThreadData) {
    this.id = idOf(number);
    this.address = addressOf(number);
    const entry = new URL('../../../../src/gossip/io/swim-worker.ts', import.meta.url);
    this.worker = new Worker(entry, { workerData: data });
    this.worker.on('message', (message: FromSwimThread) => {
      this.said.push(message);
      if (message.type === 'listening') this.port = message.port;
      if (message.type === 'reports' && this.isAnswering) this.say({ type: 'taken' });
    });
  }

  static async start(
    t: TestContext,
    number: number,
    overrides: Partial<SwimThreadData>,
  ): Promise<BareThread> {
    const bare = new BareThread(number, dataOf(number, overrides));
    t.after(() => bare.stop());
    await until(() => bare.port !== 0);
    return bare;
  }

  say(message: ToSwimThread): void {
    this.worker.postMessage(message);
  }

  meet(other: { readonly id: HostId; readonly address: string; readonly port: number }): void {
    const { id, address, port } = other;
    this.say({
      type: 'orders',
      orders: [
        { type: 'add', id },
        { type: 'locate', host: id, address, port },
      ],
    });
  }

  /** Batches of reports that were said and not answered, if answering has stopped. */
  get batches(): Extract<FromSwimThread, { type: 'reports' }>[] {
    return this.said.filter((message) => message.type === 'reports');
  }

  async stop(): Promise<void> {
    const exited = once(this.worker, 'exit');
    this.say({ type: 'stop' });
    await exited;
  }
}
