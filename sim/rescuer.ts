/**
 * The day on which too many trustees are lost with their disks, and the operator who brings the root back: with the
 * key that shares were put away for, or with another root where there is none. He tries until it is done.
 */

import type { RecoveryStatus } from '../src/agent/ca/recovery-port.ts';
import { assert, ed25519Signer, type Signer } from '../src/core.ts';
import { decodeDescriptor, decodePlan, type EpochDescriptor } from '../src/trust/epoch/descriptor.ts';
import { recipientOf } from '../src/trust/frost/key-agreement.ts';
import { type ColdKey, dealForRecovery } from '../src/trust/quorum/cold-dealer.ts';
import type { Host } from './host/host.ts';
import { drawBytes } from './host/keys.ts';
import type { World } from './world.ts';

/** Looks again whether it is done; and whether it can be done, or is to be tried again. */
const lookEveryMs = 500;
const tryEveryMs = 10_000;
const none = new Uint8Array();

/** What he has to do with. */
export interface Ward {
  readonly operator: Signer;
  awake(): Host[];
}

export class Rescuer {
  private readonly world: World;
  private readonly ward: Ward;
  /** On no host. */
  private readonly seed: Uint8Array;
  /** The epoch that too few trustees are left of; null while none is. */
  private lostEpoch: number | null = null;
  private lostAt = 0;
  private triedAt = Number.NEGATIVE_INFINITY;
  private tries = 0;
  /** From the loss until a host had the recovered epoch; null while none has, or nothing was lost. */
  rescuedMs: number | null = null;

  constructor(world: World, ward: Ward) {
    this.world = world;
    this.ward = ward;
    this.seed = drawBytes(world.random('recovery key'), 32);
  }

  private get coldKey(): ColdKey {
    return { signer: ed25519Signer(this.seed), agree: recipientOf(this.seed) };
  }

  /** Of the key that shares are put away for. */
  get recoveryKey(): string {
    return this.coldKey.signer.publicKey;
  }

  /**
   * Trustees to lose: as many as the shares that are put away can make good, and at least so many that too few are
   * left. Nobody while one host has the root whole.
   */
  victims(hosts: readonly Host[]): Host[] {
    const epoch = latestOf(hosts);
    if (epoch === null || epoch.plan.threshold === 1) return [];
    const { trustees, threshold, cold } = epoch.plan;
    const left = threshold - (cold?.seats ?? 1);
    return trustees.slice(left).flatMap((id) => hosts.find((host) => host.id === id) ?? []);
  }

  /** They are lost: sees to it that the mesh has a root again. */
  begin(hosts: readonly Host[]): void {
    this.lostEpoch = latestOf(hosts)?.plan.epoch ?? null;
    this.lostAt = this.world.now;
    this.look();
  }

  private look(): void {
    const ready = this.ward.awake().filter((host) => host.isReady);
    // What no ballot decided has a number that no ballot reaches.
    const isDone = (latestOf(ready)?.plan.epoch ?? 0) > (this.lostEpoch ?? 0) + 1000;
    if (isDone) {
      this.rescuedMs = this.world.now - this.lostAt;
      return;
    }
    if (this.world.now >= this.triedAt + tryEveryMs) this.tryAt(ready);
    this.world.after(lookEveryMs, () => this.look());
  }

  /** Through one host after the other. */
  private tryAt(ready: readonly Host[]): void {
    this.triedAt = this.world.now;
    const host = ready[this.tries++ % Math.max(1, ready.length)];
    host?.command({ type: 'read-recovery' }, (outcome) => {
      if ('value' in outcome) this.help(host, outcome.value as RecoveryStatus);
    });
  }

  /** As `starling ca recover`, with the recovery key if it is of use. Refused while the loss is not seen there. */
  private help(host: Host, status: RecoveryStatus): void {
    const { operator } = this.ward;
    if (!host.isReady) return;
    if (status.plan === null) {
      if (status.refusal?.code !== 'no-cold-seats' || status.newRoot.plan === null) return;
      const plan = Buffer.from(status.newRoot.plan, 'base64');
      const order = { plan, signature: none, dealing: none, shares: new Map() };
      host.command({ type: 'recover', ...order, operator }, () => undefined);
      return;
    }
    const plan = Buffer.from(status.plan, 'base64');
    const random = this.world.random(`recovery/${this.tries}`);
    const { signature, dealing, shares } = dealForRecovery({
      trustDomain: status.trustDomain,
      epoch: decodeDescriptor(Buffer.from(status.descriptor, 'base64')),
      plan: decodePlan(plan),
      key: this.coldKey,
      entropy: (bytes) => drawBytes(random, bytes),
    });
    assert(shares.size > 0, 'a recovery has receivers');
    host.command({ type: 'recover', plan, signature, dealing, shares, operator }, () => undefined);
  }
}

function latestOf(hosts: readonly Host[]): EpochDescriptor | null {
  const epochs = hosts.flatMap(({ agent }) => agent?.credentials()?.epochStatus().current ?? []);
  return epochs.sort((a, b) => a.plan.epoch - b.plan.epoch).at(-1) ?? null;
}
