/**
 * The answer to "what becomes of this call, and who says so": the trace of a call with the record behind each of
 * its steps, the endpoints as this host knows them, and what would let the call through. Pure; changes nothing.
 */
import type { HostId, Millis } from '../../core.ts';
import { hlcMillis } from '../../gossip/replica/record.ts';
import { planFor } from '../../proxy/balance/zones.ts';
import { isMember } from '../../proxy/compile/clusters.ts';
import { compile, entriesOf } from '../../proxy/compile/compile.ts';
import { resolversPassed } from '../../proxy/compile/passed.ts';
import type { Cluster, Endpoint, ProxyConfig } from '../../proxy/config.ts';
import type { BreakerStatus, DataPlaneStats, EndpointStatus } from '../../proxy/dataplane.ts';
import { type Call, type CallTrace, type TargetTrace, traceCall } from '../../proxy/explain.ts';
import type { LocalInstance, MeshView } from '../../proxy/view.ts';
import { zonesOf } from '../catalog/caller-zones.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { AgentPort, PolicyStore } from '../port.ts';
import { type ExplainedLimits, limitsOf } from './explain-limits.ts';
import { changesThatAllow, type ProposedChange } from './why-not.ts';

/** Who wrote a record, when, and when it came here. */
export interface Provenance {
  /** `service-router/api`. */
  readonly record: string;
  /** The key whose signature it bears, hex. */
  readonly author: HostId;
  /** Whether that is the key that the founder was given. */
  readonly isFirstOperator: boolean;
  readonly writtenAt: Millis;
  /** Null where it was on this host's disk when the agent started. */
  readonly reachedAt: Millis | null;
}

export interface ExplainedEndpoint {
  readonly host: string;
  readonly address: string;
  readonly port: number;
  readonly zone: string;
  readonly weight: number;
  readonly health: 'passing' | 'warning';
  /** The host is suspected of being down. */
  readonly suspect: boolean;
  /** As measured by gossip, milliseconds; null where nothing is known. */
  readonly roundTripMs: number | null;
  /** As this host's proxy has it, for this caller; null where it never called there. */
  readonly seen: Pick<EndpointStatus, 'inFlight' | 'latencyMs' | 'ejected' | 'ejections' | 'nearest'> | null;
}

/** An instance that is not in rotation, and why. */
export interface AbsentInstance {
  readonly host: string;
  readonly instance: string;
  readonly why: string;
}

/** What this host's zone keeps of its calls, by the weights as configured: what is ejected shifts it further. */
export interface ExplainedZones {
  readonly zone: string;
  /** What of all endpoints, by weight, and of all instances of the caller is in the zone, 0 to 1. */
  readonly capacityShare: number;
  readonly callerShare: number;
  /** Which parts of the calls stay and go to other zones; they add up to 1. */
  readonly staying: number;
  readonly spilling: readonly { readonly zone: string; readonly share: number }[];
}

export interface ExplainedTarget extends Omit<TargetTrace, 'clusters' | 'cluster'> {
  readonly cluster: string | null;
  readonly service: string | null;
  readonly spiffeId: string | null;
  /** In order of preference, the one that serves among them. */
  readonly clusters: readonly string[];
  /** The records that led there and say what is there, in the order in which they are asked. */
  readonly resolvers: readonly string[];
  readonly balance: string | null;
  /** Null where zones make no difference. */
  readonly zones: ExplainedZones | null;
  readonly endpoints: readonly ExplainedEndpoint[];
  readonly absent: readonly AbsentInstance[];
  /** As this host's proxy has it, for this caller; null where it never called there. */
  readonly breaker: BreakerStatus['state'] | null;
  /** How often it may be called, which each of its hosts counts for itself; null for without limit. */
  readonly limits: ExplainedLimits | null;
}

export interface Explanation extends Omit<CallTrace, 'targets'> {
  /** The host that answers. */
  readonly from: string;
  readonly call: Call;
  /** Hosts with an instance of the caller in the mesh. */
  readonly callerHosts: readonly string[];
  readonly targets: readonly ExplainedTarget[];
  /** The record that says what the destination speaks; null where none does. */
  readonly protocolRule: string | null;
  /** Every record that one of the steps names, by its name; those that are gone are missing. */
  readonly records: Readonly<{ [record: string]: Provenance }>;
  /** The smallest changes that would let the call through, each tried out; only where asked. */
  readonly changes: readonly ProposedChange[] | null;
}

type Sources = Pick<AgentPort, 'self' | 'catalog' | 'policy' | 'view' | 'dataPlane' | 'estimateMs'>;

/** Compiling is what the proxy does too; for one view it gives one configuration, so it is done once. */
const configs = new WeakMap<MeshView, ProxyConfig>();

function configOf(view: MeshView): ProxyConfig {
  const known = configs.get(view);
  if (known !== undefined) return known;
  const config = compile(view);
  configs.set(view, config);
  return config;
}

