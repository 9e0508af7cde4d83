/** Whether a certificate is an identity of this mesh: X.509-SVID section 4 and 5, and stricter. */
import { Fault, type HostId, type Millis } from '../../core.ts';
import { type ParsedCertificate, parseCertificate } from './certificate.ts';
import { oidHex } from './der.ts';
import { parseSpiffeId, type ServiceIdentity } from './spiffe.ts';
import { hostOfSubject, keyUsageBits, oids } from './x509.ts';

/** A certificate found to be of the profile. */
export interface Svid extends ServiceIdentity {
  readonly spiffeId: string;
  readonly dnsNames: readonly string[];
  readonly notBefore: Millis;
  readonly notAfter: Millis;
  /** Hex. */
  readonly serial: string;
  /** The host that it was issued to. */
  readonly host: HostId;
}

const serverAuth = oidHex(oids.serverAuth);
const clientAuth = oidHex(oids.clientAuth);

function idOf(certificate: ParsedCertificate, trustDomain: string): ServiceIdentity & { spiffeId: string } {
  const [uri, ...more] = certificate.altNames?.uris ?? [];
  if (uri === undefined || more.length > 0)
    throw new Fault('svid-names', 'a certificate must carry exactly one URI name');
  if (certificate.altNames?.others !== 0)
    throw new Fault('svid-names', 'a certificate may carry a SPIFFE id and DNS names only');
  let identity: ServiceIdentity;
  try {
    identity = parseSpiffeId(uri);
  } catch (error) {
    throw new Fault('svid-names', 'the URI name is not the SPIFFE id of a service', { cause: error });
  }
  if (identity.trustDomain !== trustDomain)
    throw new Fault('svid-foreign', `the certificate belongs to the trust domain ${identity.trustDomain}`);
  return { ...identity, spiffeId: uri };
}

/**
 * Checks what TLS libraries do not: exactly one URI name and it is a SPIFFE id of `trustDomain`, no CA, key
 * usage for signatures and for both TLS roles, valid at `now` (also on a resumed session, where Node reports
 * an expired certificate as authorised). The chain to the trust bundle is the TLS library's to check.
 * Throws a Fault: `certificate-malformed`, `svid-names`, `svid-foreign`, `svid-usage`, `svid-host`,
 * `svid-expired`, `svid-not-yet-valid`.
 */
export function verifySvidProfile(der: Uint8Array, trustDomain: string, now: Millis): Svid {
  const certificate = parseCertificate(der);
  const identity = idOf(certificate, trustDomain);
  if (certificate.isAuthority) throw new Fault('svid-usage', 'a certificate authority is not a service');
  const usage = certificate.keyUsage;
  if (
    usage === null ||
    !usage.includes(keyUsageBits.digitalSignature) ||
    usage.includes(keyUsageBits.keyCertSign) ||
    usage.includes(keyUsageBits.crlSign)
  )
    throw new Fault('svid-usage', 'the key must be for signatures, and not for those of an authority');
  const host = hostOfSubject(certificate.subject);
  if (host === null) throw new Fault('svid-host', 'the certificate does not name the host it was issued to');
  const extended = certificate.extendedKeyUsage;
  if (extended === null || !extended.includes(serverAuth) || !extended.includes(clientAuth))
    throw new Fault('svid-usage', 'the key must be for TLS servers and clients');
  if (certificate.unknownCritical) throw new Fault('svid-usage', 'an unknown extension is critical');
  if (now >= certificate.notAfter) throw new Fault('svid-expired', 'the certificate has expired');
  if (now < certificate.notBefore) throw new Fault('svid-not-yet-valid', 'the certificate is not valid yet');
  return {
    ...identity,
    dnsNames: certificate.altNames?.dnsNames ?? [],
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
    serial: certificate.serial,
    host,
  };
}
