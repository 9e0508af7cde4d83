/**
 * One running agent: the core on a real clock, disk and network, with the data plane, health checks, watched
 * files, HTTP API and DNS around it. What each part does is its own business; here they are tied together,
 * started in order and stopped in reverse.
 */
import { join } from 'node:path';
import { ed25519Verify, type Fault, messageOf, type Random } from '../../core.ts';
import { Store } from '../../gossip/io/store.ts';
import { Transport } from '../../gossip/io/transport.ts';
import { recordKey } from '../../gossip/replica/stored.ts';
import { encodeDelta } from '../../gossip/spread/dissemination.ts';
import { problemKey } from '../../proxy/compile/check.ts';
import type { ProxyConfig } from '../../proxy/config.ts';
import type { DataPlane } from '../../proxy/dataplane.ts';
import { parseOperatorToken } from '../../trust/admission/token.ts';
import { deleteIdentity, loadIdentities, retainIdentities, saveIdentity } from '../../trust/io/identities.ts';
import { makeLeafKey } from '../../trust/io/keys.ts';
import { ownBinds } from '../catalog/binds.ts';
import { AgentCore } from '../core.ts';
import type { AgentInput } from '../effects.ts';
import { LatencyWindow } from '../latency-window.ts';
import type { AgentSettings } from '../settings.ts';
import { version } from '../version.ts';
import { type Belonging, belong, foundingDone } from './belonging.ts';
import { CheckRunner } from './checks.ts';
import { monotonicClock } from './clock.ts';
import { makeDataDirectory } from './data-directory.ts';
import { dataPlaneFor } from './data-plane.ts';
import { DefinitionFiles } from './definition-files.ts';
import { type DnsServer, startDnsServer } from './dns/server.ts';
import { Driver, type EffectHandler } from './driver.ts';
import { type HttpServer, startHttpServer } from './http/server.ts';
import { type Logger, linesLost } from './logger.ts';
import { LoopLag } from './loop-lag.ts';
import type { MetricSources } from './metrics.ts';
import { LocalPort } from './port.ts';
import { Shares } from './shares.ts';
import { uidOfUser } from './users.ts';

/** How long a joiner waits for the mesh's records before it gives up. */
const synchroniseWithinMs = 60_000;
/** Draining the data plane, within the ten seconds that a stop may take. */
const drainMs = 4000;
const farewellWithinMs = 3000;

/** For choices and jitter, never for secrets: the data plane asks it for every request. */
const chance: Random = { next: () => Math.random() };

export class Agent {
  readonly core: AgentCore;
  readonly port: LocalPort;
  /** Resolves when the agent was asked to leave and has told the mesh. */
  readonly asked: Promise<void>;
  /** Where the operator token of a mesh is that was founded here and is ready for the first time. */
  operatorTokenPath: string | null = null;
  private readonly settings: AgentSettings;
  private readonly log: Logger;
  private readonly store: Store;
  private readonly shares: Shares;
  private readonly driver: Driver;
  private readonly checks: CheckRunner;
  private readonly dataPlane: DataPlane | null;
  private readonly lag = new LoopLag();
  private readonly writes = new LatencyWindow();
  private readonly joinReplies = new Map<number, (bytes: Uint8Array) => boolean>();
  private readonly now = monotonicClock();
  private readonly early: AgentInput[] = [];
  private transport: Transport | null = null;
  private files: DefinitionFiles | null = null;
  private http: HttpServer | null = null;
  private dns: DnsServer | null = null;
  private config: ProxyConfig | null = null;
  private ownSocketsBound = false;
  private lastExchange = 0;
  private identityWork: Promise<void> = Promise.resolve();
  private applied: Promise<void> = Promise.resolve();
  private leaveNow: () => void = () => {};
  private stopping: Promise<void> | null = null;

