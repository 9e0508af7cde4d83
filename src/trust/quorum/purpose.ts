/**
 * What a signature of a root may be for. A purpose is bytes whose first says of which kind it is; the rest is
 * enough for every trustee to decide on its own and to rebuild the very bytes to sign, so that no coordinator
 * can have anything else signed. A kind that nobody judges is never signed.
 */
import { Fault, type HostId, type Millis } from '../../core.ts';
import type { IssuerStoreOp, SignedSubject } from '../log/issuance-log.ts';

/** A service's certificate: the rest is an `IssueRequest`. Others are given out where their judges are made. */
export const leafTag = 1;

export interface Verdict {
  /** What to sign. */
  readonly message: Uint8Array;
  /** Of the root whose key is to sign it. */
  readonly generation: number;
  /** To be durable before anything is signed, beside the entry of the log. */
  readonly ops: readonly IssuerStoreOp[];
  /** For the log. */
  readonly note: SignedSubject;
}

export interface PurposeJudge {
  /**
   * Decides on this host's own knowledge and changes nothing: it is asked twice for one signature. `payload` is
   * the purpose without its tag, `from` who the channel proved. Throws a `Fault` to refuse.
   */
  judge(payload: Uint8Array, from: HostId, now: Millis): Verdict;
  /** A verdict with these operations is about to be carried out: another host may now be too late. */
  remember?(ops: readonly IssuerStoreOp[]): void;
}

export function encodePurpose(tag: number, payload: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.of(tag), payload]);
}

/** Judges by kind. */
export class Purposes {
  private readonly judges: ReadonlyMap<number, PurposeJudge>;

  /** `judges` by tag. */
  constructor(judges: ReadonlyMap<number, PurposeJudge>) {
    this.judges = judges;
  }

  /** Throws `Fault`: `unknown-purpose`, or what the judge of that kind throws. */
  judge(purpose: Uint8Array, from: HostId, now: Millis): Verdict {
    const judge = this.judges.get(purpose[0] ?? 0);
    if (judge === undefined) throw new Fault('unknown-purpose', 'nothing of that kind is signed here');
    return judge.judge(purpose.subarray(1), from, now);
  }

  /** See `PurposeJudge.remember`. */
  remember(purpose: Uint8Array, verdict: Verdict): void {
    this.judges.get(purpose[0] ?? 0)?.remember?.(verdict.ops);
  }
}
