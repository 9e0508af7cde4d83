/**
 * Who gets a certificate for which name: the one place where that is decided, for a root that one host holds
 * whole as for one whose shares trustees hold.
 */
import { Fault, type HostId, type Millis } from '../../core.ts';
import type { AdmissionValue } from '../admission/admission.ts';
import { type IssuerStoreOp, issuerPrefix, type SignedSubject } from '../log/issuance-log.ts';
import { clockSkewMs } from '../statement.ts';
import { parseCsr } from '../x509/csr.ts';
import type { Root } from '../x509/root.ts';
import { parseSpiffeId } from '../x509/spiffe.ts';
import { certificateProfile, ed25519Spki, type LeafFields } from '../x509/x509.ts';
import { type IssueRequest, leafFieldsOf, serialOf } from './issuance.ts';

/** What an issuer looks up before it signs; `TrustState` knows most of it. */
export interface IssuerContext {
  admissionOf(host: HostId): AdmissionValue | undefined;
  mayServe(host: HostId, service: string): boolean;
  /** How many hosts a grant admits. */
  usesOf(grantId: string): number;
  /** Whether this host is to get no certificates, whatever its grant says. */
  isDenied(host: HostId): boolean;
}

/** A request that passed every check. */
export interface ApprovedLeaf {
  readonly leaf: LeafFields;
  /** To be durable before the certificate is signed; handed to `remember` at the same time. */
  readonly ops: readonly IssuerStoreOp[];
}

/** The bounds of a certificate's life that an issuer grants. */
export const minTtlMs: number = 10_000;
export const maxTtlMs: number = 7 * 24 * 3_600_000;
/** Hosts remembered; past it none further is endorsed. */
const maxEndorsements = 100_000;
const endorsedPrefix = `${issuerPrefix}endorsed/`;

export class LeafRules {
  private readonly context: IssuerContext;
  /** The hosts endorsed by grant: no more of each than it has uses. */
  private readonly endorsed = new Map<string, Set<HostId>>();
  private endorsedHosts = 0;

  /** `saved`: what the store held under `issuerPrefix`. */
  constructor(context: IssuerContext, saved: Iterable<readonly [key: string, value: Uint8Array]>) {
    this.context = context;
    for (const [key, value] of saved) this.endorse(key, value);
  }

  /** What was approved is about to be signed. From then on the uses of grants it endorses are taken. */
  remember(ops: readonly IssuerStoreOp[]): void {
    for (const op of ops) if (op.type === 'put') this.endorse(op.key, op.value);
  }

  private endorse(key: string, value: Uint8Array): void {
    if (!key.startsWith(endorsedPrefix)) return;
    const grantId = key.slice(endorsedPrefix.length, key.lastIndexOf('/'));
    const hosts = this.endorsed.get(grantId) ?? new Set();
    this.endorsed.set(grantId, hosts);
    this.endorsedHosts -= hosts.size;
    hosts.add(Buffer.from(value).toString('hex'));
    this.endorsedHosts += hosts.size;
  }

  /**
   * Decides on this host's own knowledge, the cheap checks first, and changes nothing. `root` is that of the
   * request's generation, if it signs certificates now. Faults: `unsupported-profile`, `wrong-root`,
   * `clock-skew`, `bad-ttl`, `denied`, `not-admitted`, those of `parseCsr`, `spiffe-id-malformed`, `csr-names`,
   * `name-not-granted`, `use-raced`, `issuer-full`.
   */
  approve(request: IssueRequest, from: HostId, root: Root | undefined, now: Millis): ApprovedLeaf {
    if (request.profile !== certificateProfile)
      throw new Fault('unsupported-profile', `certificates of profile ${request.profile} are not made here`);
    if (root === undefined)
      throw new Fault('wrong-root', `root g${request.generation} signs no certificates here`);
    if (request.issuedAt % 1000 !== 0 || Math.abs(request.issuedAt - now) > clockSkewMs)
      throw new Fault('clock-skew', `the clocks differ by more than ${clockSkewMs / 1000} s: set the clock`);
    if (request.ttlMs < minTtlMs || request.ttlMs > maxTtlMs)
      throw new Fault('bad-ttl', `a certificate lives ${minTtlMs / 1000} s to ${maxTtlMs / 86_400_000} days`);
    if (now >= root.notAfter) throw new Fault('wrong-root', 'the root has expired');
    if (this.context.isDenied(from)) throw new Fault('denied', 'this host was denied by an operator');
    const admission = this.context.admissionOf(from);
    if (admission === undefined) throw new Fault('not-admitted', 'this host is not known to be admitted');
    const leaf = this.checkNames(request, from, root);
    return { leaf, ops: this.checkEndorsement(admission, from) };
  }

  private checkNames(request: IssueRequest, from: HostId, root: Root): LeafFields {
    const csr = parseCsr(request.csr);
    const identity = parseSpiffeId(csr.spiffeId);
    if (identity.trustDomain !== root.trustDomain)
      throw new Fault('csr-names', `the id is of another trust domain, ${identity.trustDomain}`);
    const leaf = leafFieldsOf(request, csr, root, from);
    if (
      csr.dnsNames.length !== leaf.dnsNames.length ||
      csr.dnsNames.some((name, i) => name !== leaf.dnsNames[i])
    )
      throw new Fault('csr-names', `the DNS names must be those of the id: ${leaf.dnsNames.join(', ')}`);
    if (!this.context.mayServe(from, identity.service))
      throw new Fault('name-not-granted', `this host was not granted the service ${identity.service}`);
    return leaf;
  }

  /** No more host keys than a grant has uses: who copies a token gets no certificate beside its users. */
  private checkEndorsement(admission: AdmissionValue, from: HostId): readonly IssuerStoreOp[] {
    if (admission.founder) return [];
    const { grantId } = admission;
    const hosts = this.endorsed.get(grantId);
    if (hosts?.has(from)) return [];
    if ((hosts?.size ?? 0) >= this.context.usesOf(grantId))
      throw new Fault('use-raced', `other hosts were endorsed for every use of this host's token`);
    if (this.endorsedHosts >= maxEndorsements)
      throw new Fault('issuer-full', 'this host endorses no further hosts');
    const key = `${endorsedPrefix}${grantId}/${from}`;
    return [{ type: 'put', key, value: Buffer.from(from, 'hex') }];
  }
}

/** What the issuance log says of a certificate. */
export function subjectOf(leaf: LeafFields): SignedSubject {
  return {
    subject: leaf.spiffeId,
    serial: serialOf(leaf, ed25519Spki(leaf.issuer.publicKey)),
    notBefore: leaf.notBefore,
    notAfter: leaf.notAfter,
  };
}
