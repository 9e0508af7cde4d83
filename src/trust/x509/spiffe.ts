/** Names of services on the wire: SPIFFE ids, the TLS server name of each, and trust domains. */
import { Fault } from '../../core.ts';

/** A service or host name, a datacenter: one DNS label. */
export const labelPattern: RegExp = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
export const maxLabelLength = 63;
/**
 * A trust domain. SPIFFE-ID section 2.1 allows 255 characters and underscores; here it is a DNS name as well
 * (it is part of the TLS server name) and an X.509 organization name, hence 64 and no underscore.
 */
export const trustDomainPattern: RegExp =
  /^(?=.{1,64}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;
export const maxTrustDomainLength = 64;

/** Which service, where; the namespace is always `default`. */
export interface ServiceIdentity {
  readonly trustDomain: string;
  readonly datacenter: string;
  readonly service: string;
}

/** `spiffe://<trust domain>/ns/default/dc/<datacenter>/svc/<service>`. */
export function formatSpiffeId(identity: ServiceIdentity): string {
  return `spiffe://${identity.trustDomain}/ns/default/dc/${identity.datacenter}/svc/${identity.service}`;
}

const spiffeIdPattern = /^spiffe:\/\/([^/]{1,64})\/ns\/default\/dc\/([^/]{1,63})\/svc\/([^/]{1,63})$/;

/** Throws `Fault('spiffe-id-malformed')` for anything `formatSpiffeId` would not have written. */
export function parseSpiffeId(id: string): ServiceIdentity {
  const match = spiffeIdPattern.exec(id);
  const [, trustDomain, datacenter, service] = match ?? [];
  if (
    trustDomain === undefined ||
    datacenter === undefined ||
    service === undefined ||
    !trustDomainPattern.test(trustDomain) ||
    !labelPattern.test(datacenter) ||
    !labelPattern.test(service)
  )
    throw new Fault('spiffe-id-malformed', 'not a SPIFFE id of a service in a datacenter');
  return { trustDomain, datacenter, service };
}

/** `<service>.default.<datacenter>.internal.<trust domain>`: picks the service at an inbound port. */
export function serverName(identity: ServiceIdentity): string {
  return `${identity.service}.default.${identity.datacenter}.internal.${identity.trustDomain}`;
}

/** The service a TLS server name picks; null when it is none of this trust domain. */
export function parseServerName(name: string, trustDomain: string): ServiceIdentity | null {
  const suffix = `.internal.${trustDomain}`;
  if (!name.endsWith(suffix)) return null;
  const [service, namespace, datacenter, ...rest] = name.slice(0, -suffix.length).split('.');
  if (service === undefined || datacenter === undefined || namespace !== 'default' || rest.length > 0)
    return null;
  if (!labelPattern.test(service) || !labelPattern.test(datacenter)) return null;
  return { trustDomain, datacenter, service };
}

/** DNS names in the certificate of a service. Derived, so that every trustee writes the same. */
export function dnsNamesOf(identity: ServiceIdentity): string[] {
  return [serverName(identity)];
}

/** The SPIFFE id of a trust domain itself, in root certificates. */
export function trustDomainId(trustDomain: string): string {
  return `spiffe://${trustDomain}`;
}
