/**
 * What hosts were seen to do with root keys: which epochs they entered, who lent its share to which signature,
 * which certificates they keep. What may never be is a `Violation` at the moment it happens.
 */
import { hash } from 'node:crypto';
import { ed25519Verify, type HostId, type Millis } from '../../src/core.ts';
import type { StoreOp } from '../../src/gossip/port.ts';
import type { Genesis } from '../../src/trust/admission/genesis.ts';
import { genesisShare } from '../../src/trust/epoch/crypto-port.ts';
import { type EpochDescriptor, genesisEpoch, statementOf } from '../../src/trust/epoch/descriptor.ts';
import { epochPrefix } from '../../src/trust/epoch/port.ts';
import { decodeRecord } from '../../src/trust/epoch/record.ts';
import type { SavedIdentity } from '../../src/trust/issuance/svid.ts';
import type { EngineOrder, EngineReport } from '../../src/trust/quorum/engine-port.ts';
import { decodeSigningMessage } from '../../src/trust/quorum/signing-message.ts';
import type { TrustState } from '../../src/trust/state.ts';
import { certificatesOfPem, parseCertificate } from '../../src/trust/x509/certificate.ts';
import { backdateMs } from '../../src/trust/x509/root.ts';
import { verifySvidProfile } from '../../src/trust/x509/svid-profile.ts';
import type { World } from '../world.ts';
import { Violation } from './violation.ts';

const recordPrefix = `${epochPrefix}record/`;

/** A certificate that a host keeps, as it was found to be. */
export interface Kept {
  readonly service: string;
  /** Which root signed it. */
  readonly generation: number;
  /** Keys of the roots by whose certificate alone it is believed: its own, and those that its chain leads to. */
  readonly anchors: readonly HostId[];
  readonly notAfter: number;
}

export interface TrustCounters {
  certificates: number;
  /** Of these, by a quorum. */
  byQuorum: number;
  epochs: number;
  roots: number;
}

export function noTrustCounters(): TrustCounters {
  return { certificates: 0, byQuorum: 0, epochs: 0, roots: 0 };
}

/** A host as the ledger sees it. */
export interface Keeper {
  readonly number: number;
  readonly name: string;
  readonly id: HostId;
  readonly now: Millis;
  readonly agent: { readonly trust: TrustState } | null;
}

export class TrustLedger {
  readonly counters: TrustCounters = { ...noTrustCounters(), roots: 1 };
  private readonly world: Pick<World, 'elapsedMs'>;
  private readonly longestMs: number;
  private readonly epochs = new Map<number, EpochDescriptor>();
  private readonly rootKeys = new Map<number, HostId>();
  /** Who lent its share to a signature, by what was signed and by the name of the shares. */
  private readonly lenders = new Map<string, Set<HostId>>();
  /** What engines are asked to sign, by host and exchange. */
  private readonly exchanges = new Map<string, string>();
  /** What the sessions of the agreement sign. */
  private readonly sessions = new Map<string, string>();
  private readonly kept = new Map<string, Kept>();

  constructor(world: Pick<World, 'elapsedMs'>, svidTtlMs: number) {
    this.world = world;
    this.longestMs = svidTtlMs + backdateMs;
  }

  private founded({ hash: mesh, founder, root, createdAt }: Genesis): void {
    if (this.epochs.has(0)) return;
    this.epochs.set(0, genesisEpoch(mesh, founder, root.publicKey, createdAt));
    this.rootKeys.set(0, root.publicKey);
  }

  /** The epoch of a number, once anybody has entered it. */
  epoch(number: number): EpochDescriptor | undefined {
    return this.epochs.get(number);
  }

  /** The last epoch of a root's key. */
  lastEpochOf(generation: number): EpochDescriptor | undefined {
    return this.epochsOf(generation)
      .sort((a, b) => a.plan.epoch - b.plan.epoch)
      .at(-1);
  }

  /** What is known of a certificate that some host keeps. */
  certificate(certPem: string): Kept | undefined {
    return this.kept.get(certPem);
  }

  wrote(host: Keeper, ops: readonly StoreOp[]): void {
    for (const op of ops)
      if (op.type === 'put' && op.key.startsWith(recordPrefix))
        this.entered(host, decodeRecord(op.value).descriptor);
  }

