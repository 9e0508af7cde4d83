/** Pass 1, defaults: policy made ready to be asked, and what holds where no entry says anything. */
import { byCodeUnit } from '../../core.ts';
import type { Filter } from '../filter/filter.ts';
import { subsetFilter } from '../filter/instance.ts';
import type {
  PolicyView,
  ProxyDefaultsPolicy,
  ResolverPolicy,
  RouterPolicy,
  ServiceDefaultsPolicy,
  SplitterPolicy,
  SubsetPolicy,
} from '../policy.ts';
import type { Protocol } from '../view.ts';

/** What services say of their protocol themselves; those that say nothing are left out. */
export type Protocols = ReadonlyMap<string, Protocol>;

export const noProtocols: Protocols = new Map();

/** A subset with its filter compiled. */
export interface Subset {
  readonly policy: SubsetPolicy;
  /** What is wrong with the filter, as text, where it is not one. */
  readonly filter: Filter | string;
}

/** Policies never change, and most are there again in the next view: what is compiled once stays so. */
const compiledSubsets = new WeakMap<SubsetPolicy, Subset>();

export class Entries {
  readonly proxyDefaults: ProxyDefaultsPolicy | null;
  readonly defaults: ReadonlyMap<string, ServiceDefaultsPolicy>;
  readonly routers: ReadonlyMap<string, RouterPolicy>;
  readonly splitters: ReadonlyMap<string, SplitterPolicy>;
  readonly resolvers: ReadonlyMap<string, ResolverPolicy>;
  private readonly protocols: Protocols;

  constructor(policy: PolicyView, protocols: Protocols) {
    this.proxyDefaults = policy.proxyDefaults;
    this.defaults = byService(policy.defaults);
    this.routers = byService(policy.routers);
    this.splitters = byService(policy.splitters);
    this.resolvers = byService(policy.resolvers);
    this.protocols = protocols;
  }

  /** `service-defaults`, then what the service says itself, then `proxy-defaults`; `auto` says nothing. */
  protocolOf(service: string): Protocol {
    const written = this.defaults.get(service)?.protocol ?? 'auto';
    if (written !== 'auto') return written;
    const declared = this.protocols.get(service) ?? 'auto';
    return declared !== 'auto' ? declared : (this.proxyDefaults?.protocol ?? 'auto');
  }

  /** Requests cannot be told apart in a byte stream: no router and no splitter acts on one. */
  carriesRequests(service: string): boolean {
    return this.protocolOf(service) !== 'tcp';
  }

  /** Undefined when the service has no subset of this name. */
  subset(service: string, name: string): Subset | undefined {
    const policy = this.resolvers.get(service)?.subsets.find((subset) => subset.name === name);
    return policy === undefined ? undefined : this.compiled(policy);
  }

  compiled(policy: SubsetPolicy): Subset {
    let subset = compiledSubsets.get(policy);
    if (subset === undefined) {
      subset = { policy, filter: subsetFilter(policy.filter) };
      compiledSubsets.set(policy, subset);
    }
    return subset;
  }

  /** Services that can be asked for although nobody may run them: entries say what becomes of a request. */
  routedServices(): string[] {
    return [...new Set([this.routers, this.splitters, this.resolvers].flatMap((each) => [...each.keys()]))];
  }
}

/** In the order of the services, whatever the order of the list. */
function byService<T extends { readonly service: string }>(list: readonly T[]): ReadonlyMap<string, T> {
  const sorted = [...list].sort((a, b) => byCodeUnit(a.service, b.service));
  return new Map(sorted.map((entry) => [entry.service, entry]));
}
