/** The trust bundle: the roots whose certificates this mesh believes, by generation. */
import { Fault, type HostId, type Millis, type Verify } from '../core.ts';
import type { Genesis } from './admission/genesis.ts';
import {
  type LinkedRoot,
  parseRootKey,
  type RootTurn,
  readRootCertificates,
  readRootTurn,
} from './root-record.ts';
import { type Refusal, refuse, type SignedStatement } from './statement.ts';
import type { RootName } from './x509/x509.ts';

/**
 * A root's life: `next` is believed but does not sign yet; `active` signs; `old` is believed until what it
 * signed has expired; `retired` is believed no more, and kept as a link in the chain from the genesis.
 */
export type RootState = 'next' | 'active' | 'old' | 'retired';

export interface BundledRoot extends LinkedRoot {
  readonly state: RootState;
  /** Since when it has signed; null before. */
  readonly activeSince: Millis | null;
}

/** A root has three statements, and is replaced after months. */
const maxUnproven = 256;

/**
 * Roots by generation, from the genesis root on; maintained from `trust-root` records, whatever their order.
 * Which key a generation has is known from the chain of epochs, so no certificate of another key gets in.
 */
export class TrustBundle {
  private readonly genesis: Genesis;
  private readonly verify: Verify;
  private keys: ReadonlyMap<number, HostId>;
  private readonly roots = new Map<number, LinkedRoot>();
  private readonly activeAt = new Map<number, Millis>();
  private readonly retired = new Set<number>();
  /** By key: statements that were let in once, of roots whose keys are not known here any more, or not yet. */
  private readonly unproven = new Map<string, SignedStatement>();

  constructor(genesis: Genesis, verify: Verify) {
    this.genesis = genesis;
    this.verify = verify;
    this.keys = new Map([[0, genesis.root.publicKey]]);
    this.roots.set(0, { ...genesis.root, crossDer: null });
    this.activeAt.set(0, genesis.createdAt);
  }

  /** The keys of all generations that the chain of epochs has proven, from 0 on. */
  learn(keys: ReadonlyMap<number, HostId>): void {
    this.keys = keys;
    const waiting = [...this.unproven.values()];
    this.unproven.clear();
    for (const statement of waiting) this.apply(statement);
  }

  /** What names a generation's root; undefined until the chain of epochs here has its key. */
  nameOf(generation: number): RootName | undefined {
    const publicKey = this.keys.get(generation);
    const { trustDomain } = this.genesis;
    return publicKey === undefined ? undefined : { trustDomain, generation, publicKey };
  }

  /**
   * Whether a `trust-root` statement may enter, whoever its author is. Codes: `trust-root-malformed`,
   * `trust-root-permanent`, `trust-root-forged`, `trust-root-unproven` (later).
   */
  judge(statement: SignedStatement): Refusal | null {
    if (statement.deleted) return refuse('trust-root-permanent', 'a root is retired, never deleted');
    try {
      this.read(statement);
      return null;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return refuse(error.code, error.message, error.code === 'trust-root-unproven');
    }
  }

  private read(statement: SignedStatement): LinkedRoot | RootTurn {
    const { generation, turn } = parseRootKey(statement.key);
    const { value } = statement;
    if (turn !== null) {
      const keyOf = (by: number) => this.keys.get(by);
      return readRootTurn(value, { generation, turn }, this.genesis.hash, keyOf, this.verify);
    }
    if (generation === 0) throw new Fault('trust-root-forged', 'the root of generation 0 is in the genesis');
    const [name, before] = [this.nameOf(generation), this.nameOf(generation - 1)];
    if (name === undefined || before === undefined)
      throw new Fault('trust-root-unproven', `the epoch of root g${generation} is not known here yet`);
    return readRootCertificates(value, name, before, this.verify);
  }

  /**
   * Takes over a statement, once the key of its root is known; one that cannot be read here (from another version)
   * changes nothing.
   */
  apply(statement: SignedStatement): void {
    this.unproven.delete(statement.key);
    if (statement.deleted) return;
    try {
      const read = this.read(statement);
      if (!('turn' in read)) this.roots.set(read.generation, read);
      else if (read.turn === 'retired') this.retired.add(read.generation);
      else this.activeAt.set(read.generation, read.at);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      if (error.code === 'trust-root-unproven' && this.unproven.size < maxUnproven)
        this.unproven.set(statement.key, statement);
    }
  }

  private get activeGeneration(): number {
    let active = 0;
    for (const generation of this.activeAt.keys())
      if (this.roots.has(generation)) active = Math.max(active, generation);
    return active;
  }

  private stateOf(generation: number, active: number): RootState {
    if (this.retired.has(generation) && generation < active) return 'retired';
    if (generation === active) return 'active';
    return generation < active ? 'old' : 'next';
  }

  /** Every root known, by generation. */
  all(): BundledRoot[] {
    const active = this.activeGeneration;
    return [...this.roots.values()]
      .sort((a, b) => a.generation - b.generation)
      .map((root) => ({
        ...root,
        state: this.stateOf(root.generation, active),
        activeSince: this.activeAt.get(root.generation) ?? null,
      }));
  }

  get(generation: number): BundledRoot | undefined {
    return this.all().find((root) => root.generation === generation);
  }

  /**
   * Whether the key of a generation has nothing left to sign: its root is believed no more, or a later one was active
   * before it had certificates.
   */
  isSpent(generation: number): boolean {
    const isKnown = this.roots.has(generation) && !this.retired.has(generation);
    return generation < this.activeGeneration && !isKnown;
  }

  /** The roots to believe now, by generation. */
  believed(): BundledRoot[] {
    return this.all().filter((root) => root.state !== 'retired');
  }

  /** The root that signs now: the latest that became active. */
  active(): BundledRoot {
    return this.get(this.activeGeneration)!;
  }

  /** PEM of every believed root, for TLS libraries. */
  pems(): string[] {
    return this.believed().map((root) => root.pem);
  }
}
