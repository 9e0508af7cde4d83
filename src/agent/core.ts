/**
 * The agent as one machine: gossip, trust, health and policy wired together, with the proxy's configuration
 * as what comes out. The shell and the simulator drive this very class.
 */
import {
  earliest,
  Fault,
  type HostId,
  type Machine,
  type Millis,
  type Random,
  type Signer,
  type Verify,
} from '../core.ts';
import { Gossip } from '../gossip/gossip.ts';
import type { GossipParameters } from '../gossip/parameters.ts';
import type { GossipEffect, Member, MemberState } from '../gossip/port.ts';
import { digestKeyOf } from '../gossip/replica/digest.ts';
import type { Record } from '../gossip/replica/record.ts';
import type { MeshView } from '../proxy/view.ts';
import type { Genesis } from '../trust/admission/genesis.ts';
import type { TrusteePolicy } from '../trust/epoch/policy.ts';
import type { SoleKey } from '../trust/issuance/sole-key.ts';
import type { TrustState } from '../trust/state.ts';
import { isCaQuestion } from './ca/ca-port.ts';
import { Credentials, isCredential } from './ca/credentials.ts';
import type { OwnBind } from './catalog/binds.ts';
import type { Catalog } from './catalog/catalog.ts';
import { type HealthEffect, HealthMachine } from './catalog/health.ts';
import type { Registry } from './catalog/registry.ts';
import { missingFacts } from './catalog/self-description.ts';
import { isVip, type VipRange } from './catalog/vips.ts';
import { perform } from './commands.ts';
import { Configurator } from './configurator.ts';
import type { AgentEffect, AgentInput, SavedState } from './effects.ts';
import { open } from './envelope.ts';
import { type MeshEvent, memberEvent, recordEvent } from './events.ts';
import { Approach, type Sponsor, type Standing, unprovenSponsor } from './joining/approach.ts';
import { Farewell } from './joining/farewell.ts';
import { Outreach } from './joining/outreach.ts';
import { Reception } from './joining/reception.ts';
import { seedsOf } from './joining/tokens.ts';
import { HOST, type HostValue, LIFECYCLE, type ServiceDefinition, shortId, vitalKinds } from './kinds.ts';
import { Knowledge } from './knowledge.ts';
import { outward } from './outward.ts';
import type { Policies } from './policy/policy.ts';
import { failureFields } from './quarantine.ts';
import { Writer } from './writer.ts';

export interface AgentOptions {
  readonly host: HostValue;
  readonly signer: Signer;
  readonly verify: Verify;
  readonly random: Random;
  /** How often this data directory was opened: grows with every start, durable before this is made. */
  readonly epoch: number;
  readonly genesis: Genesis;
  /** The key of the genesis root, dropped when that signs no more; null on every host but the founder. */
  readonly rootSigner: SoleKey | null;
  readonly domain: string;
  readonly vipRange: VipRange;
  readonly inbound: MeshView['inbound'];
  readonly outbound: MeshView['outbound'];
  readonly svidTtlMs: number;
  /** How many trustees share the root, and who may be one. */
  readonly trustees: TrusteePolicy;
  /** How long a root lasts; it is replaced well before. */
  readonly rootTtlMs: number;
  /** Addresses and ports that no service of this host may take. */
  readonly ownBinds?: readonly OwnBind[];
  /** Who let this host in and where it is, on the first start after joining. */
  readonly sponsor: Sponsor | null;
  /** Only where the defaults are not wanted, such as in a simulation. */
  readonly gossip?: GossipParameters;
}

export class AgentCore implements Machine<AgentInput, AgentEffect> {
  readonly options: AgentOptions;
  readonly knowledge: Knowledge;
  readonly gossip: Gossip;
  /** Values from peers that were not of their kind's shape, since start. */
  malformedValues = 0;
  private readonly health: HealthMachine;
  readonly configurator: Configurator;
  private own: Credentials | null = null;
  /** Null until what an earlier run left is loaded. */
  private startedAt: Millis | null = null;
  private configureAt: Millis | null = null;
  private readonly farewell = new Farewell();
  /** Towards the sponsor; null for a host that has none. */
  private readonly approach: Approach | null;
  readonly outreach: Outreach;
  readonly reception: Reception;
  private readonly writer: Writer;
  private effects: AgentEffect[] = [];

