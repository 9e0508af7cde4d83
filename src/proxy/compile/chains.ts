/** What policy makes of every service, whoever runs it: destinations with their routes, and where these end. */
import type { Destination, PolicyProblem } from '../config.ts';
import { problemsOf } from './check.ts';
import type { Entries, Subset } from './entries.ts';
import { clusterIdOf } from './names.ts';
import { failoverTargets, resolve, rewrite, type Wanted } from './resolver.ts';
import { routesOf } from './router.ts';
import { split } from './splitter.ts';

/** What a chain is asked for: a service as one datacenter has it. */
export interface Asked {
  /** As the destination is called: the service, with its datacenter where that is not the host's own. */
  readonly id: string;
  readonly service: string;
  readonly datacenter: string;
}

/** Where a chain ends: what becomes one cluster. */
export interface Target extends Wanted {
  /** The cluster's id. */
  readonly id: string;
  /** Undefined for the whole service. */
  readonly instances: Subset | undefined;
  /** Policy led here in a circle, or to a subset that is not there: there is no endpoint, whoever runs it. */
  readonly broken: boolean;
}

/** Lives as long as policy stays as it is: everything is worked out when it is first asked for, and once. */
export class Chains {
  readonly entries: Entries;
  readonly datacenter: string;
  readonly trustDomain: string;
  private readonly targets = new Map<string, Target>();
  private compiled: ReadonlyMap<string, CompiledChain> = new Map();
  private readonly failovers = new Map<Target, readonly Target[]>();
  private found: readonly PolicyProblem[] | null = null;

  constructor(entries: Entries, datacenter: string, trustDomain: string) {
    this.entries = entries;
    this.datacenter = datacenter;
    this.trustDomain = trustDomain;
  }

  get problems(): readonly PolicyProblem[] {
    this.found ??= problemsOf(this.entries);
    return this.found;
  }

  /** Asks for a service: here, unless another datacenter is named. */
  asked(service: string, datacenter = this.datacenter): Asked {
    return { id: clusterIdOf(service, '', datacenter, this.datacenter), service, datacenter };
  }

  /** The chains of what is asked for, in this order. Those of others are forgotten. */
  compile(wanted: readonly Asked[]): CompiledChain[] {
    const before = this.compiled;
    const compiled = new Map<string, CompiledChain>();
    for (const asked of wanted) compiled.set(asked.id, before.get(asked.id) ?? this.chain(asked));
    this.compiled = compiled;
    return [...compiled.values()];
  }

  /** Router and splitter are the same wherever the service is asked for: only where each share ends differs. */
  private chain({ id, service, datacenter }: Asked): CompiledChain {
    const ends = new Set<Target>();
    const routes = routesOf(this.entries, service, (wantedService, subset) => {
      const target = this.target({ service: wantedService, subset, datacenter });
      ends.add(target);
      return target;
    });
    const written = this.entries.protocolOf(service);
    const [only] = ends;
    // A name that merely stands for another service speaks what that one does.
    const protocol = written === 'auto' && ends.size === 1 ? this.entries.protocolOf(only!.service) : written;
    return { destination: { id, service, protocol, routes }, ends: [...ends] };
  }

  /** Where redirects and default subsets lead. */
  target(wanted: Wanted): Target {
    const { target, subset, failure } = resolve(this.entries, wanted);
    const id = clusterIdOf(target.service, target.subset, target.datacenter, this.datacenter);
    let known = this.targets.get(id);
    if (known === undefined) {
      known = { ...target, id, instances: subset, broken: failure !== null };
      this.targets.set(id, known);
    }
    return known;
  }

  /** What takes over for a target, in order. Not what takes over for these in turn. */
  failover(target: Target): readonly Target[] {
    let known = this.failovers.get(target);
    if (known === undefined) {
      known = target.broken ? [] : this.findFailover(target);
      this.failovers.set(target, known);
    }
    return known;
  }

  private findFailover(target: Target): Target[] {
    const wanted = failoverTargets(this.entries.resolvers.get(target.service), target.subset);
    const found = new Set(wanted.map((each) => this.target(rewrite(target, each))));
    found.delete(target);
    return [...found];
  }
}

export interface CompiledChain {
  readonly destination: Destination;
  /** What its routes, splits and mirrors name; failover comes on top. */
  readonly ends: readonly Target[];
}

/** The service that most of what is for `service` goes to: itself, unless policy leads elsewhere. */
export function leadsTo(entries: Entries, service: string, datacenter: string): string {
  const legs = split(entries, service);
  const most = legs.reduce((largest, leg) => (leg.weight > largest.weight ? leg : largest));
  return resolve(entries, { service: most.service, subset: most.subset, datacenter }).target.service;
}
