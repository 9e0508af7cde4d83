/** Pass 5, clusters: a target of policy, with the hosts that serve it now. */
import { byCodeUnit } from '../../core.ts';
import type { Cluster, Endpoint } from '../config.ts';
import { instanceData } from '../filter/instance.ts';
import { defaultBalance, defaultConnectTimeoutMs, defaultLocalConnectTimeoutMs } from '../policy-defaults.ts';
import type { InstanceView, ServiceView } from '../view.ts';
import type { Chains, Target } from './chains.ts';
import type { Subset } from './entries.ts';
import { sniOf, spiffeIdOf } from './names.ts';

/** A host that is not suspected gets this many times the share of a suspected one, weight for weight. */
export const trustedShare = 10;

/** The cluster of a target. `service` is undefined where nobody runs it: then the cluster is empty. */
export function clusterOf(chains: Chains, target: Target, service: ServiceView | undefined): Cluster {
  const { id, subset, datacenter } = target;
  const { trustDomain } = chains;
  const resolver = chains.entries.resolvers.get(target.service);
  const defaults = chains.entries.defaults.get(target.service);
  const members = target.broken || service === undefined ? [] : membersOf(service, target);
  const ready = members.filter((instance) => inRotation(instance, target.instances));
  return {
    id,
    service: target.service,
    subset,
    datacenter,
    balance: resolver?.balance ?? defaultBalance,
    failover: chains.failover(target).map((other) => other.id),
    protocol: chains.entries.protocolOf(target.service),
    sni: sniOf(target.service, datacenter, trustDomain, subset),
    spiffeId: spiffeIdOf(target.service, datacenter, trustDomain),
    connectTimeoutMs: resolver?.connectTimeoutMs ?? defaultConnectTimeoutMs,
    localConnectTimeoutMs: defaults?.localConnectTimeoutMs || defaultLocalConnectTimeoutMs,
    endpoints: endpoints(ready),
    outOfRotation: members.length - ready.length,
  };
}

/** Instances of one datacenter: those of another one prove another SPIFFE ID under another server name. */
function membersOf(service: ServiceView, { datacenter, instances }: Target): InstanceView[] {
  return service.instances.filter(
    (instance) => instance.datacenter === datacenter && isMember(service.name, instance, instances),
  );
}

/** Whether an instance is in a subset; undefined is the whole service. A filter that is none takes nothing. */
export function isMember(service: string, instance: InstanceView, subset: Subset | undefined): boolean {
  if (subset === undefined || subset.policy.filter === '') return true;
  return typeof subset.filter !== 'string' && subset.filter.matches(instanceData(service, instance));
}

/** Weight 0 is how a definition says that instances in a warning state get nothing. */
export function inRotation(
  { health, weight }: Pick<InstanceView, 'health' | 'weight'>,
  subset: Subset | undefined,
): boolean {
  const isHealthy = subset?.policy.onlyPassing ? health === 'passing' : health !== 'critical';
  return isHealthy && weight > 0;
}

/** One endpoint for each host: its inbound listener spreads over the instances behind it. */
function endpoints(instances: readonly InstanceView[]): Endpoint[] {
  const byHost = new Map<string, InstanceView[]>();
  for (const instance of [...instances].sort((a, b) => byCodeUnit(a.id, b.id))) {
    const together = byHost.get(instance.host);
    if (together === undefined) byHost.set(instance.host, [instance]);
    else together.push(instance);
  }
  const mixed = new Set(instances.map((instance) => instance.suspect)).size === 2;
  return [...byHost.values()]
    .map((together) => endpoint(together, mixed))
    .sort((a, b) => byCodeUnit(a.id, b.id));
}

/**
 * The endpoint of one host. Where some hosts are suspected and others are not, those that are not get ten
 * times their weight: weights stay whole numbers, and where all are suspected nothing changes.
 */
function endpoint(instances: readonly InstanceView[], mixed: boolean): Endpoint {
  const first = instances[0]!;
  const weight = instances.reduce((sum, instance) => sum + instance.weight, 0);
  const suspect = instances.some((instance) => instance.suspect);
  return {
    id: first.host,
    hostName: first.hostName,
    address: first.address,
    port: first.inboundPort,
    weight: mixed && !suspect ? weight * trustedShare : weight,
    zone: first.zone,
  };
}
