/**
 * The epochs of a mesh, from the genesis that every host pins to the one in force: what a late member walks.
 *
 * The next epoch is proven by the trustees of this one and by its key. Later ones under the same key are proven
 * by that key alone, so only the first and the last record of each key are kept: twice as many as there were root
 * keys. The key of the genesis is not trusted for such a leap, because it existed whole on one host.
 */
import { Fault, type HostId, type Verify } from '../../core.ts';
import { type EpochDescriptor, keepsKey } from './descriptor.ts';
import { Electorate } from './electorate.ts';
import { maxRecordsPerAnswer } from './message.ts';
import { type EpochRecord, isSignedBy } from './record.ts';
import { checkSuccessor } from './rules.ts';
import { isAckOf, recoveryStatement, voucherMessage } from './voucher.ts';

/** What a new root needs that none before it signs for. */
export interface Refounding {
  /** Of the first operator. */
  readonly operatorKey: HostId;
  /** Whether more than half of all hosts are known to stand by the epoch of this hash. */
  readonly isEndorsed: (hash: string) => boolean;
}

export const noRefounding: Refounding = { operatorKey: '', isEndorsed: () => false };

/**
 * What a record is to this chain. `split`: it is of another root of a generation that this chain has one of, and one of
 * the two is the operator's, made because a quorum seemed lost that went on elsewhere, and made another itself.
 */
export type ChainVerdict = 'known' | 'past' | 'next' | 'leap' | 'split';

export class EpochChain {
  private readonly verify: Verify;
  private readonly genesis: EpochDescriptor;
  private readonly refounding: Refounding;
  /** The first and the last of each key; by epoch, ascending. */
  private kept: EpochRecord[] = [];

  constructor(genesis: EpochDescriptor, verify: Verify, refounding: Refounding = noRefounding) {
    this.genesis = genesis;
    this.verify = verify;
    this.refounding = refounding;
  }

  /** The epoch in force. */
  get latest(): EpochDescriptor {
    return this.kept.at(-1)?.descriptor ?? this.genesis;
  }

  get records(): readonly EpochRecord[] {
    return this.kept;
  }

  /**
   * Whether a record may enter. Faults: `epoch-forged`, `not-a-successor`, `unjustified`; `epoch-unproven`,
   * where the records between are needed first; `epoch-forked`, where a quorum of one epoch signed two
   * successors and so is proven to be compromised.
   */
  judge(record: EpochRecord): ChainVerdict {
    const { descriptor } = record;
    const { plan } = descriptor;
    const latest = this.latest;
    if (plan.mesh !== latest.plan.mesh) throw new Fault('epoch-forged', 'of another mesh');
    if (plan.epoch <= latest.plan.epoch) return this.judgePast(record);
    if (plan.kind === 'refound') return this.judgeRefounding(record);
    if (plan.epoch === latest.plan.epoch + 1) {
      checkSuccessor(descriptor, latest);
      if (!isSignedBy(record, latest.rootKey, this.verify)) throw forged(descriptor);
      new Electorate(latest, this.verify).checkDecision(record.accepted, descriptor.hash);
      return 'next';
    }
    if (latest.plan.threshold === 1 || plan.generation > latest.plan.generation + 1)
      throw new Fault('epoch-unproven', `the records that lead to epoch ${plan.epoch} are not known here`);
    if (!isSignedBy(record, latest.rootKey, this.verify)) {
      // Made by reshares of a later key, whose own record has to come first.
      if (plan.generation !== latest.plan.generation && keepsKey(plan.kind))
        throw new Fault('epoch-unproven', `the record of root g${plan.generation} is not known here`);
      throw forged(descriptor);
    }
    const isSameKey = keepsKey(plan.kind);
    if (isSameKey !== (plan.generation === latest.plan.generation)) throw forged(descriptor);
    if (isSameKey !== (descriptor.rootKey === latest.rootKey)) throw forged(descriptor);
    return 'leap';
  }

  /** By the first operator's word, and that of more than half of all hosts, which this host knows or waits for. */
  private judgeRefounding(record: EpochRecord): ChainVerdict {
    const { plan, hash } = record.descriptor;
    const { generation } = this.latest.plan;
    if (plan.generation <= generation && this.refounding.isEndorsed(hash)) {
      this.checkRefounded(record);
      return 'split';
    }
    if (plan.generation !== generation + 1)
      throw new Fault(
        'epoch-unproven',
        `the epochs that lead to root g${plan.generation} are not known here`,
      );
    this.checkRefounded(record);
    if (!this.refounding.isEndorsed(hash))
      throw new Fault(
        'epoch-unproven',
        `root g${plan.generation} waits for the word of more than half of all hosts`,
      );
    return 'leap';
  }

