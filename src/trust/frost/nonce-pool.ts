/**
 * The nonces a trustee has promised and not used, in memory only. One taken out is gone, whatever comes of
 * it; a restart forgets them all, so nothing that was promised before it can be signed with after it.
 */
import { Fault, type HostId, isHex, type Millis } from '../../core.ts';
import type { KeyShare } from './keys.ts';
import { type NonceCommitment, SigningNonces } from './nonces.ts';

/** Promised to one requester and not used: as many signatures as it can have under way. */
export const maxNoncesPerRequester = 8;
/** Promised in all: some 400 bytes each. */
export const maxNonces = 1024;
/** A signature takes well under a second; whoever comes back later asks again. */
export const nonceLifetimeMs = 30_000;

const bootIdBytes = 16;

/** What a requester is told: which nonces are promised to it. */
export interface NonceOffer {
  /** The boot that promised it and a number within, so that a restarted or cloned trustee is told apart. */
  readonly id: string;
  readonly commitment: NonceCommitment;
}

interface Promised {
  readonly requester: HostId;
  readonly nonces: SigningNonces;
  readonly expiresAt: Millis;
}

/** Names nonces: once in all pools of a boot, or whoever is promised a name again takes the trustee for a clone. */
export class NonceIds {
  private readonly bootId: string;
  private issued: number;

  /** `bootId` is 16 random bytes of hex, drawn anew whenever the process starts; `issued` names of it are used up. */
  constructor(bootId: string, issued = 0) {
    if (!isHex(bootId, bootIdBytes))
      throw new Fault('malformed', 'a boot id has 16 bytes', { field: 'bootId' });
    this.bootId = bootId;
    this.issued = issued;
  }

  /** How many names were given: none of them may be given again in this boot, whatever became of its nonces. */
  get count(): number {
    return this.issued;
  }

  next(): string {
    return `${this.bootId}-${++this.issued}`;
  }
}

/** For one share: another epoch has another pool. */
export class NoncePool {
  private readonly share: KeyShare;
  private readonly ids: NonceIds;
  /** In the order of their expiry. */
  private readonly promised = new Map<string, Promised>();

  constructor(share: KeyShare, ids: NonceIds) {
    this.share = share;
    this.ids = ids;
  }

  get size(): number {
    return this.promised.size;
  }

  /** Whether nobody can come back for what was promised. */
  isIdle(now: Millis): boolean {
    this.expire(now);
    return this.size === 0;
  }

  /**
   * Promises a pair of nonces made from `nonceEntropyBytes` fresh random bytes to `requester`. Throws `Fault`:
   * `nonce-quota` where it left too many unused, `nonces-exhausted` where all did; neither promises anything.
   */
  offer(requester: HostId, entropy: Uint8Array, now: Millis): NonceOffer {
    this.expire(now);
    let own = 0;
    for (const promised of this.promised.values()) if (promised.requester === requester) own++;
    if (own >= maxNoncesPerRequester)
      throw new Fault('nonce-quota', `${own} promised nonces are waiting to be used`);
    if (this.promised.size >= maxNonces)
      throw new Fault('nonces-exhausted', 'too many promised nonces are waiting to be used');
    const nonces = SigningNonces.create(this.share, entropy);
    const id = this.ids.next();
    this.promised.set(id, { requester, nonces, expiresAt: now + nonceLifetimeMs });
    return { id, commitment: nonces.commitment };
  }

  /**
   * Takes the nonces out, for good. Throws `Fault('nonce-unknown')` where they were never promised to
   * `requester` by this boot, were taken before or have expired; what others were promised stays.
   */
  take(requester: HostId, id: string, now: Millis): SigningNonces {
    this.expire(now);
    const promised = this.promised.get(id);
    if (promised === undefined || promised.requester !== requester)
      throw new Fault('nonce-unknown', 'no such nonces are promised to this requester');
    this.promised.delete(id);
    return promised.nonces;
  }

  private expire(now: Millis): void {
    for (const [id, { expiresAt }] of this.promised) {
      if (expiresAt > now) break;
      this.promised.delete(id);
    }
  }
}
