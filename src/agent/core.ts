/**
 * The agent as one machine: gossip, trust, health and policy wired together, with the proxy's configuration
 * as what comes out. The shell and the simulator drive this very class.
 */
import {
  earliest,
  encodeJson,
  Fault,
  type HostId,
  type Machine,
  type Millis,
  type Random,
  type Signer,
  type Verify,
} from '../core.ts';
import { decodeRecord, encodeRecord, isAuthentic } from '../gossip/codec.ts';
import { Gossip } from '../gossip/gossip.ts';
import type { GossipParameters } from '../gossip/parameters.ts';
import type { GossipEffect, Member, MemberState } from '../gossip/port.ts';
import { type Record, slotOf } from '../gossip/record.ts';
import { compile, configEquals } from '../proxy/compile.ts';
import type { ProxyConfig } from '../proxy/config.ts';
import type { MeshView } from '../proxy/view.ts';
import { createFounderAdmission } from '../trust/admission.ts';
import { genesisTrustRoot, trustRootKey } from '../trust/bundle.ts';
import type { Genesis } from '../trust/genesis.ts';
import { issuerPrefix } from '../trust/issuer.ts';
import { TrustState } from '../trust/state.ts';
import { Catalog } from './catalog.ts';
import { Certifier } from './certifier.ts';
import { type Outcome, type PolicyWrite, perform } from './commands.ts';
import type { AgentEffect, AgentInput, SavedState } from './effects.ts';
import { intentionsOf } from './entries.ts';
import { open, seal } from './envelope.ts';
import { type HealthEffect, HealthMachine } from './health.ts';
import { encodeJoinAnswer } from './joining.ts';
import {
  ADMISSION,
  CHECK_DEFINITION,
  CONFIG_ENTRY,
  HOST,
  type HostValue,
  LIFECYCLE,
  type StandaloneCheck,
  shortId,
  TRUST_ROOT,
} from './kinds.ts';
import { Policies } from './policy.ts';
import { project } from './project.ts';
import { type OwnWrite, Registry } from './registry.ts';
import { decodeValue } from './values.ts';
import { VipPool, type VipRange } from './vips.ts';

export interface AgentOptions {
  readonly host: HostValue;
  readonly signer: Signer;
  readonly verify: Verify;
  readonly random: Random;
  /** How often this data directory was opened: grows with every start, durable before this is made. */
  readonly epoch: number;
  readonly genesis: Genesis;
  /** The key of the genesis root; null on every host but the founder. */
  readonly rootSigner: Signer | null;
  readonly domain: string;
  readonly vipRange: VipRange;
  readonly inbound: MeshView['inbound'];
  readonly outbound: MeshView['outbound'];
  readonly svidTtlMs: number;
  /** Who let this host in and where it is, on the first start after joining. */
  readonly sponsor: { readonly id: HostId; readonly address: string; readonly port: number } | null;
  /** Only where the defaults are not wanted, such as in a simulation. */
  readonly gossip?: GossipParameters;
}

/** Changes within this time make one configuration. */
const configureDelayMs = 10;
/** What a leave has to reach the others before the process stops. */
const farewellMs = 250;

export class AgentCore implements Machine<AgentInput, AgentEffect> {
  readonly options: AgentOptions;
  readonly catalog = new Catalog();
  readonly policies: Policies;
  readonly trust: TrustState;
  readonly gossip: Gossip;
  readonly registry: Registry;
  /** Values from peers that were not of their kind's shape, since start. */
  malformedValues = 0;
  private readonly health: HealthMachine;
  private readonly vips: VipPool;
  private certifier: Certifier | null = null;
  private view: MeshView | null = null;
  private config: ProxyConfig | null = null;
  private configureAt: Millis | null = null;
  private farewell: { readonly at: Millis; readonly request: number } | null = null;
  private effects: AgentEffect[] = [];