  private constructor(
    settings: AgentSettings,
    log: Logger,
    store: Store,
    shares: Shares,
    core: AgentCore,
    dataPlane: DataPlane | null,
    missingRootKey: string | null,
  ) {
    this.settings = settings;
    this.log = log;
    this.store = store;
    this.shares = shares;
    shares.onReport((report) => this.driver.feed({ type: 'engine', report }));
    this.core = core;
    this.asked = new Promise((done) => {
      this.leaveNow = done;
    });
    this.dataPlane = dataPlane;
    this.checks = new CheckRunner((result) => this.driver.feed({ type: 'check-result', ...result }));
    this.driver = new Driver({
      core,
      store,
      secrets: shares,
      now: this.now,
      carryOut: this.carryOut,
      stored: (fault, tookMs) => {
        this.writes.note(tookMs, this.now());
        this.port.stored(fault);
      },
    });
    this.port = new LocalPort({
      core,
      now: this.now,
      startedAt: this.now(),
      feed: (input) => this.driver.feed(input),
      dataPlane: this.dataPlane,
      facts: () => ({
        conflicts: this.config?.conflicts ?? [],
        damagedEntries: store.counters.damaged,
        missingRootKey,
        damagedShares: shares.damaged,
        loopLagMs: this.lag.worstMs(),
        membershipLagMs: this.transport?.stats().thread.lagMs ?? 0,
        slowestWritesMs: this.writes.quantileMs(0.99, this.now()),
      }),
      metrics: exporterOf({
        core,
        transport: () => this.transport!.stats(),
        dataPlane: () => this.port.freshDataPlane(),
        store: () => store.counters,
        writeMs: (quantile) => this.writes.quantileMs(quantile, this.now()),
        waitingQueries: () => this.http?.waiting() ?? 0,
        logLinesLost: linesLost,
        now: this.now,
      }),
    });
  }

  /** Resolves once the agent is ready to serve; throws `Fault`, with everything closed, when it cannot be. */
  static async start(settings: AgentSettings, log: Logger): Promise<Agent> {
    await makeDataDirectory(settings.dataDir);
    const store = await Store.open(settings.dataDir, {
      damaged: (detail) => log.warn({ detail }, 'store-damaged'),
    });
    let agent: Agent | null = null;
    try {
      const now = monotonicClock();
      const belonging = await belong(settings, now, (slot) => isStored(store, slot));
      const { hostKey, genesis, rootSigner, sponsor } = belonging;
      logBelonging(belonging, settings, log);
      const core = new AgentCore({
        host: hostValue(settings, belonging.name),
        signer: hostKey.signer,
        verify: ed25519Verify,
        random: chance,
        epoch: store.epoch,
        genesis,
        rootSigner,
        domain: settings.domain,
        vipRange: settings.vipRange,
        inbound: { address: settings.bind, port: settings.inboundPort },
        outbound: settings.outbound,
        svidTtlMs: settings.svidTtlMs,
        rootTtlMs: settings.rootTtlMs,
        trustees: settings.trustees,
        ownBinds: ownBinds(settings),
        sponsor,
      });
      const { dataDir } = settings;
      const shares = await Shares.open({ dataDir, hostKey, trustDomain: genesis.trustDomain, log });
      const dataPlane = await dataPlaneFor({
        settings,
        trustDomain: genesis.trustDomain,
        random: chance,
        log: (level, event, fields) => log[level](fields, event),
        now,
      });
      agent = new Agent(settings, log, store, shares, core, dataPlane, belonging.missingRootKey);
      await agent.takeOff(hostKey.seed, belonging);
      agent.logMissingKey(belonging.missingRootKey);
      agent.operatorTokenPath = belonging.operatorTokenPath;
      if (agent.operatorTokenPath !== null) await foundingDone(dataDir);
      return agent;
    } catch (error) {
      if (agent === null) await store.close();
      else await agent.stop();
      throw error;
    }
  }

  private async takeOff(seed: Uint8Array, { admission, denial }: Belonging): Promise<void> {
    const { settings } = this;
    const entries = await Array.fromAsync(this.store.load(''));
    const identities = await loadIdentities(this.identityFolder, (fault) =>
      this.log.warn({ detail: fault.message }, 'identity-unusable'),
    );
    this.transport = await this.startTransport(seed);
    this.driver.feed({
      type: 'start',
      saved: { entries, identities, secrets: this.shares.names, admission },
    });
    const services = new Set(this.core.registry.services().map(({ name }) => name));
    this.identityChange(() => retainIdentities(this.identityFolder, services));
    for (const input of this.early.splice(0)) this.driver.feed(input);
    if (settings.services !== null) await this.watch(settings.services);
    this.checks.reach.apiPort = 'port' in settings.http ? settings.http.port : null;
    this.http = await startHttpServer({
      agent: this.port,
      listen: settings.http,
      parseOperator: parseOperatorToken,
      uidOfUser,
      onError: (event) => this.log.error(event, 'request-failed'),
    });
    this.checks.reach.apiPort = this.http.port;
    if (settings.dns !== null)
      this.dns = await startDnsServer({
        agent: this.port,
        listen: settings.dns,
        random: chance,
        onError: (detail) => this.log.warn({ detail }, 'dns-trouble'),
      });
    // The agent's own sockets come first: no registration can take their ports from a starting agent.
    this.ownSocketsBound = true;
    this.applyConfig();
    await this.heed(denial);
    await this.port.synchronised(synchroniseWithinMs);
    await this.applied;
  }

