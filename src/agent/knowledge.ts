/**
 * What the agent knows, derived from the replica's records: catalog, policies, trust, and what this host has
 * registered. The one place where a record's kind decides what it means. Pure.
 */
import { Fault, type HostId, type Millis, type Verify } from '../core.ts';
import type { Authority, Refusal } from '../gossip/port.ts';
import type { Record } from '../gossip/replica/record.ts';
import { deniedOf, expiryOf } from '../trust/admission/denial.ts';
import type { Genesis } from '../trust/admission/genesis.ts';
import { finalityOf } from '../trust/finality.ts';
import { TrustState } from '../trust/state.ts';
import { wallClock } from '../trust/statement.ts';
import { TrustFacts } from './ca/trust-facts.ts';
import type { OwnBind } from './catalog/binds.ts';
import { Catalog } from './catalog/catalog.ts';
import { Registry } from './catalog/registry.ts';
import {
  ADMISSION,
  CHECK_DEFINITION,
  CONFIG_ENTRY,
  DENY,
  GRANT,
  HOST,
  type HostValue,
  RECOVERY,
  type RecoveryDrillValue,
  type RecoveryKeyValue,
  ROOT_ROTATION,
  type RootRotationValue,
  type StandaloneCheck,
  TRUST_ACCUSATION,
  TRUST_ACK,
  TRUST_EPOCH,
  TRUST_HEAD,
  TRUST_ROOT,
  TRUST_STAND,
  type TrustAccusationValue,
  type TrustAckValue,
  type TrustEpochValue,
  type TrustHeadValue,
  type TrustStandValue,
} from './kinds.ts';
import { Policies } from './policy/policy.ts';
import { Quarantine, type Quarantined } from './quarantine.ts';
import { decodeValue } from './values.ts';

/** Where a host's gossip port is. */
export interface Place {
  readonly host: HostId;
  readonly address: string;
  readonly port: number;
}

export interface KnowledgeOptions {
  readonly self: HostId;
  readonly genesis: Genesis;
  readonly verify: Verify;
  /** Counts the starts of this agent, from 1. */
  readonly epoch?: number;
  /** Addresses and ports that no service of this host may take. */
  readonly ownBinds?: readonly OwnBind[] | undefined;
  /** All host-scope records of an author that the replica holds now. */
  readonly recordsOf: (author: HostId) => Iterable<Record>;
  /** An admitted author wrote a value that is not of its kind's shape; it counts as absent. */
  readonly malformed: (record: Record, detail: string) => void;
  /** What this agent does with a record failed: a bug here, whatever the record says; see `Quarantine`. */
  readonly failed: (failed: Quarantined, error: unknown) => void;
}

/** Of a record that the judgement itself fails on. */
const unjudged: Refusal = { code: 'judgement-failed', later: false };

export class Knowledge {
  readonly catalog: Catalog;
  readonly policies: Policies;
  readonly trust: TrustState;
  readonly registry: Registry;
  readonly trustFacts = new TrustFacts();
  readonly quarantine: Quarantine;
  /** Who may write what. */
  readonly authority: Authority = {
    judge: (record, now) => this.judge(record, now),
    finality: finalityOf,
    expiryOf,
  };
  private readonly options: KnowledgeOptions;

  constructor(options: KnowledgeOptions) {
    this.options = options;
    this.quarantine = new Quarantine(options.failed);
    this.catalog = new Catalog(options.epoch);
    this.trust = new TrustState(options.genesis, options.verify);
    this.policies = new Policies(({ author, hlc }) => this.trust.isOperator(author, wallClock(hlc)));
    this.registry = new Registry(options.self, this.catalog, options.ownBinds);
  }

  /** See `TrustState.judge` for the codes, and `judgement-failed`. */
  private judge(record: Record, now: Millis): Refusal | null {
    let refusal: Refusal | null = unjudged;
    this.quarantine.attempt(record, 'judge', () => {
      refusal = this.trust.judge(record, now);
    });
    return refusal;
  }

  /**
   * Takes in records that won their slots, in any order. Says whether the trust bundle may have changed, and
   * where hosts are that said so. `reachedAt` is null for what was on the disk when the agent started.
   */
  apply(
    records: Iterable<Record>,
    reachedAt: Millis | null = null,
  ): { readonly rootsChanged: boolean; readonly located: readonly Place[] } {
    let rootsChanged = false;
    const located: Place[] = [];
    const all = [...records];
    for (const record of all) this.quarantine.entered(record);
    // Who is admitted, and as what, decides how the rest is read.
    for (const record of all) this.quarantine.attempt(record, 'apply', () => this.trust.apply(record));
    for (const record of all) {
      rootsChanged ||= record.kind === TRUST_ROOT && record.scope === 'policy';
      const isDone = this.quarantine.attempt(record, 'apply', () => {
        this.applyOne(record, reachedAt);
        if (record.scope === 'host' && record.kind === HOST) located.push(...this.placeOf(record.author));
      });
      if (!isDone) this.leaveOut(record);
    }
    return { rootsChanged, located };
  }

  private applyOne(record: Record, reachedAt: Millis | null): void {
    if (record.scope === 'host') this.hostRecord(record);
    else if (record.kind === DENY) this.denied(record);
    else if (record.kind === CONFIG_ENTRY) this.configEntry(record, this.valueOf(record), reachedAt);
    else if (record.kind === TRUST_ROOT) this.catalog.touch('roots');
    else if (record.kind === ROOT_ROTATION) this.rootRotation(record);
    else if (record.kind === RECOVERY) this.recovery(record);
    // A grant can give or take an operator's standing, and with it the force of what that operator wrote.
    else if (record.kind === GRANT) this.catalog.touch('grants', ...this.policies.topics());
  }

