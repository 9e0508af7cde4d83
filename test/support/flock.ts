/**
 * Whole agent cores on a virtual clock, with disks in memory, wired to each other directly: a frame arrives in
 * the next step, a publication at everybody. Keys, signatures and certificates are real.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { parseVipRange } from '../../src/agent/catalog/vips.ts';
import { AgentCore } from '../../src/agent/core.ts';
import type { AgentEffect, AgentInput } from '../../src/agent/effects.ts';
import type { MeshEvent } from '../../src/agent/events.ts';
import { decodeJoinAnswer, type JoinAnswer, joinRequest } from '../../src/agent/joining/joining.ts';
import type { CheckDefinition, CheckStatus, ServiceDefinition } from '../../src/agent/kinds.ts';
import type { Command, CreatedToken } from '../../src/agent/port.ts';
import { earliest, ed25519Verify, Fault, type Millis, type Signer, seededRandom } from '../../src/core.ts';
import { Swim } from '../../src/gossip/membership/swim.ts';
import type { SwimInput } from '../../src/gossip/swim-port.ts';
import type { ProxyConfig } from '../../src/proxy/config.ts';
import { type JoinToken, parseToken } from '../../src/trust/admission/token.ts';
import { genesisShare } from '../../src/trust/epoch/crypto-port.ts';
import { founderPolicy, type TrusteePolicy } from '../../src/trust/epoch/policy.ts';
import { SoleKey } from '../../src/trust/issuance/sole-key.ts';
import type { SavedIdentity } from '../../src/trust/issuance/svid.ts';
import { ThresholdEngine } from '../../src/trust/quorum/engine.ts';
import type { EngineReport } from '../../src/trust/quorum/engine-port.ts';
import { defaultEngineTimings } from '../../src/trust/quorum/run.ts';
import { createCsr } from '../../src/trust/x509/csr.ts';
import {
  founder,
  genesis,
  operator,
  p256,
  rootSigner,
  seedOf,
  signerOf,
  startedAt,
} from '../unit/trust/mesh.ts';
import { definitionOf, hostValue } from './agent.ts';

export { founder, genesis, operator, signerOf, startedAt };

type Effect<T extends AgentEffect['type']> = Extract<AgentEffect, { type: T }>;
export type Answer = { readonly value: unknown } | { readonly fault: Fault };

/** One host: what its disk keeps, and the agent that runs on it now. */
export class FlockHost {
  readonly flock: Flock;
  readonly name: string;
  readonly signer: Signer;
  readonly address: string;
  /** `stalled` keeps writes waiting for `flush`; `failing` refuses them. */
  disk: 'working' | 'stalled' | 'failing' = 'working';
  readonly store = new Map<string, Uint8Array>();
  readonly identities = new Map<string, SavedIdentity>();
  admission: Uint8Array | null = null;
  sponsor: FlockHost | null = null;
  /** The sponsor's signature, hex. */
  welcome: string | null = null;
  core!: AgentCore;
  /** Membership, which runs beside the core. */
  swim!: Swim;
  isRunning = false;
  isCut = false;
  /** How far its wall clock is off. */
  clockAheadMs = 0;
  /** A firewall before this host that lets connections through, and no datagrams. */
  isUdpBlocked = false;
  /** Which frames it sends and nobody gets. */
  loses: (frame: Uint8Array) => boolean = () => false;
  /** Whether a test makes its agent fail on a record: else that is a bug. */
  mayQuarantine = false;
  /** Whether its proxy serves by what it is given, and the agent hears of it. */
  appliesConfig = true;
  zone = '';
  epoch = 0;
  configs: ProxyConfig[] = [];
  readonly answers = new Map<number, Answer>();
  readonly joinAnswers = new Map<number, JoinAnswer>();
  readonly logs: Effect<'log'>[] = [];
  readonly events: MeshEvent[] = [];
  readonly checksRun: CheckDefinition[] = [];
  readonly keysMade: string[] = [];
  /** Shares of root keys, as its disk keeps them. */
  readonly secrets = new Map<string, Uint8Array>();
  engine!: ThresholdEngine;
  private waiting: Effect<'persist'>[] = [];
  private lastRequest = 0;