  /** Takes a record that speaks against this host from whoever has it, and judges it as any other. */
  private async heed(denial: Belonging['denial']): Promise<void> {
    const record = await denial;
    if (record !== null) this.driver.feed({ type: 'delta', bytes: encodeDelta([record]) });
  }

  /** Once a quorum holds the root, nobody needs the founder's any more. */
  private logMissingKey(file: string | null): void {
    if (file === null || this.core.trust.bundle.active().generation > 0) return;
    const detail = 'no service gets a certificate until it is restored';
    this.log.error({ file, detail }, 'root-key-missing');
  }

  private get identityFolder(): string {
    return join(this.settings.dataDir, 'identities');
  }

  private startTransport(seed: Uint8Array): Promise<Transport> {
    const feed = (input: AgentInput): void => {
      // What arrives before the replica is loaded waits for it.
      if (this.transport === null) this.early.push(input);
      else this.driver.feed(input);
    };
    return Transport.start({
      seed,
      mesh: Buffer.from(this.core.trust.genesis.hash, 'hex'),
      epoch: this.store.epoch,
      root: this.core.gossip.replica.root(),
      bind: this.settings.bind,
      port: this.settings.gossipPort,
      admitted: (host) => this.core.isAdmitted(host),
      addressOf: (host) => this.core.addressOf(host),
      handlers: {
        frame: (from, bytes) => feed({ type: 'frame', from, bytes }),
        delta: (bytes) => {
          feed({ type: 'delta', bytes });
          return this.core.gossip.relayVerdict;
        },
        connected: (peer) => feed({ type: 'connected', peer }),
        disconnected: (peer) => feed({ type: 'disconnected', peer }),
        unreachable: (peer) => feed({ type: 'unreachable', peer }),
        report: (report) => feed({ type: 'swim', report }),
        joinRequest: (bytes, reply) => {
          const exchange = ++this.lastExchange;
          this.joinReplies.set(exchange, reply);
          feed({ type: 'join-request', exchange, bytes: Uint8Array.from(bytes) });
        },
        introduction: (bytes) => feed({ type: 'introduction', bytes }),
      },
    });
  }

  private readonly carryOut: EffectHandler = (effect) => {
    switch (effect.type) {
      case 'send':
        this.transport!.send(effect.to, effect.bytes);
        break;
      case 'publish':
        this.transport!.publish(effect.bytes);
        break;
      case 'connect':
        this.transport!.connect(effect.peer);
        break;
      case 'disconnect':
        this.transport!.disconnect(effect.peer);
        break;
      case 'expel':
        this.transport!.dropUnadmitted();
        break;
      case 'swim':
        this.transport!.order(effect.order);
        break;
      case 'locate':
        this.transport!.locate(effect.host, effect.address, effect.port);
        break;
      case 'engine':
        this.shares.order(effect.order);
        break;
      case 'shred':
        this.shares.shred(effect.names);
        break;
      case 'introduce':
        this.transport!.introduce(effect.to, effect.introductions);
        break;
      case 'join-reply':
        this.joinReplies.get(effect.exchange)?.(effect.bytes);
        this.joinReplies.delete(effect.exchange);
        break;
      case 'reply':
        this.port.answered(effect.request, effect.value);
        break;
      case 'fail':
        this.port.refused(effect.request, effect.fault);
        break;
      case 'run-check':
        this.checks.run(effect.check);
        break;
      case 'make-key':
        this.makeKey(effect.service, effect.spiffeId, effect.dnsNames);
        break;
      case 'keep-identity':
        this.identityChange(() => saveIdentity(this.identityFolder, effect.identity));
        break;
      case 'drop-identity':
        this.identityChange(() => deleteIdentity(this.identityFolder, effect.service));
        break;
      case 'configure':
        this.logNewConflicts(effect.config);
        this.logNewProblems(effect.config);
        this.config = effect.config;
        if (this.ownSocketsBound) this.applyConfig();
        break;
      case 'changed':
        this.port.changed(effect.topics);
        break;
      case 'happened':
        this.port.events.add(effect.events);
        break;
      case 'log':
        this.log[effect.level](effect.fields, effect.event);
        break;
      case 'stop':
        this.leaveNow();
    }
  };

  private applyConfig(): void {
    const { config } = this;
    if (config === null) return;
    this.applied = this.dataPlane?.apply(config) ?? Promise.resolve();
    this.applied.then(() => this.driver.feed({ type: 'configured', config }));
  }

