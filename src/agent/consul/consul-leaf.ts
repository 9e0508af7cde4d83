/** A service's certificate and key in the JSON of Consul's `connect/ca/leaf`. */
import { X509Certificate } from 'node:crypto';
import type { IdentityView } from '../../proxy/view.ts';
import type { Json } from './consul.ts';

/** A secret: the key is in it. */
export function caLeafJson({ service, spiffeId, certPem, keyPem }: IdentityView, index: number): Json {
  const certificate = new X509Certificate(certPem);
  return {
    SerialNumber: serialText(certificate.serialNumber),
    CertPEM: certPem,
    PrivateKeyPEM: keyPem,
    Service: service,
    ServiceURI: spiffeId,
    ValidAfter: new Date(certificate.validFrom).toISOString(),
    ValidBefore: new Date(certificate.validTo).toISOString(),
    CreateIndex: index,
    ModifyIndex: index,
  };
}

/** Hex in pairs with colons between them, as Consul writes serial numbers. */
function serialText(hex: string): string {
  return (hex.toLowerCase().match(/../g) ?? []).join(':');
}
