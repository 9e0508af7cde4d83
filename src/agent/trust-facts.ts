/** What records say of roots beyond their certificates: who believes which, who knows of which epoch. Pure. */
import { type HostId, type Random, randomInt } from '../core.ts';
import type { RootRotationValue, TrustAckValue, TrustEpochValue, TrustHeadValue } from './kinds.ts';

export class TrustFacts {
  /** The last root that an operator wants replaced; null while none does. */
  rotateGeneration: number | null = null;
  private readonly acks = new Map<HostId, TrustAckValue>();
  private readonly epochs = new Map<HostId, TrustEpochValue>();
  /** Epoch records that came since they were last taken, by who told of them. */
  private readonly news = new Map<HostId, Uint8Array>();
  /** Heads of issuance logs that came since they were last taken, by whose log it is. */
  private heads: (readonly [HostId, TrustHeadValue])[] = [];

  /** `value` null: the host no longer says so. */
  acknowledged(host: HostId, value: TrustAckValue | null): void {
    if (value === null) this.acks.delete(host);
    else this.acks.set(host, value);
  }

  ackOf(host: HostId): TrustAckValue | undefined {
    return this.acks.get(host);
  }

  toldOfEpoch(host: HostId, value: TrustEpochValue | null): void {
    if (value === null) {
      this.epochs.delete(host);
      this.news.delete(host);
      return;
    }
    this.epochs.set(host, value);
    this.news.set(host, Buffer.from(value.record, 'base64'));
  }

  epochOf(host: HostId): number | null {
    return this.epochs.get(host)?.epoch ?? null;
  }

  /** What one of those said who know of a later epoch than this, each as likely as the others; null for nobody. */
  laterEpochRecord(epoch: number, random: Random): Uint8Array | null {
    const later = [...this.epochs.values()].filter((value) => value.epoch > epoch);
    return later.length === 0 ? null : Buffer.from(later[randomInt(random, later.length)]!.record, 'base64');
  }

  /** Epoch records that are news, each of which proves itself or is nothing. */
  takeEpochRecords(): Uint8Array[] {
    const records = [...this.news.values()];
    this.news.clear();
    return records;
  }

  toldOfHead(host: HostId, value: TrustHeadValue | null): void {
    if (value !== null) this.heads.push([host, value]);
  }

  /** Heads that are news, each of which proves itself or is nothing. */
  takeHeads(): (readonly [HostId, TrustHeadValue])[] {
    const heads = this.heads;
    this.heads = [];
    return heads;
  }

  /** Operators asked for another root than this; what was asked for once stays asked for. */
  rotationAsked({ generation }: RootRotationValue): void {
    this.rotateGeneration = Math.max(this.rotateGeneration ?? 0, generation);
  }
}
