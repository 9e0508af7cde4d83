/** Shows this host's issuance log to whoever of the mesh asks: every page comes with the log's signed head. */
import type { HostId, Millis, Signer } from '../../core.ts';
import { RateLimiter } from '../issuance/rate.ts';
import { encodeEntry, type IssuanceLog } from './issuance-log.ts';
import { decodeLogRequest, encodeLogAnswer, maxPageEntries } from './log-message.ts';
import { type SignedHead, signHead } from './transparency.ts';

/** A whole log is 32 pages; a page costs about a millisecond. */
const rateLimits = { burst: 128, perSecond: 8, maxRequesters: 4096 };

export class LogKeeper {
  private readonly mesh: string;
  private readonly signer: Signer;
  private readonly log: IssuanceLog;
  private readonly limiter = new RateLimiter(rateLimits);

  /** `mesh` is the hash of the genesis. */
  constructor(mesh: string, signer: Signer, log: IssuanceLog) {
    this.mesh = mesh;
    this.signer = signer;
    this.log = log;
  }

  /** The head of what is durable: that alone will still be so after a crash. */
  head(now: Millis): SignedHead {
    return signHead(this.mesh, this.log.durableHead, this.signer, now);
  }

  /** Answers a request of an authenticated host. Throws `Fault('malformed')`. */
  answer(from: HostId, bytes: Uint8Array, now: Millis): Uint8Array {
    const { requestId, before } = decodeLogRequest(bytes);
    const retryAfterMs = this.limiter.take(from, now);
    if (retryAfterMs > 0) return encodeLogAnswer({ type: 'busy', requestId, retryAfterMs });
    const entries = this.log.before(before, maxPageEntries).map(encodeEntry);
    return encodeLogAnswer({ type: 'page', requestId, head: this.head(now), entries });
  }
}
