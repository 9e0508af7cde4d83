/**
 * From what the mesh is to what this host's proxy does. Pure and total: equal views give equal
 * configurations, whatever the order of their lists, so the agent acts only when something changed.
 *
 * Passes, each in the file of its name: 1 entries (defaults), 2 router, 3 splitter, 4 resolver, together the chains
 * of policy; 5 clusters, 6 inbound, 7 listeners. What is left is here: callers, identities, roots, who is denied.
 */
import { byCodeUnit } from '../../core.ts';
import type { CallerPolicy, Cluster, Destination, ProxyConfig, SourceRule } from '../config.ts';
import { rulesFor } from '../intentions.ts';
import { defaultUpstream, noTimeouts } from '../policy-defaults.ts';
import type { IdentityView, LocalInstance, MeshView, Protocol, ServiceView } from '../view.ts';
import { type Asked, Chains, type Target } from './chains.ts';
import { clusterOf } from './clusters.ts';
import { Entries, noProtocols, type Protocols } from './entries.ts';
import { inboundServices, serviceNames } from './inbound.ts';
import { type Listeners, listenersOf } from './listeners.ts';

/** Compiles a view from nothing; for one view after the other a `Compiler` does the same for less. */
export function compile(view: MeshView): ProxyConfig {
  return new Compiler().compile(view);
}

/** Policy made ready to be asked, with the protocols that services themselves declare. */
export function entriesOf({ policy, services }: MeshView): Entries {
  return new Entries(policy, declaredProtocols(services, new Entries(policy, noProtocols)));
}

/**
 * Compiles one view after the other. What was made of an object is kept as long as the very same object comes
 * again: policy, a service, the instances of this host. So a view that shares what did not change with the one
 * before costs what did change, and configurations share what is equal. Its output is that of `compile`.
 *
 * Never throws: what cannot be served is left out, and shows in `conflicts`, `problems` or counts.
 */
export class Compiler {
  private policy: PolicyPart | null = null;
  private names: NamesPart | null = null;
  private intentions: IntentionsPart | null = null;
  private listeners: ListenersPart | null = null;
  private clusters = new Map<string, ClusterPart>();

  compile(view: MeshView): ProxyConfig {
    const services = sorted(view.services, ({ name }) => name);
    const local = sorted(view.local, ({ id }) => id);
    const byName = new Map(services.map((service) => [service.name, service]));
    const chains = this.chains(view, services);
    const names = this.destinations(chains, services, local);
    const { outbound, conflicts } = this.listen(view, services, local);
    return {
      trustDomain: view.trustDomain,
      domain: view.domain,
      datacenter: view.datacenter,
      zone: view.zone,
      roundTrips: view.roundTrips,
      inbound: {
        address: view.inbound.address,
        port: view.inbound.port,
        services: inboundServices(view, chains.entries, local, (name) => byName.get(name), this.rules(view)),
      },
      outbound,
      conflicts,
      destinations: names.destinations,
      callers: serviceNames(local).map((service) => callerPolicy(chains.entries, service, view)),
      clusters: this.fill(chains, names.targets, byName),
      problems: chains.problems,
      accessLog: view.policy.proxyDefaults?.accessLog ?? null,
      tracing: view.policy.proxyDefaults?.tracing ?? null,
      identities: view.identities.map(identity).sort((a, b) => byCodeUnit(a.service, b.service)),
      roots: [...new Set(view.roots)].sort(byCodeUnit),
      denied: {
        hosts: [...new Set(view.denied.hosts)].sort(byCodeUnit),
        serials: [...new Set(view.denied.serials)].sort(byCodeUnit),
      },
    };
  }

