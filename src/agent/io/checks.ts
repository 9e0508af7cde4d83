/**
 * Carries out checks: one run of one check, a status and an output back. Never more than a few at once,
 * never longer than the check's timeout, never more output than is told to the mesh.
 */
import { messageOf } from '../../core.ts';
import type { CheckDefinition } from '../kinds.ts';
import { runGrpc } from './check-grpc.ts';
import { runHttp } from './check-http.ts';
import type { Outcome } from './check-outcome.ts';
import { Reach } from './check-reach.ts';
import { runScript } from './check-script.ts';
import { runTcp } from './check-tcp.ts';

export interface CheckResult extends Outcome {
  readonly checkId: string;
}

/** Runs at once: enough for slow answers, few enough that a host is not the load it measures. */
export const maxConcurrentRuns = 32;
/** Runs that may wait for their turn. A check waits once at most, so this is the number of checks. */
export const maxWaitingRuns = 4096;

export class CheckRunner {
  readonly reach = new Reach();
  private readonly onResult: (result: CheckResult) => void;
  private readonly waiting: CheckDefinition[] = [];
  private readonly running = new Set<Promise<void>>();
  private readonly stop = new AbortController();

  /** `onResult` is called exactly once for each `run`, until `close`. */
  constructor(onResult: (result: CheckResult) => void) {
    this.onResult = onResult;
  }

  /** Runs a check as soon as there is room. */
  run(check: CheckDefinition): void {
    if (this.stop.signal.aborted) return;
    if (this.waiting.length >= maxWaitingRuns) {
      const output = `${maxWaitingRuns} checks are waiting to run on this host already`;
      this.onResult({ checkId: check.id, status: 'critical', output });
      return;
    }
    this.waiting.push(check);
    this.startNext();
  }

  /** Cuts what runs, kills scripts with their children, forgets what waits; no result comes any more. */
  async close(): Promise<void> {
    this.stop.abort();
    this.waiting.length = 0;
    await Promise.all(this.running);
  }

  private startNext(): void {
    while (this.running.size < maxConcurrentRuns) {
      const check = this.waiting.shift();
      if (check === undefined) return;
      const run = this.carryOut(check).then(() => {
        this.running.delete(run);
        this.startNext();
      });
      this.running.add(run);
    }
  }

  private async carryOut(check: CheckDefinition): Promise<void> {
    let outcome: Outcome;
    try {
      outcome = await this.outcomeOf(check);
    } catch (error) {
      outcome = { status: 'critical', output: messageOf(error) };
    }
    if (!this.stop.signal.aborted) this.onResult({ checkId: check.id, ...outcome });
  }

  private async outcomeOf(check: CheckDefinition): Promise<Outcome> {
    const stop = this.stop.signal;
    if (check.type === 'http') return runHttp(check, this.reach, stop);
    if (check.type === 'tcp') return runTcp(check, this.reach, stop);
    if (check.type === 'grpc') return runGrpc(check, this.reach, stop);
    if (check.type === 'script') return runScript(check, stop);
    return { status: 'critical', output: `${check.type} checks are not run by this version` };
  }
}