  constructor(flock: Flock, name: string, signer: Signer, address: string) {
    this.flock = flock;
    this.name = name;
    this.signer = signer;
    this.address = address;
  }

  get id(): string {
    return this.signer.publicKey;
  }

  start(): void {
    this.epoch++;
    this.configs = [];
    this.core = new AgentCore({
      host: hostValue(this.name, this.address, { zone: this.zone }),
      signer: this.signer,
      verify: ed25519Verify,
      random: seededRandom(this.epoch * 1000 + this.flock.hosts.indexOf(this)),
      epoch: this.epoch,
      genesis,
      rootSigner: this.id === founder.publicKey ? new SoleKey(rootSigner) : null,
      domain: 'mesh',
      vipRange: parseVipRange('127.64.0.0/16'),
      inbound: { address: this.address, port: 21000 },
      outbound: null,
      svidTtlMs: 12 * 3_600_000,
      rootTtlMs: this.flock.rootTtlMs,
      trustees: this.flock.trustees,
      sponsor:
        this.sponsor === null
          ? null
          : { id: this.sponsor.id, address: this.sponsor.address, port: 7946, welcome: this.welcome },
    });
    this.swim = new Swim({
      self: this.id,
      signer: this.signer,
      verify: ed25519Verify,
      random: seededRandom(this.epoch * 1000 + 500 + this.flock.hosts.indexOf(this)),
      epoch: this.epoch,
      root: this.core.gossip.replica.root(),
      wallMs: () => this.flock.now + this.clockAheadMs,
    });
    this.isRunning = true;
    const entries = [...this.store].map(([key, value]) => ({ key, value }));
    const identities = [...this.identities.values()];
    const { secrets, admission } = this;
    this.engine = this.newEngine();
    for (const [name, secret] of secrets) this.engine.step({ type: 'hold', name, secret }, this.flock.now);
    this.feed({ type: 'start', saved: { entries, identities, secrets: [...secrets.keys()], admission } });
  }

  private newEngine(): ThresholdEngine {
    const random = seededRandom(this.epoch * 1000 + 700 + this.flock.hosts.indexOf(this));
    const entropy = (bytes: number): Uint8Array =>
      Uint8Array.from({ length: bytes }, () => Math.floor(random.next() * 256));
    return new ThresholdEngine({
      signer: this.signer,
      verify: ed25519Verify,
      entropy,
      trustDomain: genesis.trustDomain,
      bootId: Buffer.from(entropy(16)).toString('hex'),
      timings: defaultEngineTimings,
    });
  }

  /** Ends as by SIGKILL: what was not durable is gone. */
  kill(): void {
    this.isRunning = false;
    this.waiting = [];
    this.flock.forget(this);
  }

  /** Whatever is due, of the core and of membership. */
  wake(now: Millis): void {
    if (isDue(this.swim.nextWake(), now)) this.flock.enqueue(this, { swim: { type: 'wake' } });
    if (isDue(this.engine.nextWake(), now)) this.engineSaid(this.engine.step({ type: 'wake' }, now));
    if (isDue(this.core.nextWake(), now)) this.flock.enqueue(this, { type: 'wake' });
    this.flock.drain();
  }

  nextWake(): Millis | null {
    return earliest(this.core.nextWake(), this.swim.nextWake(), this.engine.nextWake());
  }

  step(input: FlockInput, now: Millis): void {
    if (!('swim' in input)) for (const effect of this.core.step(input, now)) this.carryOut(effect);
    else
      for (const effect of this.swim.step(input.swim, now))
        if (effect.type === 'report') this.flock.enqueue(this, { type: 'swim', report: effect.report });
        else this.flock.datagram(this, effect.to, effect.bytes);
  }

