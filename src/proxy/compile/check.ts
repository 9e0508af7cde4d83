/**
 * What is wrong with policy as a whole, where each entry by itself is in order: references that lead nowhere or in
 * circles, and entries that could not act. The agent refuses a write that brings a new one; what comes into being
 * all the same, by writes at two places at once, shows in the configuration and degrades as `compile` says.
 */
import { byCodeUnit } from '../../core.ts';
import type { PolicyProblem } from '../config.ts';
import type {
  FailoverPolicy,
  PolicyView,
  ResolverPolicy,
  RoutePolicy,
  RouterPolicy,
  SplitterPolicy,
} from '../policy.ts';
import { Entries, noProtocols, type Protocols } from './entries.ts';
import { clusterIdOf } from './names.ts';
import { type Resolution, resolve, rewrite, same, type Wanted } from './resolver.ts';

export type { PolicyProblem };

/**
 * Every problem of the policy as given, sorted. `protocols` are those that services declare themselves. A problem
 * of an entry can come from a change of another one, such as a subset that goes while a router names it: compare
 * with the problems of before, by `problemKey`, and refuse what is new.
 */
export function findProblems(
  policy: PolicyView,
  protocols: Protocols = noProtocols,
): readonly PolicyProblem[] {
  return problemsOf(new Entries(policy, protocols));
}

/** Equal for two problems that are the same one. */
export function problemKey({ rule, field, message }: PolicyProblem): string {
  return JSON.stringify([rule, field, message]);
}

/** The same over policy that is indexed already. */
export function problemsOf(entries: Entries): readonly PolicyProblem[] {
  const check = new Check(entries);
  for (const router of entries.routers.values()) check.router(router);
  for (const splitter of entries.splitters.values()) check.splitter(splitter);
  for (const resolver of entries.resolvers.values()) check.resolver(resolver);
  return check.problems.sort(
    (a, b) => byCodeUnit(a.rule, b.rule) || byCodeUnit(a.field, b.field) || byCodeUnit(a.message, b.message),
  );
}

/** Stands for the datacenter of whoever asks: every reference means it, unless it names one. */
const here = '';

/** Where a reference stands, for the problems that it has. */
interface Place {
  readonly rule: string;
  /** Whose entry it is: what all it leads to must speak like. */
  readonly service: string;
  readonly serviceField: string;
  readonly subsetField: string;
}

class Check {
  readonly problems: PolicyProblem[] = [];
  private readonly entries: Entries;

  constructor(entries: Entries) {
    this.entries = entries;
  }

  private report(rule: string, field: string, message: string): void {
    this.problems.push({ rule, field, message });
  }

  router({ rule, service, routes }: RouterPolicy): void {
    if (!this.entries.carriesRequests(service))
      this.report(rule, 'Name', `cannot route by requests: the protocol of "${service}" is tcp`);
    routes.forEach(({ destination }, i) => {
      this.destination(rule, service, `Routes[${i}].Destination`, destination);
    });
  }

  private destination(
    rule: string,
    service: string,
    field: string,
    { redirect, mirror, ...destination }: RoutePolicy['destination'],
  ): void {
    if (redirect === null)
      this.routed(
        { service: destination.service || service, subset: destination.subset, datacenter: here },
        placeIn(rule, service, field),
      );
    if (mirror !== null)
      this.reference(
        { service: mirror.service || service, subset: mirror.subset, datacenter: here },
        placeIn(rule, service, `${field}.Mirror`),
      );
  }

  /** What a splitter takes over is the splitter's to answer for. */
  private routed(wanted: Wanted, place: Place): void {
    if (wanted.subset === '' && this.entries.splitters.has(wanted.service)) return;
    this.reference(wanted, place);
  }

  splitter(splitter: SplitterPolicy): void {
    const { rule, service, splits } = splitter;
    if (!this.entries.carriesRequests(service))
      this.report(rule, 'Name', `cannot split requests: the protocol of "${service}" is tcp`);
    const sum = splits.reduce((total, { weight }) => total + weight, 0);
    if (sum !== 10_000) this.report(rule, 'Splits', `the weights must add up to 100, not to ${sum / 100}`);
    splits.forEach((split, i) => {
      const wanted = { service: split.service || service, subset: split.subset, datacenter: here };
      const field = `Splits[${i}]`;
      if (wanted.subset === '' && wanted.service !== service && this.splitsInto(wanted.service, service))
        this.report(
          rule,
          `${field}.Service`,
          `"${wanted.service}" is split into "${service}" again: splitters must not form a circle`,
        );
      else if (wanted.service === service) this.reference(wanted, placeIn(rule, service, field));
      else this.routed(wanted, placeIn(rule, service, field));
    });
  }

