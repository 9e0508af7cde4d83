/** Who belongs to the mesh and what each may do, kept up to date from the replica's records. */
import { Fault, type HostId, type Millis, type Verify } from '../core.ts';
import {
  type AdmissionContext,
  type AdmissionValue,
  type Admitted,
  judgeJoinBytes,
  parseAdmission,
  precedes,
} from './admission/admission.ts';
import { Denials, parseDenial } from './admission/denial.ts';
import type { Genesis } from './admission/genesis.ts';
import { type GrantValue, grantCovers, grantsService, joinGrants, parseGrant } from './admission/grant.ts';
import { type AuthorityContext, judgeRecord, type OperatorStanding } from './authority.ts';
import { TrustBundle } from './bundle.ts';
import {
  admissionKind,
  denialKind,
  grantKind,
  type Refusal,
  refuse,
  type SignedStatement,
  trustRootKind,
} from './statement.ts';

/** An admission with the host it admits. */
export interface Admission extends AdmissionValue {
  readonly host: HostId;
}

/**
 * A function of the set of records applied, whatever their order: two hosts with equal replicas answer every
 * question alike. Grows with grants and admissions, which only operators can multiply.
 */
export class TrustState implements AuthorityContext {
  readonly genesis: Genesis;
  readonly verify: Verify;
  readonly bundle: TrustBundle;
  readonly denials = new Denials();
  private readonly grants = new Map<string, GrantValue>();
  /** Grants by the operator key they give. */
  private readonly operators = new Map<HostId, Set<string>>();
  private readonly admissions = new Map<HostId, Admission>();
  /** Hosts by the grant that they were admitted by. */
  private readonly joiners = new Map<string, Set<HostId>>();
  private readonly names = new Map<string, Set<HostId>>();

  constructor(genesis: Genesis, verify: Verify) {
    this.genesis = genesis;
    this.verify = verify;
    this.bundle = new TrustBundle(genesis, verify);
  }

  /** Takes over a record that won its slot. Kinds that do not concern trust change nothing. */
  apply(statement: SignedStatement): void {
    if (statement.deleted) return;
    if (statement.scope === 'policy' && statement.kind === trustRootKind) this.bundle.apply(statement);
    try {
      if (statement.scope === 'policy' && statement.kind === grantKind)
        this.applyGrant(parseGrant(statement.value, statement.key));
      if (statement.scope === 'policy' && statement.kind === denialKind)
        this.denials.apply({ ...parseDenial(statement.value, statement.key), by: statement.author });
      if (statement.scope === 'host' && statement.kind === admissionKind)
        this.applyAdmission({ ...parseAdmission(statement.value), host: statement.author });
    } catch (error) {
      // A record that another version admitted and this one cannot read gives nobody anything.
      if (!(error instanceof Fault)) throw error;
    }
  }

  /** Lets go of what the replica has forgotten. */
  forget({ scope, kind, key }: Pick<SignedStatement, 'scope' | 'kind' | 'key'>): void {
    if (scope === 'policy' && kind === denialKind) this.denials.forget(key);
  }

  private applyGrant(grant: GrantValue): void {
    const held = this.grants.get(grant.id);
    this.grants.set(grant.id, held === undefined ? grant : joinGrants(held, grant));
    if (grant.operatorKey !== null) add(this.operators, grant.operatorKey, grant.id);
  }

  private applyAdmission(admission: Admission): void {
    const was = this.admissions.get(admission.host);
    if (was !== undefined) {
      remove(this.joiners, was.grantId, was.host);
      remove(this.names, was.name, was.host);
    }
    this.admissions.set(admission.host, admission);
    add(this.joiners, admission.grantId, admission.host);
    add(this.names, admission.name, admission.host);
  }

  /** Null admits a record into the replica; see `judgeRecord` for the codes. */
  judge(statement: SignedStatement, now: Millis): Refusal | null {
    return judgeRecord(statement, this, now);
  }

  /**
   * Null lets a stranger in; see `judgeJoin` for the codes, and `denied`. A name is free again once every host that bore it
   * `isGone` (has left, or is down): a machine set up anew keeps its name and has a new key.
   */
  judgeJoin(
    author: HostId,
    admission: Uint8Array,
    now: Millis,
    isGone: (host: HostId) => boolean,
  ): Refusal | null {
    if (this.isDenied(author))
      return refuse('denied', 'this host was denied by an operator: it needs a new key');
    const context: AdmissionContext = {
      genesis: this.genesis,
      verify: this.verify,
      grant: (id) => this.grant(id),
      takenUses: (grantId, except) => this.takenUses(grantId, except),
      takenBefore: (grantId, admitted) => this.takenBefore(grantId, admitted),
      nameHolder: (name, except) => this.nameHolder(name, except, isGone),
    };
    return judgeJoinBytes(admission, author, context, now);
  }