  feed(input: AgentInput): void {
    this.flock.enqueue(this, input);
    this.flock.drain();
  }

  /** Asks for a change; the answer is in `answers` once there is one. */
  ask(command: Command): number {
    const request = ++this.lastRequest;
    const entropy = createHash('sha512').update(`${this.name} ${request}`).digest();
    this.feed({ type: 'command', request, command, entropy: Uint8Array.from(entropy) });
    return request;
  }

  /** As `ask`, for what is answered at once. */
  command(command: Command): unknown {
    const answer = this.answers.get(this.ask(command));
    assert.ok(answer !== undefined, `${command.type} was not answered`);
    if ('fault' in answer) throw answer.fault;
    return answer.value;
  }

  register(name: string, more: Partial<ServiceDefinition> = {}): void {
    this.command({ type: 'register-service', definition: definitionOf({ name, ...more }) });
  }

  /** Makes waiting writes durable, or fails them. */
  flush(): void {
    for (const effect of this.waiting.splice(0)) this.written(effect);
    this.flock.drain();
  }

  /** How this host finds the first instance of a service; undefined when there is none. */
  statusOf(service: string): CheckStatus | undefined {
    const [instance] = this.core.catalog.instances(service);
    return instance === undefined ? undefined : this.core.catalog.statusOf(instance);
  }

  get lastConfig(): ProxyConfig {
    const config = this.configs.at(-1);
    assert.ok(config !== undefined, `${this.name} has no configuration`);
    return config;
  }

  carryOut(effect: AgentEffect): void {
    switch (effect.type) {
      case 'send':
        this.flock.send(this, effect.to, effect.bytes);
        break;
      case 'swim':
        this.flock.enqueue(this, { swim: { type: 'order', order: effect.order } });
        break;
      case 'publish':
        this.flock.publish(this, effect.bytes);
        break;
      case 'connect':
        this.flock.connect(this, effect.peer);
        break;
      case 'persist':
        if (this.disk === 'stalled') this.waiting.push(effect);
        else this.written(effect);
        break;
      case 'input':
        this.flock.enqueue(this, effect.input);
        break;
      case 'reply':
        this.answers.set(effect.request, { value: effect.value });
        break;
      case 'fail':
        this.answers.set(effect.request, { fault: effect.fault });
        break;
      case 'engine':
        this.engineSaid(this.engine.step(effect.order, this.flock.now));
        break;
      case 'shred':
        for (const name of effect.names) this.secrets.delete(name);
        this.engine.step({ type: 'forget', names: effect.names }, this.flock.now);
        break;
      case 'introduce':
        this.flock.introduce(this, effect.to, effect.introductions);
        break;
      case 'join-reply':
        this.joinAnswers.set(effect.exchange, decodeJoinAnswer(effect.bytes));
        break;
      case 'make-key':
        this.makeKey(effect);
        break;
      case 'keep-identity':
        this.identities.set(effect.identity.service, effect.identity);
        break;
      case 'drop-identity':
        this.identities.delete(effect.service);
        break;
      case 'configure':
        this.configs.push(effect.config);
        if (this.appliesConfig) this.flock.enqueue(this, { type: 'configured', config: effect.config });
        break;
      case 'run-check':
        this.checksRun.push(effect.check);
        break;
      case 'happened':
        this.events.push(...effect.events);
        break;
      case 'log':
        this.logs.push(effect);
        assert.ok(this.mayQuarantine || effect.event !== 'record-quarantined', String(effect.fields.stack));
        break;
      case 'stop':
        this.isRunning = false;
        break;
      case 'disconnect':
      case 'expel':
      case 'locate':
      case 'changed':
        break;
    }
  }

  private engineSaid(reports: readonly EngineReport[]): void {
    for (const report of reports) this.flock.enqueue(this, { type: 'engine', report });
  }