  /** Passes 1 to 4, which know no instance. */
  private chains({ policy, datacenter, trustDomain }: MeshView, services: readonly ServiceView[]): Chains {
    const last = this.policy;
    const written = last?.view === policy ? last.written : new Entries(policy, noProtocols);
    const protocols = declaredProtocols(services, written);
    if (
      last !== null &&
      last.view === policy &&
      last.chains.datacenter === datacenter &&
      last.chains.trustDomain === trustDomain &&
      equalMaps(last.protocols, protocols)
    )
      return last.chains;
    const chains = new Chains(new Entries(policy, protocols), datacenter, trustDomain);
    this.policy = { view: policy, written, protocols, chains };
    return chains;
  }

  /** Everything that can be asked for, and every cluster that this needs. */
  private destinations(
    chains: Chains,
    services: readonly ServiceView[],
    local: readonly LocalInstance[],
  ): NamesPart {
    const names = new Set(services.map(({ name }) => name));
    const elsewhere = new Map<string, Asked>();
    for (const { destination, datacenter } of local.flatMap(({ upstreams }) => upstreams)) {
      const asked = chains.asked(destination, datacenter);
      if (datacenter === chains.datacenter) names.add(destination);
      else elsewhere.set(asked.id, asked);
    }
    const last = this.names;
    if (last?.chains === chains && sameKeys(last.names, names) && sameKeys(last.elsewhere, elsewhere))
      return last;
    const here = new Set([...names, ...chains.entries.routedServices()]);
    const asked = [...[...here].map((service) => chains.asked(service)), ...elsewhere.values()];
    const compiled = chains.compile(asked.sort((a, b) => byCodeUnit(a.id, b.id)));
    const targets = new Set(compiled.flatMap(({ ends }) => ends));
    // A set is walked to its end, also what is added on the way.
    for (const target of targets) for (const other of chains.failover(target)) targets.add(other);
    this.names = {
      chains,
      names,
      elsewhere,
      destinations: compiled.map(({ destination }) => destination),
      targets: [...targets].sort((a, b) => byCodeUnit(a.id, b.id)),
    };
    return this.names;
  }

  /** Pass 5, for those clusters of which policy or the service is not what it was. */
  private fill(
    chains: Chains,
    targets: readonly Target[],
    services: ReadonlyMap<string, ServiceView>,
  ): Cluster[] {
    const before = this.clusters;
    this.clusters = new Map();
    return targets.map((target) => {
      const service = services.get(target.service);
      const part = before.get(target.id);
      const isSame = part !== undefined && part.service === service && isStill(part, chains, target);
      const cluster = isSame ? part.cluster : clusterOf(chains, target, service);
      this.clusters.set(target.id, { chains, target, service, cluster });
      return cluster;
    });
  }

  /** What callers of a service meet, worked out once for the same intentions. */
  private rules({ intentions }: MeshView): (service: string) => readonly SourceRule[] {
    const before = this.intentions?.view === intentions ? this.intentions.rules : null;
    const rules = new Map<string, readonly SourceRule[]>();
    this.intentions = { view: intentions, rules };
    return (service) => {
      const known = before?.get(service) ?? rulesFor(service, intentions);
      rules.set(service, known);
      return known;
    };
  }

  /** Pass 7, when a listener may have come or gone. */
  private listen(
    view: MeshView,
    services: readonly ServiceView[],
    local: readonly LocalInstance[],
  ): Listeners {
    const last = this.listeners;
    if (last !== null && sameListeners(last, view, services)) return last.listeners;
    const listeners = listenersOf(view, services, local);
    this.listeners = { view, services, listeners };
    return listeners;
  }
}

interface PolicyPart {
  readonly view: MeshView['policy'];
  /** The same, whatever services declare. */
  readonly written: Entries;
  /** What they declare beside it. */
  readonly protocols: Protocols;
  readonly chains: Chains;
}

interface NamesPart {
  readonly chains: Chains;
  /** Those that do not come from policy. */
  readonly names: ReadonlySet<string>;
  /** What services of this host ask of other datacenters, by id. */
  readonly elsewhere: ReadonlyMap<string, Asked>;
  readonly destinations: readonly Destination[];
  readonly targets: readonly Target[];
}