  private logNewConflicts({ conflicts }: ProxyConfig): void {
    const known = new Set(this.config?.conflicts.map(({ id }) => id));
    for (const { id, address, port, takenBy } of conflicts)
      if (!known.has(id)) this.log.error({ listener: id, address, port, takenBy }, 'listener-left-out');
  }

  /** Of policy that two operators wrote at once, say: a write that brings one is refused. */
  private logNewProblems({ problems }: ProxyConfig): void {
    const known = new Set(this.config?.problems.map(problemKey));
    for (const problem of problems)
      if (!known.has(problemKey(problem))) this.log.warn({ ...problem }, 'policy-without-effect');
  }

  private makeKey(service: string, spiffeId: string, dnsNames: readonly string[]): void {
    makeLeafKey(spiffeId, dnsNames).then(
      ({ csr, keyPem }) => this.driver.feed({ type: 'key-made', service, csr, keyPem }),
      // The keeper asks again when no key came in time.
      (error: unknown) => this.log.error({ service, detail: messageOf(error) }, 'key-not-made'),
    );
  }

  /** One after the other, so that the last change of a service is the one on disk. */
  private identityChange(change: () => Promise<void>): void {
    this.identityWork = this.identityWork
      .then(change)
      .catch((error: unknown) => this.log.error({ detail: messageOf(error) }, 'identity-not-saved'));
  }

  private async watch(path: string): Promise<void> {
    let unreadable: Fault | null = null as Fault | null;
    this.files = new DefinitionFiles({
      path,
      uidOfUser,
      onChange: ({ definitions, problems }) => {
        for (const { fault } of problems) this.log.warn({ detail: fault.message }, 'definition-refused');
        this.port.fileProblems = problems.map(({ fault }) => fault.message);
        this.driver.feed({ type: 'files', definitions });
        unreadable ??= problems.find((problem) => problem.path === path)?.fault ?? null;
      },
    });
    await this.files.start();
    // Later it may come and go; an agent started on a path that is not there was told wrong.
    if (unreadable !== null) throw unreadable;
  }

  /** The line that says where everything is. */
  readyLine(): string {
    const { settings, core } = this;
    const gossip = `${settings.advertise}:${this.transport!.port}`;
    const inbound = settings.proxy === 'none' ? 'none' : `${settings.advertise}:${settings.inboundPort}`;
    return (
      `starling: ready name=${core.options.host.name} mesh=${core.trust.genesis.trustDomain} ` +
      `http=${this.http!.address} dns=${this.dns === null ? 'none' : `${this.dns.address}:${this.dns.port}`} gossip=${gossip} inbound=${inbound}`
    );
  }

  /** Tells the mesh, lets requests under way finish, closes everything. Within ten seconds. */
  async leave(): Promise<void> {
    const timer = setTimeout(() => this.leaveNow(), farewellWithinMs);
    this.port.command({ type: 'leave' }).catch((error: unknown) => {
      this.log.warn({ detail: messageOf(error) }, 'leave-not-told');
      this.leaveNow();
    });
    await this.asked;
    clearTimeout(timer);
    await this.stop();
  }

  /** Closes everything; nothing that was acknowledged is lost. */
  stop(): Promise<void> {
    this.stopping ??= this.close();
    return this.stopping;
  }

  private async close(): Promise<void> {
    await Promise.all([
      this.http?.close(),
      this.dns?.close(),
      this.files?.close(),
      this.checks.close(),
      this.dataPlane?.close(drainMs),
    ]);
    this.lag.stop();
    await this.transport?.stop();
    await this.shares.stop();
    await this.driver.stop();
    await this.identityWork;
    await this.store.close();
  }
}

/** The library of metrics is loaded, and begins to measure the process, with the first scrape. */
function exporterOf(sources: MetricSources): () => Promise<string> {
  let exporter: Promise<() => Promise<string>> | null = null;
  return async () => {
    exporter ??= import('./metrics.ts').then(({ metricsExporter }) => metricsExporter(sources));
    return (await exporter)();
  };
}

async function isStored(store: Store, slot: string): Promise<boolean> {
  for await (const { key } of store.load(recordKey(slot))) return key === recordKey(slot);
  return false;
}

/** What an operator would not guess from how the agent was started. */
function logBelonging(belonging: Belonging, settings: AgentSettings, log: Logger): void {
  const { name, failures } = belonging;
  if (name !== settings.name) log.warn({ name, asked: settings.name }, 'name-kept-from-admission');
  for (const { message } of failures) log.warn({ detail: message }, 'join-address-failed');
}

function hostValue(settings: AgentSettings, name: string) {
  const { datacenter, zone, advertise, gossipPort, inboundPort } = settings;
  return { name, datacenter, zone, address: advertise, gossipPort, inboundPort, version };
}