  private written({ ops, secrets, then }: Effect<'persist'>): void {
    if (this.disk === 'failing') {
      const fault = new Fault('storage-failed', 'the disk is full');
      for (const effect of then)
        if (effect.type === 'reply') this.carryOut({ type: 'fail', request: effect.request, fault });
        else if (effect.type === 'input' && effect.input.type === 'durable')
          this.flock.enqueue(this, { type: 'not-durable', records: effect.input.records });
      return;
    }
    for (const { name, bytes } of secrets ?? []) this.secrets.set(name, bytes);
    for (const op of ops)
      if (op.type === 'put') this.store.set(op.key, op.value);
      else this.store.delete(op.key);
    for (const effect of then) this.carryOut(effect);
  }

  private makeKey({ service, spiffeId, dnsNames }: Effect<'make-key'>): void {
    this.keysMade.push(service);
    const key = p256();
    const keyPem = key.export({ type: 'pkcs8', format: 'pem' }).toString();
    this.flock.enqueue(this, { type: 'key-made', service, csr: createCsr(key, spiffeId, dnsNames), keyPem });
  }
}

/** What a core takes in, or the membership beside it. */
type FlockInput = AgentInput | { readonly swim: SwimInput };

function isDue(deadline: Millis | null, now: Millis): boolean {
  return deadline !== null && deadline <= now;
}

const maxSteps = 200_000;

export class Flock {
  now: Millis = startedAt;
  readonly trustees: TrusteePolicy;
  readonly rootTtlMs: Millis;
  readonly hosts: FlockHost[] = [];
  private queue: { readonly host: FlockHost; readonly input: FlockInput }[] = [];
  private draining = false;
  private lastExchange = 0;

  constructor(trustees: TrusteePolicy = founderPolicy, rootTtlMs: Millis = 90 * 24 * 3_600_000) {
    this.trustees = trustees;
    this.rootTtlMs = rootTtlMs;
  }

  /** A mesh of its founder, which keeps the root unless `trustees` are to share it. */
  static founded(
    trustees?: TrusteePolicy,
    rootTtlMs?: Millis,
  ): { readonly flock: Flock; readonly first: FlockHost } {
    const flock = new Flock(trustees, rootTtlMs);
    const first = flock.add('first', founder);
    first.secrets.set(genesisShare, seedOf('root'));
    first.start();
    flock.run(100);
    return { flock, first };
  }

  add(name: string, signer: Signer = signerOf(name)): FlockHost {
    const host = new FlockHost(this, name, signer, `10.0.0.${this.hosts.length + 1}`);
    this.hosts.push(host);
    return host;
  }

  enqueue(host: FlockHost, input: FlockInput): void {
    this.queue.push({ host, input });
  }

  forget(host: FlockHost): void {
    this.queue = this.queue.filter((queued) => queued.host !== host);
  }

  drain(): void {
    if (this.draining) return;
    this.draining = true;
    try {
      for (let steps = 0; this.queue.length > 0; steps++) {
        assert.ok(steps < maxSteps, 'the flock comes to rest');
        const { host, input } = this.queue.shift()!;
        if (!host.isRunning) continue;
        host.step(input, this.now);
      }
    } finally {
      this.draining = false;
    }
  }

  /** Lets time pass, waking every agent when it asks. */
  run(ms: Millis): void {
    const until = this.now + ms;
    this.drain();
    for (let steps = 0; ; steps++) {
      assert.ok(steps < maxSteps, 'nobody is woken in a spin');
      let next: FlockHost | null = null;
      let at = Number.POSITIVE_INFINITY;
      for (const host of this.hosts) {
        const wake = host.isRunning ? host.nextWake() : null;
        if (wake !== null && wake < at) [next, at] = [host, wake];
      }
      if (next === null || at > until) break;
      this.now = Math.max(this.now, Math.ceil(at));
      next.wake(this.now);
    }
    this.now = until;
  }

