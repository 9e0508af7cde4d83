/**
 * An agent's face without an agent: a real catalog and policy store, fed by records as the core feeds them,
 * behind the port that the API, the DNS server and the CLI talk to. Alone in its mesh unless hosts are added.
 */

import { createHash } from 'node:crypto';
import type { CaLog, CaStatus, SignCsr, SignedChain } from '../../src/agent/ca/ca-port.ts';
import type { DenialAnswer, DenialStatus, Deny } from '../../src/agent/ca/denial-port.ts';
import { rotateRoot } from '../../src/agent/ca/rotation.ts';
import { Catalog, type HostEntry, type Topic } from '../../src/agent/catalog/catalog.ts';
import type { ForcedDeparture } from '../../src/agent/catalog/member-status.ts';
import { type OwnWrite, Registry } from '../../src/agent/catalog/registry.ts';
import { refuseInconsistency } from '../../src/agent/entries/consistency.ts';
import { type EntryVersion, historyOf } from '../../src/agent/entries/history.ts';
import { EventLog } from '../../src/agent/events.ts';
import {
  CHECK,
  CHECK_DEFINITION,
  type CheckDefinition,
  CONFIG_ENTRY,
  HOST,
  type HostValue,
  SERVICE,
  type ServiceDefinition,
  type StandaloneCheck,
} from '../../src/agent/kinds.ts';
import { Policies } from '../../src/agent/policy/policy.ts';
import { type Convergence, Receipts } from '../../src/agent/policy/receipts.ts';
import type {
  AgentPort,
  AgentSelf,
  Command,
  CreatedToken,
  ForcedLeave,
  IdentityStatus,
  RevokedToken,
  RootStatus,
  TokenStatus,
} from '../../src/agent/port.ts';
import { encodeJson, Fault, type HostId, seededRandom } from '../../src/core.ts';
import type { MemberState } from '../../src/gossip/port.ts';
import type { Record } from '../../src/gossip/replica/record.ts';
import type { DataPlaneStats, TrafficRow } from '../../src/proxy/dataplane.ts';
import type { OnTap, TapFilter } from '../../src/proxy/observe/tap.ts';
import { noPolicy } from '../../src/proxy/policy-defaults.ts';
import type { IdentityView, MeshView } from '../../src/proxy/view.ts';
import type { OperatorStanding } from '../../src/trust/authority.ts';
import { parseCsr } from '../../src/trust/x509/csr.ts';

export const selfId: HostId = 'a'.repeat(64);
export const operatorKey: HostId = 'f'.repeat(64);

/** A definition with everything at its default but what is given. */
export function definitionOf(
  given: Partial<ServiceDefinition> & { readonly name: string },
): ServiceDefinition {
  return {
    id: given.name,
    address: '',
    port: 8080,
    tags: [],
    meta: {},
    weights: { passing: 1, warning: 1 },
    enableTagOverride: false,
    user: '',
    uid: null,
    inMesh: true,
    upstreams: [],
    checks: [],
    source: 'api',
    ...given,
  };
}

/** A TTL check with everything at its default but what is given. */
export function checkOf(given: Partial<CheckDefinition> & { readonly id: string }): CheckDefinition {
  return {
    name: given.id,
    notes: '',
    type: 'ttl',
    target: '',
    method: '',
    header: {},
    body: '',
    tlsSkipVerify: false,
    args: [],
    intervalMs: 0,
    timeoutMs: 0,
    ttlMs: 60_000,
    successBeforePassing: 0,
    failuresBeforeCritical: 0,
    failuresBeforeWarning: 0,
    deregisterCriticalAfterMs: 0,
    initialStatus: 'critical',
    ...given,
  };
}

export function hostValue(name: string, address: string, more: Partial<HostValue> = {}): HostValue {
  return {
    name,
    datacenter: 'dc1',
    zone: '',
    address,
    gossipPort: 7946,
    inboundPort: 21000,
    version: '0.1.0',
    ...more,
  };
}

