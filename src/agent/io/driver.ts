/**
 * Drives the agent core: one input, every effect in order, then the next input; one timer for its one
 * deadline; `then` of a write only once the store says it is durable.
 */
import { Fault, type Machine, type Millis, messageOf } from '../../core.ts';
import type { StoreOp } from '../../gossip/port.ts';
import type { SecretToKeep } from '../../trust/epoch/port.ts';
import type { AgentEffect, AgentInput } from '../effects.ts';
import { encodeJoinAnswer } from '../joining/joining.ts';

export interface WritableStore {
  /**
   * Resolves once the operations are in the log, or (`sync`) they and all before them durable; there may be
   * none of them then.
   */
  write(ops: readonly StoreOp[], sync: boolean): Promise<void>;
}

/** Where shares of root keys are kept. */
export interface WritableSecrets {
  /** Resolves once they are durable. */
  keep(secrets: readonly SecretToKeep[]): Promise<void>;
}

/** Carries out every effect but writes, which the driver orders itself. */
export type EffectHandler = (effect: Exclude<AgentEffect, { type: 'persist' | 'input' }>) => void;

export interface DriverOptions {
  readonly core: Machine<AgentInput, AgentEffect>;
  readonly store: WritableStore;
  readonly secrets: WritableSecrets;
  readonly now: () => Millis;
  readonly carryOut: EffectHandler;
  /**
   * After every write: null when it succeeded, else why not; callers it would have answered were told. It took
   * so long for those who waited, earlier writes that it waited for included.
   */
  readonly stored: (fault: Fault | null, tookMs: Millis) => void;
}

/** Inputs waiting while one is being processed; more than this is a bug, not load. */
const maxQueuedInputs = 100_000;
/** setTimeout's limit is 2^31 - 1; a wake this far off is re-armed anyway. */
const longestTimerMs = 60_000;

export class Driver {
  private readonly options: DriverOptions;
  private readonly queue: AgentInput[] = [];
  private draining = false;
  private stopped = false;
  private timer: NodeJS.Timeout | null = null;
  private armedFor: Millis | null = null;
  /** Ends when the last write has, and what it released was carried out. */
  private lastWrite: Promise<void> = Promise.resolve();
  private lastOutcome: Promise<Fault | null> = Promise.resolve(null);
  /** Ends when the secrets handed over last are written, or that has failed. */
  private secretsKept: Promise<void> = Promise.resolve();
  /** Writes that wait for that. */
  private waitingForSecrets = 0;
  /** Whether a write was handed over since the last that is synced. */
  private unsynced = false;

  constructor(options: DriverOptions) {
    this.options = options;
  }

  /** Feeds one input; every effect that needs no disk has been carried out when this returns. */
  feed(input: AgentInput): void {
    if (this.stopped) return;
    this.queue.push(input);
    if (this.queue.length > maxQueuedInputs) throw new Error('bug: the agent core feeds itself without end');
    if (this.draining) return;
    this.draining = true;
    try {
      for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift())
        this.carryOutAll(this.options.core.step(next, this.options.now()));
    } finally {
      this.draining = false;
    }
    this.arm();
  }

  /** No further input is processed and the timer is gone. Resolves when every write has ended. */
  stop(): Promise<void> {
    this.stopped = true;
    if (this.timer !== null) clearTimeout(this.timer);
    return this.lastWrite;
  }

  private carryOutAll(effects: readonly AgentEffect[]): void {
    for (const effect of effects) {
      if (effect.type === 'persist') this.persist(effect);
      else if (effect.type === 'input') this.feed(effect.input);
      else this.options.carryOut(effect);
    }
  }

  private persist(effect: Extract<AgentEffect, { type: 'persist' }>): void {
    const isBarrier = effect.ops.length === 0;
    const startedAt = this.options.now();
    // Writes are handed over in order; releases wait for all earlier ones. A barrier shares the fate of the
    // write before it: what it answers may rest on that, and so on what nobody has synced yet.
    if (!isBarrier) this.lastOutcome = this.write(effect);
    else if (effect.sync && this.unsynced) {
      const before = this.lastOutcome;
      const sync = this.write(effect);
      this.lastOutcome = before.then((fault) => fault ?? sync);
    }
    if (effect.sync) this.unsynced = false;
    else if (!isBarrier) this.unsynced = true;
    const outcome = this.lastOutcome;
    // What a release throws is a bug: nobody handles the rejection, and the process stops.
    this.lastWrite = this.lastWrite
      .then(() => outcome)
      .then((fault) => {
        if (!isBarrier) this.options.stored(fault, this.options.now() - startedAt);
        if (fault === null) this.carryOutAll(effect.then);
        else this.refuse(effect.then, fault);
        this.arm();
      });
  }

  /** Never rejects: null once written, else why not. */
  private write(effect: Extract<AgentEffect, { type: 'persist' }>): Promise<Fault | null> {
    return this.handOver(effect).then(
      () => null,
      (error: unknown) => (error instanceof Fault ? error : storageFault(error)),
    );
  }

  /** Secrets go before the write that names them; what comes after waits for them, to stay in order. */
  private handOver({ ops, sync, secrets }: Extract<AgentEffect, { type: 'persist' }>): Promise<void> {
    const { store } = this.options;
    if (secrets === undefined && this.waitingForSecrets === 0) return store.write(ops, sync);
    const kept = this.secretsKept.then(() =>
      secrets === undefined ? undefined : this.options.secrets.keep(secrets),
    );
    this.secretsKept = kept.catch(() => {});
    this.waitingForSecrets++;
    const isOver = (): void => {
      this.waitingForSecrets--;
    };
    return kept.then(
      () => {
        isOver();
        return store.write(ops, sync);
      },
      (error: unknown) => {
        isOver();
        throw error;
      },
    );
  }

  /** Of what waited for a write that failed, answers those who ask for a change, and tells the core. */
  private refuse(then: readonly AgentEffect[], fault: Fault): void {
    const { code, message } = fault;
    for (const effect of then) {
      if (effect.type === 'reply') this.options.carryOut({ type: 'fail', request: effect.request, fault });
      else if (effect.type === 'join-reply') {
        const bytes = encodeJoinAnswer({ outcome: 'refused', code, message });
        this.options.carryOut({ ...effect, bytes });
      } else if (effect.type === 'persist') this.refuse(effect.then, fault);
      else if (effect.type === 'input' && effect.input.type === 'durable')
        this.feed({ type: 'not-durable', records: effect.input.records });
    }
  }

  private arm(): void {
    if (this.stopped) return;
    const wake = this.options.core.nextWake();
    if (wake === this.armedFor && this.timer !== null) return;
    if (this.timer !== null) clearTimeout(this.timer);
    this.armedFor = wake;
    this.timer = null;
    if (wake === null) return;
    const delay = Math.min(Math.max(0, wake - this.options.now()), longestTimerMs);
    this.timer = setTimeout(() => {
      this.timer = null;
      this.feed({ type: 'wake' });
    }, Math.ceil(delay));
  }
}

/** `changed`, since a write that failed may still be found on the disk at the next start. */
function storageFault(error: unknown): Fault {
  return new Fault('storage-failed', `the data directory cannot be written: ${messageOf(error)}`, {
    changed: true,
    cause: error,
  });
}