  constructor(options: AgentOptions) {
    this.options = options;
    const { genesis, verify, signer, random, epoch, ownBinds } = options;
    const self = signer.publicKey;
    this.knowledge = new Knowledge({
      ...{ self, genesis, verify, epoch, ownBinds },
      recordsOf: (author) => this.gossip.replica.ofAuthor(author),
      malformed: (record, detail) => {
        this.malformedValues++;
        this.log('warn', 'value-malformed', { author: shortId(record.author), kind: record.kind, detail });
      },
      failed: (failed, error) => this.log('error', 'record-quarantined', failureFields(failed, error)),
    });
    this.health = new HealthMachine(random);
    this.approach = options.sponsor === null ? null : new Approach(options.sponsor.id, random);
    const { catalog, policies, trust } = this.knowledge;
    this.gossip = new Gossip({
      self,
      signer,
      verify,
      random,
      epoch,
      authority: this.knowledge.authority,
      memberKind: HOST,
      leftKind: LIFECYCLE,
      vitalKinds,
      digestKey: digestKeyOf(genesis.hash),
      ...(options.gossip === undefined ? {} : { parameters: options.gossip }),
    });
    const { gossip } = this;
    this.configurator = new Configurator({ ...options, self, catalog, policies, trust, gossip });
    this.outreach = new Outreach({ self, random, catalog, trust, replica: gossip.replica });
    this.reception = new Reception({
      ...{ signer, verify, catalog, trust, gossip },
      gossiped: (effects, now) => this.gossiped(effects, now),
      emit: (...effects) => this.emit(...effects),
    });
    this.writer = new Writer(gossip, this.knowledge.registry, (effect) => this.emit(effect));
  }

  get catalog(): Catalog {
    return this.knowledge.catalog;
  }

  get policies(): Policies {
    return this.knowledge.policies;
  }

  get trust(): TrustState {
    return this.knowledge.trust;
  }

  get registry(): Registry {
    return this.knowledge.registry;
  }

  get self(): HostId {
    return this.options.signer.publicKey;
  }

  nextWake(): Millis | null {
    return earliest(
      this.gossip.nextWake(),
      this.health.nextWake(),
      this.own?.nextWake() ?? null,
      this.configureAt,
      earliest(this.farewell.nextWake(), this.approach?.nextWake() ?? null, this.outreach.nextWake()),
      this.configurator.receipts.nextWake(),
    );
  }

  step(input: AgentInput, now: Millis): readonly AgentEffect[] {
    this.effects = [];
    this.take(input, now);
    this.settle(now);
    return this.effects;
  }

  /** The view that the running configuration was compiled from. */
  currentView(): MeshView | null {
    return this.configurator.view;
  }

  identities(now: Millis) {
    return this.own?.statuses(now) ?? [];
  }

  /** Null until it is started. */
  get credentials(): Credentials | null {
    return this.own;
  }

  /** Whether a connection with this host is to be had at all. */
  isAdmitted(host: HostId): boolean {
    return this.trust.isAdmitted(host) || host === this.unprovenSponsor();
  }

  private unprovenSponsor(): HostId | null {
    return unprovenSponsor(this.options.sponsor?.id, this.knowledge);
  }

  addressOf(host: HostId): { address: string; port: number } | null {
    const value = this.catalog.host(host)?.value;
    if (value !== undefined) return { address: value.address, port: value.gossipPort };
    const sponsor = this.options.sponsor;
    return sponsor?.id === host ? { address: sponsor.address, port: sponsor.port } : null;
  }

  /** Whether the mesh's records have arrived here at least once, and with them what proves this host's place. */
  isSynchronised(): boolean {
    const known = this.unprovenSponsor() === null && this.catalog.host(this.self) !== undefined;
    return known && this.trust.isAdmitted(this.self);
  }

  private emit(...effects: readonly AgentEffect[]): void {
    this.effects.push(...effects);
  }

  private take(input: AgentInput, now: Millis): void {
    switch (input.type) {
      case 'start':
        this.start(input.saved, now);
        break;
      case 'wake':
        this.wake(now);
        break;
      case 'frame':
        this.frame(input.from, input.bytes, now);
        break;
      case 'unreachable':
        this.emit(...(this.own?.unreachable(input.peer, now) ?? []));
        this.lost(input, now);
        break;
      case 'disconnected':
        this.lost(input, now);
        break;
      case 'durable':
        this.gossiped(this.gossip.step(input, now), now);
        this.registry.ended(input.records);
        if (input.records.some(({ kind }) => kind === LIFECYCLE)) this.farewell.durable(now);
        break;
      case 'not-durable':
        this.registry.ended(input.records);
        break;
      case 'delta':
      case 'connected':
        this.gossiped(this.gossip.step(input, now), now);
        break;
      case 'swim':
        this.gossiped(this.gossip.step(input, now), now);
        if (input.report.type === 'incarnation') this.noteOwnStanding();
        if (input.report.type === 'coordinate') this.configurator.moved();
        break;
      case 'join-request':
        this.reception.request(input.exchange, input.bytes, now);
        break;
      case 'introduction':
        this.reception.introduced(input.bytes, now);
        break;
      case 'command':
        this.command(input, now);
        break;
      case 'files':
        this.files(input.definitions, now);
        break;
      case 'check-result': {
        const { checkId, status, output } = input;
        this.checked(this.health.step({ type: 'result', checkId, status, output }, now), now);
        break;
      }
      case 'engine':
        this.emit(...(this.own?.engine(input.report, now) ?? []));
        break;
      case 'epoch':
        this.own?.epoch(input.event, now);
        break;
      case 'configured':
        this.own?.configured(input.config, now);
        this.configurator.receipts.configured(input.config, now);
        break;
      case 'key-made':
        this.emit(...(this.own?.keyMade(input.service, input.csr, input.keyPem, now) ?? []));
        break;
    }
  }