  /** Never two successors of one epoch, and none that too few signed for. */
  private entered(host: Keeper, descriptor: EpochDescriptor): void {
    this.founded(host.agent!.trust.genesis);
    const { epoch, generation } = descriptor.plan;
    const known = this.epochs.get(epoch);
    if (known?.hash === descriptor.hash) return;
    if (known !== undefined)
      this.violate('one-successor', `${host.name} entered another epoch ${epoch} than others did`);
    this.epochs.set(epoch, descriptor);
    this.counters.epochs++;
    const key = this.rootKeys.get(generation);
    if (key !== undefined && key !== descriptor.rootKey)
      this.violate('one-successor', `${host.name} knows another key of root g${generation} than others do`);
    if (key === undefined) this.counters.roots++;
    this.rootKeys.set(generation, descriptor.rootKey);
    // The holder of the cold seats decides, and those to whom the key was moved sign.
    if (descriptor.plan.kind === 'recover')
      this.demandQuorum(statementOf(descriptor), [descriptor], `the recovered epoch ${epoch}`);
    const before = this.epochs.get(epoch - 1);
    if (before !== undefined && before.plan.threshold > 1)
      this.demandQuorum(statementOf(descriptor), [before], `epoch ${epoch}`);
  }

  ordered(host: Keeper, order: EngineOrder): void {
    if (order.type === 'contribute' && order.share !== genesisShare)
      this.exchanges.set(`${host.number}/${order.exchange}`, `${order.share} ${digestOf(order.message)}`);
    if (order.type !== 'begin' || order.session.kind !== 'sign') return;
    const { id, from, share, coordinator, message } = order.session;
    const subject = `${from.session} ${digestOf(message)}`;
    this.sessions.set(id, subject);
    if (share !== null && coordinator === host.id) this.add(subject, host);
  }

  reported(host: Keeper, report: EngineReport): void {
    const asked =
      report.type === 'contributed' ? this.exchanges.get(`${host.number}/${report.exchange}`) : undefined;
    if (asked !== undefined) this.add(asked, host);
    if (report.type !== 'send') return;
    const subject = this.sessions.get(report.session);
    if (subject !== undefined && decodeSigningMessage(report.bytes).type === 'share') this.add(subject, host);
  }

  private add(subject: string, host: Keeper): void {
    const lenders = this.lenders.get(subject) ?? new Set<HostId>();
    this.lenders.set(subject, lenders.add(host.id));
  }

  /** Whoever has a signature has it from as many trustees of one epoch as must sign in it. */
  private demandQuorum(message: Uint8Array, epochs: readonly EpochDescriptor[], what: string): void {
    const digest = digestOf(message);
    const enough = epochs.some(({ session, plan }) => {
      const lenders = [...(this.lenders.get(`${session} ${digest}`) ?? [])];
      return lenders.filter((host) => plan.trustees.includes(host)).length >= plan.threshold;
    });
    if (!enough) this.violate('quorum', `fewer trustees than must signed ${what}`);
  }

  /** Never a certificate that the rules forbid. `granted`: whether this host may have it. */
  certified(host: Keeper, { service, certPem }: SavedIdentity, granted: boolean): void {
    const known = this.kept.get(certPem);
    const agent = host.agent;
    if (known !== undefined || agent === null) return;
    this.founded(agent.trust.genesis);
    const [leaf, ...links] = certificatesOfPem(certPem).map((der) => ({ der, ...parseCertificate(der) }));
    const { trustDomain } = agent.trust.genesis;
    const svid = verifySvidProfile(leaf!.der, trustDomain, host.now);
    if (svid.service !== service || !granted)
      this.violate('certificate', `${host.name} keeps a certificate for ${svid.service}, not its own`);
    if (svid.notAfter - svid.notBefore > this.longestMs)
      this.violate('certificate', `${host.name} keeps one that lasts ${svid.notAfter - svid.notBefore} ms`);
    const generation = this.issuerOf(leaf!);
    const isBelieved = agent.trust.bundle.believed().some((root) => root.generation === generation);
    if (generation === null || !isBelieved)
      this.violate('certificate', `${host.name} keeps one of root ${generation}, which it does not believe`);
    // Of a mesh that was prepared, one certificate stands for all hosts of a service.
    if (generation > 0 && svid.host !== host.id)
      this.violate('certificate', `${host.name} keeps a certificate of ${svid.host ?? 'no host'}`);
    if (generation > 0)
      this.demandQuorum(leaf!.tbs, this.epochsOf(generation), `the certificate of ${host.name}`);
    const issuers = [generation, ...links.map((link) => this.issuerOf(link))];
    const anchors = issuers.flatMap((one) => (one === null ? [] : [this.rootKeys.get(one)!]));
    this.kept.set(certPem, { service, generation, anchors, notAfter: svid.notAfter });
    this.counters.certificates++;
    if (generation > 0) this.counters.byQuorum++;
  }

  private issuerOf({ tbs, signature }: { readonly tbs: Buffer; readonly signature: Buffer }): number | null {
    for (const [generation, key] of [...this.rootKeys].reverse())
      if (ed25519Verify(key, tbs, signature)) return generation;
    return null;
  }

  private epochsOf(generation: number): EpochDescriptor[] {
    return [...this.epochs.values()].filter(({ plan }) => plan.generation === generation);
  }

  private violate(checker: string, detail: string): never {
    throw new Violation(checker, this.world, detail);
  }
}

function digestOf(message: Uint8Array): string {
  return hash('sha256', message);
}
