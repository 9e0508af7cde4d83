/** Which resolvers a request passes on its way to a cluster: configurations no longer say, and people ask. */
import type { MeshView } from '../view.ts';
import { entriesOf } from './compile.ts';
import { resolve } from './resolver.ts';
import { legsOf } from './router.ts';

/**
 * For every share of a destination's route, in the order of its split, the records of the resolvers that say where
 * it goes: each redirect, then the one of the service where it ends. Empty where no resolver has a say.
 */
export function resolversPassed(
  view: MeshView,
  destination: string,
  routeIndex: number,
  datacenter: string = view.datacenter,
): string[][] {
  const entries = entriesOf(view);
  const wanted = entries.carriesRequests(destination)
    ? entries.routers.get(destination)?.routes[routeIndex]?.destination
    : undefined;
  return legsOf(entries, wanted?.service || destination, wanted?.subset ?? '').map(({ service, subset }) => {
    const { path } = resolve(entries, { service, subset, datacenter });
    const rules = path.flatMap((passed) => entries.resolvers.get(passed.service)?.rule ?? []);
    return [...new Set(rules)];
  });
}
