/** What the other ends of connections did against the rules of what they spoke: counted, and logged. */
import type { QuietLog } from './quiet-log.ts';

export class Violations {
  private readonly log: QuietLog;
  readonly counts = {
    /** A connection of an HTTP/2 client was ended. */
    'http2-broken': 0,
    /** A session with another proxy was. */
    'session-broken': 0,
    /** A connection to an application of HTTP/2 was; one that does the same again and again counts once. */
    'application-http2': 0,
  };

  constructor(log: QuietLog) {
    this.log = log;
  }

  note(event: keyof Violations['counts'], fields: Readonly<{ [key: string]: string }>): void {
    this.counts[event]++;
    this.log.warn(event, fields);
  }
}