  send(from: FlockHost, to: string, bytes: Uint8Array): void {
    if (from.loses(bytes)) return;
    const target = this.reach(from, to);
    if (target === null) this.enqueue(from, { type: 'unreachable', peer: to });
    else this.enqueue(target, { type: 'frame', from: from.id, bytes });
  }

  datagram(from: FlockHost, to: string, bytes: Uint8Array): void {
    const target = this.reach(from, to);
    if (from.isUdpBlocked || target?.isUdpBlocked) return;
    if (target !== null) this.enqueue(target, { swim: { type: 'datagram', from: from.id, bytes } });
  }

  introduce(from: FlockHost, to: string, introductions: readonly Uint8Array[]): void {
    const target = this.hosts.find(({ id }) => id === to)!;
    if (from.isCut || target.isCut) return;
    for (const bytes of introductions) this.enqueue(target, { type: 'introduction', bytes });
  }

  publish(from: FlockHost, bytes: Uint8Array): void {
    for (const host of this.hosts)
      if (host !== from && this.reach(from, host.id) !== null) this.enqueue(host, { type: 'delta', bytes });
  }

  connect(from: FlockHost, to: string): void {
    const target = this.reach(from, to);
    this.enqueue(from, { type: target === null ? 'unreachable' : 'connected', peer: to });
    if (target !== null) this.enqueue(target, { type: 'connected', peer: from.id });
  }

  private reach(from: FlockHost, to: string): FlockHost | null {
    const target = this.hosts.find(({ id }) => id === to);
    if (target === undefined || !target.isRunning || target.isCut || from.isCut) return null;
    return target.core.isAdmitted(from.id) ? target : null;
  }

  token(at: FlockHost, terms: Partial<Extract<Command, { type: 'create-token' }>> = {}): JoinToken {
    return parseToken(this.createToken(at, terms).token);
  }

  createToken(at: FlockHost, terms: Partial<Extract<Command, { type: 'create-token' }>> = {}): CreatedToken {
    const command = {
      type: 'create-token',
      services: [],
      roles: ['agent'],
      uses: 10,
      ttlMs: 3_600_000,
      operator,
      ...terms,
    } as const;
    return at.command(command) as CreatedToken;
  }

  /** What a joiner sends: its own admission, proven with the token's secret. */
  joinRequest(joiner: FlockHost, token: JoinToken): Uint8Array {
    const { name, signer } = joiner;
    return joinRequest({ name, hostKey: signer, token }, this.now);
  }

  /** Asks `sponsor` to admit the bearer of `bytes`; undefined while it has not answered. */
  askToJoin(sponsor: FlockHost, bytes: Uint8Array): JoinAnswer | undefined {
    const exchange = ++this.lastExchange;
    sponsor.feed({ type: 'join-request', exchange, bytes });
    return sponsor.joinAnswers.get(exchange);
  }

  deny(at: FlockHost, host: FlockHost, reason = ''): void {
    at.command({ type: 'deny', denied: { type: 'host', host: host.id }, reason, force: false, operator });
  }

  /** A host that `sponsor` has let in, and whose agent was not started yet. */
  admit(name: string, sponsor: FlockHost, token: JoinToken): FlockHost {
    const host = this.add(name);
    host.admission = this.joinRequest(host, token);
    const answer = this.askToJoin(sponsor, host.admission);
    assert.ok(answer?.outcome === 'welcome', JSON.stringify(answer));
    host.sponsor = sponsor;
    host.welcome = answer.signature;
    return host;
  }

  /** A host that has joined through `sponsor`, started and in step with the mesh. */
  join(name: string, sponsor: FlockHost, token: JoinToken): FlockHost {
    const host = this.admit(name, sponsor, token);
    host.start();
    this.run(3000);
    assert.ok(host.core.isSynchronised(), `${name} is in step with the mesh`);
    return host;
  }
}
