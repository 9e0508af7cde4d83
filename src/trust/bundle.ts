/** The trust bundle: the roots whose certificates this mesh believes, by generation. */
import { encodeJson, Fault, type Verify } from '../core.ts';
import { certificatesOfPem } from './certificate.ts';
import { Fields } from './fields.ts';
import type { Genesis } from './genesis.ts';
import { isCertifiedBy, type Root, readRoot } from './root.ts';
import { type Refusal, refuse, type SignedStatement } from './statement.ts';

/**
 * A root's life: `next` is believed but does not sign yet; `active` signs; `old` is believed until what it
 * signed has expired; `retired` is believed no more, and kept as a link in the chain from the genesis.
 */
export type RootState = 'next' | 'active' | 'old' | 'retired';

/** The value of a `trust-root` record; its key is `g<generation>`. */
export interface TrustRootValue {
  readonly generation: number;
  readonly state: RootState;
  /** Self-signed. */
  readonly certPem: string;
  /** The same key certified by the generation before; null for generation 0. */
  readonly crossPem: string | null;
}

export interface BundledRoot extends Root {
  readonly state: RootState;
  readonly crossDer: Buffer | null;
}

const states: readonly RootState[] = ['next', 'active', 'old', 'retired'];
const maxGeneration = 10_000;
const pemText = /^[\x20-\x7e\n]*$/;
const maxPemLength = 8192;

/** The record value, JSON. */
export function encodeTrustRoot(value: TrustRootValue): Uint8Array {
  return encodeJson(value);
}

/** The key of the `trust-root` record of a generation. */
export function trustRootKey(generation: number): string {
  return `g${generation}`;
}

/** What the founder publishes: the genesis root, active. */
export function genesisTrustRoot(genesis: Genesis): TrustRootValue {
  return { generation: 0, state: 'active', certPem: genesis.root.pem, crossPem: null };
}

/** Roots by generation, from the genesis root on; maintained from `trust-root` records. */
export class TrustBundle {
  private readonly genesis: Genesis;
  private readonly verify: Verify;
  private readonly roots = new Map<number, BundledRoot>();

  constructor(genesis: Genesis, verify: Verify) {
    this.genesis = genesis;
    this.verify = verify;
    this.roots.set(0, { ...genesis.root, state: 'active', crossDer: null });
  }

  private read(value: Uint8Array, key: string): BundledRoot {
    const fields = Fields.parse(value, 'trust-root-malformed');
    const generation = fields.integer('generation', 0, maxGeneration);
    if (trustRootKey(generation) !== key)
      throw new Fault('trust-root-malformed', 'the key is not that of the generation', {
        field: 'generation',
      });
    const state = fields.oneOf('state', states);
    const [der] = certificatesOfPem(fields.text('certPem', pemText, maxPemLength));
    const root = readRoot(der!, this.genesis.trustDomain, generation, this.verify);
    const cross = fields.has('crossPem') ? fields.text('crossPem', pemText, maxPemLength) : null;
    return { ...root, state, crossDer: cross === null ? null : certificatesOfPem(cross)[0]! };
  }

  /**
   * Whether a `trust-root` statement may enter. The genesis root as active proves itself when its founder says
   * so, as long as it is active here: the founder cannot bring back a root that an operator put away. Any other
   * change needs an operator, and a later root the certificate of the generation before it as well.
   * Codes: `trust-root-malformed`, `trust-root-permanent`, `trust-root-forged`, `trust-root-unproven` (later),
   * `not-operator` (later).
   */
  judge(statement: SignedStatement, byOperator: boolean): Refusal | null {
    if (statement.deleted) return refuse('trust-root-permanent', 'a root is retired, never deleted');
    let root: BundledRoot;
    try {
      root = this.read(statement.value, statement.key);
    } catch (error) {
      if (error instanceof Fault) return refuse('trust-root-malformed', error.message);
      throw error;
    }
    if (root.generation === 0) {
      if (!root.der.equals(this.genesis.root.der))
        return refuse('trust-root-forged', 'generation 0 is not the root of the genesis');
      const founding = statement.author === this.genesis.founder && root.state === 'active';
      if (founding && this.roots.get(0)?.state === 'active') return null;
    } else {
      const before = this.roots.get(root.generation - 1);
      if (before === undefined)
        return refuse('trust-root-unproven', `root g${root.generation - 1} is not known here yet`, true);
      if (root.crossDer === null || !isCertifiedBy(root.crossDer, root, before, this.verify))
        return refuse('trust-root-forged', `root g${root.generation} is not certified by the one before it`);
    }
    if (!byOperator) return refuse('not-operator', 'only an operator may change the roots', true);
    return null;
  }

  /** Takes over a statement that was judged; anything malformed (from another version) changes nothing. */
  apply(statement: SignedStatement): void {
    try {
      if (statement.deleted) return;
      const root = this.read(statement.value, statement.key);
      this.roots.set(root.generation, root);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
    }
  }

  /** Every root known, by generation. */
  all(): BundledRoot[] {
    return [...this.roots.values()].sort((a, b) => a.generation - b.generation);
  }

  /** The roots to believe now, by generation. */
  believed(): BundledRoot[] {
    return this.all().filter((root) => root.state !== 'retired');
  }

  /** The root that signs now: the latest active one. */
  active(): BundledRoot | undefined {
    return this.all().findLast((root) => root.state === 'active');
  }

  /** PEM of every believed root, for TLS libraries. */
  pems(): string[] {
    return this.believed().map((root) => root.pem);
  }
}