export class MemoryAgent implements AgentPort {
  readonly catalog = new Catalog();
  readonly policy = new Policies(() => true);
  readonly registry = new Registry(selfId, this.catalog);
  readonly events = new EventLog();
  /** Every command that was carried out, in order. */
  readonly commands: Command[] = [];
  readonly departures = new Map<HostId, ForcedDeparture>();
  vips: { [service: string]: string } = {};
  rootList: RootStatus[] = [];
  /** What is said of the certificate authority beside the roots and identities. */
  caParts: Partial<CaStatus> = {};
  /** By service. */
  readonly leaves = new Map<string, IdentityView>();
  caLog: CaLog = { entries: [], sources: [], alarms: [] };
  identityList: IdentityStatus[] = [];
  /** The newest first. */
  readonly tokenList: TokenStatus[] = [];
  readonly denialList: DenialStatus[] = [];
  /** What this host's proxy has taken on, and the others' by what they told. */
  readonly receipts: Receipts = new Receipts(this.policy, this.catalog, seededRandom(1));
  readonly receiptList = new Map<HostId, string>();
  /** By key, the newest first. */
  private readonly entryVersions = new Map<string, Record[]>();
  defaultIntention: 'allow' | 'deny' = 'deny';
  readiness = { ready: true, reason: '' };
  private readonly listeners = new Set<(topics: ReadonlySet<Topic>) => void>();
  private currentView: MeshView | null = null;
  readonly self: AgentSelf = {
    id: selfId,
    name: 'one',
    datacenter: 'dc1',
    zone: '',
    version: '0.1.0',
    advertise: '127.0.0.1',
    gossipPort: 7946,
    inboundPort: 21000,
    trustDomain: 'flock.test',
    meshId: '0011223344556677',
    domain: 'mesh',
    startedAt: 0,
    operatorKey,
  };

  constructor() {
    this.addHost(selfId, hostValue('one', '127.0.0.1'));
  }

  addHost(id: HostId, value: HostValue): void {
    this.member(id, 'alive');
    this.catalog.record(id, HOST, '', value);
    this.changed();
  }

  member(id: HostId, state: MemberState, roundTripMs: number | null = null): void {
    this.catalog.member({ id, state, incarnation: 0, since: 0, roundTripMs });
    this.changed();
  }

  /** What a host says of one of its services. */
  addService(id: HostId, definition: ServiceDefinition): void {
    this.catalog.record(id, SERVICE, definition.id, definition);
    for (const check of definition.checks)
      this.catalog.record(id, CHECK, check.id, {
        name: check.name,
        status: check.initialStatus,
        notes: '',
        output: '',
        serviceId: definition.id,
        type: check.type,
      });
    this.changed();
  }

  private apply(writes: readonly OwnWrite[]): void {
    for (const { kind, key, value } of writes) {
      if (kind === CHECK_DEFINITION) this.registry.checkDefinition(key, value as StandaloneCheck | null);
      this.catalog.record(selfId, kind, key, value);
    }
    this.changed();
  }

  changed(): void {
    this.currentView = null;
    const topics = this.catalog.takeChanged();
    if (topics.size > 0) for (const listener of [...this.listeners]) listener(topics);
  }

  get listenerCount(): number {
    return this.listeners.size;
  }

  localServices(): readonly ServiceDefinition[] {
    return this.registry.services();
  }

  view(): MeshView {
    this.currentView ??= {
      trustDomain: this.self.trustDomain,
      domain: 'mesh',
      host: selfId,
      datacenter: 'dc1',
      zone: '',
      roundTrips: [],
      defaultIntention: this.defaultIntention,
      inbound: { address: '127.0.0.1', port: 21000 },
      outbound: null,
      services: this.catalog.serviceNames().map((name) => ({
        name,
        protocol: 'auto',
        vip: this.vips[name] ?? null,
        vipPort: 8080,
        instances: [],
      })),
      local: [],
      callers: [],
      intentions: [],
      policy: noPolicy,
      identities: [],
      roots: [],
      denied: { hosts: [], serials: [] },
    };
    return this.currentView;
  }