  /** Takes back what came of a record before it failed, as far as that can be done. What trust learnt of it stays. */
  private leaveOut(record: Record): void {
    try {
      if (record.scope === 'host') this.forgetOwn(record);
      else if (record.kind === CONFIG_ENTRY) this.configEntry(record, null, null);
    } catch {
      // The failure that it comes from was told.
    }
  }

  /** What a denied host ever said counts no more. To itself it is what it was, so that it can say what befell it. */
  private denied({ key }: Record): void {
    const denied = deniedOf(key);
    if (denied?.type === 'host' && denied.host !== this.options.self) {
      this.catalog.record(denied.host, HOST, '', null);
      this.trustFacts.denied(denied.host);
    }
    this.catalog.touch('denials');
  }

  private counts(author: HostId): boolean {
    return author === this.options.self || !this.trust.isDenied(author);
  }

  private rootRotation(record: Record): void {
    const value = this.valueOf(record) as RootRotationValue | null;
    if (value !== null && this.trust.isOperator(record.author, wallClock(record.hlc)))
      this.trustFacts.rotationAsked(value);
  }

  /** Whom shares of the root are sealed for is for the first operator to say, whose key nobody can revoke. */
  private recovery(record: Record): void {
    const value = this.valueOf(record);
    const isFirst = record.author === this.trust.genesis.operatorKey;
    if (record.key === 'key' && isFirst) this.trustFacts.recoveryKey = value as RecoveryKeyValue | null;
    if (
      record.key === 'drill' &&
      value !== null &&
      this.trust.isOperator(record.author, wallClock(record.hlc))
    )
      this.trustFacts.drill = value as RecoveryDrillValue;
  }

  private placeOf(host: HostId): Place[] {
    const value = host === this.options.self ? undefined : this.catalog.host(host)?.value;
    return value === undefined ? [] : [{ host, address: value.address, port: value.gossipPort }];
  }

  /** Lets go of records that the replica no longer holds. What a host was admitted as is kept there for ever. */
  forget(records: Iterable<Record>): void {
    for (const record of records) {
      this.quarantine.left(record);
      this.quarantine.attempt(record, 'apply', () => {
        if (record.scope === 'host') this.forgetOwn(record);
        else {
          this.trust.forget(record);
          if (record.kind === DENY) this.catalog.touch('denials');
        }
      });
    }
  }

  private forgetOwn({ author, kind, key }: Record): void {
    this.catalog.record(author, kind, key, null);
    if (kind === TRUST_ACK) this.trustFacts.acknowledged(author, null);
    if (kind === TRUST_EPOCH) this.trustFacts.toldOfEpoch(author, null);
    if (kind === TRUST_ACCUSATION) this.trustFacts.accused(author, key, null);
    if (kind === TRUST_STAND) this.trustFacts.stood(author, null);
  }

  private configEntry(record: Record, value: unknown, reachedAt: Millis | null): void {
    const index = this.catalog.touch(...Policies.topicsOf(record.key));
    this.policies.record(record, value, index, reachedAt);
  }

  private hostRecord(record: Record): void {
    const { author, kind, key } = record;
    if (!this.counts(author)) return;
    const fresh = kind === HOST && this.catalog.host(author) === undefined;
    const value = this.valueOf(record);
    this.catalog.record(author, kind, key, value);
    if (kind === TRUST_ACK) this.trustFacts.acknowledged(author, value as TrustAckValue | null);
    if (kind === TRUST_EPOCH) this.trustFacts.toldOfEpoch(author, value as TrustEpochValue | null);
    if (kind === TRUST_STAND) this.trustFacts.stood(author, value as TrustStandValue | null);
    if (kind === TRUST_ACCUSATION) this.trustFacts.accused(author, key, value as TrustAccusationValue | null);
    if (kind === TRUST_HEAD) this.trustFacts.toldOfHead(author, value as TrustHeadValue | null);
    // It takes one of a grant's uses.
    if (kind === ADMISSION) this.catalog.touch('grants');
    if (author === this.options.self && kind === CHECK_DEFINITION)
      this.registry.checkDefinition(key, value as StandaloneCheck | null);
    // Its services may have come before the host itself.
    if (fresh)
      for (const other of this.options.recordsOf(author))
        if (other.kind !== HOST)
          this.quarantine.attempt(other, 'apply', () =>
            this.catalog.record(author, other.kind, other.key, this.valueOf(other)),
          );
  }

  /** A host goes by the name it was admitted under: no other host's, in the catalog or in DNS. */
  private refuseBorrowedName({ kind, author }: Record, value: unknown): void {
    if (kind !== HOST || value === null) return;
    const { name } = value as HostValue;
    const admitted = this.trust.admissionOf(author)?.name;
    if (admitted !== undefined && admitted !== name)
      throw new Fault('malformed', `host/name is "${name}", but it was admitted as "${admitted}"`);
  }

  /** Null for a tombstone, and for what is not of its kind's shape. */
  private valueOf(record: Record): unknown {
    try {
      const value = decodeValue(record);
      this.refuseBorrowedName(record, value);
      return value;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.options.malformed(record, error.message);
      return null;
    }
  }
}
