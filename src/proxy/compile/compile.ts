/**
 * From what the mesh is to what this host's proxy does. Pure and total: equal views give equal
 * configurations, whatever the order of their lists, so the agent acts only when something changed.
 *
 * Passes: 1 clusters, 2 inbound services, 3 listeners, 4 port conflicts, 5 identities, roots and who is denied.
 */
import { byCodeUnit } from '../../core.ts';
import type {
  CallerRule,
  Cluster,
  Destination,
  Endpoint,
  InboundService,
  ListenerConflict,
  OutboundListener,
  ProxyConfig,
  Route,
} from '../config.ts';
import { rulesFor } from '../intentions.ts';
import { defaultBalance, defaultConnectTimeoutMs, defaultUpstream, noTimeouts } from '../policy-defaults.ts';
import type { IdentityView, InstanceView, LocalInstance, MeshView, ServiceView } from '../view.ts';

/** A host that is not suspected gets this many times the share of a suspected one, weight for weight. */
export const trustedShare = 10;

/** Compiles a view. Never throws: what cannot be served is left out and shows in `conflicts` or counts. */
export function compile(view: MeshView): ProxyConfig {
  const services = [...view.services].sort((a, b) => byCodeUnit(a.name, b.name));
  const local = [...view.local].sort((a, b) => byCodeUnit(a.id, b.id));
  const compiled = clusters(view, services, local);
  const { outbound, conflicts } = separate(view, listeners(view, services, local));
  return {
    trustDomain: view.trustDomain,
    domain: view.domain,
    datacenter: view.datacenter,
    zone: view.zone,
    inbound: {
      address: view.inbound.address,
      port: view.inbound.port,
      services: inboundServices(view, services, local),
    },
    outbound,
    conflicts,
    destinations: compiled.map(destination),
    callers: serviceNames(local).map((service) => ({
      service,
      outbound: noTimeouts,
      upstreams: defaultUpstream,
      overrides: [],
    })),
    clusters: compiled,
    accessLog: null,
    tracing: null,
    identities: view.identities.map(identity).sort((a, b) => byCodeUnit(a.service, b.service)),
    roots: [...new Set(view.roots)].sort(byCodeUnit),
    denied: {
      hosts: [...new Set(view.denied.hosts)].sort(byCodeUnit),
      serials: [...new Set(view.denied.serials)].sort(byCodeUnit),
    },
  };
}

/** Whether a data plane that runs `a` has nothing to do to run `b`. Both must come from `compile`. */
export function configEquals(a: ProxyConfig, b: ProxyConfig): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** TLS server name of a service's inbound listeners in one datacenter, as Consul's. */
export function sniOf(service: string, datacenter: string, trustDomain: string): string {
  return `${service}.default.${datacenter}.internal.${trustDomain}`;
}

/** The identity that a service's instances prove in one datacenter, as Consul's. */
export function spiffeIdOf(service: string, datacenter: string, trustDomain: string): string {
  return `spiffe://${trustDomain}/ns/default/dc/${datacenter}/svc/${service}`;
}

// Pass 1: clusters. One for each service of this datacenter, and an empty one for each upstream that names
// none, so that a listener's destination always leads to a cluster that can say why there is no endpoint.

function clusters(
  view: MeshView,
  services: readonly ServiceView[],
  local: readonly LocalInstance[],
): Cluster[] {
  const compiled = new Map(services.map((service) => [service.name, cluster(view, service)]));
  for (const { upstreams } of local)
    for (const { destination } of upstreams)
      if (!compiled.has(destination))
        compiled.set(
          destination,
          cluster(view, { name: destination, protocol: 'auto', vip: null, vipPort: null, instances: [] }),
        );
  return [...compiled.values()].sort((a, b) => byCodeUnit(a.service, b.service));
}

function cluster(view: MeshView, service: ServiceView): Cluster {
  // Another datacenter's instances prove another SPIFFE ID under another server name: not this cluster.
  const near = service.instances.filter((instance) => instance.datacenter === view.datacenter);
  const ready = near.filter(inRotation);
  return {
    id: service.name,
    service: service.name,
    subset: '',
    datacenter: view.datacenter,
    balance: defaultBalance,
    failover: [],
    protocol: service.protocol,
    sni: sniOf(service.name, view.datacenter, view.trustDomain),
    spiffeId: spiffeIdOf(service.name, view.datacenter, view.trustDomain),
    connectTimeoutMs: defaultConnectTimeoutMs,
    endpoints: endpoints(ready),
    outOfRotation: near.length - ready.length,
  };
}

/** Everything that is asked for by this name goes to the service of this name. */
function destination({ service, protocol, id }: Cluster): Destination {
  const everything: Route = {
    rule: '',
    match: null,
    split: [{ weight: 10_000, cluster: id, rule: '', requestHeaders: null, responseHeaders: null }],
    prefixRewrite: null,
    timeouts: { requestMs: null, idleMs: null, perTryMs: null },
    retry: null,
    hedge: null,
    requestHeaders: null,
    responseHeaders: null,
    mirror: null,
    fault: null,
    redirect: null,
  };
  return { service, protocol, routes: [everything] };
}

