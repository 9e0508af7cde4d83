/** What a host keeps of its part in epochs across a crash: its word, its shares, and shares that may become it. */
import { ByteReader, ByteWriter, Fault } from '../../core.ts';
import { type AcceptorState, readAcceptor, writeAcceptor } from './acceptor.ts';
import type { EpochChain } from './chain.ts';
import type { ShareName } from './crypto-port.ts';
import { decodeDescriptor, type EpochDescriptor, maxBallot, maxDescriptorBytes } from './descriptor.ts';

/** A share of the key of an epoch in force, now or, for keys not yet spent, before. */
export interface HeldShare {
  readonly epoch: number;
  readonly generation: number;
  readonly name: ShareName;
}

const format = 2;
/** Ballots of one succession that came to a vote and to nothing. More are not dealt for; about 2 KB each. */
const maxPending = 48;
/** Shares go with each key spent, pending ones are bounded. Only rot exceeds it. */
const maxListed = 64;
const maxNameBytes = 64;

export class Holdings {
  shares: HeldShare[] = [];
  /** Epochs that may come to be, for which a share is durable here. */
  pending: EpochDescriptor[] = [];
  /** The last ballot of this succession in which this host took part in making shares; 0 for none. */
  dealtBallot = 0;

  /** Of the last recovery from this epoch in which this host took part; 0 for none. */
  recoveredEpoch = 0;

  shareOf(epoch: number): ShareName | null {
    return this.shares.find((share) => share.epoch === epoch)?.name ?? null;
  }

  /** Every secret that is still needed. */
  names(): ShareName[] {
    return [...this.shares.map((share) => share.name), ...this.pending.map((epoch) => epoch.session)];
  }

  /** Forgets shares whose secret is not there any more; gives their names. A repair brings new ones. */
  dropMissing(present: readonly ShareName[]): ShareName[] {
    const missing = this.names().filter((name) => !present.includes(name));
    this.shares = this.shares.filter((share) => present.includes(share.name));
    this.pending = this.pending.filter((epoch) => present.includes(epoch.session));
    return missing;
  }

  hold(descriptor: EpochDescriptor): void {
    const { epoch, generation } = descriptor.plan;
    this.shares.push({ epoch, generation, name: descriptor.session });
  }

  /**
   * Forgets what was planned in ballots after `voted`, which never came to a vote (see `Verdict`). All others
   * must stay until the epoch is decided: a share given up too early may be one of the last of the root.
   */
  dropPendingAfter(voted: number): ShareName[] {
    const dropped = this.pending.filter((epoch) => epoch.plan.ballot > voted);
    this.pending = this.pending.filter((epoch) => epoch.plan.ballot <= voted);
    return dropped.map((epoch) => epoch.session);
  }

  /** Whether there is room for one more share once those are dropped. */
  canHoldMore(voted: number): boolean {
    return this.pending.filter((epoch) => epoch.plan.ballot <= voted).length < maxPending;
  }

  /**
   * The chain has entered a new epoch: its pending share is now a share, the others and those of epochs past
   * go; but the last shares of an older key stay until that key is spent. Gives what is to be shredded.
   */
  enter(chain: EpochChain): ShareName[] {
    const before = this.names();
    const { latest } = chain;
    const own = this.pending.find((epoch) => epoch.hash === latest.hash);
    this.pending = [];
    this.dealtBallot = 0;
    this.recoveredEpoch = 0;
    this.shares = this.shares.filter((share) => chain.isLastOfItsKey(share.epoch));
    if (own !== undefined) this.hold(own);
    const after = this.names();
    return before.filter((name) => !after.includes(name));
  }

  /** Keys of these generations sign no more; that of the epoch in force always stays. */
  dropSpent(generations: readonly number[], current: EpochDescriptor): ShareName[] {
    const isKept = (share: HeldShare): boolean =>
      !generations.includes(share.generation) || share.epoch === current.plan.epoch;
    const dropped = this.shares.filter((share) => !isKept(share));
    this.shares = this.shares.filter(isKept);
    return dropped.map((share) => share.name);
  }

  encode(acceptor: AcceptorState): Uint8Array {
    const writer = new ByteWriter().u8(format);
    writeAcceptor(writer, acceptor);
    writer.varint(this.dealtBallot).varint(this.recoveredEpoch).varint(this.shares.length);
    for (const { epoch, generation, name } of this.shares)
      writer.varint(epoch).varint(generation).string(name);
    writer.varint(this.pending.length);
    for (const epoch of this.pending) writer.bytes(epoch.bytes);
    return writer.done();
  }

  /** Throws `Fault('malformed')`. */
  decode(bytes: Uint8Array): AcceptorState {
    const reader = new ByteReader(bytes);
    if (reader.u8() !== format) throw new Fault('malformed', 'a format this version does not know');
    const acceptor = readAcceptor(reader);
    this.dealtBallot = reader.varint(maxBallot);
    this.recoveredEpoch = reader.varint();
    this.shares = Array.from({ length: reader.varint(maxListed) }, () => ({
      epoch: reader.varint(),
      generation: reader.varint(),
      name: reader.string(maxNameBytes),
    }));
    this.pending = Array.from({ length: reader.varint(maxListed) }, () =>
      decodeDescriptor(reader.bytes(maxDescriptorBytes)),
    );
    reader.end();
    return acceptor;
  }
}