export function explain(agent: Sources, call: Call, whyNot: boolean): Explanation {
  const view = withDestination(agent.view(), call);
  const trace = traceCall(configOf(view), view, call);
  const hosts = agent.catalog.instances(call.source).map(({ host }) => host.value.name);
  const passed =
    trace.route === null
      ? []
      : resolversPassed(view, trace.destination!.service, trace.route.index, call.datacenter);
  const forwarded = { ...call, path: trace.route?.forwardedPath ?? call.path };
  const protocolRule = protocolRuleOf(agent.policy, view, trace);
  const resolvers = trace.targets.map((target, i) => withServing(agent.policy, passed[i] ?? [], target));
  const targets = trace.targets.map((target, i) => ({
    ...explainTarget(agent, view, forwarded, target),
    resolvers: resolvers[i]!,
  }));
  const open = targets.filter(({ breaker }) => breaker === 'open').map(({ cluster }) => cluster!);
  return {
    ...trace,
    ...withCircuits(trace, targets),
    from: agent.self.name,
    call,
    callerHosts: [...new Set(hosts)].sort(),
    targets,
    protocolRule,
    records: recordsBehind(agent, trace, [
      ...resolvers.flat(),
      ...(protocolRule === null ? [] : [protocolRule]),
    ]),
    changes: whyNot ? [...changesThatAllow(view, call, trace), ...open.map(recovery)] : null,
  };
}

/** With what is asked for in another datacenter, which a view names only where a service of this host asks for it. */
function withDestination(view: MeshView, { source, destination, datacenter }: Call): MeshView {
  if (datacenter === undefined || datacenter === view.datacenter) return view;
  const caller: LocalInstance = {
    ...{
      id: '',
      service: source,
      address: '',
      port: 0,
      weight: 0,
      health: 'passing',
      inMesh: false,
      uid: null,
    },
    upstreams: [{ destination, datacenter, bindAddress: '', bindPort: 0 }],
  };
  return { ...view, local: [...view.local, caller] };
}

function protocolRuleOf(policy: PolicyStore, view: MeshView, { destination }: CallTrace): string | null {
  if (destination === null) return null;
  const own = policy.get('service-defaults', destination.service)?.entry.Protocol;
  if (own !== undefined && own !== 'auto') return `service-defaults/${destination.service}`;
  const { proxyDefaults } = view.policy;
  return proxyDefaults === null || proxyDefaults.protocol === 'auto' ? null : proxyDefaults.rule;
}

/** The verdict of policy, but that an open circuit keeps back what policy would let through. */
export function withCircuits(
  { verdict, why }: Pick<CallTrace, 'verdict' | 'why'>,
  targets: readonly Pick<ExplainedTarget, 'cluster' | 'authorization' | 'breaker'>[],
): Pick<CallTrace, 'verdict' | 'why'> {
  if (verdict !== 'forwarded' && verdict !== 'partly-forwarded') return { verdict, why };
  const good = targets.filter(({ cluster, authorization }) => cluster !== null && authorization.allowed);
  const open = good.filter(({ breaker }) => breaker === 'open').map(({ cluster }) => cluster!);
  if (open.length === 0) return { verdict, why };
  const text = `the circuit to ${open.join(', ')} is open here`;
  return open.length === good.length
    ? { verdict: 'refused', why: `${text}: so many requests failed that it is left alone for a while` }
    : { verdict: 'partly-forwarded', why: `${why}, but ${text}` };
}

function recovery(cluster: string): ProposedChange {
  return {
    change: `get ${cluster} to answer without failures: its circuit lets a few requests through from time to time`,
    command: 'starling stat',
    then: null,
  };
}

/** With the resolver of what serves instead, where that is another service. */
function withServing(policy: PolicyStore, passed: readonly string[], { cluster }: TargetTrace): string[] {
  const serving = policy.get('service-resolver', cluster?.service ?? '');
  return [
    ...new Set([...passed, ...(serving === undefined ? [] : [`service-resolver/${cluster!.service}`])]),
  ];
}

function explainTarget(
  agent: Sources,
  view: MeshView,
  call: Call,
  target: TargetTrace,
): Omit<ExplainedTarget, 'resolvers'> {
  const { share, rule, clusters, cluster, authorization } = target;
  const stats = agent.dataPlane();
  const first = cluster ?? clusters[0] ?? null;
  return {
    ...{ share, rule, authorization },
    cluster: cluster?.id ?? null,
    service: first?.service ?? null,
    spiffeId: first?.spiffeId ?? null,
    clusters: clusters.map(({ id }) => id),
    balance: first?.balance.method ?? null,
    zones: cluster === null ? null : explainZones(agent.catalog, view, call.source, cluster),
    endpoints: (cluster?.endpoints ?? []).map((endpoint) =>
      explainEndpoint(agent, view, call, cluster!, endpoint, stats),
    ),
    absent: first === null ? [] : absentInstances(agent.catalog, view, first),
    breaker: stateOfBreaker(stats, call.source, first),
    limits: first === null ? null : limitsOf(view, call, first.service),
  };
}

