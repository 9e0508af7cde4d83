/**
 * The one way from what this host knows to what its proxy needs: catalog, policy and trust in, `MeshView` out.
 * Every list is sorted, so that equal knowledge gives an equal view.
 */
import type { HostId } from '../core.ts';
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
import type { Catalog, ServiceEntry } from './catalog.ts';
import type { VipPool } from './vips.ts';

export interface ProjectionInput {
  readonly trustDomain: string;
  readonly domain: string;
  readonly self: HostId;
  readonly datacenter: string;
  readonly zone: string;
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
  const { catalog } = input;
  const names = catalog.serviceNames();
  input.vips.retain(new Set(names));
  const protocols = protocolsOf(input.policy);
  const otherwise = input.policy.proxyDefaults?.protocol ?? 'auto';
  return {
    trustDomain: input.trustDomain,
    domain: input.domain,
    host: input.self,
    datacenter: input.datacenter,
    zone: input.zone,
    defaultIntention: input.defaultIntention,
    inbound: input.inbound,
    outbound: input.outbound,
    services: names
      .map((name) => serviceView(input, name, protocols.get(name) ?? otherwise))
      .filter((service) => service.instances.length > 0),
    local: localInstances(input),
    intentions: input.intentions,
    policy: input.policy,
    identities: input.identities,
    roots: input.roots,
    denied: input.denied,
  };
}

/** By name, for every service whose `service-defaults` say one; all others speak the mesh's. */
function protocolsOf({ defaults }: PolicyView): ReadonlyMap<string, Protocol> {
  return new Map(defaults.map(({ service, protocol }) => [service, protocol]));
}

function serviceView(input: ProjectionInput, name: string, protocol: Protocol): ServiceView {
  const entries = input.catalog.instances(name).filter((entry) => entry.definition.inMesh);
  const port = commonPort(entries);
  return {
    name,
    protocol,
    vip: entries.length > 0 && port !== null ? input.vips.addressOf(name) : null,
    vipPort: port,
    instances: entries.map((entry) => instanceView(input.catalog, entry)),
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
  };
}

function localInstances(input: ProjectionInput): LocalInstance[] {
  const host = input.catalog.host(input.self);
  if (host === undefined) return [];
  const local: LocalInstance[] = [];
  for (const entry of host.services.values()) {
    const { definition } = entry;
    const health = input.catalog.statusOf(entry);
    local.push({
      id: definition.id,
      service: definition.name,
      address: definition.address === '' ? '127.0.0.1' : definition.address,
      port: definition.port,
      weight: health === 'warning' ? definition.weights.warning : definition.weights.passing,
      health,
      inMesh: definition.inMesh,
      uid: definition.uid,
      upstreams: definition.upstreams.map(({ destination, bindAddress, bindPort }) => ({
        destination,
        bindAddress,
        bindPort,
      })),
    });
  }
  return local.sort((a, b) => (a.id < b.id ? -1 : 1));
}