  identities(): readonly IdentityStatus[] {
    return this.identityList;
  }
  roots(): readonly RootStatus[] {
    return this.rootList;
  }
  ca(): CaStatus {
    return {
      trustDomain: this.self.trustDomain,
      roots: this.rootList.map(({ generation, active, notAfter }) => ({
        generation,
        active,
        notAfter,
        state: active ? 'active' : 'old',
        notBefore: 0,
        activeSince: active ? 0 : null,
        waitingFor: [],
      })),
      epoch: 1,
      generation: 1,
      threshold: 2,
      trustees: ['one', 'two', 'three'].map((name) => ({
        id: name,
        name,
        alive: true,
        self: name === 'one',
      })),
      alive: 3,
      quorum: true,
      isTrustee: true,
      holdsShare: true,
      cold: null,
      reproached: [],
      split: null,
      rotation: 'none',
      waiting: null,
      lastFailure: null,
      identities: this.identityList,
      ...this.caParts,
    };
  }
  private deny({ denied, reason, operator }: Deny): DenialAnswer {
    const host = denied.type === 'host' ? denied.host : null;
    const serial = denied.type === 'serial' ? denied.serial : null;
    const known = this.denialList.find((one) => one.host === host && one.serial === serial);
    if (known !== undefined) return { ...known, changed: false, trustee: false };
    const name = host === null ? '' : (this.catalog.host(host)?.value.name ?? '');
    const until = host === null ? this.now() + 1000 : null;
    const status = { host, serial, name, reason, at: this.now(), until, by: operator.publicKey };
    this.denialList.unshift(status);
    this.catalog.touch('denials');
    this.changed();
    return { ...status, changed: true, trustee: name === 'two' };
  }
  denials(): readonly DenialStatus[] {
    return this.denialList;
  }

  leaf(service: string): IdentityView | null {
    return this.leaves.get(service) ?? null;
  }
  private signed({ csr }: SignCsr): SignedChain {
    const { spiffeId } = parseCsr(csr);
    const times = { notBefore: 0, notAfter: 1 };
    return { host: selfId, spiffeId, serial: 'ab', certPem: 'CHAIN', ...times, generation: 1 };
  }
  tokens(): readonly TokenStatus[] {
    return this.tokenList;
  }
  operatorStanding(key: HostId): OperatorStanding {
    return key === operatorKey ? 'operator' : 'unknown';
  }
  estimateMs(_a: HostId, _b: HostId): number | null {
    return null;
  }
  departureOf(host: HostEntry): ForcedDeparture | null {
    return this.departures.get(host.id) ?? null;
  }
  traffic: readonly TrafficRow[] = [];
  /** Who taps, in the order in which they came. */
  readonly taps: { readonly filter: TapFilter; readonly onTap: OnTap }[] = [];
  tap(filter: TapFilter, onTap: OnTap): () => void {
    const tap = { filter, onTap };
    this.taps.push(tap);
    return () => {
      const index = this.taps.indexOf(tap);
      if (index >= 0) this.taps.splice(index, 1);
    };
  }
  async freshDataPlane(): Promise<DataPlaneStats | null> {
    return this.dataPlane();
  }

  dataPlane(): DataPlaneStats | null {
    const { traffic } = this;
    return { traffic, listeners: [], activeConnections: 0, handshakeFailures: {}, deniedPeers: [] };
  }
  check(): ReturnType<AgentPort['check']> {
    return [
      { grade: 'ok', subject: 'mesh', detail: '1 of 1 members alive', hint: '' },
      { grade: 'warning', subject: 'clock', detail: '3 s off', hint: 'run a time daemon' },
    ];
  }
  ready(): { readonly ready: boolean; readonly reason: string } {
    return this.readiness;
  }
  async metrics(): Promise<string> {
    return '# TYPE starling_requests_total counter\nstarling_requests_total{source="web"} 3\nup 1\n';
  }
  onChange(listener: (topics: ReadonlySet<Topic>) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }
  now(): number {
    return 1_700_000_000_000;
  }

  async command(command: Command): Promise<unknown> {
    const result = this.carryOut(command);
    this.commands.push(command);
    return result;
  }

