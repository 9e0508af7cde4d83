/** This host's shares of root keys: on disk, and in the engine that alone uses them. */
import { messageOf } from '../../core.ts';
import { genesisShare, type ShareName } from '../../trust/epoch/crypto-port.ts';
import type { SecretToKeep } from '../../trust/epoch/port.ts';
import { EngineThread } from '../../trust/io/engine-thread.ts';
import { collectGarbage } from '../../trust/io/garbage.ts';
import type { StoredKey } from '../../trust/io/keys.ts';
import { SecretStore } from '../../trust/io/secret-store.ts';
import type { EngineOrder, EngineReport } from '../../trust/quorum/engine-port.ts';
import { defaultEngineTimings } from '../../trust/quorum/run.ts';
import type { WritableSecrets } from './driver.ts';
import type { Logger } from './logger.ts';

export interface SharesOptions {
  readonly dataDir: string;
  readonly hostKey: StoredKey;
  readonly trustDomain: string;
  readonly log: Logger;
}

export class Shares implements WritableSecrets {
  /** What the disk held at the start; the engine has them. */
  readonly names: readonly ShareName[];
  /** How many more it held that could not be read. */
  readonly damaged: number;
  private readonly store: SecretStore;
  private readonly engine: EngineThread;
  private readonly log: Logger;
  /** Arrays of secrets that are durable. */
  private readonly wiped = new WeakSet<Uint8Array>();
  private lastKept: Promise<void> = Promise.resolve();
  private report: (report: EngineReport) => void = () => {};

  private constructor(
    store: SecretStore,
    secrets: readonly SecretToKeep[],
    damaged: number,
    options: SharesOptions,
  ) {
    const { hostKey, trustDomain, log } = options;
    this.store = store;
    this.log = log;
    this.damaged = damaged;
    this.names = secrets.map(({ name }) => name);
    const data = { seed: hostKey.seed, trustDomain, timings: defaultEngineTimings };
    this.engine = new EngineThread(data, (report) => this.report(report));
    for (const { name, bytes } of secrets) {
      this.engine.order({ type: 'hold', name, secret: bytes });
      bytes.fill(0);
    }
  }

  /** Throws `Fault`: `secret-unwritable`, `secret-unreadable`. A damaged share is logged and left alone. */
  static async open(options: SharesOptions): Promise<Shares> {
    const store = await SecretStore.open(options.dataDir, options.hostKey.signer.publicKey);
    const { secrets, damaged } = await store.load();
    for (const { name, fault } of damaged)
      options.log.error({ share: name.slice(0, 8), detail: fault.message }, 'share-damaged');
    return new Shares(store, secrets, damaged.length, options);
  }

  /** Who is told what the engine says. */
  onReport(report: (report: EngineReport) => void): void {
    this.report = report;
  }

  order(order: EngineOrder): void {
    this.engine.order(order);
  }

  /** Wipes the secrets once they are durable: the engine has its own copy. What failed stays, for another try. */
  keep(secrets: readonly SecretToKeep[]): Promise<void> {
    const kept = this.lastKept.then(() => this.keepNew(secrets));
    // Whoever asked for it hears of its failure.
    this.lastKept = kept.catch(() => {});
    return kept;
  }

  /** A write that was under way when an earlier one became durable has the same secrets again, wiped by then. */
  private async keepNew(secrets: readonly SecretToKeep[]): Promise<void> {
    const fresh = secrets.filter(({ bytes }) => !this.wiped.has(bytes));
    await this.store.keep(fresh);
    for (const { bytes } of fresh) {
      bytes.fill(0);
      this.wiped.add(bytes);
    }
  }

  /** Where that fails, the next start finds shares that nothing names, and tries again. */
  shred(names: readonly ShareName[]): void {
    this.engine.order({ type: 'forget', names });
    // The founder's key was in use on this thread too, and nothing here refers to it any more.
    if (names.includes(genesisShare)) setImmediate(collectGarbage);
    this.store
      .shred(names)
      .catch((error: unknown) => this.log.error({ detail: messageOf(error) }, 'share-not-shredded'));
  }

  /** Resolves when the engine has ended and with it all it knows. */
  stop(): Promise<void> {
    return this.engine.stop();
  }
}