  grant(id: string): GrantValue | undefined {
    return this.grants.get(id);
  }

  /** Every grant, revoked and expired ones too, the newest first. */
  allGrants(): GrantValue[] {
    return [...this.grants.values()].sort((a, b) => b.createdAt - a.createdAt || (a.id < b.id ? -1 : 1));
  }

  /** The grants that make a key an operator's, revoked ones too; none for the first operator's. */
  grantsTo(operatorKey: HostId): string[] {
    return [...(this.operators.get(operatorKey) ?? [])];
  }

  /** How many hosts joined by a grant, those of them too that were denied since or came too late. */
  takenUses(grantId: string, except?: HostId): number {
    const joiners = this.joiners.get(grantId);
    if (joiners === undefined) return 0;
    return joiners.size - (except !== undefined && joiners.has(except) ? 1 : 0);
  }

  takenBefore(grantId: string, admitted: Admitted): number {
    let before = 0;
    for (const host of this.joiners.get(grantId) ?? [])
      if (host !== admitted.host && precedes(this.admissions.get(host)!, admitted)) before++;
    return before;
  }

  nameHolder(
    name: string,
    except: HostId,
    isGone: (host: HostId) => boolean = () => false,
  ): HostId | undefined {
    for (const host of this.names.get(name) ?? [])
      if (host !== except && this.isAdmitted(host) && !isGone(host)) return host;
    return undefined;
  }

  /** What a host was admitted by, even if it was denied since; not what came after the last use of a grant. */
  entryOf(host: HostId): Admission | undefined {
    const admission = this.admissions.get(host);
    if (admission === undefined || admission.founder) return admission;
    const uses = this.usesOf(admission.grantId);
    if (this.takenUses(admission.grantId) <= uses) return admission;
    return this.takenBefore(admission.grantId, admission) < uses ? admission : undefined;
  }

  /** Hosts that were let in in one half of a split mesh by a use that the other half had given away. */
  latecomers(): Admission[] {
    return [...this.admissions.values()].filter(
      ({ host }) => !this.wasAdmitted(host) && !this.isDenied(host),
    );
  }

  /** How many hosts a grant admits; none where it is not known. */
  usesOf(grantId: string): number {
    return this.grants.get(grantId)?.uses ?? 0;
  }

  /** A host's admission in force. */
  admissionOf(host: HostId): Admission | undefined {
    return this.isDenied(host) ? undefined : this.entryOf(host);
  }

  wasAdmitted(host: HostId): boolean {
    return this.entryOf(host) !== undefined;
  }

  isDenied(host: HostId): boolean {
    return this.denials.ofHost(host) !== undefined;
  }

  isAdmitted(host: HostId): boolean {
    return this.admissionOf(host) !== undefined;
  }

  /** Admissions in force by seniority: the earlier admitted, then the lower host id. */
  admitted(): Admission[] {
    return [...this.admissions.values()]
      .filter((admission) => this.isAdmitted(admission.host))
      .sort((a, b) => (precedes(a, b) ? -1 : 1));
  }

  /** Whether a host may be the service `name`: the founder any, others what their grant says, even if revoked since. */
  mayServe(host: HostId, name: string): boolean {
    const admission = this.admissionOf(host);
    if (admission === undefined) return false;
    if (admission.founder) return true;
    const grant = this.grants.get(admission.grantId);
    return grant !== undefined && grantsService(grant, name);
  }

  /**
   * What lets `key` sign policy at `at`, the time a record claims: the genesis for ever, a grant of the role
   * `operator` until it expires or is revoked. Use it again where records are put into force: one written
   * after a revocation may have entered the replica before the revocation did.
   */
  operatorStanding(key: HostId, at: Millis): OperatorStanding {
    if (key === this.genesis.operatorKey) return 'operator';
    let standing: OperatorStanding = 'unknown';
    for (const id of this.operators.get(key) ?? []) {
      const covered = grantCovers(this.grants.get(id)!, at);
      if (covered === 'covered') return 'operator';
      standing = covered === 'revoked' ? 'revoked' : 'expired';
    }
    return standing;
  }

  isOperator(key: HostId, at: Millis): boolean {
    return this.operatorStanding(key, at) === 'operator';
  }
}

function add(index: Map<string, Set<string>>, key: string, value: string): void {
  const values = index.get(key);
  if (values === undefined) index.set(key, new Set([value]));
  else values.add(value);
}

function remove(index: Map<string, Set<string>>, key: string, value: string): void {
  const values = index.get(key);
  values?.delete(value);
  if (values?.size === 0) index.delete(key);
}