  private carryOut(command: Command): unknown {
    switch (command.type) {
      case 'register-service':
        return this.apply(this.registry.register(command.definition));
      case 'deregister-service':
        return this.apply(this.registry.deregister(command.id));
      case 'register-check':
        return this.apply(this.registry.registerCheck(command.serviceId, command.check));
      case 'deregister-check':
        return this.apply(this.registry.deregisterCheck(command.id));
      case 'report-ttl':
        return this.apply(this.registry.status(command.checkId, command.status, command.output));
      case 'maintenance':
        return this.apply(this.registry.maintenance(command.serviceId, command.enable, command.reason));
      case 'put-config-entry':
        return this.entry(command.kind, command.name, command.entry, command.operator.publicKey);
      case 'change-config-entries':
        refuseInconsistency(this.policy, command.changes);
        for (const { kind, name, entry } of command.changes)
          this.entry(kind, name, entry, command.operator.publicKey);
        return null;
      case 'delete-config-entry':
        return this.entry(command.kind, command.name, null, command.operator.publicKey);
      case 'create-token':
        return this.token(command);
      case 'revoke-token':
        return this.revoke(command);
      case 'force-leave':
        return this.forceLeave(command.host);
      case 'rotate-root':
        return rotateRoot(this.ca(), command.operator).value;
      case 'read-ca-log':
        return this.caLog;
      case 'reset-log':
      case 'read-recovery':
      case 'recover':
      case 'set-recovery-key':
      case 'note-drill':
        throw new Fault('unsupported', 'no root is held here');
      case 'sign-csr':
        return this.signed(command);
      case 'deny':
        return this.deny(command);
      case 'leave':
        return undefined;
    }
  }

  private forceLeave(id: HostId): ForcedLeave {
    const { value, incarnation, state } = this.catalog.host(id)!;
    this.member(id, 'left');
    return { host: id, name: value.name, incarnation, changed: state !== 'left' };
  }

  private token(command: Command & { readonly type: 'create-token' }): CreatedToken {
    const { services, roles, uses, ttlMs } = command;
    if (command.operator.publicKey !== operatorKey) throw new Fault('not-operator', 'not an operator');
    const operatorSeed = roles.includes('operator') ? '07'.repeat(32) : null;
    const createdAt = this.now();
    const expiresAt = createdAt + ttlMs;
    const id = createHash('sha256').update(`grant ${this.tokenList.length}`).digest('hex').slice(0, 16);
    const signsAs = operatorSeed === null ? null : 'e'.repeat(64);
    const life = { used: 0, createdAt, expiresAt, revokedAt: null };
    this.tokenList.unshift({ id, services, roles, uses, ...life, operatorKey: signsAs });
    this.catalog.touch('grants');
    this.changed();
    return { id, token: 'st1.token', operatorSeed, services, roles, uses, expiresAt };
  }

  private revoke({ id }: Command & { readonly type: 'revoke-token' }): RevokedToken {
    const at = this.tokenList.findIndex((token) => token.id === id);
    const token = this.tokenList[at];
    if (token === undefined) throw new Fault('unknown-token', `there is no token ${id}`);
    if (token.revokedAt !== null) return { ...token, changed: false };
    this.tokenList[at] = { ...token, revokedAt: this.now() };
    this.catalog.touch('grants');
    this.changed();
    return { ...this.tokenList[at], changed: true };
  }

  private entry(kind: string, name: string, entry: object | null, author: HostId): void {
    const key = `${kind}/${name}`;
    const index = this.catalog.touch(...Policies.topicsOf(key));
    const record: Record = {
      scope: 'policy',
      author,
      kind: CONFIG_ENTRY,
      key,
      version: index,
      hlc: this.now() * 1024 + index,
      deleted: entry === null,
      value: entry === null ? new Uint8Array(0) : encodeJson(entry),
      bytes: new Uint8Array(0),
      text: `${index}`,
    };
    this.entryVersions.set(key, [record, ...(this.entryVersions.get(key) ?? [])]);
    this.policy.record(record, entry, index);
    this.changed();
  }

  entryHistory(kind: string, name: string): readonly EntryVersion[] {
    const [winner, ...older] = this.entryVersions.get(`${kind}/${name}`) ?? [];
    const versions = { get: () => winner, history: () => older };
    return historyOf(versions, this.policy.get(kind, name), kind, name);
  }

  convergence(revision: string | null): Convergence {
    const receiptOf = (host: HostId) => this.receiptList.get(host) ?? null;
    return this.receipts.convergence(revision, selfId, receiptOf, this.now());
  }
}
