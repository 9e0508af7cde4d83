/** Where the instances of a service are that calls others: what its calls are divided between zones by. Pure. */
import { byCodeUnit } from '../../core.ts';
import type { ZoneCallers } from '../../proxy/balance/zones.ts';
import type { CallerView } from '../../proxy/view.ts';
import type { Catalog } from './catalog.ts';

/** Those that do not fail their checks, whether or not they are called through the mesh themselves. Sorted. */
export function zonesOf(catalog: Catalog, service: string, datacenter: string): ZoneCallers[] {
  const byZone = new Map<string, number>();
  for (const entry of catalog.instances(service)) {
    const { zone, datacenter: where } = entry.host.value;
    if (where !== datacenter || catalog.statusOf(entry) === 'critical') continue;
    byZone.set(zone, (byZone.get(zone) ?? 0) + 1);
  }
  return [...byZone]
    .map(([zone, instances]) => ({ zone, instances }))
    .sort((a, b) => byCodeUnit(a.zone, b.zone));
}

/** Finds them for one state of a catalog after the other: what did not change is the very same object again. */
export class CallerZones {
  private found = new Map<string, { readonly index: number; readonly view: CallerView }>();

  /** One for each of `services`, in their order. */
  of(catalog: Catalog, services: readonly string[], datacenter: string): CallerView[] {
    const before = this.found;
    this.found = new Map();
    return services.map((service) => {
      const index = catalog.indexOf(`service:${service}`);
      const known = before.get(service);
      const view =
        known?.index === index ? known.view : { service, zones: zonesOf(catalog, service, datacenter) };
      this.found.set(service, { index, view });
      return view;
    });
  }
}
