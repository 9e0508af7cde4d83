/** What this host sees of trustees and roots, as those who judge them need it: one reading of the agent's knowledge. Pure. */
import type { HostId, Millis } from '../../core.ts';
import type { EpochAgreement } from '../../trust/epoch/agreement.ts';
import type { Renewals, TrusteeView } from '../../trust/epoch/rules.ts';
import type { Candidate } from '../../trust/epoch/selection.ts';
import { maxTtlMs } from '../../trust/issuance/leaf-rules.ts';
import type { CustodianContext } from '../../trust/quorum/custodian.ts';
import type { Turn } from '../../trust/root-record.ts';
import type { Admission, TrustState } from '../../trust/state.ts';
import { clockSkewMs } from '../../trust/statement.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { Presence } from './presence.ts';
import { coldWishOf } from './recovery.ts';
import type { TrustFacts } from './trust-facts.ts';

export interface RootStandingOptions {
  readonly self: HostId;
  readonly trust: TrustState;
  readonly facts: TrustFacts;
  readonly catalog: Catalog;
  readonly presence: Presence;
  readonly rootLifetimeMs: Millis;
  /** A host that left is given this long to come back: a trustee's seat is its own, and what it presents is believed. */
  readonly leaveGraceMs: Millis;
  /** The shares of a root are made anew so often, if nothing else makes them anew. */
  readonly refreshMs: Millis;
  /** Known once the agreement is made, which is made with this. */
  readonly agreement: () => EpochAgreement;
}

/** From this part of its life on, a root is to be replaced. */
const rotateAfterPart = 2 / 3;

export class RootStanding implements CustodianContext {
  readonly mesh: string;
  readonly longestLeafMs: Millis = maxTtlMs;
  readonly rootLifetimeMs: Millis;
  private readonly options: RootStandingOptions;
  private lastRequestId = 0;

  constructor(options: RootStandingOptions) {
    this.options = options;
    this.mesh = options.trust.genesis.hash;
    this.rootLifetimeMs = options.rootLifetimeMs;
  }

  nameOf(generation: number) {
    return this.options.trust.bundle.nameOf(generation);
  }

  root(generation: number) {
    return this.options.trust.bundle.get(generation);
  }

  activeGeneration(): number {
    return this.options.trust.bundle.active().generation;
  }

  generation(): number {
    return this.options.agreement().current.plan.generation;
  }

  seat(): number | null {
    const seat = this.options.agreement().current.plan.trustees.indexOf(this.options.self);
    return seat < 0 ? null : seat;
  }

  isTrustee(host: HostId): boolean {
    return this.options.agreement().current.plan.trustees.includes(host);
  }

  nextRequestId(): number {
    return ++this.lastRequestId;
  }

  waitingFor(generation: number, turn: Turn, now: Millis): string[] {
    const { catalog, trust } = this.options;
    return catalog
      .allHosts()
      .filter(({ id }) => trust.isAdmitted(id))
      .filter(({ id }) =>
        turn === 'active' ? this.mayDisbelieve(id, generation, now) : this.mayPresent(id, generation, now),
      )
      .map(({ value }) => value.name);
  }

  /** Whoever is away for longer learns of the root before it is called by anybody. */
  private mayDisbelieve(host: HostId, generation: number, now: Millis): boolean {
    return (
      this.wasHereLately(host, now) && this.options.facts.ackOf(host)?.believes.includes(generation) !== true
    );
  }

  /**
   * A host that is away comes back with the certificates that it had: as long as they last, they are believed. One that
   * has left does not; but keys of others that it had certified are no less in use for that.
   */
  private mayPresent(host: HostId, generation: number, now: Millis): boolean {
    const ack = this.options.facts.ackOf(host);
    if (ack === undefined) return this.wasHereLately(host, now);
    if (ack.uses > generation) return false;
    const lastsUntil = this.hasLeft(host, now) ? (ack.externalUntil ?? ack.lastsUntil) : ack.lastsUntil;
    return this.isHere(host) || now <= lastsUntil + clockSkewMs;
  }

