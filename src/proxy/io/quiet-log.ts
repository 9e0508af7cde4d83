/** Warnings of what others do, who may do it by the thousand: the same is said once, then with how often it was. */
import type { Millis } from '../../core.ts';
import { Quiet } from '../observe/quiet.ts';
import type { Log } from './options.ts';

export class QuietLog {
  private readonly log: Log;
  private readonly now: () => Millis;
  /** Each event has lines of its own, lest one drown the others. */
  private readonly events = new Map<string, Quiet>();

  constructor(log: Log, now: () => Millis) {
    this.log = log;
    this.now = now;
  }

  /** `event` is one of few, spelt out in the code; what has equal fields is the same. */
  warn(event: string, fields: Readonly<{ [key: string]: string }>): void {
    let quiet = this.events.get(event);
    if (quiet === undefined) {
      quiet = new Quiet();
      this.events.set(event, quiet);
    }
    const count = quiet.note(Object.values(fields).join(' '), this.now());
    if (count !== null) this.log('warn', event, { ...fields, count });
  }
}
