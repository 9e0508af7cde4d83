/**
 * Signs certificates with a root that this host holds whole, as the founder does with generation 0. Where
 * trustees share a root, `quorum/trustee.ts` is in its place, by the same rules and with the same log.
 */
import { assert, Fault, type HostId, type Machine, type Millis, type Signer } from '../../core.ts';
import {
  digestOf,
  type IssuanceEntry,
  type IssuanceLog,
  type IssuerStoreOp,
  noDigest,
} from '../log/issuance-log.ts';
import type { Root } from '../x509/root.ts';
import { assembleCertificate, buildLeafTbs } from '../x509/x509.ts';
import { decodeIssueRequest, encodeIssueReply, type IssueReply } from './issuance.ts';
import { type ApprovedLeaf, type LeafRules, subjectOf } from './leaf-rules.ts';
import { RateLimiter } from './rate.ts';

export { issuerPrefix } from '../log/issuance-log.ts';

export type IssuerInput =
  | { readonly type: 'wake' }
  /** One request frame; `from` is the key that the channel proved. */
  | { readonly type: 'request'; readonly from: HostId; readonly bytes: Uint8Array };

export type IssuerEffect =
  | { readonly type: 'reply'; readonly to: HostId; readonly bytes: Uint8Array }
  /** The log is on disk up to this entry: to be confirmed there. */
  | { readonly type: 'logged'; readonly entry: IssuanceEntry }
  /** Only when `ops` are durable (`sync`), release `then`: nothing signed leaves unrecorded. */
  | {
      readonly type: 'persist';
      readonly ops: readonly IssuerStoreOp[];
      readonly sync: true;
      readonly then: readonly IssuerEffect[];
    };

export interface RootIssuerOptions {
  readonly root: Root;
  /** The root's key. */
  readonly signer: Signer;
  readonly rules: LeafRules;
  readonly log: IssuanceLog;
}

/** A host with many services starts with a request for each; afterwards renewals come hours apart. */
const rateLimits = { burst: 128, perSecond: 2, maxRequesters: 4096 };

/** Answers requests for certificates. Every refusal is a reply with a code. */
export class RootIssuer implements Machine<IssuerInput, IssuerEffect> {
  private readonly options: RootIssuerOptions;
  private readonly limiter = new RateLimiter(rateLimits);

  constructor(options: RootIssuerOptions) {
    assert(options.signer.publicKey === options.root.publicKey, 'the signer holds the root it signs for');
    this.options = options;
  }

  nextWake(): Millis | null {
    return null;
  }

  /** What was issued, the newest first. */
  issued(count: number): IssuanceEntry[] {
    return this.options.log.latest(count);
  }

  /** Codes of refusals: those of `LeafRules.approve`, `malformed-request`, `rate-limited`. */
  step(input: IssuerInput, now: Millis): readonly IssuerEffect[] {
    if (input.type === 'wake') return [];
    const { from } = input;
    const { root, rules } = this.options;
    const retryAfterMs = this.limiter.take(from, now);
    let requestId = 0;
    try {
      const request = decodeIssueRequest(input.bytes);
      requestId = request.requestId;
      if (retryAfterMs > 0) throw new Fault('rate-limited', 'too many requests from this host');
      const asked = request.generation === root.generation ? root : undefined;
      return this.issue(requestId, from, rules.approve(request, from, asked, now), now);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      const code = error.code === 'malformed' ? 'malformed-request' : error.code;
      const { message } = error;
      return [this.reply(from, { type: 'refused', requestId, code, message, retryAfterMs })];
    }
  }

  private reply(to: HostId, reply: IssueReply): IssuerEffect {
    return { type: 'reply', to, bytes: encodeIssueReply(reply) };
  }

  private issue(
    requestId: number,
    from: HostId,
    { leaf, ops }: ApprovedLeaf,
    now: Millis,
  ): readonly IssuerEffect[] {
    const { log, rules, signer } = this.options;
    const tbs = buildLeafTbs(leaf);
    const logged = log.append({
      ...subjectOf(leaf),
      at: now,
      requester: from,
      digest: digestOf(tbs),
      nonceId: '',
      commitments: noDigest,
    });
    rules.remember(ops);
    const chain = [assembleCertificate(tbs, signer.sign(tbs))];
    const reply = this.reply(from, { type: 'issued', requestId, chain });
    return [
      {
        type: 'persist',
        ops: [...logged.ops, ...ops],
        sync: true,
        then: [{ type: 'logged', entry: logged.entry }, reply],
      },
    ];
  }
}
