/**
 * A discovery chain in Consul's form: a graph from what is asked for to where it goes, drawn by the passes that the
 * proxy's configuration comes from. https://developer.hashicorp.com/consul/api-docs/discovery-chain
 */
import { Chains, type Target } from '../../proxy/compile/chains.ts';
import { Entries, noProtocols } from '../../proxy/compile/entries.ts';
import { sniOf } from '../../proxy/compile/names.ts';
import { resolve } from '../../proxy/compile/resolver.ts';
import { legsOf } from '../../proxy/compile/router.ts';
import type { Leg } from '../../proxy/compile/splitter.ts';
import type { PolicyView, RoutePolicy } from '../../proxy/policy.ts';
import { defaultConnectTimeoutMs } from '../../proxy/policy-defaults.ts';
import type { Protocol } from '../../proxy/view.ts';
import { policyViewOf } from '../entries/view.ts';
import type { PolicyStore } from '../port.ts';
import { type ChainOverrides, customizationHash } from './chain-overrides.ts';
import { goDuration, type Json } from './consul.ts';

export interface ChainQuestion {
  readonly service: string;
  /** Where whoever asks is. */
  readonly datacenter: string;
  readonly trustDomain: string;
  readonly overrides: ChainOverrides;
}

/** The only namespace and partition there is. */
const everywhere = { Namespace: 'default', Partition: 'default' };

/**
 * `CompiledDiscoveryChain` of Consul's API. Any name has a chain, also one that nobody runs. What is wrong with
 * entries that it is made of is under `Problems`, which Consul's has not.
 */
export function discoveryChain(store: PolicyStore, question: ChainQuestion): Json {
  return new Drawing(store, question).chain();
}

class Drawing {
  private readonly store: PolicyStore;
  private readonly question: ChainQuestion;
  private readonly entries: Entries;
  private readonly chains: Chains;
  private readonly nodes: { [key: string]: Json } = {};
  private readonly targets: { [id: string]: Json } = {};
  /** The records that the chain is made of. */
  private readonly rules = new Set<string>();
  /** The overrides that made a difference. */
  private readonly customised: { [override: string]: string } = {};

  constructor(store: PolicyStore, question: ChainQuestion) {
    this.store = store;
    this.question = question;
    this.entries = new Entries(withProtocol(policyViewOf(store), question.overrides.protocol), noProtocols);
    this.chains = new Chains(this.entries, question.datacenter, question.trustDomain);
  }

  chain(): Json {
    const { service, datacenter, overrides } = this.question;
    const start = this.router(service) ?? this.next(service, '');
    const [compiled] = this.chains.compile([this.chains.asked(service)]);
    const meta = this.store.get('service-defaults', service)?.entry.Meta;
    const written = new Entries(policyViewOf(this.store), noProtocols).protocolOf(service);
    if (overrides.protocol !== null && overrides.protocol !== written)
      this.customised.protocol = overrides.protocol;
    const problems = this.chains.problems.filter(({ rule }) => this.rules.has(rule));
    return {
      ServiceName: service,
      ...everywhere,
      Datacenter: datacenter,
      ...(this.isDefault(start) ? { Default: true } : {}),
      ...(Object.keys(this.customised).length === 0
        ? {}
        : { CustomizationHash: customizationHash(this.customised) }),
      Protocol: compiled!.destination.protocol,
      ...(meta === undefined ? {} : { ServiceMeta: meta }),
      StartNode: start,
      Nodes: this.nodes,
      Targets: this.targets,
      ...(problems.length === 0
        ? {}
        : {
            Problems: problems.map(({ rule, field, message }) => ({
              Rule: rule,
              Field: field,
              Message: message,
            })),
          }),
    };
  }

  /** Whether policy leaves the name to itself; `service-defaults` do not count. */
  private isDefault(start: string): boolean {
    const { service, datacenter } = this.question;
    const own = `resolver:${idOf({ service, subset: '', datacenter })}`;
    return start === own && !this.entries.resolvers.has(service);
  }

  /** The key of the router's node; null where there is no router that acts. */
  private router(service: string): string | null {
    const router = this.entries.carriesRequests(service) ? this.entries.routers.get(service) : undefined;
    if (router === undefined) return null;
    this.rules.add(router.rule);
    const written = listIn(this.store, 'service-router', service, 'Routes');
    const otherwise = {
      Match: { HTTP: { PathPrefix: '/' } },
      Destination: { Service: service, ...everywhere },
    };
    return this.node('router', graphName(service), {
      Routes: [
        ...router.routes.map((route, i) => ({
          Definition: written[i] ?? {},
          NextNode: this.routeEnd(service, route),
        })),
        { Definition: otherwise, NextNode: this.next(service, '') },
      ],
    });
  }

