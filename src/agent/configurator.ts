/** Keeps the proxy's configuration in step with what the agent knows: project, compile, compare. Pure. */
import type { HostId, Millis, Random } from '../core.ts';
import { reliableError } from '../gossip/coordinates/coordinate.ts';
import type { Member } from '../gossip/port.ts';
import { Compiler } from '../proxy/compile/compile.ts';
import { configEquals } from '../proxy/compile/equal.ts';
import type { ProxyConfig } from '../proxy/config.ts';
import type { PolicyView } from '../proxy/policy.ts';
import type { IdentityView, IntentionView, MeshView } from '../proxy/view.ts';
import type { TrustState } from '../trust/state.ts';
import type { Catalog } from './catalog/catalog.ts';
import { RoundTrips } from './catalog/round-trips.ts';
import { VipPool, type VipRange } from './catalog/vips.ts';
import type { AgentEffect, SavedState } from './effects.ts';
import { intentionsOf } from './entries/service-intentions.ts';
import { policyViewOf } from './entries/view.ts';
import type { HostValue } from './kinds.ts';
import type { Policies } from './policy/policy.ts';
import { Receipts } from './policy/receipts.ts';
import { Projector } from './project.ts';

/** What membership knows of where hosts are. */
export interface Whereabouts {
  members(): Iterable<Member>;
  /** The round trip to expect between two hosts, milliseconds; null where one's place is not known as well as that. */
  estimateMs(a: HostId, b: HostId, mostError?: number): number | null;
}

export interface ConfiguratorOptions {
  readonly self: HostId;
  readonly host: HostValue;
  readonly domain: string;
  readonly vipRange: VipRange;
  readonly inbound: MeshView['inbound'];
  readonly outbound: MeshView['outbound'];
  readonly catalog: Catalog;
  readonly policies: Policies;
  readonly trust: TrustState;
  readonly gossip: Whereabouts;
  readonly random: Random;
}

/** Changes that come within this time make one configuration. */
const gatherMs = 10;
/**
 * A configuration costs up to 3 us of CPU for each instance whose service changed and, with what the data plane makes
 * of it, 5 us for each service there is: a rest of ten times that keeps it to a tenth of a core.
 */
const restMsPerInstance = 0.03;
const restMsPerService = 0.05;
/** However large the mesh, the proxy follows within a second. */
const longestRestMs = 500;

export class Configurator {
  private readonly options: ConfiguratorOptions;
  private readonly vips: VipPool;
  private readonly projector = new Projector();
  private readonly compiler = new Compiler();
  private readonly roundTrips = new RoundTrips();
  private entries: ReadEntries | null = null;
  private latest: MeshView | null = null;
  private config: ProxyConfig | null = null;
  private rested: Millis = 0;
  /** Which policy the data plane has taken on, here and elsewhere. */
  readonly receipts: Receipts;

  constructor(options: ConfiguratorOptions) {
    this.options = options;
    this.receipts = new Receipts(options.policies, options.catalog, options.random);
    this.vips = new VipPool(options.vipRange);
  }

  /** The view that the latest configuration was compiled from; null before the first. */
  get view(): MeshView | null {
    return this.latest;
  }

  /** When to configure after a change at `now`: soon, unless a large mesh was configured only just. */
  dueAfter(now: Millis): Millis {
    return Math.max(now + gatherMs, this.rested);
  }

  /** Some host, or this one, is elsewhere than was told before. */
  moved(): void {
    this.roundTrips.moved();
  }

  /** Whether it is time to configure because hosts are further off, or nearer, than the proxy knows. */
  look(now: Millis): boolean {
    const { gossip, self } = this.options;
    return this.roundTrips.look(
      gossip.members(),
      (host) => gossip.estimateMs(self, host, reliableError),
      now,
    );
  }

  /** Before the first update: the addresses that services had in the run before. */
  restore({ entries }: SavedState): void {
    this.vips.restore(entries);
  }

  /** Compiles anew: what the data plane is to do, if anything, and what the store is to keep. */
  update(identities: readonly IdentityView[], now: Millis): AgentEffect[] {
    const effects: AgentEffect[] = [];
    const config = this.compiled(identities, now);
    const ops = this.vips.changes();
    // Written to no disk at once: what a crash forgets is only which of two names has which address.
    if (ops.length > 0) effects.push({ type: 'persist', ops, sync: false, then: [] });
    if (config !== null) effects.push({ type: 'configure', config });
    return effects;
  }

  private compiled(identities: readonly IdentityView[], now: Millis): ProxyConfig | null {
    const { self, host, domain, inbound, outbound, catalog, trust } = this.options;
    const { policy, intentions } = this.readEntries();
    const before = this.latest;
    this.latest = this.projector.project({
      trustDomain: trust.genesis.trustDomain,
      domain,
      self,
      datacenter: host.datacenter,
      zone: host.zone,
      roundTrips: this.roundTrips.all,
      defaultIntention: trust.genesis.defaultIntention,
      inbound,
      outbound,
      catalog,
      policy,
      intentions,
      vips: this.vips,
      identities,
      roots: trust.bundle.believed().map(({ pem }) => pem),
      denied: { hosts: trust.denials.deniedHosts(), serials: trust.denials.deniedSerials() },
    });
    this.rested = now + Math.min(longestRestMs, restMsAfter(before, this.latest));
    const config = this.compiler.compile(this.latest);
    const isNew = this.config === null || !configEquals(this.config, config);
    this.receipts.compiled(isNew ? config : null, now);
    if (!isNew) return null;
    this.config = config;
    return config;
  }

  /** Policy as it was read last, unless the catalog tells of a change to any entry, or to who may write one. */
  private readEntries(): ReadEntries {
    const { catalog, policies } = this.options;
    const index = catalog.indexOf('config');
    if (this.entries?.index !== index)
      this.entries = {
        index,
        policy: policyViewOf(policies),
        intentions: intentionsOf(policies.list('service-intentions')),
      };
    return this.entries;
  }
}

/** By what a configuration cost: policy concerns every service, else those whose objects are new were compiled. */
function restMsAfter(before: MeshView | null, { services, policy }: MeshView): number {
  const kept = new Set(before?.policy === policy ? before.services : []);
  let restMs = services.length * restMsPerService;
  for (const service of services)
    if (!kept.has(service)) restMs += service.instances.length * restMsPerInstance;
  return restMs;
}

interface ReadEntries {
  /** The catalog's, of the topic that all entries touch. */
  readonly index: number;
  readonly policy: PolicyView;
  readonly intentions: readonly IntentionView[];
}
