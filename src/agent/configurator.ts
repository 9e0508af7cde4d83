/** Keeps the proxy's configuration in step with what the agent knows: project, compile, compare. Pure. */
import type { HostId, Millis } from '../core.ts';
import { Compiler } from '../proxy/compile/compile.ts';
import { configEquals } from '../proxy/compile/equal.ts';
import type { ProxyConfig } from '../proxy/config.ts';
import type { IdentityView, MeshView } from '../proxy/view.ts';
import type { TrustState } from '../trust/state.ts';
import type { Catalog } from './catalog.ts';
import { intentionsOf } from './entries/service-intentions.ts';
import { policyViewOf } from './entries/view.ts';
import type { HostValue } from './kinds.ts';
import type { Policies } from './policy.ts';
import { project } from './project.ts';
import { VipPool, type VipRange } from './vips.ts';

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
}

/** Changes that come within this time make one configuration. */
const gatherMs = 10;
/** A configuration costs about 3 us of CPU an instance: a rest of ten times that keeps it to a tenth of a core. */
const restMsPerInstance = 0.03;
/** However large the mesh, the proxy follows within a second. */
const longestRestMs = 500;

export class Configurator {
  private readonly options: ConfiguratorOptions;
  private readonly vips: VipPool;
  private readonly compiler = new Compiler();
  private latest: MeshView | null = null;
  private config: ProxyConfig | null = null;
  private rested: Millis = 0;

  constructor(options: ConfiguratorOptions) {
    this.options = options;
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

  /** Compiles anew; null when the data plane has nothing to do. */
  update(identities: readonly IdentityView[], now: Millis): ProxyConfig | null {
    const { self, host, domain, inbound, outbound, catalog, policies, trust } = this.options;
    this.latest = project({
      trustDomain: trust.genesis.trustDomain,
      domain,
      self,
      datacenter: host.datacenter,
      zone: host.zone,
      defaultIntention: trust.genesis.defaultIntention,
      inbound,
      outbound,
      catalog,
      policy: policyViewOf(policies),
      intentions: intentionsOf(policies.list('service-intentions')),
      vips: this.vips,
      identities,
      roots: trust.bundle.believed().map(({ pem }) => pem),
      denied: { hosts: trust.denials.deniedHosts(), serials: trust.denials.deniedSerials() },
    });
    const instances = this.latest.services.reduce((sum, service) => sum + service.instances.length, 0);
    this.rested = now + Math.min(longestRestMs, instances * restMsPerInstance);
    const config = this.compiler.compile(this.latest);
    if (this.config !== null && configEquals(this.config, config)) return null;
    this.config = config;
    return config;
  }
}