  /** That its operator wants it, and that all who are to hold the key say that they do. Throws `Fault('epoch-forged')`. */
  checkRefounded({ descriptor, accepted, signature }: EpochRecord): void {
    const { plan, hash } = descriptor;
    const { operatorKey } = this.refounding;
    const holders = new Set(
      accepted
        .filter((voucher) => isAckOf(voucher, plan, hash))
        .filter((voucher) => {
          const message = voucherMessage(plan.mesh, plan.previous, voucher);
          return this.verify(voucher.by, message, voucher.signature);
        })
        .map(({ by }) => by),
    );
    if (!plan.trustees.every((host) => holders.has(host))) throw forged(descriptor);
    if (!this.verify(operatorKey, recoveryStatement(plan), signature)) throw forged(descriptor);
  }

  private judgePast(record: EpochRecord): ChainVerdict {
    const { descriptor } = record;
    if (this.isOfOtherRoot(record)) return 'split';
    const index = this.kept.findIndex((kept) => kept.descriptor.plan.epoch === descriptor.plan.epoch);
    if (index < 0) return 'past';
    if (this.kept[index]!.descriptor.hash === descriptor.hash) return 'known';
    const signedBy = (this.kept[index - 1]?.descriptor ?? this.genesis).rootKey;
    if (descriptor.plan.kind === 'refound') this.checkRefounded(record);
    else if (!isSignedBy(record, signedBy, this.verify)) throw forged(descriptor);
    throw new Fault('epoch-forked', `epoch ${descriptor.plan.epoch} has two records signed by the root`);
  }

  /** Whether the key before signed for another root than the one that an operator had put in its place here. */
  private isOfOtherRoot(record: EpochRecord): boolean {
    const { plan, rootKey } = record.descriptor;
    const ours = this.kept.find(
      ({ descriptor }) => descriptor.plan.generation === plan.generation,
    )?.descriptor;
    if (plan.kind !== 'generate' || ours?.plan.kind !== 'refound' || ours.rootKey === rootKey) return false;
    const before = this.ofGeneration(plan.generation - 1);
    return before !== undefined && isSignedBy(record, before.rootKey, this.verify);
  }

  /** Whether a record of the past is of a root that this chain never had: what led to it is worth asking for. */
  isOfUnknownRoot({ plan, rootKey }: EpochDescriptor): boolean {
    const { plan: latest } = this.latest;
    const ours = this.kept.find(
      ({ descriptor }) => descriptor.plan.generation === plan.generation,
    )?.descriptor;
    return (
      plan.epoch < latest.epoch &&
      (ours === undefined ? plan.generation > latest.generation : ours.rootKey !== rootKey)
    );
  }

  /** Takes a record that `judge` let in as `next` or `leap`; gives the epoch whose record is kept no more. */
  add(record: EpochRecord): number | null {
    const last = this.kept.at(-1);
    const isSameKey = keepsKey(record.descriptor.plan.kind);
    const superseded = last !== undefined && isSameKey && keepsKey(last.descriptor.plan.kind);
    if (superseded) this.kept.pop();
    this.kept.push(record);
    return superseded ? last.descriptor.plan.epoch : null;
  }

  /** The first records that lead on from `epoch`, oldest first. */
  after(epoch: number): EpochRecord[] {
    return this.kept.filter(({ descriptor }) => descriptor.plan.epoch > epoch).slice(0, maxRecordsPerAnswer);
  }

  /** Whether this epoch was in force here, as far as records of it are kept. */
  has(hash: string): boolean {
    return this.kept.some(({ descriptor }) => descriptor.hash === hash);
  }

  /** The last epoch that is known here and comes before this number. */
  before(epoch: number): number {
    const earlier = this.kept.findLast(({ descriptor }) => descriptor.plan.epoch < epoch);
    return earlier?.descriptor.plan.epoch ?? 0;
  }

  /** The last epoch that held the key of a generation: its trustees are who signs with it. */
  ofGeneration(generation: number): EpochDescriptor | undefined {
    const all = [this.genesis, ...this.kept.map(({ descriptor }) => descriptor)];
    return all.findLast(({ plan }) => plan.generation === generation);
  }

  /** Every trustee of an epoch that is kept; those of the reshares between are not known any more. */
  trustees(): Set<HostId> {
    const all = [this.genesis, ...this.kept.map(({ descriptor }) => descriptor)];
    return new Set(all.flatMap(({ plan }) => plan.trustees));
  }

  /** The root key of every generation, from the genesis on. */
  keys(): Map<number, HostId> {
    const keys = new Map([[0, this.genesis.rootKey]]);
    for (const { descriptor } of this.kept) keys.set(descriptor.plan.generation, descriptor.rootKey);
    return keys;
  }

  /** Whether the trustees of `epoch` were the last of their key: they still hold what signs for it. */
  isLastOfItsKey(epoch: number): boolean {
    return this.kept.some(
      ({ descriptor }) => descriptor.plan.epoch === epoch + 1 && descriptor.plan.kind === 'generate',
    );
  }
}

function forged(descriptor: EpochDescriptor): Fault {
  return new Fault('epoch-forged', `epoch ${descriptor.plan.epoch} is not signed by the root before it`);
}
