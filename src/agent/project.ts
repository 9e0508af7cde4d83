/**
 * The one way from what this host knows to what its proxy needs: catalog, policy and trust in, `MeshView` out.
 * Every list is sorted, so that equal knowledge gives an equal view.
 */
import { byCodeUnit, type HostId } from '../core.ts';
import { leadsTo } from '../proxy/compile/chains.ts';
import { Entries, noProtocols } from '../proxy/compile/entries.ts';
import { serviceNames } from '../proxy/compile/inbound.ts';
import type { PolicyView } from '../proxy/policy.ts';
import type {
  IdentityView,
  InstanceView,
  IntentionView,
  LocalInstance,
  MeshView,
  Protocol,
  ServiceView,
} from '../proxy/view.ts';
import { CallerZones } from './catalog/caller-zones.ts';
import type { Catalog, HostEntry, ServiceEntry } from './catalog/catalog.ts';
import type { VipPool } from './catalog/vips.ts';
import { nodeMeta } from './consul/consul.ts';

export interface ProjectionInput {
  readonly trustDomain: string;
  readonly domain: string;
  readonly self: HostId;
  readonly datacenter: string;
  readonly zone: string;
  readonly roundTrips: MeshView['roundTrips'];
  readonly defaultIntention: 'allow' | 'deny';
  readonly inbound: MeshView['inbound'];
  readonly outbound: MeshView['outbound'];
  readonly catalog: Catalog;
  readonly policy: PolicyView;
  readonly intentions: readonly IntentionView[];
  readonly vips: VipPool;
  readonly identities: readonly IdentityView[];
  readonly roots: readonly string[];
  readonly denied: MeshView['denied'];
}

/** Projects everything; no effect but addresses handed out by `vips`. */
export function project(input: ProjectionInput): MeshView {
  return new Projector().project(input);
}

/** A service as it was projected, and the catalog's index of it then. */
interface ProjectedService {
  readonly index: number;
  readonly view: ServiceView;
}

/** What policy says, made ready to be asked; kept as long as policy stays. */
interface ReadPolicy {
  readonly view: PolicyView;
  readonly protocols: ReadonlyMap<string, Protocol>;
  readonly entries: Entries;
}

/**
 * Projects one state of a catalog after the other. A service of which the catalog tells no change gives the very
 * same object again, and so do the instances of this host: what compares them need not look inside.
 */
export class Projector {
  private services = new Map<string, ProjectedService>();
  private local: { readonly host: HostEntry; readonly index: number; readonly list: LocalInstance[] } | null =
    null;
  private policy: ReadPolicy | null = null;
  private readonly callers = new CallerZones();

  project(input: ProjectionInput): MeshView {
    const { catalog, datacenter } = input;
    const local = this.localInstances(input);
    return {
      trustDomain: input.trustDomain,
      domain: input.domain,
      host: input.self,
      datacenter: input.datacenter,
      zone: input.zone,
      roundTrips: input.roundTrips,
      defaultIntention: input.defaultIntention,
      inbound: input.inbound,
      outbound: input.outbound,
      services: this.serviceViews(input),
      local,
      callers: this.callers.of(catalog, serviceNames(local), datacenter),
      intentions: input.intentions,
      policy: input.policy,
      identities: input.identities,
      roots: input.roots,
      denied: input.denied,
    };
  }

  /** Services with an instance in the mesh, and those of which policy makes something although they have none. */
  private serviceViews(input: ProjectionInput): ServiceView[] {
    const { catalog, vips } = input;
    const policy = this.read(input.policy);
    const running = catalog.serviceNames();
    const routed = policy.entries.routedServices();
    vips.retain(new Set([...running, ...routed]));
    const before = this.services;
    this.services = new Map();
    for (const name of running) {
      const projected = this.running(input, policy, name, before.get(name));
      if (projected.view.instances.length > 0) this.services.set(name, projected);
    }
    for (const name of routed)
      if (!this.services.has(name)) this.routed(input, policy, name, before.get(name)?.view);
    return [...this.services.values()].map(({ view }) => view).sort((a, b) => byCodeUnit(a.name, b.name));
  }

  private read(view: PolicyView): ReadPolicy {
    if (this.policy?.view !== view)
      this.policy = { view, protocols: protocolsOf(view), entries: new Entries(view, noProtocols) };
    return this.policy;
  }

  private running(
    { catalog, vips }: ProjectionInput,
    policy: ReadPolicy,
    name: string,
    before: ProjectedService | undefined,
  ): ProjectedService {
    const index = catalog.indexOf(`service:${name}`);
    const protocol = protocolOf(policy, name);
    const isSame = before?.index === index && before.view.protocol === protocol && !lacksAddress(before.view);
    return isSame ? before : { index, view: serviceView(catalog, vips, name, protocol) };
  }