  /** Whether splitters lead from one service to another one. */
  private splitsInto(from: string, to: string): boolean {
    const seen = new Set([from]);
    for (const service of seen)
      for (const split of this.entries.splitters.get(service)?.splits ?? []) {
        const next = split.service || service;
        if (split.subset !== '' || next === service) continue;
        if (next === to) return true;
        seen.add(next);
      }
    return false;
  }

  resolver(resolver: ResolverPolicy): void {
    const { rule, service, subsets, failover } = resolver;
    for (const subset of subsets) {
      const { filter } = this.entries.compiled(subset);
      if (typeof filter === 'string') this.report(rule, `Subsets.${subset.name}.Filter`, filter);
    }
    this.ownSteps(resolver);
    for (const section of failover) {
      const field = `Failover.${section.subset}`;
      const isKnown =
        ['', '*'].includes(section.subset) || subsets.some(({ name }) => name === section.subset);
      if (!isKnown) this.report(rule, field, `"${service}" has no subset "${section.subset}"`);
      else this.failover(resolver, section, field);
    }
  }

  /** Where the resolver's own redirect or default subset leads. */
  private ownSteps({ rule, service, redirect }: ResolverPolicy): void {
    const resolution = resolve(this.entries, { service, subset: '', datacenter: here });
    const { failure, path, namedBy } = resolution;
    const field = redirect === null ? 'DefaultSubset' : 'Redirect';
    if (failure === 'circle') {
      const start = path.findIndex((passed) => same(passed, path.at(-1)!));
      const circle = path.slice(start);
      if (circle.some((passed) => passed.service === service))
        this.report(rule, field, `redirects must not form a circle: ${circle.map(name).join(' -> ')}`);
    } else if (failure === 'no-subset' && namedBy?.service === service)
      this.report(rule, redirect === null ? field : `${field}.ServiceSubset`, noSubset(resolution));
    else if (path.length > 1 && failure === null)
      this.protocol(service, resolution, rule, redirect === null ? field : `${field}.Service`);
  }

  private failover({ rule, service }: ResolverPolicy, section: FailoverPolicy, field: string): void {
    const own = { service, subset: section.subset === '*' ? '' : section.subset, datacenter: here };
    const end = resolve(this.entries, own).target;
    section.targets.forEach((target, i) => {
      const wanted = rewrite(end, target);
      const place = placeIn(rule, service, `${field}.Targets[${i}]`);
      const isItself = same(resolve(this.entries, wanted).target, end);
      if (isItself) this.report(rule, place.serviceField, 'fails over to itself');
      else this.reference(wanted, place);
    });
  }

  /** What anything but a resolver's own step names. A circle is for its resolvers to answer for. */
  private reference(wanted: Wanted, place: Place): void {
    const resolution = resolve(this.entries, wanted);
    if (resolution.failure === 'no-subset' && resolution.namedBy === null)
      this.report(place.rule, place.subsetField, noSubset(resolution));
    else if (resolution.failure === null)
      this.protocol(place.service, resolution, place.rule, place.serviceField);
  }

  /** Two services can only stand in for each other if both carry requests, or neither is known to do so. */
  private protocol(service: string, { target }: Resolution, rule: string, field: string): void {
    const mine = this.entries.protocolOf(service);
    const theirs = this.entries.protocolOf(target.service);
    if (mine === 'auto' || theirs === 'auto' || (mine === 'tcp') === (theirs === 'tcp')) return;
    this.report(
      rule,
      field,
      `leads from "${service}", whose protocol is ${mine}, to "${target.service}", whose protocol is ${theirs}`,
    );
  }
}

function placeIn(rule: string, service: string, field: string): Place {
  return { rule, service, serviceField: `${field}.Service`, subsetField: `${field}.ServiceSubset` };
}

function noSubset({ target }: Resolution): string {
  return `"${target.service}" has no subset "${target.subset}"`;
}

function name({ service, subset, datacenter }: Wanted): string {
  return clusterIdOf(service, subset, datacenter, here);
}
