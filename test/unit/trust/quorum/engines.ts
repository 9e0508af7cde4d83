/** Real engines for the net of hosts that agree on epochs: everything derives from labels. */
import { ed25519Verify, type HostId, type Millis } from '../../../../src/core.ts';
import type { CryptoOrder, CryptoReport, ShareName } from '../../../../src/trust/epoch/crypto-port.ts';
import { recipientOf } from '../../../../src/trust/frost/key-agreement.ts';
import { ThresholdEngine } from '../../../../src/trust/quorum/engine.ts';
import type { EngineReport } from '../../../../src/trust/quorum/engine-port.ts';
import { defaultEngineTimings } from '../../../../src/trust/quorum/run.ts';
import type { Cryptography, Disk, HostCrypto } from '../epoch/net.ts';
import { entropyOf, hostOf } from '../frost/parties.ts';

export const trustDomain = 'mesh.example';

/** The engine of the host of that label; entropy follows from the label and from which boot of it this is. */
export function engineOf(label: string, boot = 1): ThresholdEngine {
  let drawn = 0;
  return new ThresholdEngine({
    signer: hostOf(label),
    verify: ed25519Verify,
    agree: recipientOf(seedOf(label)),
    entropy: (bytes) => entropyOf(`${label} ${boot} ${drawn++}`, bytes),
    trustDomain,
    bootId: Buffer.from(entropyOf(`boot ${label} ${boot}`, 16)).toString('hex'),
    timings: defaultEngineTimings,
  });
}

/** The seed of a key that `hostOf(label)` signs with. */
export function seedOf(label: string): Uint8Array {
  return entropyOf(`host ${label}`, 32);
}

/** Changes what an engine answers to an order. */
export type Tap = (order: CryptoOrder, said: readonly CryptoReport[]) => readonly CryptoReport[];

/** One host's engine under the net's clock, which asks for nothing but what the agreement orders. */
export class EngineCrypto implements HostCrypto {
  readonly engine: ThresholdEngine;
  private readonly now: () => Millis;
  private readonly tap: Tap;

  /** `tap` may change what the engine says. */
  constructor(label: string, boot: number, disk: Disk, now: () => Millis, tap: Tap = (_, said) => said) {
    this.engine = engineOf(label, boot);
    this.now = now;
    this.tap = tap;
    for (const [name, secret] of disk.secrets) this.engine.step({ type: 'hold', name, secret }, now());
  }

  order(order: CryptoOrder): readonly CryptoReport[] {
    return this.tap(order, cryptoReports(this.engine.step(order, this.now())));
  }

  forget(names: readonly ShareName[]): void {
    this.engine.step({ type: 'forget', names }, this.now());
  }

  nextWake(): Millis | null {
    return this.engine.nextWake();
  }

  wake(): readonly CryptoReport[] {
    return cryptoReports(this.engine.step({ type: 'wake' }, this.now()));
  }
}

/** The reports that are for the agreement: all that its orders lead to. */
export function cryptoReports(reports: readonly EngineReport[]): CryptoReport[] {
  return reports.filter(
    (report) => report.type !== 'offered' && report.type !== 'contributed' && report.type !== 'declined',
  );
}

/** Engines for all hosts of a net; `taps` by host index change what theirs say. */
export function realCryptography(taps: ReadonlyMap<number, Tap> = new Map()): Cryptography {
  let boots = 0;
  return {
    signer: hostOf,
    verify: ed25519Verify,
    genesisSecret: () => seedOf('root'),
    start: (index, disk, net) =>
      new EngineCrypto(`host-${index}`, ++boots, disk, () => net.now, taps.get(index)),
  };
}

export function idOf(index: number): HostId {
  return hostOf(`host-${index}`).publicKey;
}