  /**
   * A service that lives on as a name: a redirect leads on from it, say, after its last instance went. Its callers
   * find it at the address and the port that they know, or at the port of what it leads to.
   */
  private routed(
    { vips, datacenter }: ProjectionInput,
    policy: ReadPolicy,
    name: string,
    before: ServiceView | undefined,
  ): void {
    const stand = this.services.get(leadsTo(policy.entries, name, datacenter))?.view;
    if (stand === undefined || stand.vipPort === null) return;
    const vipPort = before?.vipPort ?? stand.vipPort;
    const vip = vips.addressOf(name);
    const view = { name, protocol: protocolOf(policy, name), vip, vipPort, instances: [] };
    const isSame = before?.instances.length === 0 && before.vip === vip && before.protocol === view.protocol;
    this.services.set(name, { index: 0, view: isSame ? before : view });
  }

  private localInstances({ catalog, self, datacenter }: ProjectionInput): LocalInstance[] {
    const host = catalog.host(self);
    if (host === undefined) return [];
    const index = catalog.indexOf(`node:${host.value.name}`);
    if (this.local?.host !== host || this.local.index !== index)
      this.local = { host, index, list: localInstances(catalog, host, datacenter) };
    return this.local.list;
  }
}

/** By name, for every service whose `service-defaults` say one; all others speak the mesh's. */
function protocolsOf({ defaults }: PolicyView): ReadonlyMap<string, Protocol> {
  return new Map(defaults.map(({ service, protocol }) => [service, protocol]));
}

/** An address can become free for it, without any change of its own. */
function lacksAddress({ vip, vipPort }: ServiceView): boolean {
  return vip === null && vipPort !== null;
}

function protocolOf({ view, protocols }: ReadPolicy, service: string): Protocol {
  return protocols.get(service) ?? view.proxyDefaults?.protocol ?? 'auto';
}

function serviceView(catalog: Catalog, vips: VipPool, name: string, protocol: Protocol): ServiceView {
  const entries = catalog.instances(name).filter((entry) => entry.definition.inMesh);
  const port = commonPort(entries);
  return {
    name,
    protocol,
    vip: entries.length > 0 && port !== null ? vips.addressOf(name) : null,
    vipPort: port,
    instances: entries.map((entry) => instanceView(catalog, entry)),
  };
}

/** The port that most instances listen on, the lowest of several; null when none has one. */
function commonPort(entries: readonly ServiceEntry[]): number | null {
  const counts = new Map<number, number>();
  for (const { definition } of entries)
    if (definition.port > 0) counts.set(definition.port, (counts.get(definition.port) ?? 0) + 1);
  let best: number | null = null;
  for (const [port, count] of counts) {
    const lead = best === null ? 1 : count - counts.get(best)!;
    if (lead > 0 || (lead === 0 && best !== null && port < best)) best = port;
  }
  return best;
}

function instanceView(catalog: Catalog, entry: ServiceEntry): InstanceView {
  const { host, definition } = entry;
  const health = catalog.statusOf(entry);
  return {
    id: definition.id,
    host: host.id,
    hostName: host.value.name,
    address: host.value.address,
    inboundPort: host.value.inboundPort,
    datacenter: host.value.datacenter,
    zone: host.value.zone,
    weight: health === 'warning' ? definition.weights.warning : definition.weights.passing,
    health,
    suspect: host.state === 'suspect',
    tags: definition.tags,
    meta: definition.meta,
    appAddress: definition.address,
    appPort: definition.port,
    hostMeta: nodeMeta(host),
  };
}

function localInstances(catalog: Catalog, host: HostEntry, ownDatacenter: string): LocalInstance[] {
  const local: LocalInstance[] = [];
  for (const entry of host.services.values()) {
    const { definition } = entry;
    const health = catalog.statusOf(entry);
    local.push({
      id: definition.id,
      service: definition.name,
      address: definition.address === '' ? '127.0.0.1' : definition.address,
      port: definition.port,
      weight: health === 'warning' ? definition.weights.warning : definition.weights.passing,
      health,
      inMesh: definition.inMesh,
      uid: definition.uid,
      upstreams: definition.upstreams.map(({ destination, datacenter, bindAddress, bindPort }) => ({
        destination,
        datacenter: datacenter === '' ? ownDatacenter : datacenter,
        bindAddress,
        bindPort,
      })),
    });
  }
  return local.sort((a, b) => (a.id < b.id ? -1 : 1));
}
