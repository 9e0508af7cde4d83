/**
 * Notices trustees that run twice. Whoever restores a copy of a virtual machine beside the original has two
 * trustees with one key and one share, and, if its memory was copied too, with the same nonces: signed with
 * twice, they give the share away. Nonce ids tell: they name a boot, and count within it.
 */
import type { HostId, Millis } from '../../core.ts';
import { bootOf } from './message.ts';

interface Known {
  boot: string;
  since: Millis;
  /** Boots before this one; none of them comes back. */
  former: string[];
  /** Promised lately. */
  nonceIds: string[];
}

/** Trustees, present and past. */
const maxTrustees = 64;
const maxFormer = 8;
const maxNonceIds = 128;

export class Boots {
  private readonly known = new Map<HostId, Known>();

  /**
   * Takes note of what `host` promised when asked at `askedAt`, and says what proves that it runs twice, if
   * anything: a boot that came back after another had answered, or nonces that were promised before.
   */
  observe(host: HostId, nonceId: string, askedAt: Millis, now: Millis): string | null {
    const boot = bootOf(nonceId);
    const known = this.known.get(host);
    if (known === undefined) {
      this.add(host, { boot, since: now, former: [], nonceIds: [nonceId] });
      return null;
    }
    if (known.nonceIds.includes(nonceId)) return 'it promised the same nonces twice';
    known.nonceIds.push(nonceId);
    if (known.nonceIds.length > maxNonceIds) known.nonceIds.shift();
    if (known.boot === boot) return null;
    // What was asked before the new boot answered may have been answered before it began.
    if (known.former.includes(boot)) return askedAt > known.since ? 'two of its boots answer in turn' : null;
    known.former.push(known.boot);
    if (known.former.length > maxFormer) known.former.shift();
    known.boot = boot;
    known.since = now;
    return null;
  }

  private add(host: HostId, known: Known): void {
    if (this.known.size >= maxTrustees)
      for (const oldest of this.known.keys()) {
        this.known.delete(oldest);
        break;
      }
    this.known.set(host, known);
  }
}