interface ClusterPart {
  readonly chains: Chains;
  readonly target: Target;
  readonly service: ServiceView | undefined;
  readonly cluster: Cluster;
}

interface IntentionsPart {
  readonly view: MeshView['intentions'];
  readonly rules: ReadonlyMap<string, readonly SourceRule[]>;
}

interface ListenersPart {
  readonly view: MeshView;
  readonly services: readonly ServiceView[];
  readonly listeners: Listeners;
}

/** Whether all that listeners come from is what it was. */
function sameListeners(last: ListenersPart, view: MeshView, services: readonly ServiceView[]): boolean {
  return (
    last.view.local === view.local &&
    last.view.datacenter === view.datacenter &&
    last.view.inbound.address === view.inbound.address &&
    last.view.inbound.port === view.inbound.port &&
    last.view.outbound?.address === view.outbound?.address &&
    last.view.outbound?.port === view.outbound?.port &&
    last.services.length === services.length &&
    services.every((service, i) => {
      const was = last.services[i]!;
      return (
        was === service ||
        (was.name === service.name && was.vip === service.vip && was.vipPort === service.vipPort)
      );
    })
  );
}

/** The list itself where it is in order. */
function sorted<T>(list: readonly T[], keyOf: (item: T) => string): readonly T[] {
  const inOrder = list.every((item, i) => i === 0 || keyOf(list[i - 1]!) <= keyOf(item));
  return inOrder ? list : [...list].sort((a, b) => byCodeUnit(keyOf(a), keyOf(b)));
}

/** Those that policy does not say anyway, so that a service that comes or goes is no change of policy. */
function declaredProtocols(services: readonly ServiceView[], written: Entries): Protocols {
  const protocols = new Map<string, Protocol>();
  for (const { name, protocol } of services)
    if (protocol !== 'auto' && protocol !== written.protocolOf(name)) protocols.set(name, protocol);
  return protocols;
}

/** Whether policy makes of a target what it made of it before; entries that did not change are the same objects. */
function isStill(part: ClusterPart, chains: Chains, target: Target): boolean {
  if (part.target === target) return true;
  const before = part.chains;
  return (
    before.trustDomain === chains.trustDomain &&
    part.target.datacenter === target.datacenter &&
    part.target.broken === target.broken &&
    before.entries.resolvers.get(target.service) === chains.entries.resolvers.get(target.service) &&
    part.cluster.protocol === chains.entries.protocolOf(target.service) &&
    equalLists(
      part.cluster.failover,
      chains.failover(target).map(({ id }) => id),
    )
  );
}

function equalLists<T>(a: readonly T[], b: readonly T[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i]);
}

function equalMaps<K, V>(a: ReadonlyMap<K, V>, b: ReadonlyMap<K, V>): boolean {
  if (a.size !== b.size) return false;
  for (const [key, value] of a) if (b.get(key) !== value) return false;
  return true;
}

/** Whether two sets hold the same, or two maps have the same keys. */
function sameKeys<K>(a: ReadonlySet<K> | ReadonlyMap<K, unknown>, b: typeof a): boolean {
  if (a.size !== b.size) return false;
  for (const key of a.keys()) if (!b.has(key)) return false;
  return true;
}

function callerPolicy(entries: Entries, service: string, { callers }: MeshView): CallerPolicy {
  const defaults = entries.defaults.get(service);
  const zones = callers.find((caller) => caller.service === service)?.zones ?? [];
  return {
    service,
    outbound: defaults?.outbound ?? noTimeouts,
    upstreams: defaults?.upstreams ?? defaultUpstream,
    overrides: defaults?.overrides ?? [],
    zones: sorted(zones, ({ zone }) => zone),
  };
}

/** Field by field, so that equal ones serialise alike. */
function identity(view: IdentityView): IdentityView {
  const { service, spiffeId, certPem, keyPem, notAfter } = view;
  return { service, spiffeId, certPem, keyPem, notAfter };
}