  constructor(options: AgentOptions) {
    this.options = options;
    const { genesis, verify, signer, random, epoch } = options;
    this.trust = new TrustState(genesis, verify);
    this.policies = new Policies(({ author, hlc }) => this.trust.isOperator(author, Math.floor(hlc / 1024)));
    this.registry = new Registry(signer.publicKey, this.catalog);
    this.health = new HealthMachine(random);
    this.vips = new VipPool(options.vipRange);
    this.gossip = new Gossip({
      self: signer.publicKey,
      signer,
      verify,
      random,
      epoch,
      authority: { judge: (record, now) => this.trust.judge(record, now) },
      memberKind: ADMISSION,
      leftKind: LIFECYCLE,
      ...(options.gossip === undefined ? {} : { parameters: options.gossip }),
    });
  }

  get self(): HostId {
    return this.options.signer.publicKey;
  }

  nextWake(): Millis | null {
    return earliest(
      this.gossip.nextWake(),
      this.health.nextWake(),
      this.certifier?.nextWake() ?? null,
      this.configureAt,
      this.farewell?.at ?? null,
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
    return this.view;
  }

  identities(now: Millis) {
    return this.certifier?.statuses(now) ?? [];
  }

  /** Whether a connection with this host is to be had at all. */
  isAdmitted(host: HostId): boolean {
    return this.trust.isAdmitted(host) || host === this.unprovenSponsor();
  }

  /** Until the sponsor's own records have arrived, the joiner takes its word for where to fetch them, no more. */
  private unprovenSponsor(): HostId | null {
    const sponsor = this.options.sponsor;
    return sponsor !== null && this.catalog.host(sponsor.id) === undefined ? sponsor.id : null;
  }

  addressOf(host: HostId): { address: string; port: number } | null {
    const value = this.catalog.host(host)?.value;
    if (value !== undefined) return { address: value.address, port: value.gossipPort };
    const sponsor = this.options.sponsor;
    return sponsor?.id === host ? { address: sponsor.address, port: sponsor.port } : null;
  }

  /** Whether the mesh's records have arrived here at least once. */
  isSynchronised(): boolean {
    return this.unprovenSponsor() === null && this.catalog.host(this.self) !== undefined;
  }

  private emit(...effects: AgentEffect[]): void {
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
        this.emit(...(this.certifier?.unreachable(input.peer, now) ?? []));
        this.gossiped(this.gossip.step(input, now), now);
        break;
      case 'delta':
      case 'connected':
      case 'disconnected':
      case 'durable':
        this.gossiped(this.gossip.step(input, now), now);
        break;
      case 'join-request':
        this.joinRequest(input.exchange, input.bytes, now);
        break;
      case 'command':
        this.command(input, now);
        break;
      case 'files':
        this.write({ own: this.registry.files(input.definitions) }, [], now);
        break;
      case 'check-result': {
        const { checkId, status, output } = input;
        this.checked(this.health.step({ type: 'result', checkId, status, output }, now), now);
        break;
      }
      case 'key-made':
        this.emit(...(this.certifier?.keyMade(input.service, input.csr, input.keyPem, now) ?? []));
        break;
    }
  }

  private start(saved: SavedState, now: Millis): void {
    const { random, verify, rootSigner, svidTtlMs, host } = this.options;
    this.certifier = new Certifier({
      self: this.self,
      datacenter: host.datacenter,
      trust: this.trust,
      verify,
      random,
      ttlMs: svidTtlMs,
      rootSigner,
      issued: saved.entries.flatMap(({ key, value }) =>
        key.startsWith(issuerPrefix) ? [[key, value] as const] : [],
      ),
    });
    this.load(saved, now);
    this.catalog.member(this.selfAsMember(now));
    if (saved.admission !== null) this.gossiped(this.gossip.offer(saved.admission, now).effects, now);
    this.write({ own: this.ownFacts(), policy: this.ownRoot() }, [], now);
    this.gossiped(this.gossip.start(now), now);
    this.emit(...this.certifier.restore(saved.identities, now));
    const sponsor = this.unprovenSponsor();
    if (sponsor !== null) this.emit({ type: 'connect', peer: sponsor });
    this.configureAt = now;
  }

