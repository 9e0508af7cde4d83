/**
 * The mesh's instances as Prometheus' HTTP service discovery reads them, with the labels of its discovery through
 * Consul, so that relabelling rules written for that one keep working.
 * https://prometheus.io/docs/prometheus/latest/http_sd/ and `consul_sd_config` of its configuration.
 */
import type { Catalog, ServiceEntry } from '../catalog/catalog.ts';
import { nodeMeta } from './consul.ts';

export interface TargetGroup {
  readonly targets: readonly string[];
  readonly labels: { readonly [name: string]: string };
}

const prefix = '__meta_consul';
const tagSeparator = ',';

/** One group for each instance; those without a port have nothing to scrape. */
export function targetGroups(catalog: Catalog, entries: readonly ServiceEntry[]): TargetGroup[] {
  return entries
    .filter(({ definition }) => definition.port > 0)
    .map((entry) => ({ targets: [targetOf(entry)], labels: labelsOf(catalog, entry) }));
}

function targetOf({ definition, host }: ServiceEntry): string {
  const address = definition.address === '' ? host.value.address : definition.address;
  return address.includes(':') ? `[${address}]:${definition.port}` : `${address}:${definition.port}`;
}

function labelsOf(catalog: Catalog, entry: ServiceEntry): { [name: string]: string } {
  const { definition, host } = entry;
  return {
    [`${prefix}_address`]: host.value.address,
    [`${prefix}_dc`]: host.value.datacenter,
    [`${prefix}_health`]: catalog.statusOf(entry),
    [`${prefix}_node`]: host.value.name,
    [`${prefix}_service`]: definition.name,
    [`${prefix}_service_address`]: definition.address,
    [`${prefix}_service_id`]: definition.id,
    [`${prefix}_service_port`]: String(definition.port),
    // With separators at both ends, as there, so that a rule can look for `,tag,`.
    [`${prefix}_tags`]: `${tagSeparator}${definition.tags.map((tag) => `${tag}${tagSeparator}`).join('')}`,
    ...prefixed('metadata', nodeMeta(host)),
    ...prefixed('service_metadata', definition.meta),
  };
}

function prefixed(kind: string, pairs: { readonly [key: string]: string }): { [name: string]: string } {
  return Object.fromEntries(
    Object.entries(pairs).map(([key, value]) => [`${prefix}_${kind}_${labelName(key)}`, value]),
  );
}

/** What Prometheus makes of a key that is no label name. */
function labelName(key: string): string {
  return key.replaceAll(/[^a-zA-Z0-9_]/g, '_');
}