  /** For good, it seems: most leave to restart. */
  private hasLeft(host: HostId, now: Millis): boolean {
    return this.options.catalog.host(host)?.state === 'left' && !this.wasHereLately(host, now);
  }

  private wasHereLately(host: HostId, now: Millis): boolean {
    const { leaveGraceMs, presence } = this.options;
    const since = presence.absentSince(host);
    return since === null || now < since + leaveGraceMs;
  }

  /** How many other trustees of an epoch are here; of one that this host holds a share of. */
  heardTrustees(epoch: number): number {
    const { agreement, self } = this.options;
    const office = agreement()
      .shares()
      .find((share) => share.epoch === epoch);
    const trustees = (office && agreement().ofGeneration(office.generation)?.plan.trustees) ?? [];
    return trustees.filter((host) => host !== self && this.isHere(host)).length;
  }

  isQuorumHere(generation: number): boolean {
    const plan = this.options.agreement().ofGeneration(generation)?.plan;
    return plan !== undefined && plan.trustees.filter((host) => this.isHere(host)).length >= plan.threshold;
  }

  isHere(host: HostId): boolean {
    return this.options.presence.aliveSince(host) !== null;
  }

  /** Null while it is here. */
  absentSince(host: HostId): Millis | null {
    return this.options.presence.absentSince(host);
  }

  trusteeView(now: Millis): TrusteeView {
    const candidates = this.options.trust.admitted().map((admission) => this.candidate(admission, now));
    return {
      candidates,
      ...this.renewals(now),
      allowed: this.renewals(now + clockSkewMs),
      cold: coldWishOf(this.options.facts.recoveryKey),
    };
  }

  private renewals(now: Millis): Renewals {
    return { rotateGeneration: this.rotateGeneration(now), refreshEpoch: this.refreshEpoch(now) };
  }

  private candidate(admission: Admission, now: Millis): Candidate {
    const { catalog, facts, presence, trust } = this.options;
    const { host, admittedAt, founder, grantId } = admission;
    return {
      host,
      admittedAt,
      zone: catalog.host(host)?.value.zone ?? '',
      eligible:
        (founder || trust.grant(grantId)?.roles.includes('trustee') === true) &&
        facts.ackOf(host)?.withdrawn !== true,
      aliveSince: presence.aliveSince(host),
      absentSince: presence.absentSince(host),
      gone: this.hasLeft(host, now),
    };
  }

  /**
   * Because an operator asked, because the root that signs has lived for long, or because hosts that were denied may
   * have enough shares of it but one.
   */
  private rotateGeneration(now: Millis): number | null {
    const { agreement, facts, trust } = this.options;
    const { generation, notBefore, notAfter } = trust.bundle.active();
    const isDue = generation > 0 && now >= notBefore + (notAfter - notBefore) * rotateAfterPart;
    const held = agreement().current.plan.generation;
    const due = [facts.rotateGeneration, isDue ? generation : null, this.isExposed ? held : null];
    const wanted = due.filter((one) => one !== null);
    return wanted.length === 0 ? null : Math.max(...wanted);
  }

  /**
   * Whether so many who had shares of the key in force were denied that one more would make it theirs: shares of one
   * epoch are as good as any, and those who were to destroy them may not have. The least that ever signed counts.
   */
  get isExposed(): boolean {
    const { agreement, trust } = this.options;
    const { formers, trustees, weakest } = agreement().current.plan;
    const denied = [...formers, ...trustees].filter((host) => trust.isDenied(host));
    return weakest > 1 && denied.length >= weakest - 1;
  }

  /** Whether more than half of all hosts that belong to the mesh and have not left stand by a new root. */
  isEndorsed(hash: string): boolean {
    const { catalog, facts, trust } = this.options;
    const hosts = trust.admitted().filter(({ host }) => catalog.host(host)?.state !== 'left');
    return 2 * hosts.filter(({ host }) => facts.standOf(host) === hash).length > hosts.length;
  }

  /** So that shares which leaked one by one, over the years, are never of one time. */
  private refreshEpoch(now: Millis): number | null {
    const { epoch, proposedAt, threshold } = this.options.agreement().current.plan;
    return threshold > 1 && now >= proposedAt + this.options.refreshMs ? epoch : null;
  }
}
