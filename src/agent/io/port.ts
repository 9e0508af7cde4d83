/** The local side of the agent: what the API, DNS and CLI may read and ask, answered from the running core. */
import { randomBytes } from 'node:crypto';
import { assert, Fault, type HostId, type Millis } from '../../core.ts';
import type { DataPlane, DataPlaneStats } from '../../proxy/dataplane.ts';
import type { OnTap, TapFilter } from '../../proxy/observe/tap.ts';
import type { IdentityView, MeshView } from '../../proxy/view.ts';
import type { OperatorStanding } from '../../trust/authority.ts';
import type { CaStatus } from '../ca/ca-port.ts';
import type { DenialStatus } from '../ca/denial-port.ts';
import { denialFault, listDenials } from '../ca/denials.ts';
import type { Catalog, HostEntry, Topic } from '../catalog/catalog.ts';
import { type ForcedDeparture, forcedDeparture } from '../catalog/member-status.ts';
import type { AgentCore } from '../core.ts';
import { diagnose, type ShellFacts } from '../diagnosis.ts';
import type { AgentInput } from '../effects.ts';
import { type EntryVersion, historyOf } from '../entries/history.ts';
import { EventLog } from '../events.ts';
import { listTokens } from '../joining/tokens.ts';
import type { ServiceDefinition } from '../kinds.ts';
import { type Convergence, policyReceiptOf } from '../policy/receipts.ts';
import type {
  AgentPort,
  AgentSelf,
  Command,
  Finding,
  IdentityStatus,
  PolicyStore,
  RootStatus,
  TokenStatus,
} from '../port.ts';

export interface LocalPortOptions {
  readonly core: AgentCore;
  readonly now: () => Millis;
  readonly startedAt: Millis;
  readonly feed: (input: AgentInput) => void;
  readonly dataPlane: DataPlane | null;
  readonly facts: () => Omit<ShellFacts, 'dataPlane' | 'fileProblems' | 'storeProblem'>;
  readonly metrics: () => Promise<string>;
}

interface Waiting {
  readonly done: (value: unknown) => void;
  readonly failed: (fault: Fault) => void;
}

/** Commands that wait for the disk; more at once are refused. */
const maxWaitingCommands = 10_000;

export class LocalPort implements AgentPort {
  readonly self: AgentSelf;
  readonly catalog: Catalog;
  readonly policy: PolicyStore;
  readonly events = new EventLog();
  fileProblems: readonly string[] = [];
  private readonly options: LocalPortOptions;
  private readonly commands = new Map<number, Waiting>();
  private readonly listeners = new Set<(topics: ReadonlySet<Topic>) => void>();
  private lastRequest = 0;
  private storeProblem: string | null = null;

  constructor(options: LocalPortOptions) {
    const { core } = options;
    const { host, genesis, domain } = core.options;
    this.options = options;
    this.catalog = core.catalog;
    this.policy = core.policies;
    this.self = {
      id: core.self,
      name: host.name,
      datacenter: host.datacenter,
      zone: host.zone,
      version: host.version,
      advertise: host.address,
      gossipPort: host.gossipPort,
      inboundPort: options.dataPlane === null ? null : host.inboundPort,
      trustDomain: genesis.trustDomain,
      meshId: genesis.meshId,
      domain,
      startedAt: options.startedAt,
      operatorKey: genesis.operatorKey,
    };
  }

  now(): Millis {
    return this.options.now();
  }

  entryHistory(kind: string, name: string): readonly EntryVersion[] {
    const { replica } = this.options.core.gossip;
    return historyOf(replica, this.policy.get(kind, name), kind, name);
  }

  convergence(revision: string | null): Convergence {
    const { configurator, gossip, self } = this.options.core;
    const receiptOf = (host: HostId) => policyReceiptOf(host, (slot) => gossip.replica.get(slot));
    return configurator.receipts.convergence(revision, self, receiptOf, this.now());
  }

  localServices(): readonly ServiceDefinition[] {
    return this.options.core.registry.services();
  }

  view(): MeshView {
    const view = this.options.core.currentView();
    assert(view !== null, 'a started core has compiled a view');
    return view;
  }

  identities(): readonly IdentityStatus[] {
    return this.options.core.identities(this.now());
  }

  leaf(service: string): IdentityView | null {
    const held = this.options.core.credentials?.identities() ?? [];
    return held.find((identity) => identity.service === service) ?? null;
  }

