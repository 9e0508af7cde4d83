/**
 * The engine of threshold cryptography: carries out with FROST what the epoch agreement and the issuers of
 * certificates ask for, and alone holds the shares of root keys. The agreement says who deals and who signs
 * what; here it is only seen to that nothing is done without the very share it needs.
 */
import { earliest, Fault, type HostId, type Machine, type Millis } from '../../core.ts';
import { type CryptoSession, genesisShare } from '../epoch/crypto-port.ts';
import { decodeNonceCommitments, nonceEntropyBytes } from '../frost/nonces.ts';
import { maxSigningMessageBytes, SigningSession, signShare } from '../frost/signing.ts';
import { DealingRun } from './dealing-run.ts';
import type { EngineOrder, EngineReport } from './engine-port.ts';
import { groupOfEpoch, seatOf } from './epoch-group.ts';
import { type HeldShare, HeldShares, type SecretShare } from './held-shares.ts';
import type { EngineOptions, Run } from './run.ts';
import { AnsweringRun, CoordinatingRun, type SignSession } from './signing-runs.ts';

export type EngineInput = { readonly type: 'wake' } | EngineOrder;

/** What the next engine of a process must know of the one before. */
export interface EngineEstate {
  readonly secrets: readonly SecretShare[];
  /** See `EngineOptions`. */
  readonly nonceCount: number;
}

type Of<T extends EngineOrder['type']> = Extract<EngineOrder, { type: T }>;

/** Twice as many as the agreement has under way. */
const maxRuns = 32;

export class ThresholdEngine implements Machine<EngineInput, EngineReport> {
  private readonly options: EngineOptions;
  private readonly self: HostId;
  private readonly shares: HeldShares;
  private readonly runs = new Map<string, Run>();
  /** What stands for nonces where the genesis key signs, which needs none: pools number theirs from 1. */
  private readonly genesisNonceId: string;

  constructor(options: EngineOptions) {
    this.options = options;
    this.self = options.signer.publicKey;
    this.shares = new HeldShares(options.bootId, options.nonceCount ?? 0);
    this.genesisNonceId = `${options.bootId}-0`;
  }

  nextWake(): Millis | null {
    return earliest(...[...this.runs.values()].map((run) => run.nextWake()));
  }

  step(input: EngineInput, now: Millis): readonly EngineReport[] {
    switch (input.type) {
      case 'wake':
        return [...this.runs.values()].flatMap((run) => run.wake(now));
      case 'begin':
        return this.begin(input.session, now);
      case 'deliver':
        return this.runs.get(input.session)?.deliver(input.from, input.bytes, now) ?? [];
      case 'kept':
        this.shares.confirm(input.session);
        return this.runs.get(input.session)?.kept(input.receipt, now) ?? [];
      case 'end':
        this.runs.get(input.session)?.end?.(now);
        this.runs.delete(input.session);
        return [];
      case 'hold':
        this.shares.hold(input.name, input.secret);
        return [];
      case 'forget':
        this.shares.forget(input.names);
        return [];
      case 'offer':
        return this.guard(input.exchange, () => this.offer(input, now));
      case 'contribute':
        return this.guard(input.exchange, () => this.contribute(input, now));
    }
  }

  /** Hands every secret over and is done, for another engine to go on; null while anything is under way. */
  rest(now: Millis): EngineEstate | null {
    if (this.runs.size > 0 || !this.shares.isIdle(now)) return null;
    return { secrets: this.shares.release(), nonceCount: this.shares.nonceCount };
  }

  // --- Sessions of the agreement ---

  private begin(session: CryptoSession, now: Millis): readonly EngineReport[] {
    if (this.runs.has(session.id)) return [];
    try {
      if (this.runs.size >= maxRuns) throw new Fault('too-many-sessions', 'too many sessions are under way');
      if (session.kind === 'sign' && session.from.plan.threshold === 1) return this.signWhole(session);
      const run =
        session.kind === 'sign'
          ? this.signingRun(session)
          : new DealingRun(session, this.options, this.shares, now);
      if (run === null) return [];
      this.runs.set(session.id, run);
      return run.start(now);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return [{ type: 'failed', session: session.id, blamed: [], detail: `${error.code}: ${error.message}` }];
    }
  }

  /** Null where this host neither coordinates nor has a share. */
  private signingRun(session: SignSession): Run | null {
    const held = session.share === null ? null : this.shareOf(session, session.share);
    if (session.coordinator === this.self) {
      const group = held?.group ?? groupOfEpoch(session.from);
      return new CoordinatingRun(session, group, held, this.options);
    }
    return held === null ? null : new AnsweringRun(session, held, this.options);
  }

  /** Throws `Fault`: `share-unknown`, and as `groupOfEpoch`. */
  private shareOf({ from }: SignSession, name: string): HeldShare {
    const held = this.shares.share(name);
    groupOfEpoch(from, held.group);
    if (seatOf(from.plan.trustees, this.self) !== held.share.seat)
      throw new Fault('share-foreign', 'the share is of another seat');
    return held;
  }

  /** The founder signs alone, with the whole key. */
  private signWhole({ id, from, coordinator, message }: SignSession): readonly EngineReport[] {
    if (coordinator !== this.self) return [];
    const signer = this.shares.genesis();
    if (signer.publicKey !== from.rootKey)
      throw new Fault('share-foreign', 'the key is not that of the genesis root');
    return [{ type: 'signed', session: id, signature: signer.sign(message) }];
  }

  // --- Certificates ---

  private guard(exchange: number, act: () => EngineReport): readonly EngineReport[] {
    try {
      return [act()];
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return [{ type: 'declined', exchange, code: error.code, detail: error.message }];
    }
  }

  private offer({ exchange, requester, share }: Of<'offer'>, now: Millis): EngineReport {
    if (share === genesisShare) {
      this.shares.genesis();
      return { type: 'offered', exchange, nonceId: this.genesisNonceId, commitment: new Uint8Array() };
    }
    const { pool } = this.shares.share(share);
    const { id, commitment } = pool.offer(requester, this.options.entropy(nonceEntropyBytes), now);
    return { type: 'offered', exchange, nonceId: id, commitment: commitment.wire };
  }

  private contribute(order: Of<'contribute'>, now: Millis): EngineReport {
    const { exchange, requester, share, nonceId, commitments, message } = order;
    if (share === genesisShare) {
      const signer = this.shares.genesis();
      if (nonceId !== this.genesisNonceId)
        throw new Fault('nonce-unknown', 'no such nonces are promised to this requester');
      if (message.length > maxSigningMessageBytes)
        throw new Fault('message-too-long', `a message to sign has at most ${maxSigningMessageBytes} bytes`);
      return { type: 'contributed', exchange, share: signer.sign(message) };
    }
    const held = this.shares.share(share);
    const nonces = held.pool.take(requester, nonceId, now);
    const signing = new SigningSession(held.group, message, decodeNonceCommitments(commitments));
    return { type: 'contributed', exchange, share: signShare(signing, held.share, nonces) };
  }
}
