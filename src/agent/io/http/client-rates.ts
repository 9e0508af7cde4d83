/**
 * How often one client may ask. A client is the user that owns the calling socket where the kernel was asked, as it is
 * for every change, or an address of another host; to be read from by the programs of this host costs a question of
 * the kernel more than the answer, so there each connection counts by itself.
 */
import type { Socket } from 'node:net';
import { Fault, type Millis } from '../../../core.ts';
import { RateLimiter, type RateLimits } from '../../../trust/issuance/rate.ts';
import { type Authority, type Caller, ownsHost } from '../../access.ts';

/** A change is synced to disk and told to the whole mesh. Reports of TTL checks are changes too. */
const changesAllowed: RateLimits = { burst: 500, perSecond: 100, maxRequesters: 4096 };
const readsAllowed: RateLimits = { burst: 10_000, perSecond: 5000, maxRequesters: 4096 };

/** Carries the time after which there is room again. */
export class TooOften extends Fault {
  readonly retryAfterSeconds: number;

  constructor(waitMs: number) {
    const retryAfterSeconds = Math.ceil(waitMs / 1000);
    super('rate-limited', `Too many requests; try again in ${retryAfterSeconds} s`);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

export class ClientRates {
  private readonly changes: RateLimiter;
  private readonly reads: RateLimiter;

  constructor(allowed: { readonly changes?: RateLimits; readonly reads?: RateLimits } = {}) {
    this.changes = new RateLimiter(allowed.changes ?? changesAllowed);
    this.reads = new RateLimiter(allowed.reads ?? readsAllowed);
  }

  /** Counts a request; null where it may go on. Who owns the host, or may change the mesh, is not counted. */
  refusalOf(
    request: { readonly caller: Caller; readonly authority: Authority },
    socket: Socket,
    isRead: boolean,
    now: Millis,
  ): TooOften | null {
    const { caller, authority } = request;
    if (authority.operator || ownsHost(caller, authority.agentUid)) return null;
    const waitMs = (isRead ? this.reads : this.changes).take(clientOf(caller, socket), now);
    return waitMs === 0 ? null : new TooOften(waitMs);
  }
}

function clientOf(caller: Caller, { remoteAddress = '', remotePort = 0 }: Socket): string {
  if (caller.type !== 'local') return remoteAddress;
  return caller.uid === null ? `${remoteAddress} ${remotePort}` : `uid ${caller.uid}`;
}
