/** Certificates of services as one purpose of a quorum: how trustees judge them, and how a host asks for its own. */
import { Fault, type HostId, type Millis } from '../../core.ts';
import type { TrustBundle } from '../bundle.ts';
import { decodeIssueRequest, encodeIssueReply, leafFieldsOf } from '../issuance/issuance.ts';
import { type LeafRules, subjectOf } from '../issuance/leaf-rules.ts';
import type { IssuerStoreOp } from '../log/issuance-log.ts';
import { parseCsr } from '../x509/csr.ts';
import { assembleCertificate, buildLeafTbs } from '../x509/x509.ts';
import { encodePurpose, leafTag, type PurposeJudge, type Verdict } from './purpose.ts';

type Roots = Pick<TrustBundle, 'get'>;

/** For `leafTag`. */
export class LeafJudge implements PurposeJudge {
  private readonly rules: LeafRules;
  private readonly roots: Roots;

  constructor(rules: LeafRules, roots: Roots) {
    this.rules = rules;
    this.roots = roots;
  }

  /** Throws `Fault`: `malformed`, and those of `LeafRules.approve`. Only an active root signs certificates. */
  judge(payload: Uint8Array, from: HostId, now: Millis): Verdict {
    const request = decodeIssueRequest(payload);
    const root = this.roots.get(request.generation);
    const { leaf, ops } = this.rules.approve(request, from, root?.state === 'active' ? root : undefined, now);
    return { message: buildLeafTbs(leaf), generation: request.generation, ops, note: subjectOf(leaf) };
  }

  remember(ops: readonly IssuerStoreOp[]): void {
    this.rules.remember(ops);
  }
}

/** What a host has a quorum sign to get a certificate. */
export interface LeafTask {
  /** Of the `IssueRequest`. */
  readonly requestId: number;
  readonly generation: number;
  readonly purpose: Uint8Array;
  readonly message: Uint8Array;
}

/**
 * From a request frame of this host's own `SvidKeeper`. Throws `Fault`: `malformed`, `wrong-root`, those of
 * `parseCsr`.
 */
export function leafTask(frame: Uint8Array, roots: Roots, self: HostId): LeafTask {
  const request = decodeIssueRequest(frame);
  const { requestId, generation } = request;
  const root = roots.get(generation);
  if (root === undefined) throw new Fault('wrong-root', `root g${generation} is not known here`);
  const message = buildLeafTbs(leafFieldsOf(request, parseCsr(request.csr), root, self));
  return { requestId, generation, purpose: encodePurpose(leafTag, frame), message };
}

/**
 * The reply frame for the `SvidKeeper`: the certificate, and while the root before is believed, the certificate
 * by which those who know only that one believe this one. More cannot help: its path length is 1.
 */
export function leafReply(task: LeafTask, signature: Uint8Array, roots: Roots): Uint8Array {
  const chain = [assembleCertificate(task.message, signature)];
  const cross = roots.get(task.generation)?.crossDer ?? null;
  const before = roots.get(task.generation - 1);
  if (cross !== null && before !== undefined && before.state !== 'retired') chain.push(cross);
  return encodeIssueReply({ type: 'issued', requestId: task.requestId, chain });
}

/** The same for what no quorum would sign. */
export function leafRefusal(
  requestId: number,
  failure: { readonly code: string; readonly message: string; readonly retryAfterMs: number },
): Uint8Array {
  const { code, message, retryAfterMs } = failure;
  return encodeIssueReply({ type: 'refused', requestId, code, message, retryAfterMs });
}
