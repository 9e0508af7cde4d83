/**
 * The trustee's side of issuance. `RootIssuer` signs with a root it holds whole, as the founding host does
 * with generation 0; a threshold trustee will be another `Issuer`: the same decisions, a share of the key.
 */
import { assert, Fault, type HostId, type Machine, type Millis, type Signer } from '../core.ts';
import type { AdmissionValue } from './admission.ts';
import { parseCsr } from './csr.ts';
import {
  decodeIssueRequest,
  encodeIssueReply,
  type IssueReply,
  type IssueRequest,
  leafFieldsOf,
  serialOf,
} from './issuance.ts';
import { type IssuanceEntry, IssuanceLog } from './issuance-log.ts';
import { RateLimiter } from './rate.ts';
import type { Root } from './root.ts';
import { parseSpiffeId } from './spiffe.ts';
import { clockSkewMs } from './statement.ts';
import {
  assembleCertificate,
  buildLeafTbs,
  certificateProfile,
  ed25519Spki,
  type LeafFields,
} from './x509.ts';

export type IssuerInput =
  | { readonly type: 'wake' }
  /** One request frame; `from` is the key that the channel proved. */
  | { readonly type: 'request'; readonly from: HostId; readonly bytes: Uint8Array };

export type IssuerStoreOp =
  | { readonly type: 'put'; readonly key: string; readonly value: Uint8Array }
  | { readonly type: 'delete'; readonly key: string };

export type IssuerEffect =
  | { readonly type: 'reply'; readonly to: HostId; readonly bytes: Uint8Array }
  /** Only when `ops` are durable (`sync`), release `then`: nothing signed leaves unrecorded. */
  | {
      readonly type: 'persist';
      readonly ops: readonly IssuerStoreOp[];
      readonly sync: true;
      readonly then: readonly IssuerEffect[];
    };

/** Answers requests for certificates. Every refusal is a reply with a code. */
export type Issuer = Machine<IssuerInput, IssuerEffect>;

/** What an issuer looks up before it signs; `TrustState` knows most of it. */
export interface IssuerContext {
  admissionOf(host: HostId): AdmissionValue | undefined;
  mayServe(host: HostId, service: string): boolean;
  /** Whether this host is to get no certificates, whatever its grant says. */
  isDenied(host: HostId): boolean;
}

export interface RootIssuerOptions {
  readonly root: Root;
  /** The root's key. */
  readonly signer: Signer;
  readonly context: IssuerContext;
  /** What the store held under `issuerPrefix`, in the order of its keys. */
  readonly saved: Iterable<readonly [key: string, value: Uint8Array]>;
}

/** Every key an issuer writes to the store begins with this. */
export const issuerPrefix = 'issuer/';
const endorsedPrefix = `${issuerPrefix}endorsed/`;
const logPrefix = `${issuerPrefix}log/`;

/** The bounds of a certificate's life that an issuer grants. */
export const minTtlMs: number = 10_000;
export const maxTtlMs: number = 7 * 24 * 3_600_000;
/** A host with many services starts with a request for each; afterwards renewals come hours apart. */
const rateLimits = { burst: 128, perSecond: 2, maxRequesters: 4096 };
/** Uses of grants remembered; past it no further host is endorsed. */
const maxEndorsements = 100_000;
/** Entries of the issuance log in memory and on disk. About 250 bytes each. */
const maxLogEntries = 4096;

/** A request that passed every check. */
interface Approved {
  readonly leaf: LeafFields;
  /** `<grant id>/<use>` to be recorded as this host's; null when it was before. */
  readonly endorse: string | null;
}

export class RootIssuer implements Issuer {
  private readonly root: Root;
  private readonly signer: Signer;
  private readonly context: IssuerContext;
  private readonly limiter = new RateLimiter(rateLimits);
  private readonly log = new IssuanceLog(maxLogEntries);
  /** The one host endorsed for each use of a grant. */
  private readonly endorsed = new Map<string, HostId>();

  /** Throws `Fault('issuance-log-broken')` when what the store held does not hold together. */
  constructor(options: RootIssuerOptions) {
    assert(options.signer.publicKey === options.root.publicKey, 'the signer holds the root it signs for');
    this.root = options.root;
    this.signer = options.signer;
    this.context = options.context;
    for (const [key, value] of options.saved)
      if (key.startsWith(endorsedPrefix))
        this.endorsed.set(key.slice(endorsedPrefix.length), Buffer.from(value).toString('hex'));
      else if (key.startsWith(logPrefix)) this.log.restore(value);
  }

  nextWake(): Millis | null {
    return null;
  }

  /** What was issued, the newest first. */
  issued(count: number): IssuanceEntry[] {
    return this.log.latest(count);
  }

  step(input: IssuerInput, now: Millis): readonly IssuerEffect[] {
    if (input.type === 'wake') return [];
    const { from } = input;
    const retryAfterMs = this.limiter.take(from, now);
    let requestId = 0;
    try {
      const request = decodeIssueRequest(input.bytes);
      requestId = request.requestId;
      if (retryAfterMs > 0)
        return [
          this.refusal(from, requestId, 'rate-limited', 'too many requests from this host', retryAfterMs),
        ];
      return this.issue(request, from, this.approve(request, from, now), now);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      const code = error.code === 'malformed' ? 'malformed-request' : error.code;
      return [this.refusal(from, requestId, code, error.message, retryAfterMs)];
    }
  }

