/** Pass 6, inbound: what the inbound listener does for each service with an instance here, and for its subsets. */
import { byCodeUnit } from '../../core.ts';
import type { InboundService, SourceRule } from '../config.ts';
import type { LocalInstance, MeshView, ServiceView } from '../view.ts';
import { inRotation, isMember } from './clusters.ts';
import type { Entries, Subset } from './entries.ts';
import { sniOf, spiffeIdOf } from './names.ts';

/** Sorted by SNI. `local` is sorted by id. */
export function inboundServices(
  view: MeshView,
  entries: Entries,
  local: readonly LocalInstance[],
  serviceNamed: (name: string) => ServiceView | undefined,
  rulesOf: (service: string) => readonly SourceRule[],
): InboundService[] {
  const inMesh = local.filter((instance) => instance.inMesh);
  return serviceNames(inMesh)
    .flatMap((name) => {
      const here = inMesh.filter((instance) => instance.service === name);
      const whole = wholeService(view, entries, name, here, rulesOf(name));
      const subsets = entries.resolvers.get(name)?.subsets ?? [];
      return [
        whole,
        ...subsets.map((policy) => subsetOf(view, whole, here, entries.compiled(policy), serviceNamed(name))),
      ];
    })
    .sort((a, b) => byCodeUnit(a.sni, b.sni));
}

function wholeService(
  view: MeshView,
  entries: Entries,
  name: string,
  here: readonly LocalInstance[],
  rules: readonly SourceRule[],
): InboundService {
  const defaults = entries.defaults.get(name);
  return {
    service: name,
    subset: '',
    sni: sniOf(name, view.datacenter, view.trustDomain),
    spiffeId: spiffeIdOf(name, view.datacenter, view.trustDomain),
    protocol: entries.protocolOf(name),
    ...inRotationOf(here, undefined),
    rules,
    defaultAction: view.defaultIntention,
    maxConnections: defaults?.maxInboundConnections ?? 0,
    rateLimits: defaults?.rateLimits ?? null,
    connectTimeoutMs: defaults?.localConnectTimeoutMs ?? 0,
    requestTimeoutMs: defaults?.localRequestTimeoutMs ?? 0,
  };
}

/** The same service under the subset's own name, with those of its instances that are in the subset. */
function subsetOf(
  view: MeshView,
  whole: InboundService,
  here: readonly LocalInstance[],
  subset: Subset,
  service: ServiceView | undefined,
): InboundService {
  const known = new Map(
    service?.instances.filter(({ host }) => host === view.host).map((instance) => [instance.id, instance]),
  );
  const members = here.filter(({ id }) => {
    const instance = known.get(id);
    return instance !== undefined && isMember(whole.service, instance, subset);
  });
  return {
    ...whole,
    subset: subset.policy.name,
    sni: sniOf(whole.service, view.datacenter, view.trustDomain, subset.policy.name),
    ...inRotationOf(members, subset),
  };
}

function inRotationOf(
  instances: readonly LocalInstance[],
  subset: Subset | undefined,
): Pick<InboundService, 'endpoints' | 'outOfRotation'> {
  const ready = instances.filter((instance) => inRotation(instance, subset));
  return {
    endpoints: ready.map(({ id, address, port, weight }) => ({ id, address, port, weight })),
    outOfRotation: instances.length - ready.length,
  };
}

/** The services of these instances, sorted. */
export function serviceNames(local: readonly LocalInstance[]): string[] {
  return [...new Set(local.map((instance) => instance.service))].sort(byCodeUnit);
}
