/** The trust bundle in the JSON shape of Consul's `connect/ca/roots`. */
import { X509Certificate } from 'node:crypto';
import type { RootStatus } from '../port.ts';
import type { Json } from './consul.ts';

function rootJson(root: RootStatus, index: number): Json {
  const certificate = new X509Certificate(root.certPem);
  const key = certificate.publicKey;
  return {
    ID: rootId(root),
    Name: `Starling root, generation ${root.generation}`,
    SerialNumber: Number.parseInt(certificate.serialNumber.slice(-12), 16),
    SigningKeyID: certificate.fingerprint256.toLowerCase().slice(0, 59),
    ExternalTrustDomain: '',
    NotBefore: new Date(certificate.validFrom).toISOString(),
    NotAfter: new Date(certificate.validTo).toISOString(),
    RootCert: root.certPem,
    IntermediateCerts: null,
    Active: root.active,
    PrivateKeyType: key.asymmetricKeyType ?? '',
    PrivateKeyBits: 256,
    CreateIndex: index,
    ModifyIndex: index,
  };
}

function rootId(root: RootStatus): string {
  return `g${root.generation}`;
}

export function caRootsJson(trustDomain: string, roots: readonly RootStatus[], index: number): Json {
  const active = roots.find((root) => root.active);
  return {
    ActiveRootID: active === undefined ? '' : rootId(active),
    TrustDomain: trustDomain,
    Roots: roots.map((root) => rootJson(root, index)),
  };
}
