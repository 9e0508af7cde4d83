/** How what is compiled is called: clusters, TLS server names, identities. */

/** `api`, `v2.api`, `api@dc2` or `v2.api@dc2`; the datacenter is left out where it is this host's own. */
export function clusterIdOf(service: string, subset: string, datacenter: string, own: string): string {
  return `${subset === '' ? '' : `${subset}.`}${service}${datacenter === own ? '' : `@${datacenter}`}`;
}

/** TLS server name of the inbound listeners of a service, or of a subset of it, in one datacenter; as Consul's. */
export function sniOf(service: string, datacenter: string, trustDomain: string, subset = ''): string {
  return `${subset === '' ? '' : `${subset}.`}${service}.default.${datacenter}.internal.${trustDomain}`;
}

/** The identity that a service's instances prove in one datacenter, as Consul's. */
export function spiffeIdOf(service: string, datacenter: string, trustDomain: string): string {
  return `spiffe://${trustDomain}/ns/default/dc/${datacenter}/svc/${service}`;
}