  private load(saved: SavedState, now: Millis): void {
    const entries = saved.entries.filter(({ key }) => !key.startsWith(issuerPrefix));
    const { dropped, effects } = this.gossip.load(entries, now);
    if (dropped > 0) this.log('warn', 'records-dropped', { count: dropped });
    this.applied([...this.gossip.replica.records()], now);
    this.gossiped(effects, now);
  }

  private selfAsMember(now: Millis): Member {
    return {
      id: this.self,
      state: 'alive',
      incarnation: this.gossip.incarnation,
      since: now,
      roundTripMs: 0,
    };
  }

  /** What this host must have said of itself, where it has not or where it has changed. */
  private ownFacts(): OwnWrite[] {
    const { genesis, host } = this.options;
    const writes: OwnWrite[] = [];
    if (genesis.founder === this.self && !this.trust.isAdmitted(this.self))
      writes.push({ kind: ADMISSION, key: '', value: createFounderAdmission(genesis) });
    if (JSON.stringify(this.catalog.host(this.self)?.value) !== JSON.stringify(host))
      writes.push({ kind: HOST, key: '', value: host });
    return writes;
  }

  /** The founder puts the genesis root into the trust bundle that everybody replicates. */
  private ownRoot(): PolicyWrite[] {
    const { genesis, signer } = this.options;
    const key = trustRootKey(0);
    if (genesis.founder !== this.self) return [];
    if (this.gossip.replica.get(slotOf({ scope: 'policy', author: this.self, kind: TRUST_ROOT, key })))
      return [];
    return [{ kind: TRUST_ROOT, key, value: genesisTrustRoot(genesis), operator: signer }];
  }

  private wake(now: Millis): void {
    this.gossiped(this.gossip.step({ type: 'wake' }, now), now);
    this.checked(this.health.step({ type: 'wake' }, now), now);
    this.emit(...(this.certifier?.wake(now) ?? []));
    if (this.farewell !== null && now >= this.farewell.at) {
      this.emit({ type: 'reply', request: this.farewell.request, value: null }, { type: 'stop' });
      this.farewell = null;
    }
  }

  private frame(from: HostId, bytes: Uint8Array, now: Millis): void {
    try {
      const { room, payload } = open(bytes);
      if (room === 'gossip')
        this.gossiped(this.gossip.step({ type: 'frame', from, bytes: payload }, now), now);
      else if (room === 'issueRequest') this.emit(...(this.certifier?.request(from, payload, now) ?? []));
      else this.emit(...(this.certifier?.reply(payload, now) ?? []));
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.log('debug', 'frame-refused', { from: shortId(from), code: error.code });
    }
  }

  private gossiped(effects: readonly GossipEffect[], now: Millis): void {
    for (const effect of effects) {
      if (effect.type === 'applied') this.applied(effect.records, now);
      else if (effect.type === 'member') this.memberChanged(effect.member, effect.was);
      else this.emit(this.outward(effect));
    }
  }

  /** The gossip machine's effects in the agent's words. */
  private outward(effect: Exclude<GossipEffect, { type: 'applied' | 'member' }>): AgentEffect {
    switch (effect.type) {
      case 'send':
        return { type: 'send', to: effect.to, bytes: seal('gossip', effect.bytes) };
      case 'persist':
        return { ...effect, then: effect.then.map((released) => this.outward(released as typeof effect)) };
      case 'commit':
        return { type: 'input', input: { type: 'durable', records: effect.records } };
      case 'alarm':
        return {
          type: 'log',
          level: 'warn',
          event: effect.code,
          fields: { subject: shortId(effect.subject), detail: effect.detail },
        };
      default:
        return effect;
    }
  }

  private memberChanged(member: Member, was: MemberState | null): void {
    this.catalog.member(member);
    if (was === member.state) return;
    const name = this.catalog.host(member.id)?.value.name ?? '';
    this.log('info', `member-${member.state}`, {
      host: name,
      id: shortId(member.id),
      incarnation: member.incarnation,
    });
  }