  private start(saved: SavedState, now: Millis): void {
    const { knowledge, options: agent } = this;
    this.own = new Credentials({
      agent,
      knowledge,
      saved,
      startedAt: now,
      write: (own, policy, at) => this.writer.tryWrite({ own, policy }, at),
      rootLearnt: () => this.gossip.reconsider(),
    });
    this.load(saved, now);
    this.startedAt = now;
    this.noteOwnStanding();
    if (saved.admission !== null) this.offerAdmission(saved.admission, now);
    // A slot that cannot be written any more must not keep the agent from starting, again and again.
    const { replica } = this.gossip;
    for (const fact of missingFacts({ ...this.options, knowledge: this.knowledge, replica }))
      this.writer.writeOwn([fact], now);
    this.gossiped(this.gossip.start(now), now);
    this.emit(...this.own.restore(now));
    if (this.approach !== null && this.unprovenSponsor() !== null) this.emit(...this.approach.begin(now));
    this.outreach.begin(now);
    this.configureAt = now;
  }

  private noteOwnStanding(): void {
    const { incarnation } = this.gossip;
    const since = this.startedAt ?? 0;
    this.catalog.member({ id: this.self, state: 'alive', incarnation, since, roundTripMs: 0 });
  }

  /** On the first start after joining: it waits until the grant behind it has arrived. */
  private offerAdmission(admission: Uint8Array, now: Millis): void {
    const { outcome, effects } = this.gossip.offer(admission, now);
    this.gossiped(effects, now);
    if (typeof outcome !== 'string' && !outcome.later)
      this.log('warn', 'admission-refused', { code: outcome.code });
  }

  private load(saved: SavedState, now: Millis): void {
    const entries = saved.entries.filter(({ key }) => !isCredential(key) && !isVip(key));
    this.configurator.restore(saved);
    const { dropped, effects } = this.gossip.load(entries, now);
    if (dropped > 0) this.log('warn', 'records-dropped', { count: dropped });
    this.applied([...this.gossip.replica.records()], now);
    this.gossiped(effects, now);
  }

  private wake(now: Millis): void {
    this.gossiped(this.gossip.step({ type: 'wake' }, now), now);
    this.checked(this.health.step({ type: 'wake' }, now), now);
    this.emit(...(this.own?.wake(now) ?? []));
    this.emit(...this.farewell.wake(now));
    this.writer.writeOwn(this.configurator.receipts.wake(now), now);
    if (this.approach !== null) this.emit(...this.approach.wake(this.standing(), now));
    this.emit(...this.outreach.wake(this.farewell.isUnderWay, now));
  }

  private standing(): Standing {
    const id = this.options.sponsor?.id ?? '';
    return {
      arrived: this.unprovenSponsor() === null,
      isNeighbour: [...this.gossip.neighbours()].includes(id),
    };
  }

  private lost(input: Extract<AgentInput, { type: 'unreachable' | 'disconnected' }>, now: Millis): void {
    this.approach?.lost(input.peer, now);
    this.gossiped(this.gossip.step(input, now), now);
  }

  private frame(from: HostId, bytes: Uint8Array, now: Millis): void {
    try {
      const { room, payload } = open(bytes);
      if (room === 'gossip')
        this.gossiped(this.gossip.step({ type: 'frame', from, bytes: payload }, now), now);
      else this.emit(...(this.own?.frame(room, from, payload, now) ?? []));
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.log('debug', 'frame-refused', { from: shortId(from), code: error.code });
    }
  }

  private gossiped(effects: readonly GossipEffect[], now: Millis): void {
    for (const effect of effects) {
      if (effect.type === 'applied') this.applied(effect.records, now);
      else if (effect.type === 'forgotten') this.knowledge.forget(effect.records);
      else if (effect.type === 'member') this.memberChanged(effect.member, effect.was, now);
      else this.emit(outward(effect));
    }
  }

