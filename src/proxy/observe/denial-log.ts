/** What is logged of denied requests: each caller, callee and rule at once, then now and then with how often. Pure. */
import type { Millis } from '../../core.ts';
import { TokenBucket } from '../resilience/token-bucket.ts';

/** The same is not said again for this long. */
const quietMs = 30_000;
/** Kinds of denials remembered; more are logged as they come, as far as the rate allows. */
const maxKinds = 1024;
const lineLimit = { requestsPerSecond: 5, burst: 20 };

/** What is to be logged; `count` is how often it happened since it was logged last. */
export interface DenialNotice {
  readonly source: string;
  readonly destination: string;
  /** Which record denied, such as `service-intentions/api`, or `default`. */
  readonly rule: string;
  readonly count: number;
}

export class DenialLog {
  private readonly kinds = new Map<string, { saidAt: Millis; unsaid: number }>();
  private readonly lines = new TokenBucket(lineLimit, 0);

  /** Null when nothing is to be said of it, or not yet. */
  note(source: string, destination: string, rule: string, now: Millis): DenialNotice | null {
    const key = [source, destination, rule].join(' ');
    const kind = this.kinds.get(key) ?? { saidAt: Number.NEGATIVE_INFINITY, unsaid: 0 };
    kind.unsaid++;
    if (this.kinds.size < maxKinds) this.kinds.set(key, kind);
    if (now - kind.saidAt < quietMs || !this.lines.has(now)) return null;
    this.lines.take();
    const count = kind.unsaid;
    kind.saidAt = now;
    kind.unsaid = 0;
    return { source, destination, rule, count };
  }
}