  private applied(records: readonly Record[], now: Millis): void {
    for (const record of records) {
      this.trust.apply(record);
      if (record.kind === TRUST_ROOT) this.emit(...(this.certifier?.bundleChanged(now) ?? []));
      const value = this.valueOf(record);
      if (record.scope === 'policy') this.policyApplied(record, value);
      else this.hostRecordApplied(record, value);
    }
  }

  /** Null for a tombstone, and for what is not of its kind's shape. */
  private valueOf(record: Record): unknown {
    try {
      return decodeValue(record);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.malformedValues++;
      this.log('warn', 'value-malformed', {
        author: shortId(record.author),
        kind: record.kind,
        detail: error.message,
      });
      return null;
    }
  }

  private policyApplied(record: Record, value: unknown): void {
    if (record.kind !== CONFIG_ENTRY) {
      // A grant can give or take an operator's standing, and with it the force of what that operator wrote.
      this.catalog.touch('grants', 'config');
      return;
    }
    this.policies.record(record, value, this.catalog.touch(...Policies.topicsOf(record.key)));
  }

  private hostRecordApplied(record: Record, value: unknown): void {
    const { author, kind, key } = record;
    const fresh = kind === HOST && this.catalog.host(author) === undefined;
    this.catalog.record(author, kind, key, value);
    if (kind === CHECK_DEFINITION && author === this.self)
      this.registry.checkDefinition(key, value as StandaloneCheck | null);
    // Its services may have come before the host itself.
    if (fresh)
      for (const other of this.gossip.replica.ofAuthor(author))
        if (other.kind !== HOST) this.catalog.record(author, other.kind, other.key, this.valueOf(other));
  }

  private joinRequest(exchange: number, bytes: Uint8Array, now: Millis): void {
    const answer = (code: string, message: string, retryUse: number | null = null): void =>
      this.emit({
        type: 'join-reply',
        exchange,
        bytes: encodeJoinAnswer({ outcome: 'refused', code, message, retryUse }),
      });
    try {
      const record = decodeRecord(bytes);
      if (record.kind !== ADMISSION || record.scope !== 'host' || record.deleted || record.key !== '')
        throw new Fault('malformed', 'not an admission');
      if (!isAuthentic(record, this.options.verify))
        throw new Fault('bad-signature', 'the admission is not signed by its host');
      const refusal = this.trust.judgeJoin(record.author, record.value, now, (host) => this.isGone(host));
      if (refusal !== null) {
        answer(refusal.code, refusal.message, refusal.nextUse);
        return;
      }
      const { outcome, effects } = this.gossip.offer(bytes, now);
      this.gossiped(effects, now);
      if (outcome !== 'applied' && outcome !== 'known')
        throw new Fault(
          'not-taken',
          `the admission was not taken: ${typeof outcome === 'string' ? outcome : outcome.code}`,
        );
      // Only a durable admission is acknowledged: this empty write is released behind it.
      const welcome = encodeJoinAnswer({
        outcome: 'welcome',
        sponsor: this.self,
        genesis: this.options.genesis.bytes,
      });
      this.emit({
        type: 'persist',
        ops: [],
        sync: true,
        then: [{ type: 'join-reply', exchange, bytes: welcome }],
      });
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      answer(error.code, error.message);
    }
  }

  private isGone(host: HostId): boolean {
    const state = this.catalog.host(host)?.state;
    return state === 'left' || state === 'down';
  }

  private command(input: Extract<AgentInput, { type: 'command' }>, now: Millis): void {
    const { request, command, entropy } = input;
    try {
      if (command.type === 'leave') {
        this.gossiped(this.gossip.leave(now).effects, now);
        this.farewell = { at: now + farewellMs, request };
        return;
      }
      const context = {
        registry: this.registry,
        health: this.health,
        trust: this.trust,
        policies: this.policies,
        seeds: () => this.seeds(),
      };
      const outcome = perform(command, context, entropy, now);
      this.checked(outcome.health, now);
      this.write(outcome, [{ type: 'reply', request, value: outcome.value }], now);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.emit({ type: 'fail', request, fault: error });
    }
  }