  roots(): readonly RootStatus[] {
    return this.options.core.trust.bundle.believed().map(({ generation, pem, state, notAfter }) => ({
      generation,
      certPem: pem,
      active: state === 'active',
      notAfter,
    }));
  }

  ca(): CaStatus {
    const { credentials } = this.options.core;
    assert(credentials !== null, 'the API serves a started core');
    return credentials.ca(this.now());
  }

  tokens(): readonly TokenStatus[] {
    return listTokens(this.options.core.trust);
  }

  denials(): readonly DenialStatus[] {
    return listDenials(this.options.core.trust);
  }

  operatorStanding(key: HostId): OperatorStanding {
    return this.options.core.trust.operatorStanding(key, this.now());
  }

  estimateMs(a: HostId, b: HostId): number | null {
    return this.options.core.gossip.estimateMs(a, b);
  }

  departureOf(host: HostEntry): ForcedDeparture | null {
    const { replica } = this.options.core.gossip;
    return forcedDeparture(host, (slot) => replica.get(slot));
  }

  async freshDataPlane(): Promise<DataPlaneStats | null> {
    await this.options.dataPlane?.refresh();
    return this.dataPlane();
  }

  dataPlane(): DataPlaneStats | null {
    return this.options.dataPlane?.stats() ?? null;
  }

  tap(filter: TapFilter, onTap: OnTap): () => void {
    const { dataPlane } = this.options;
    if (dataPlane === null) throw new Fault('unavailable', 'this agent runs no proxy that could be tapped');
    return dataPlane.tap(filter, onTap);
  }

  check(): readonly Finding[] {
    const { core, facts } = this.options;
    const { fileProblems, storeProblem } = this;
    return diagnose(
      core,
      { ...facts(), dataPlane: this.dataPlane(), fileProblems, storeProblem },
      this.now(),
    );
  }

  ready(): { readonly ready: boolean; readonly reason: string } {
    if (this.options.core.trust.isDenied(this.self.id))
      return { ready: false, reason: 'an operator denied this host: it is out of the mesh for good' };
    if (!this.options.core.isSynchronised())
      return { ready: false, reason: 'the mesh’s records have not arrived yet' };
    if (this.storeProblem !== null) return { ready: false, reason: this.storeProblem };
    return { ready: true, reason: 'ready' };
  }

  metrics(): Promise<string> {
    return this.options.metrics();
  }

  command(command: Command): Promise<unknown> {
    if (this.commands.size >= maxWaitingCommands)
      return Promise.reject(new Fault('overloaded', `${maxWaitingCommands} commands wait for the disk`));
    const request = ++this.lastRequest;
    return new Promise((done, failed) => {
      this.commands.set(request, { done, failed });
      this.options.feed({ type: 'command', request, command, entropy: randomBytes(64) });
    });
  }

  answered(request: number, value: unknown): void {
    this.commands.get(request)?.done(value);
    this.commands.delete(request);
  }

  refused(request: number, fault: Fault): void {
    this.commands.get(request)?.failed(fault);
    this.commands.delete(request);
  }

  /** What became of a write: one that did not reach the disk is said by `check` until another does. */
  stored(fault: Fault | null): void {
    this.storeProblem = fault?.message ?? null;
  }

  onChange(listener: (topics: ReadonlySet<Topic>) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  changed(topics: ReadonlySet<Topic>): void {
    for (const listener of this.listeners) listener(topics);
  }

  /**
   * Resolves when the mesh's records have arrived; `Fault('host-denied')` when they say that this host is denied,
   * `Fault('not-synchronised')` after `withinMs`.
   */
  synchronised(withinMs: number): Promise<void> {
    const { core } = this.options;
    return new Promise((done, failed) => {
      const timer = setTimeout(() => finish(false), withinMs);
      const look = (): void => {
        if (core.isSynchronised() || core.trust.isDenied(core.self)) finish(core.isSynchronised());
      };
      const stop = this.onChange(look);
      const finish = (arrived: boolean): void => {
        clearTimeout(timer);
        stop();
        if (arrived) done();
        else
          failed(
            denialFault(core.trust, core.self) ??
              new Fault(
                'not-synchronised',
                `the mesh's records did not arrive within ${withinMs / 1000} s: give --join the address of an agent that is up`,
              ),
          );
      };
      look();
    });
  }
}