/** The plan of the caller's proxy, were the caller on this host. */
function explainZones(
  catalog: Catalog,
  view: MeshView,
  source: string,
  { balance, datacenter, endpoints }: Cluster,
): ExplainedZones | null {
  if (datacenter !== view.datacenter) return null;
  const { zone } = view;
  const locality = { zone, callers: zonesOf(catalog, source, datacenter) };
  const weights = endpoints.map((endpoint) => ({ zone: endpoint.zone, share: endpoint.weight }));
  const plan = planFor(balance, locality, weights);
  if (plan === null) return null;
  const { capacityShare, callerShare, staying } = plan;
  const spilling = staying === 1 ? [] : plan.spilling;
  const ofAll = spilling.map((each) => ({ ...each, share: each.share * (1 - staying) }));
  return { zone, capacityShare, callerShare, staying, spilling: ofAll };
}

function explainEndpoint(
  agent: Sources,
  view: MeshView,
  call: Call,
  cluster: Cluster,
  { id, hostName, address, port, zone, weight }: Endpoint,
  stats: DataPlaneStats | null,
): ExplainedEndpoint {
  const instances = view.services
    .find(({ name }) => name === cluster.service)
    ?.instances.filter(({ host }) => host === id);
  const status = stats?.endpoints?.find(
    (one) => one.source === call.source && one.cluster === cluster.id && one.endpoint === id,
  );
  return {
    ...{ host: hostName, address, port, zone, weight },
    health: instances?.some(({ health }) => health === 'warning') ? 'warning' : 'passing',
    suspect: instances?.some(({ suspect }) => suspect) ?? false,
    roundTripMs: agent.catalog.host(id)?.roundTripMs ?? agent.estimateMs(agent.self.id, id),
    seen:
      status === undefined
        ? null
        : {
            inFlight: status.inFlight,
            latencyMs: status.latencyMs,
            ejected: status.ejected,
            ejections: status.ejections,
            nearest: status.nearest,
          },
  };
}

function stateOfBreaker(
  stats: DataPlaneStats | null,
  source: string,
  cluster: Cluster | null,
): BreakerStatus['state'] | null {
  const found = stats?.breakers?.find((one) => one.source === source && one.cluster === cluster?.id);
  return found?.state ?? null;
}

/** The instances that would belong to a cluster and that no proxy sends anything, each with its reason. */
function absentInstances(catalog: Catalog, view: MeshView, cluster: Cluster): AbsentInstance[] {
  const { service, datacenter } = cluster;
  const subset = entriesOf(view).subset(service, cluster.subset);
  const known = view.services.find(({ name }) => name === service)?.instances ?? [];
  const absent: AbsentInstance[] = [];
  for (const entry of catalog.instances(service)) {
    const { host, definition } = entry;
    const row = { host: host.value.name, instance: definition.id };
    const status = catalog.statusOf(entry);
    const instance = known.find((one) => one.host === host.id && one.id === definition.id);
    if (instance !== undefined && !isMember(service, instance, subset)) continue;
    if (!definition.inMesh) absent.push({ ...row, why: 'its definition keeps it out of the mesh' });
    else if (host.value.datacenter !== datacenter)
      absent.push({ ...row, why: `it is in datacenter ${host.value.datacenter}` });
    else if (status === 'critical') {
      const checks = [...catalog.checksOfHost(host), ...catalog.checksOfService(entry)];
      const failing = checks.find((check) => check.value.status === 'critical');
      const output = failing?.value.output.trim().split('\n')[0] ?? '';
      const check =
        failing === undefined ? '' : `: check ${failing.id}${output === '' ? '' : ` says "${output}"`}`;
      absent.push({ ...row, why: `critical${check}` });
    } else if (status === 'warning' && subset?.policy.onlyPassing)
      absent.push({ ...row, why: `warning, and ${cluster.id} takes only those that pass` });
    else if ((status === 'warning' ? definition.weights.warning : definition.weights.passing) === 0)
      absent.push({ ...row, why: `its weight while ${status} is 0` });
  }
  return absent;
}

function recordsBehind(
  agent: Sources,
  trace: CallTrace,
  others: readonly string[],
): { [record: string]: Provenance } {
  const served = trace.targets.flatMap(({ cluster, clusters }) => (cluster ?? clusters[0])?.service ?? []);
  const named = [
    trace.route?.route.rule,
    ...trace.targets.flatMap(({ rule, authorization }) => [rule, authorization.rule]),
    ...others,
    `service-defaults/${trace.destination?.service}`,
    `service-defaults/${trace.caller.service}`,
    ...served.map((service) => `service-defaults/${service}`),
  ];
  const found: { [record: string]: Provenance } = {};
  for (const name of new Set(named)) {
    const record =
      name === undefined || name === null ? null : provenance(agent.policy, agent.self.operatorKey, name);
    if (record !== null) found[record.record] = record;
  }
  return found;
}

/** `rule` may go on after the name, as `service-router/api#2` does. */
function provenance(policy: PolicyStore, firstOperator: HostId, rule: string): Provenance | null {
  const [kind = '', name = ''] = rule.replace(/#\d+$/, '').split('/');
  const stored = policy.get(kind, name);
  if (stored === undefined) return null;
  return {
    record: `${kind}/${name}`,
    author: stored.author,
    isFirstOperator: stored.author === firstOperator,
    writtenAt: hlcMillis(stored.hlc),
    reachedAt: stored.reachedAt,
  };
}
