/**
 * What the root's quorum owes the hosts: while enough trustees can be reached, nobody is without a certificate
 * for long, whoever belongs to the mesh is believed by all others, and once the faults are over everything
 * that is to change about roots and trustees does.
 */
import type { CaRoot } from '../../src/agent/ca/ca-port.ts';
import type { HostId } from '../../src/core.ts';
import { genesisShare } from '../../src/trust/epoch/crypto-port.ts';
import type { EpochDescriptor } from '../../src/trust/epoch/descriptor.ts';
import { certificatesOfPem, ed25519KeyOf, parseCertificate } from '../../src/trust/x509/certificate.ts';
import type { Flock } from '../flock.ts';
import type { Host } from '../host/host.ts';
import { Violation } from './violation.ts';

/** Two hosts that have been together for so long know the same roots. */
const togetherMs = 30_000;

export class TrustCheckers {
  private readonly flock: Flock;
  private readonly lackMs: number;
  /** Since when a host could have had its certificates, by number. */
  private readonly ableSince = new Map<number, number>();
  /** Since when which services of a host are without one, by number. */
  private readonly lackingSince = new Map<number, ReadonlyMap<string, number>>();
  private readonly rootKeys = new Map<string, HostId>();
  /** The longest that anybody was without a certificate that it could have had. */
  longestLackMs = 0;

  constructor(flock: Flock, lackMs: number) {
    this.flock = flock;
    this.lackMs = lackMs;
  }

  /** Everything that must hold at any moment, for those whose key nobody else has. */
  sweep(): void {
    const awake = this.flock.awake().filter((host) => host.isReady && !this.flock.isCompromised(host));
    const numbers = new Set(awake.map(({ number }) => number));
    for (const number of [...this.ableSince.keys()]) if (!numbers.has(number)) this.ableSince.delete(number);
    for (const host of awake) this.certified(host);
    for (const host of awake) this.believed(host, awake);
  }

  /** What the mesh still owes; null when nothing, or when it cannot: too few trustees are left. */
  unsettled(): string | null {
    return this.owed(
      (latest, awake) =>
        this.wrongTrustees(latest, awake) ??
        this.unsettledHost(latest, awake) ??
        this.shareless(awake) ??
        this.unretired(awake),
    );
  }

  /**
   * The same, but for seats of which the holder is away, or was missed by a dealing: those take another epoch. And but
   * for roots to be retired, of which the last certificate has expired by one clock before it has by the others.
   */
  unsettledHosts(): string | null {
    return this.owed((latest, awake) => this.unsettledHost(latest, awake));
  }

  private owed(what: (latest: EpochDescriptor, awake: readonly Host[]) => string | null): string | null {
    const awake = this.honest();
    const latest = this.latestEpoch(awake);
    if (latest === null) return null;
    if (!this.isUp(latest, awake))
      return this.flock.recovers ? `too few trustees of epoch ${latest.plan.epoch} are left` : null;
    return what(latest, awake);
  }

  private shareless(awake: readonly Host[]): string | null {
    const missed = awake.find(({ agent }) => {
      const { isTrustee, share } = agent!.credentials()!.epochStatus();
      return isTrustee && share === null;
    });
    return missed === undefined ? null : `${missed.name} is a trustee without a share`;
  }

  private unretired(awake: readonly Host[]): string | null {
    return first(awake, (host) => {
      const overdue = this.rootsOf(host).find((root) => this.isOverdue(root));
      return overdue === undefined ? null : waitingText(overdue, host.name);
    });
  }

  private rootsOf({ agent, now }: Host): readonly CaRoot[] {
    return agent!.credentials()!.ca(now).roots;
  }

  private unsettledHost(latest: EpochDescriptor, awake: readonly Host[]): string | null {
    return first(awake, (host) => this.unsettledAt(host, latest));
  }

  /** Whether so many trustees are gone for good that nobody can sign any more. */
  isLost(): boolean {
    const awake = this.honest();
    const latest = this.latestEpoch(awake);
    return latest !== null && !this.isUp(latest, awake);
  }