  private routeEnd(service: string, { destination }: RoutePolicy): string {
    return this.next(destination.service || service, destination.subset);
  }

  /** The key of the splitter's node, or of the resolver's where nothing is split. */
  private next(service: string, subset: string): string {
    const legs = legsOf(this.entries, service, subset);
    const [first] = legs;
    if (first!.rule === '') return this.resolver(this.targetOf(service, subset));
    this.rules.add(this.entries.splitters.get(service)!.rule);
    return this.node('splitter', graphName(service), { Splits: legs.map((leg) => this.split(leg)) });
  }

  /** Splitters within splitters come as one, each share with the definition of the innermost. */
  private split({ weight, rule, index, service, subset }: Leg): Json {
    this.rules.add(rule);
    const splitter = rule.slice(rule.indexOf('/') + 1);
    return {
      Definition: listIn(this.store, 'service-splitter', splitter, 'Splits')[index] ?? {},
      Weight: weight / 100,
      NextNode: this.resolver(this.targetOf(service, subset)),
    };
  }

  private targetOf(service: string, subset: string): Target {
    const wanted = { service, subset, datacenter: this.question.datacenter };
    for (const passed of resolve(this.entries, wanted).path) {
      const resolver = this.entries.resolvers.get(passed.service);
      if (resolver !== undefined) this.rules.add(resolver.rule);
    }
    return this.chains.target(wanted);
  }

  private resolver(target: Target): string {
    const policy = this.entries.resolvers.get(target.service);
    const failover = this.chains.failover(target);
    const balance = this.store.get('service-resolver', target.service)?.entry.LoadBalancer;
    this.target(target);
    for (const other of failover) this.target(other);
    return this.node('resolver', idOf(target), {
      Resolver: {
        ...(policy === undefined ? { Default: true } : {}),
        ConnectTimeout: goDuration(this.connectTimeoutMs(target.service)),
        ...(policy?.requestTimeoutMs ? { RequestTimeout: policy.requestTimeoutMs * 1_000_000 } : {}),
        Target: idOf(target),
        ...(failover.length === 0 ? {} : { Failover: { Targets: failover.map(idOf) } }),
      },
      ...(balance === undefined ? {} : { LoadBalancer: balance }),
    });
  }

  private target(target: Target): void {
    const { service, subset, datacenter, instances } = target;
    const sni = sniOf(service, datacenter, this.question.trustDomain, subset);
    const { meshGatewayMode } = this.question.overrides;
    if (meshGatewayMode !== '') this.customised.meshGateway = meshGatewayMode;
    const { filter = '', onlyPassing = false } = instances?.policy ?? {};
    this.targets[idOf(target)] = {
      ID: idOf(target),
      Service: service,
      ...(subset === '' ? {} : { ServiceSubset: subset }),
      ...everywhere,
      Datacenter: datacenter,
      MeshGateway: meshGatewayMode === '' ? {} : { Mode: meshGatewayMode },
      Subset: {
        ...(filter === '' ? {} : { Filter: filter }),
        ...(onlyPassing ? { OnlyPassing: true } : {}),
      },
      ConnectTimeout: goDuration(this.connectTimeoutMs(service)),
      SNI: sni,
      Name: sni,
    };
  }

  private connectTimeoutMs(service: string): number {
    const written = this.entries.resolvers.get(service)?.connectTimeoutMs ?? defaultConnectTimeoutMs;
    const wanted = this.question.overrides.connectTimeoutMs ?? written;
    if (wanted !== written) this.customised.connectTimeout = goDuration(wanted);
    return wanted;
  }

  /** Adds a node and gives its key. */
  private node(type: 'router' | 'splitter' | 'resolver', name: string, fields: Json): string {
    const key = `${type}:${name}`;
    this.nodes[key] = { Type: type, Name: name, ...fields };
    return key;
  }
}

/** Policy in which every service speaks one protocol; null changes nothing. */
function withProtocol(policy: PolicyView, protocol: Protocol | null): PolicyView {
  if (protocol === null) return policy;
  const nothing = { rule: '', accessLog: null, tracing: null };
  return { ...policy, defaults: [], proxyDefaults: { ...nothing, ...policy.proxyDefaults, protocol } };
}

/** How Consul's graph calls a service. */
function graphName(service: string): string {
  return `${service}.default.default`;
}

/** Consul's id of a target. */
function idOf({ service, subset, datacenter }: Pick<Target, 'service' | 'subset' | 'datacenter'>): string {
  return `${subset === '' ? '' : `${subset}.`}${graphName(service)}.${datacenter}`;
}

/** A list of an entry as it was written; empty where the entry has none. */
function listIn(store: PolicyStore, kind: string, name: string, field: string): readonly Json[] {
  const list = store.get(kind, name)?.entry[field];
  return Array.isArray(list) ? list : [];
}
