/**
 * Receipts: which policy the proxy of each host has taken on. Every agent tells the mesh what its own has, and so
 * can say of a write whether it holds everywhere, and where not. Pure.
 */
import { Fault, type HostId, type Millis, type Random } from '../../core.ts';
import type { MemberState } from '../../gossip/port.ts';
import { hlcMillis, type Record, slotOf } from '../../gossip/replica/record.ts';
import type { ProxyConfig } from '../../proxy/config.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { OwnWrite } from '../catalog/registry.ts';
import { POLICY_RECEIPT, type PolicyReceiptValue } from '../kinds.ts';
import { decodeValue } from '../values.ts';
import { noPolicyRevision, type Policies } from './policy.ts';

/** From one receipt of a host to its next, at least. */
const leastPauseMs = 500;
/**
 * All hosts take a write on within a moment, and tell of it at random times within so much for each of them that is
 * here: some 25 receipts a second, and a small mesh has them all at once.
 */
const spreadMsPerHost = 40;
/** Whoever waits for all of them gives up after ten seconds, so a mesh of hundreds tells faster. */
const maxSpreadMs = 5000;
/** Revisions that are told apart; of hosts that are further behind is said that they are behind. */
const maxKnown = 1024;

/** One host's place in the convergence of policy. */
export interface HostReceipt {
  readonly id: HostId;
  readonly name: string;
  readonly state: MemberState;
  /** What its proxy has taken on, as it says; null where nothing was heard of it. */
  readonly revision: string | null;
  /** Whether that includes what is asked about. */
  readonly applied: boolean;
}

export interface Convergence {
  /** Names all that config entries say together: equal on hosts that hold the same. */
  readonly revision: string;
  /** When this host first held it. */
  readonly since: Millis;
  /** Every live host's proxy has taken it on. */
  readonly converged: boolean;
  /** Those that belong to the mesh, by name. */
  readonly hosts: readonly HostReceipt[];
  /** The names of live hosts that have not. */
  readonly pending: readonly string[];
}

export class Receipts {
  private readonly policies: Policies;
  private readonly catalog: Catalog;
  private readonly random: Random;
  /** Revisions that this host held, the oldest first. */
  private readonly known = new Map<string, Millis>();
  /** What the data plane was last given and has not said to serve by. */
  private awaited: { readonly config: ProxyConfig; revision: string } | null = null;
  private appliedRevision: string = noPolicyRevision;
  private appliedSome = false;
  private told: string = noPolicyRevision;
  private toldAt: Millis = 0;
  /** When to tell what is not told yet: further writes do not put it off. */
  private dueAt: Millis | null = null;
  private lag: Millis | null = null;

  constructor(policies: Policies, catalog: Catalog, random: Random) {
    this.policies = policies;
    this.catalog = catalog;
    this.random = random;
  }

  /** What this host's proxy has taken on. */
  get applied(): string {
    return this.appliedRevision;
  }

  /** From the signature of the last write to its being served by here, milliseconds; null before there was one. */
  get lagMs(): Millis | null {
    return this.lag;
  }

  /** The policy in force was compiled; `config` is null where that changes nothing for the data plane. */
  compiled(config: ProxyConfig | null, now: Millis): void {
    const revision = this.noted(now);
    if (config !== null) this.awaited = { config, revision };
    else if (this.awaited !== null) this.awaited.revision = revision;
    else this.apply(revision, now);
  }

  /** The data plane serves by this configuration. */
  configured(config: ProxyConfig, now: Millis): void {
    if (this.awaited?.config !== config) return;
    const { revision } = this.awaited;
    this.awaited = null;
    this.apply(revision, now);
  }

  private apply(revision: string, now: Millis): void {
    // What was there at the start was written long ago.
    const isNews = this.appliedSome && revision !== this.appliedRevision;
    if (isNews) this.lag = Math.max(0, now - hlcMillis(this.policies.newestHlc));
    this.appliedRevision = revision;
    this.appliedSome = true;
    if (revision === this.told) this.dueAt = null;
    else this.dueAt ??= Math.max(this.toldAt + leastPauseMs, now + this.spreadMs());
  }

  private spreadMs(): Millis {
    const here = this.catalog.presentHosts().filter(({ state }) => state !== 'down').length;
    return this.random.next() * Math.min(spreadMsPerHost * here, maxSpreadMs);
  }

  nextWake(): Millis | null {
    return this.dueAt;
  }

  /** What this host is to write now. */
  wake(now: Millis): OwnWrite[] {
    if (this.dueAt === null || now < this.dueAt) return [];
    this.dueAt = null;
    this.told = this.appliedRevision;
    this.toldAt = now;
    const value: PolicyReceiptValue = { revision: this.told };
    return [{ kind: POLICY_RECEIPT, key: '', value }];
  }

  private noted(now: Millis): string {
    const { revision } = this.policies;
    if (!this.known.has(revision)) this.known.set(revision, now);
    for (const oldest of this.known.keys()) {
      if (this.known.size <= maxKnown) break;
      this.known.delete(oldest);
    }
    return revision;
  }

  /**
   * Who has taken on `wanted`, or anything later; null asks about what is here now. `receiptOf` gives what a host
   * told of itself. `Fault('unknown-revision')` for one that this host never held, or not lately.
   */
  convergence(
    wanted: string | null,
    self: HostId,
    receiptOf: (host: HostId) => string | null,
    now: Millis,
  ): Convergence {
    const current = this.noted(now);
    const revision = wanted ?? current;
    const since = this.known.get(revision);
    if (since === undefined)
      throw new Fault('unknown-revision', `this host has not held policy ${revision} lately`, {
        field: 'revision',
      });
    const held = [...this.known.keys()];
    const enough = new Set(held.slice(held.indexOf(revision)));
    const hosts = this.catalog.allHosts().flatMap(({ id, value, state }): HostReceipt[] => {
      if (state === 'left') return [];
      const told = id === self ? this.appliedRevision : receiptOf(id);
      return [{ id, name: value.name, state, revision: told, applied: enough.has(told ?? noPolicyRevision) }];
    });
    const pending = hosts
      .filter(({ state, applied }) => state !== 'down' && !applied)
      .map(({ name }) => name);
    return { revision, since, converged: pending.length === 0, hosts, pending };
  }
}

/** What a host told of itself, read from the replica; null where it has not, or not in words that are understood. */
export function policyReceiptOf(host: HostId, get: (slot: string) => Record | undefined): string | null {
  const record = get(slotOf({ scope: 'host', author: host, kind: POLICY_RECEIPT, key: '' }));
  if (record === undefined) return null;
  try {
    return (decodeValue(record) as PolicyReceiptValue | null)?.revision ?? null;
  } catch (error) {
    if (error instanceof Fault) return null;
    throw error;
  }
}