  private memberChanged(member: Member, was: MemberState | null, now: Millis): void {
    this.catalog.member(member);
    this.own?.member(member, now);
    if (was === member.state) return;
    const name = this.nameOf(member.id);
    this.happened([memberEvent(member, was, name, now)]);
    this.log('info', `member-${member.state}`, {
      host: name,
      id: shortId(member.id),
      incarnation: member.incarnation,
    });
  }

  private applied(records: readonly Record[], now: Millis): void {
    const reachedAt = this.startedAt === null ? null : now;
    const { rootsChanged, located } = this.knowledge.apply(records, reachedAt);
    this.emit(...located.map((place) => ({ type: 'locate', ...place }) as const));
    this.emit(...(this.own?.recordsApplied(rootsChanged, now) ?? []));
    this.happened(records.map((record) => recordEvent(record, this.nameOf(record.author), now)));
  }

  private nameOf(host: HostId): string {
    return this.catalog.host(host)?.value.name ?? '';
  }

  /** What was loaded from the disk happened before. */
  private happened(events: readonly MeshEvent[]): void {
    if (this.startedAt !== null && events.length > 0) this.emit({ type: 'happened', events });
  }

  private command(input: Extract<AgentInput, { type: 'command' }>, now: Millis): void {
    const { request, command, entropy } = input;
    try {
      if (isCaQuestion(command)) {
        this.emit(...this.own!.ask(request, command, now));
        return;
      }
      if (command.type === 'leave') {
        if (!this.farewell.isUnderWay) this.gossiped(this.gossip.leave(now).effects, now);
        this.farewell.begin(request, now);
        return;
      }
      const context = {
        ...this.knowledge,
        health: this.health,
        ca: () => this.own!.ca(now),
        seeds: () => seedsOf(this.catalog, this.self, this.options.host),
      };
      const outcome = perform(command, context, entropy, now);
      this.checked(outcome.health, now);
      this.writer.write(outcome, [{ type: 'reply', request, value: outcome.value }], now);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.emit({ type: 'fail', request, fault: error });
    }
  }

  private files(definitions: readonly ServiceDefinition[], now: Millis): void {
    const { writes, refused } = this.registry.files(definitions);
    for (const { id, fault } of refused)
      this.log('warn', 'definition-refused', { service: id, detail: fault.message });
    this.writer.writeOwn(writes, now);
  }

  private checked(effects: readonly HealthEffect[], now: Millis): void {
    for (const effect of effects) {
      if (effect.type === 'run') this.emit({ type: 'run-check', check: effect.check });
      else if (effect.type === 'status')
        this.writer.writeOwn(this.registry.status(effect.checkId, effect.status, effect.output), now);
      else {
        this.log('warn', 'service-deregistered', {
          service: effect.serviceId,
          reason: 'critical for too long',
        });
        if (this.registry.service(effect.serviceId) !== undefined)
          this.writer.writeOwn(this.registry.deregister(effect.serviceId), now);
      }
    }
  }

  /** After every input: what follows from what changed. */
  private settle(now: Millis): void {
    const topics = this.catalog.takeChanged();
    if (topics.size > 0) {
      this.emit({ type: 'changed', topics });
      if (topics.has(`node:${this.options.host.name}`)) this.ownServicesChanged(now);
    }
    const identities = this.effects.some(({ type }) => type === 'keep-identity' || type === 'drop-identity');
    const isNews = this.configurator.look(now) || topics.size > 0 || identities;
    if (this.configureAt === null && isNews) this.configureAt = this.configurator.dueAfter(now);
    if (this.configureAt !== null && now >= this.configureAt) this.configure(now);
  }

  private ownServicesChanged(now: Millis): void {
    const checks = this.registry.checks().map((check) => {
      const status = this.registry.told(check.check.id)?.status;
      return status === undefined ? check : { ...check, status };
    });
    this.checked(this.health.step({ type: 'checks', checks }, now), now);
    const names = new Set(this.registry.services().map(({ name }) => name));
    this.emit(...(this.own?.setServices([...names].sort(), now) ?? []));
  }

  private configure(now: Millis): void {
    this.configureAt = null;
    this.emit(...this.configurator.update(this.own?.identities() ?? [], now));
  }

  private log(
    level: 'debug' | 'info' | 'warn' | 'error',
    event: string,
    fields: { readonly [name: string]: string | number | boolean },
  ): void {
    this.emit({ type: 'log', level, event, fields });
  }
}
