/** Roots themselves as purposes of a quorum: their certificates, and the turns of their lives. */
import type { HostId, Millis } from '../../core.ts';
import { backdateMs, wholeSeconds } from '../x509/root.ts';
import { trustDomainId } from '../x509/spiffe.ts';
import { ed25519Spki, serialNumber } from '../x509/x509.ts';
import type { PurposeJudge, Verdict } from './purpose.ts';
import {
  decodeRootRequest,
  decodeTurnRequest,
  judgeRootRequest,
  judgeTurnRequest,
  type RootContext,
  type RootRequest,
} from './root-request.ts';

/** A root's certificate: the rest is a `RootRequest`. */
export const rootTag = 2;
/** A turn in a root's life: the rest is a `TurnRequest`. */
export const turnTag = 3;

/** For `rootTag`. */
export class RootJudge implements PurposeJudge {
  private readonly context: RootContext;

  constructor(context: RootContext) {
    this.context = context;
  }

  /** Throws `Fault`: `malformed`, and those of `judgeRootRequest`. */
  judge(payload: Uint8Array, from: HostId, now: Millis): Verdict {
    const request = decodeRootRequest(payload);
    const { message, generation } = judgeRootRequest(request, from, this.context, now);
    const notBefore = wholeSeconds(request.issuedAt - backdateMs);
    const notAfter = wholeSeconds(request.issuedAt + request.lifetimeMs);
    const subject = `root g${request.subject} by g${request.issuer}`;
    const serial = this.serialOf(request, notBefore);
    return { message, generation, ops: [], note: { subject, serial, notBefore, notAfter } };
  }

  private serialOf(request: RootRequest, notBefore: Millis): string {
    const issuer = this.context.nameOf(request.issuer)!;
    const subject = this.context.nameOf(request.subject)!;
    const [by, of] = [ed25519Spki(issuer.publicKey), ed25519Spki(subject.publicKey)];
    return serialNumber(by, of, trustDomainId(subject.trustDomain), notBefore).toString('hex');
  }
}

/** For `turnTag`. */
export class TurnJudge implements PurposeJudge {
  private readonly context: RootContext;

  constructor(context: RootContext) {
    this.context = context;
  }

  /** Throws `Fault`: `malformed`, and those of `judgeTurnRequest`. */
  judge(payload: Uint8Array, from: HostId, now: Millis): Verdict {
    const request = decodeTurnRequest(payload);
    const { message, generation } = judgeTurnRequest(request, from, this.context, now);
    const subject = `root g${request.generation} ${request.turn}`;
    return { message, generation, ops: [], note: { subject, serial: '', notBefore: 0, notAfter: 0 } };
  }
}
