/** What records say of roots beyond their certificates: who believes which, who knows of which epoch. Pure. */
import { type HostId, type Millis, type Random, randomInt } from '../../core.ts';
import type {
  RecoveryDrillValue,
  RecoveryKeyValue,
  RootRotationValue,
  TrustAccusationValue,
  TrustAckValue,
  TrustEpochValue,
  TrustHeadValue,
  TrustStandValue,
} from '../kinds.ts';
import { AccusationBook } from './accusation-book.ts';

/** One host's word of an epoch that leads nowhere is asked about again after so long at first, then twice as long. */
const firstPauseMs = 5_000;
const longestPauseMs = 300_000;

/** When a host may be asked about again, and how long after that. */
interface Pause {
  readonly until: Millis;
  readonly nextMs: Millis;
}

export class TrustFacts {
  /** The last root that an operator wants replaced; null while none does. */
  rotateGeneration: number | null = null;
  /** Whom shares of the root are to be sealed for; null where no operator ever said so. */
  recoveryKey: RecoveryKeyValue | null = null;
  /** When the sealed shares were last looked after, as operators say. */
  drill: RecoveryDrillValue | null = null;
  readonly accusations = new AccusationBook();
  private readonly acks = new Map<HostId, TrustAckValue>();
  private readonly epochs = new Map<HostId, TrustEpochValue>();
  /** Of hosts that tell of epochs which this host has not reached. */
  private readonly pauses = new Map<HostId, Pause>();
  /** Epoch records that came since they were last taken, by who told of them. */
  private readonly news = new Map<HostId, Uint8Array>();
  /** Heads of issuance logs that came since they were last taken, by whose log it is. */
  private heads: (readonly [HostId, TrustHeadValue])[] = [];
  /** The new root that each host stands by, as the hash of its epoch. */
  private readonly stands = new Map<HostId, string>();
  /** The last head of each host that was not known to have been a trustee when it came. */
  private readonly strangersHeads = new Map<HostId, TrustHeadValue>();

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
      this.pauses.delete(host);
      this.news.delete(host);
      return;
    }
    this.epochs.set(host, value);
    this.news.set(host, Buffer.from(value.record, 'base64'));
  }

  epochOf(host: HostId): number | null {
    return this.epochs.get(host)?.epoch ?? null;
  }

  /**
   * What one of those said who know of a later epoch than this, each as likely as the others; null for nobody. Who
   * was chosen is let be for a while, longer each time, until this host has reached the epoch that it told of.
   */
  laterEpochRecord(epoch: number, now: Millis, random: Random): Uint8Array | null {
    const later: (readonly [HostId, TrustEpochValue])[] = [];
    for (const [host, value] of this.epochs)
      if (value.epoch <= epoch) this.pauses.delete(host);
      else if ((this.pauses.get(host)?.until ?? now) <= now) later.push([host, value]);
    if (later.length === 0) return null;
    const [host, { record }] = later[randomInt(random, later.length)]!;
    const pauseMs = this.pauses.get(host)?.nextMs ?? firstPauseMs;
    this.pauses.set(host, { until: now + pauseMs, nextMs: Math.min(2 * pauseMs, longestPauseMs) });
    return Buffer.from(record, 'base64');
  }

  /** Epoch records that are news, each of which proves itself or is nothing. */
  takeEpochRecords(): Uint8Array[] {
    const records = [...this.news.values()];
    this.news.clear();
    return records;
  }

  toldOfHead(host: HostId, value: TrustHeadValue | null): void {
    if (value !== null) this.heads.push([host, value]);
    else this.strangersHeads.delete(host);
  }

  /** Word of a new root may be the one that its record waited for. */
  stood(host: HostId, value: TrustStandValue | null): void {
    if (value === null) {
      this.stands.delete(host);
      return;
    }
    this.stands.set(host, value.hash);
    for (const [teller, told] of this.epochs)
      if (told.epoch === value.epoch) this.news.set(teller, Buffer.from(told.record, 'base64'));
  }

  standOf(host: HostId): string | null {
    return this.stands.get(host) ?? null;
  }

  accused(by: HostId, key: string, value: TrustAccusationValue | null): void {
    this.accusations.told(by, key, value);
  }

  /** An operator denied this host: what it said of others is nobody's word any more. */
  denied(host: HostId): void {
    this.accusations.forgetHost(host);
  }

  get hasHeads(): boolean {
    return this.heads.length > 0 || this.strangersHeads.size > 0;
  }

  /**
   * Heads of these hosts that are news, each of which proves itself or is nothing. The last one of each other host
   * stays: it may be known to be a trustee only later.
   */
  takeHeads(of: ReadonlySet<HostId>): (readonly [HostId, TrustHeadValue])[] {
    const taken: (readonly [HostId, TrustHeadValue])[] = [];
    for (const host of of) {
      const value = this.strangersHeads.get(host);
      if (value !== undefined && this.strangersHeads.delete(host)) taken.push([host, value]);
    }
    for (const [host, value] of this.heads)
      if (of.has(host)) taken.push([host, value]);
      else this.strangersHeads.set(host, value);
    this.heads = [];
    return taken;
  }

  /** Operators asked for another root than this; what was asked for once stays asked for. */
  rotationAsked({ generation }: RootRotationValue): void {
    this.rotateGeneration = Math.max(this.rotateGeneration ?? 0, generation);
  }
}