  /** This host and up to two more that are alive, for tokens. */
  private seeds() {
    const others = this.catalog.allHosts().filter(({ id, state }) => id !== this.self && state === 'alive');
    const hosts = [{ id: this.self, value: this.options.host }, ...others];
    return hosts.map(({ id, value }) => ({ address: value.address, port: value.gossipPort, host: id }));
  }

  /** Signs every record, writes all of them in one durable batch, then releases `then`. All or nothing. */
  private write(
    outcome: Partial<Pick<Outcome, 'own' | 'policy'>>,
    then: readonly AgentEffect[],
    now: Millis,
  ): void {
    const effects = [
      ...(outcome.own ?? []).flatMap(
        ({ kind, key, value }) =>
          this.gossip.put(kind, key, value === null ? null : encodeJson(value), now).effects,
      ),
      ...(outcome.policy ?? []).flatMap(
        (write) => this.gossip.putSigned(this.signPolicy(write, now), now).effects,
      ),
    ];
    const writes = effects.filter((effect) => effect.type === 'persist');
    const records = writes.flatMap(({ then }) =>
      then.flatMap((one) => (one.type === 'commit' ? one.records : [])),
    );
    this.emit({
      type: 'persist',
      ops: writes.flatMap(({ ops }) => ops),
      sync: true,
      then: [
        ...(records.length > 0 ? [{ type: 'input', input: { type: 'durable', records } } as const] : []),
        ...then,
      ],
    });
  }

  private signPolicy({ kind, key, value, operator }: PolicyWrite, now: Millis): Record {
    const { version, hlc } = this.gossip.nextPolicyFields(now);
    return encodeRecord(
      { scope: 'policy', kind, key, version, hlc, value: value === null ? null : encodeJson(value) },
      operator,
    );
  }

  private checked(effects: readonly HealthEffect[], now: Millis): void {
    for (const effect of effects) {
      if (effect.type === 'run') this.emit({ type: 'run-check', check: effect.check });
      else if (effect.type === 'status')
        this.write({ own: this.registry.status(effect.checkId, effect.status, effect.output) }, [], now);
      else {
        this.log('warn', 'service-deregistered', {
          service: effect.serviceId,
          reason: 'critical for too long',
        });
        if (this.registry.service(effect.serviceId) !== undefined)
          this.write({ own: this.registry.deregister(effect.serviceId) }, [], now);
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
    if (
      this.configureAt === null &&
      (topics.size > 0 ||
        this.effects.some(({ type }) => type === 'keep-identity' || type === 'drop-identity'))
    )
      this.configureAt = now + configureDelayMs;
    if (this.configureAt !== null && now >= this.configureAt) this.configure();
  }

  private ownServicesChanged(now: Millis): void {
    const statusOf = (id: string) => this.catalog.host(this.self)?.checks.get(id)?.value.status;
    const checks = this.registry.checks().map((check) => {
      const status = statusOf(check.check.id);
      return status === undefined ? check : { ...check, status };
    });
    this.checked(this.health.step({ type: 'checks', checks }, now), now);
    const names = new Set(this.registry.services().map(({ name }) => name));
    this.emit(...(this.certifier?.setServices([...names].sort(), now) ?? []));
  }

  private configure(): void {
    this.configureAt = null;
    const { genesis, host, domain, inbound, outbound } = this.options;
    this.view = project({
      trustDomain: genesis.trustDomain,
      domain,
      self: this.self,
      datacenter: host.datacenter,
      zone: host.zone,
      defaultIntention: genesis.defaultIntention,
      inbound,
      outbound,
      catalog: this.catalog,
      policy: this.policies,
      intentions: intentionsOf(this.policies.list('service-intentions')),
      vips: this.vips,
      identities: this.certifier?.identities() ?? [],
      roots: this.trust.bundle.believed().map(({ pem }) => pem),
    });
    const config = compile(this.view);
    if (this.config !== null && configEquals(this.config, config)) return;
    this.config = config;
    this.emit({ type: 'configure', config });
  }

  private log(
    level: 'debug' | 'info' | 'warn',
    event: string,
    fields: { readonly [name: string]: string | number | boolean },
  ): void {
    this.emit({ type: 'log', level, event, fields });
  }
}
