/**
 * Stand-ins for keys and for threshold cryptography, fast enough for thousands of runs. They check what the
 * agreement owes the real ones: that dealers and signers hold their very share of the epoch they act for.
 */
import { createHash } from 'node:crypto';
import type { HostId, Random, Signer, Verify } from '../../../../src/core.ts';
import type {
  CryptoOrder,
  CryptoReport,
  CryptoSession,
  EpochCrypto,
} from '../../../../src/trust/epoch/crypto-port.ts';
import type { EpochDescriptor } from '../../../../src/trust/epoch/descriptor.ts';

function sha256(...parts: (string | Uint8Array)[]): Buffer {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(typeof part === 'string' ? `${part}\0` : part);
  return hash.digest();
}

function seal(publicKey: HostId, message: Uint8Array): Uint8Array {
  const half = sha256('signature', publicKey, message);
  return Buffer.concat([half, sha256(half)]);
}

/** Signatures that nobody here forges. */
export const standInVerify: Verify = (publicKey, message, signature) =>
  Buffer.from(signature).equals(seal(publicKey, message));

export function standInSigner(label: string): Signer {
  const publicKey = sha256('key', label).toString('hex');
  return { publicKey, sign: (message) => seal(publicKey, message) };
}

/** The share of `host` in the epoch: what the store of secrets must hold. */
export function secretOf(epoch: EpochDescriptor, host: HostId): Uint8Array {
  return sha256('secret', epoch.outcome, host);
}

interface Run {
  readonly session: CryptoSession;
  readonly received: Map<HostId, Uint8Array>;
  isDone: boolean;
}

/** A dealing is a random number; the outcome, the hash of all of them. A signature needs a quorum's shares. */
export class StandInCrypto implements EpochCrypto {
  private readonly self: HostId;
  private readonly random: Random;
  private readonly secret: (name: string) => Uint8Array | undefined;
  private readonly runs = new Map<string, Run>();
  /** Outlives crashes: sessions that this host ever took part in. */
  private readonly begun: Set<string>;

  constructor(
    self: HostId,
    random: Random,
    secret: (name: string) => Uint8Array | undefined,
    begun: Set<string>,
  ) {
    this.begun = begun;
    this.self = self;
    this.random = random;
    this.secret = secret;
  }

  order(order: CryptoOrder): readonly CryptoReport[] {
    if (order.type === 'end') {
      this.runs.delete(order.session);
      return [];
    }
    if (order.type === 'begin') {
      const { session } = order;
      if (session.kind !== 'sign' && this.begun.has(session.id))
        throw new Error(`${this.self.slice(0, 6)} takes part twice in one session`);
      this.begun.add(session.id);
      const run: Run = { session: order.session, received: new Map(), isDone: false };
      this.runs.set(order.session.id, run);
      return run.session.kind === 'sign' ? this.beginSigning(run) : this.beginDealing(run);
    }
    const run = this.runs.get(order.session);
    if (run === undefined || order.type === 'kept') return [];
    run.received.set(order.from, order.bytes);
    return run.session.kind === 'sign' ? this.continueSigning(run, order.from) : this.finishDealing(run);
  }

  private holds(session: CryptoSession): boolean {
    if (session.kind === 'generate') return true;
    if (session.share === null) return false;
    const secret = this.secret(session.share);
    return secret !== undefined && Buffer.from(secret).equals(secretOf(session.from, this.self));
  }

  private beginDealing(run: Run): CryptoReport[] {
    const { session } = run;
    if (session.kind === 'sign' || !session.plan.dealers.includes(this.self)) return this.finishDealing(run);
    if (!this.holds(session))
      throw new Error(`${this.self.slice(0, 6)} deals for epoch ${session.plan.epoch} without its share`);
    const dealing = sha256('dealing', String(this.random.next()));
    run.received.set(this.self, dealing);
    const others = session.plan.trustees.filter((host) => host !== this.self);
    const sends = others.map(
      (to): CryptoReport => ({ type: 'send', session: session.id, to, bytes: dealing }),
    );
    return [...sends, ...this.finishDealing(run)];
  }

  private finishDealing(run: Run): CryptoReport[] {
    const { session } = run;
    if (session.kind === 'sign' || run.isDone || !session.plan.trustees.includes(this.self)) return [];
    if (session.plan.dealers.some((dealer) => !run.received.has(dealer))) return [];
    run.isDone = true;
    const outcome = sha256(
      'outcome',
      session.id,
      ...session.plan.dealers.map((dealer) => run.received.get(dealer)!),
    );
    const rootKey =
      session.kind === 'generate' ? sha256('root', outcome).toString('hex') : session.from.rootKey;
    const secret = sha256('secret', outcome, this.self);
    return [{ type: 'established', session: session.id, rootKey, outcome, secret }];
  }

  private partialOf(session: Extract<CryptoSession, { kind: 'sign' }>, host: HostId): Buffer {
    return sha256('partial', secretOf(session.from, host), session.message);
  }

  private beginSigning(run: Run): CryptoReport[] {
    const { session } = run;
    if (session.kind !== 'sign') return [];
    if (session.share !== null && !this.holds(session))
      throw new Error(
        `${this.self.slice(0, 6)} signs for epoch ${session.from.plan.epoch} without its share`,
      );
    const partial = this.partialOf(session, this.self);
    if (session.coordinator !== this.self)
      return [{ type: 'send', session: session.id, to: session.coordinator, bytes: partial }];
    if (session.share !== null) run.received.set(this.self, partial);
    return this.continueSigning(run, this.self);
  }

  private continueSigning(run: Run, from: HostId): CryptoReport[] {
    const { session } = run;
    if (session.kind !== 'sign' || session.coordinator !== this.self || run.isDone) return [];
    const partial = run.received.get(from);
    if (partial !== undefined && !Buffer.from(partial).equals(this.partialOf(session, from)))
      throw new Error('a partial signature is wrong');
    if (run.received.size < session.from.plan.threshold) return [];
    run.isDone = true;
    return [{ type: 'signed', session: session.id, signature: seal(session.from.rootKey, session.message) }];
  }
}