  /** What is owed is owed by those who do their part. */
  private honest(): Host[] {
    return this.flock.awake().filter((host) => !this.flock.isLiar(host));
  }

  private latestEpoch(awake: readonly Host[]): EpochDescriptor | null {
    const epochs = awake.flatMap(({ agent }) => agent?.credentials()?.epochStatus().current ?? []);
    return epochs.sort((a, b) => a.plan.epoch - b.plan.epoch).at(-1) ?? null;
  }

  private isUp(epoch: EpochDescriptor, hosts: readonly Host[]): boolean {
    return this.holdersOf(epoch, hosts).length >= epoch.plan.threshold;
  }

  /** Trustees among `hosts` whose share is on their disks. */
  private holdersOf({ plan, session }: EpochDescriptor, hosts: readonly Host[]): Host[] {
    const name = plan.threshold === 1 ? genesisShare : session;
    return hosts.filter(({ id, vault }) => plan.trustees.includes(id) && vault.has(name));
  }

  /** Every seat that can be filled is, by somebody who is here. */
  private wrongTrustees({ plan }: EpochDescriptor, awake: readonly Host[]): string | null {
    const { rows } = this.flock.terms.policy;
    const seats = plan.trustees.length;
    const row = rows.findLast(({ trustees }) => trustees <= awake.length);
    if (row !== undefined && row.trustees > seats)
      return `${awake.length} hosts are here, and only ${seats} of ${row.trustees} seats are taken`;
    const here = this.flock.awake();
    const absent = plan.trustees.filter((id) => !here.some((host) => host.id === id));
    return absent.length > 0 && awake.length >= seats ? `${absent.length} trustees are away` : null;
  }

  private unsettledAt(host: Host, latest: EpochDescriptor): string | null {
    const agent = host.agent!;
    const { name } = host;
    const status = agent.credentials()?.epochStatus();
    if (status?.current.hash !== latest.hash)
      return `${name} is in epoch ${status?.current.plan.epoch}, not in ${latest.plan.epoch}`;
    const active = agent.trust.bundle.active();
    if (active.generation !== latest.plan.generation)
      return `root g${active.generation} is active at ${name}: ${agent.credentials()!.ca(host.now).waiting}`;
    const next = this.rootsOf(host).find(({ state }) => state === 'next');
    if (next !== undefined) return waitingText(next, name);
    const asked = agent.rotationAsked();
    if (asked !== null && asked >= active.generation && latest.plan.threshold > 1)
      return `${name} was asked to replace root g${asked}, and has g${active.generation}`;
    return first(this.servicesOf(host), (service) => {
      const generation = this.generationOf(host, service);
      if (generation === active.generation) return null;
      return `${name} has ${generation === null ? 'no certificate' : `one of g${generation}`} for ${service}: ${this.problemOf(host, service)}`;
    });
  }

  /** Whether a root should be gone; one that absent hosts may come back with rightly stays. */
  private isOverdue({ state, waitingFor }: CaRoot): boolean {
    const isAway = (name: string): boolean =>
      this.flock.hosts.some((host) => host.name === name && host.state !== 'running');
    return state === 'old' && (waitingFor.length === 0 || !waitingFor.every(isAway));
  }

  /** Those it is known to have. */
  private servicesOf({ number }: Host): string[] {
    const services = [...this.flock.ledger.servicesOf(number)];
    return services.flatMap(([service, state]) => (state === 'present' ? [service] : []));
  }

  /** The root of the certificate that the proxy presents for a service; null for none, or one that has expired. */
  private generationOf({ config, now }: Host, service: string): number | null {
    const presented = config?.identities.find((one) => one.service === service);
    const known = presented === undefined ? undefined : this.flock.trust.certificate(presented.certPem);
    return known === undefined || known.notAfter <= now ? null : known.generation;
  }

