/** What is logged of denied requests: each caller, callee and rule at once, then now and then with how often. Pure. */
import type { Millis } from '../../core.ts';
import { Quiet } from './quiet.ts';

/** What is to be logged; `count` is how often it happened since it was logged last. */
export interface DenialNotice {
  readonly source: string;
  readonly destination: string;
  /** Which record denied, such as `service-intentions/api`, or `default`. */
  readonly rule: string;
  readonly count: number;
}

export class DenialLog {
  private readonly quiet = new Quiet();

  /** Null when nothing is to be said of it, or not yet. */
  note(source: string, destination: string, rule: string, now: Millis): DenialNotice | null {
    const count = this.quiet.note([source, destination, rule].join(' '), now);
    return count === null ? null : { source, destination, rule, count };
  }
}