  private refusal(
    to: HostId,
    requestId: number,
    code: string,
    message: string,
    retryAfterMs: number,
  ): IssuerEffect {
    return this.reply(to, { type: 'refused', requestId, code, message, retryAfterMs });
  }

  private reply(to: HostId, reply: IssueReply): IssuerEffect {
    return { type: 'reply', to, bytes: encodeIssueReply(reply) };
  }

  /**
   * Decides on this host's own knowledge, the cheap checks first. Faults: `unsupported-profile`, `wrong-root`,
   * `clock-skew`, `bad-ttl`, `not-admitted`, `denied`, those of `parseCsr`, `spiffe-id-malformed`, `csr-names`,
   * `name-not-granted`, `use-raced`, `issuer-full`.
   */
  private approve(request: IssueRequest, from: HostId, now: Millis): Approved {
    if (request.profile !== certificateProfile)
      throw new Fault('unsupported-profile', `certificates of profile ${request.profile} are not made here`);
    if (request.generation !== this.root.generation)
      throw new Fault('wrong-root', `this host signs for root g${this.root.generation} only`);
    if (request.issuedAt % 1000 !== 0 || Math.abs(request.issuedAt - now) > clockSkewMs)
      throw new Fault('clock-skew', `the clocks differ by more than ${clockSkewMs / 1000} s: set the clock`);
    if (request.ttlMs < minTtlMs || request.ttlMs > maxTtlMs)
      throw new Fault('bad-ttl', `a certificate lives ${minTtlMs / 1000} s to ${maxTtlMs / 86_400_000} days`);
    if (now >= this.root.notAfter) throw new Fault('wrong-root', 'the root has expired');
    const admission = this.context.admissionOf(from);
    if (admission === undefined) throw new Fault('not-admitted', 'this host is not known to be admitted');
    if (this.context.isDenied(from)) throw new Fault('denied', 'this host is denied certificates');
    const csr = parseCsr(request.csr);
    const leaf = this.checkNames(request, csr, from);
    return { leaf, endorse: this.checkEndorsement(admission, from) };
  }

  private checkNames(request: IssueRequest, csr: ReturnType<typeof parseCsr>, from: HostId): LeafFields {
    const identity = parseSpiffeId(csr.spiffeId);
    if (identity.trustDomain !== this.root.trustDomain)
      throw new Fault('csr-names', `the id is of another trust domain, ${identity.trustDomain}`);
    const leaf = leafFieldsOf(request, csr, this.root);
    if (
      csr.dnsNames.length !== leaf.dnsNames.length ||
      csr.dnsNames.some((name, i) => name !== leaf.dnsNames[i])
    )
      throw new Fault('csr-names', `the DNS names must be those of the id: ${leaf.dnsNames.join(', ')}`);
    if (!this.context.mayServe(from, identity.service))
      throw new Fault('name-not-granted', `this host was not granted the service ${identity.service}`);
    return leaf;
  }

  private checkEndorsement(admission: AdmissionValue, from: HostId): string | null {
    if (admission.founder) return null;
    const use = `${admission.grantId}/${admission.use}`;
    const holder = this.endorsed.get(use);
    if (holder === from) return null;
    if (holder !== undefined)
      throw new Fault('use-raced', `another host was endorsed for use ${admission.use} of this host's token`);
    if (this.endorsed.size >= maxEndorsements)
      throw new Fault('issuer-full', 'this host endorses no further hosts');
    return use;
  }

  private issue(
    request: IssueRequest,
    from: HostId,
    { leaf, endorse }: Approved,
    now: Millis,
  ): readonly IssuerEffect[] {
    const { entry, bytes } = this.log.append({
      at: now,
      requester: from,
      spiffeId: leaf.spiffeId,
      serial: serialOf(leaf, ed25519Spki(this.root.publicKey)),
      notBefore: leaf.notBefore,
      notAfter: leaf.notAfter,
    });
    const ops: IssuerStoreOp[] = [{ type: 'put', key: logKey(entry.sequence), value: bytes }];
    if (entry.sequence > maxLogEntries)
      ops.push({ type: 'delete', key: logKey(entry.sequence - maxLogEntries) });
    if (endorse !== null) {
      this.endorsed.set(endorse, from);
      ops.push({ type: 'put', key: `${endorsedPrefix}${endorse}`, value: Buffer.from(from, 'hex') });
    }
    const tbs = buildLeafTbs(leaf);
    const chain = [assembleCertificate(tbs, this.signer.sign(tbs))];
    const reply = this.reply(from, { type: 'issued', requestId: request.requestId, chain });
    return [{ type: 'persist', ops, sync: true, then: [reply] }];
  }
}

/** Padded, so that the store's order is the log's. */
function logKey(sequence: number): string {
  return `${logPrefix}${String(sequence).padStart(16, '0')}`;
}