  private problemOf({ agent, now }: Host, service: string): string | null {
    const statuses = agent!.credentials()?.statuses(now) ?? [];
    return statuses.find((one) => one.service === service)?.problem ?? null;
  }

  /** Nobody who could have a certificate is without one, or with one that has expired, for long. */
  private certified(host: Host): void {
    const { now } = this.flock.world;
    if (!this.isAble(host)) {
      this.ableSince.delete(host.number);
      return;
    }
    const ableSince = this.ableSince.get(host.number) ?? now;
    this.ableSince.set(host.number, ableSince);
    const before = this.lackingSince.get(host.number);
    const lacking = new Map<string, number>();
    this.lackingSince.set(host.number, lacking);
    for (const service of this.servicesOf(host)) {
      if (this.generationOf(host, service) !== null) continue;
      const lackingSince = before?.get(service) ?? now;
      lacking.set(service, lackingSince);
      const lackedMs = now - Math.max(lackingSince, ableSince);
      this.longestLackMs = Math.max(this.longestLackMs, lackedMs);
      if (lackedMs > this.lackMs)
        this.violate(
          'uncertified',
          `${host.name} has had no certificate for ${service} for ${Math.round(lackedMs)} ms: ${this.problemOf(host, service)}`,
        );
    }
  }

  /** Whether a quorum of the root that it believes to be active is within its reach, and of one another. */
  private isAble(host: Host): boolean {
    const { network } = this.flock;
    const { links } = network;
    const { generation } = host.agent!.trust.bundle.active();
    const epoch = this.flock.trust.lastEpochOf(generation);
    if (epoch === undefined) return false;
    const near = this.holdersOf(epoch, this.flock.withinReachOf(host)).filter(
      (holder) =>
        holder.isReady &&
        !this.flock.isLiar(holder) &&
        holder.agent!.isAdmitted(host.id) &&
        !network.isStalled(host.number, holder.number),
    );
    const together = near.filter((one) => near.every((other) => links.isOpen(one.number, other.number)));
    return together.length >= epoch.plan.threshold;
  }

  /** Whoever has been with this host for a while presents nothing that it would not believe. */
  private believed(host: Host, awake: readonly Host[]): void {
    const { world, trust } = this.flock;
    const keys = new Set(host.config?.roots.map((pem) => this.keyOf(pem)));
    for (const other of awake) {
      if (other === host || !this.areTogether(host, other)) continue;
      if (!other.agent!.isAdmitted(host.id)) continue;
      for (const { service, certPem } of other.config?.identities ?? []) {
        const known = trust.certificate(certPem);
        if (known === undefined || known.anchors.some((anchor) => keys.has(anchor))) continue;
        throw new Violation(
          'believed',
          world,
          `${host.name} does not believe ${other.name}'s certificate for ${service}, of root g${known.generation}`,
        );
      }
    }
  }

  private areTogether(a: Host, b: Host): boolean {
    const { world, network, networkChangedAt } = this.flock;
    const since = Math.max(networkChangedAt, a.since, b.since);
    return world.now - since > togetherMs && network.links.isOpen(a.number, b.number);
  }

  private keyOf(pem: string): HostId | null {
    const known = this.rootKeys.get(pem);
    if (known !== undefined) return known;
    const [der] = certificatesOfPem(pem);
    const key = der === undefined ? null : ed25519KeyOf(parseCertificate(der).spki);
    if (key !== null) this.rootKeys.set(pem, key);
    return key;
  }

  private violate(checker: string, detail: string): never {
    throw new Violation(checker, this.flock.world, detail);
  }
}

function first<T>(values: Iterable<T>, wrong: (value: T) => string | null): string | null {
  for (const value of values) {
    const found = wrong(value);
    if (found !== null) return found;
  }
  return null;
}

function waitingText({ generation, state, waitingFor }: CaRoot, host: string): string {
  return `root g${generation} is ${state} at ${host}, waiting for ${waitingFor.join()}`;
}
