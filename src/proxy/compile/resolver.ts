/** Pass 4, resolvers: from a service, or a subset of it, to where its instances are. */
import type { ResolverPolicy, TargetPolicy } from '../policy.ts';
import type { Entries, Subset } from './entries.ts';

/** What a request is for, after routing and splitting. */
export interface Wanted {
  readonly service: string;
  /** '' is the default subset. */
  readonly subset: string;
  readonly datacenter: string;
}

/** Where redirects and default subsets lead. */
export interface Resolution {
  readonly target: Wanted;
  /** The subset of the target; undefined for the whole service, and where there is no such subset. */
  readonly subset: Subset | undefined;
  /** Why it leads nowhere; null when it does not. */
  readonly failure: 'circle' | 'no-subset' | null;
  /** Everything that was passed, the first and the last included; a circle ends with what it came back to. */
  readonly path: readonly Wanted[];
  /** The resolver that named the target's service or subset last; null when that was who asked. */
  readonly namedBy: ResolverPolicy | null;
}

/** Follows redirects and default subsets. Never loops: what comes back to where it was is a circle. */
export function resolve(entries: Entries, wanted: Wanted): Resolution {
  const path: Wanted[] = [wanted];
  let target = wanted;
  let namedBy: ResolverPolicy | null = null;
  while (true) {
    const resolver = entries.resolvers.get(target.service);
    const next = resolver === undefined ? target : step(resolver, target);
    if (same(next, target)) break;
    const isCircle = path.some((passed) => same(passed, next));
    if (next.service !== target.service || next.subset !== target.subset) namedBy = resolver!;
    path.push(next);
    if (isCircle) return { target: wanted, subset: undefined, failure: 'circle', path, namedBy };
    target = next;
  }
  const subset = target.subset === '' ? undefined : entries.subset(target.service, target.subset);
  const failure = target.subset !== '' && subset === undefined ? 'no-subset' : null;
  return { target, subset, failure, path, namedBy };
}

/** One redirect, or else the default subset. */
function step(resolver: ResolverPolicy, target: Wanted): Wanted {
  if (resolver.redirect !== null) {
    const redirected = rewrite(target, resolver.redirect);
    if (!same(redirected, target)) return redirected;
  }
  return target.subset === '' ? { ...target, subset: resolver.defaultSubset } : target;
}

/** What '' leaves as it was; but a subset belongs to its service and is not taken to another one. */
export function rewrite(target: Wanted, { service, subset, datacenter }: TargetPolicy): Wanted {
  const isOther = service !== '' && service !== target.service;
  return {
    service: isOther ? service : target.service,
    subset: subset !== '' ? subset : isOther ? '' : target.subset,
    datacenter: datacenter !== '' ? datacenter : target.datacenter,
  };
}

/** Which of a resolver's failover sections holds for a subset: its own, else the one for all others. */
export function failoverTargets(
  resolver: ResolverPolicy | undefined,
  subset: string,
): readonly TargetPolicy[] {
  const sections = resolver?.failover ?? [];
  const section =
    sections.find((each) => each.subset === subset) ?? sections.find((each) => each.subset === '*');
  return section?.targets ?? [];
}

export function same(a: Wanted, b: Wanted): boolean {
  return a.service === b.service && a.subset === b.subset && a.datacenter === b.datacenter;
}