/** Weight 0 is how a definition says that instances in a warning state get nothing. */
function inRotation(instance: Pick<InstanceView, 'health' | 'weight'>): boolean {
  return instance.health !== 'critical' && instance.weight > 0;
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

// Pass 2: what the inbound listener does for each service with an instance here that is in the mesh.

function inboundServices(
  view: MeshView,
  services: readonly ServiceView[],
  local: readonly LocalInstance[],
): InboundService[] {
  const inMesh = local.filter((instance) => instance.inMesh);
  return serviceNames(inMesh)
    .map((name) => {
      const here = inMesh.filter((instance) => instance.service === name);
      const ready = here.filter(inRotation);
      return {
        service: name,
        subset: '',
        sni: sniOf(name, view.datacenter, view.trustDomain),
        spiffeId: spiffeIdOf(name, view.datacenter, view.trustDomain),
        protocol: services.find((service) => service.name === name)?.protocol ?? ('auto' as const),
        endpoints: ready.map(({ id, address, port, weight }) => ({ id, address, port, weight })),
        outOfRotation: here.length - ready.length,
        rules: rulesFor(name, view.intentions),
        defaultAction: view.defaultIntention,
        maxConnections: 0,
        rateLimits: null,
        connectTimeoutMs: 0,
        requestTimeoutMs: 0,
      };
    })
    .sort((a, b) => byCodeUnit(a.sni, b.sni));
}

function serviceNames(local: readonly LocalInstance[]): string[] {
  return [...new Set(local.map((instance) => instance.service))].sort(byCodeUnit);
}

// Pass 3: the plaintext listeners that applications of this host ask for.

function listeners(
  view: MeshView,
  services: readonly ServiceView[],
  local: readonly LocalInstance[],
): OutboundListener[] {
  const owner = socketOwner(local);
  const wanted: OutboundListener[] = [];
  if (view.outbound !== null)
    wanted.push({
      id: 'outbound',
      address: view.outbound.address,
      port: view.outbound.port,
      caller: owner,
      destination: null,
    });
  for (const instance of local)
    for (const { destination, bindAddress, bindPort } of instance.upstreams)
      wanted.push({
        id: `upstream/${instance.id}/${destination}`,
        address: bindAddress,
        port: bindPort,
        caller: { type: 'service', service: instance.service },
        destination,
      });
  for (const { name, vip, vipPort } of services)
    if (vip !== null && vipPort !== null)
      wanted.push({ id: `vip/${name}`, address: vip, port: vipPort, caller: owner, destination: name });
  return wanted.sort((a, b) => byCodeUnit(a.id, b.id) || byCodeUnit(a.address, b.address) || a.port - b.port);
}

/** A uid that two services name speaks for neither: to guess is to hand out an identity. */
function socketOwner(local: readonly LocalInstance[]): CallerRule {
  const servicesByUid = new Map<number, Set<string>>();
  for (const { uid, service } of local)
    if (uid !== null) servicesByUid.set(uid, (servicesByUid.get(uid) ?? new Set()).add(service));
  const byUid: { [uid: string]: string } = {};
  for (const [uid, named] of [...servicesByUid].sort(([a], [b]) => a - b))
    if (named.size === 1) byUid[uid] = [...named][0]!;
  const names = serviceNames(local);
  return { type: 'socket-owner', byUid, otherwise: names.length === 1 ? names[0]! : null };
}

// Pass 4: of listeners that bind the same port, or have the same id, the first stays; others are reported.

function separate(
  view: MeshView,
  wanted: readonly OutboundListener[],
): { outbound: OutboundListener[]; conflicts: ListenerConflict[] } {
  const outbound: OutboundListener[] = [];
  const conflicts: ListenerConflict[] = [];
  const ids = new Set<string>();
  const byPort = new Map<number, Claim[]>([[view.inbound.port, [{ id: 'inbound', ...view.inbound }]]]);
  for (const listener of wanted) {
    const { id, address, port } = listener;
    const claims = byPort.get(port) ?? [];
    const taken = ids.has(id) ? id : claims.find((claim) => overlap(claim.address, address))?.id;
    if (taken !== undefined) {
      conflicts.push({ id, address, port, takenBy: taken });
      continue;
    }
    outbound.push(listener);
    ids.add(id);
    byPort.set(port, [...claims, { id, address }]);
  }
  return { outbound, conflicts };
}

interface Claim {
  readonly id: string;
  readonly address: string;
}

/** Two addresses that cannot both be bound with one port. */
function overlap(a: string, b: string): boolean {
  return a === b || isAnyAddress(a) || isAnyAddress(b);
}

function isAnyAddress(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}

// Pass 5: identities, field by field, so that equal ones serialise alike.

function identity(view: IdentityView): IdentityView {
  const { service, spiffeId, certPem, keyPem, notAfter } = view;
  return { service, spiffeId, certPem, keyPem, notAfter };
}
