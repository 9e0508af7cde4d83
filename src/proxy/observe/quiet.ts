/** What may happen again and again is said at once, and then now and then with how often. Pure. */
import type { Millis } from '../../core.ts';
import { TokenBucket } from '../resilience/token-bucket.ts';

/** The same is not said again for this long, and forgotten if it does not happen for as long. */
const quietMs = 30_000;
/** Kinds remembered; more are said as they come, as far as the rate allows. */
const maxKinds = 1024;
const lineLimit = { requestsPerSecond: 5, burst: 20 };

export class Quiet {
  /** What has not happened for longest comes first. */
  private readonly kinds = new Map<string, { saidAt: Millis; notedAt: Millis; unsaid: number }>();
  private readonly lines = new TokenBucket(lineLimit, 0);

  /** How often it has happened since it was said last, this time included; null when it is not to be said yet. */
  note(key: string, now: Millis): number | null {
    const kind = this.kinds.get(key) ?? { saidAt: Number.NEGATIVE_INFINITY, notedAt: now, unsaid: 0 };
    kind.unsaid++;
    kind.notedAt = now;
    this.kinds.delete(key);
    if (this.hasRoom(now)) this.kinds.set(key, kind);
    if (now - kind.saidAt < quietMs || !this.lines.has(now)) return null;
    this.lines.take();
    const count = kind.unsaid;
    kind.saidAt = now;
    kind.unsaid = 0;
    return count;
  }

  /** For one more kind. */
  private hasRoom(now: Millis): boolean {
    if (this.kinds.size < maxKinds) return true;
    for (const [oldest, { notedAt }] of this.kinds) {
      if (now - notedAt < quietMs) return false;
      this.kinds.delete(oldest);
      return true;
    }
    return false;
  }
}
