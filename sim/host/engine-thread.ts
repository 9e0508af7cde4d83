/**
 * The thread of threshold cryptography of one life of an agent: the real engine, which takes one order after
 * the other, each for as long as it takes on a real machine, with a hop between the threads on either way.
 */
import type { Machine, Random } from '../../src/core.ts';
import type { CryptoSession } from '../../src/trust/epoch/crypto-port.ts';
import type { EngineInput } from '../../src/trust/quorum/engine.ts';
import type { EngineOrder, EngineReport } from '../../src/trust/quorum/engine-port.ts';
import { describeEngine } from '../describe.ts';
import type { World } from '../world.ts';
import type { HostClock } from './clock.ts';
import { Process } from './process.ts';

/** A message from one thread of the agent to the other. */
export const threadHopMs = 0.1;

/** Virtual milliseconds as `bench/trust/engine.ts` measures them; a key by seven comes to 10 to 25 a trustee. */
const contributeMs = 2;
const offerMs = 1;
const deliverMs = 0.8;
const dealToEachMs = 0.6;
const bookkeepingMs = 0.02;

export interface EngineThreadOptions {
  readonly world: World;
  readonly clock: HostClock;
  readonly host: number;
  readonly engine: Machine<EngineInput, EngineReport>;
  readonly random: Random;
  /** On the main thread. */
  readonly report: (report: EngineReport) => void;
}

export class EngineThread {
  private readonly options: EngineThreadOptions;
  private readonly process: Process<EngineInput, EngineReport>;
  /** World time at which it will have done what it was told so far. */
  private busyUntil = 0;

  constructor(options: EngineThreadOptions) {
    const { world, clock, host, engine } = options;
    this.options = options;
    this.process = new Process<EngineInput, EngineReport>({
      world,
      clock,
      machine: engine,
      host,
      wake: { type: 'wake' },
      perform: (report) => this.perform(report),
      describe: describeEngine,
    });
  }

  /** A secret that lay on disk at the start. */
  hold(name: string, secret: Uint8Array): void {
    this.process.feed({ type: 'hold', name, secret });
  }

  order(order: EngineOrder): void {
    const { world, random } = this.options;
    const startAt = Math.max(world.now + threadHopMs, this.busyUntil);
    this.busyUntil = startAt + durationMs(order) * (0.8 + 0.4 * random.next());
    world.at(this.busyUntil, () => this.process.feed(order));
  }

  freeze(): void {
    this.process.freeze();
  }

  thaw(): void {
    this.process.thaw();
  }

  kill(): void {
    this.process.kill();
  }

  private perform(report: EngineReport): void {
    this.options.world.after(threadHopMs, () => this.options.report(report));
  }
}

function durationMs(order: EngineOrder): number {
  switch (order.type) {
    case 'begin':
      return beginMs(order.session);
    case 'deliver':
      return deliverMs;
    case 'offer':
      return offerMs;
    case 'contribute':
      return contributeMs;
    case 'kept':
    case 'end':
    case 'hold':
    case 'forget':
      return bookkeepingMs;
  }
}

/** To take part in a signature costs when one is asked. */
function beginMs(session: CryptoSession): number {
  return session.kind === 'sign' ? offerMs : session.plan.trustees.length * dealToEachMs;
}
