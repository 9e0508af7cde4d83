/** Root certificates: made for a signer of any kind, and read from bytes nobody vouches for. */
import { Fault, type Millis, type Signer, type Verify } from '../../core.ts';
import { ed25519KeyOf, type ParsedCertificate, parseCertificate } from './certificate.ts';
import { trustDomainId } from './spiffe.ts';
import {
  assembleCertificate,
  buildRootTbs,
  keyUsageBits,
  pemOf,
  type RootName,
  rootSubject,
} from './x509.ts';

/** A root certificate that was checked. */
export interface Root extends RootName {
  readonly der: Buffer;
  readonly pem: string;
  readonly notBefore: Millis;
  readonly notAfter: Millis;
}

/** Certificates begin this long before they are asked for, so that a slow clock elsewhere takes them at once. */
export const backdateMs: number = 5 * 60_000;

/** Rounds down to the whole seconds that certificates are counted in. */
export function wholeSeconds(at: Millis): Millis {
  return Math.floor(at / 1000) * 1000;
}

/** A self-signed root for the key behind `signer`, valid from just before `now` for `lifetimeMs`. */
export function createRootCertificate(
  trustDomain: string,
  generation: number,
  signer: Signer,
  now: Millis,
  lifetimeMs: number,
): Buffer {
  const name: RootName = { trustDomain, generation, publicKey: signer.publicKey };
  return certifyRoot(name, name, signer, now, lifetimeMs);
}

/** `subject` certified by the root `issuer`, whose key is behind `signer`. */
export function certifyRoot(
  issuer: RootName,
  subject: RootName,
  signer: Signer,
  now: Millis,
  lifetimeMs: number,
): Buffer {
  const notBefore = wholeSeconds(now - backdateMs);
  const notAfter = wholeSeconds(now + lifetimeMs);
  const tbs = buildRootTbs({ issuer, subject, notBefore, notAfter });
  return assembleCertificate(tbs, signer.sign(tbs));
}

function checkedAuthority(der: Uint8Array, trustDomain: string, generation: number): ParsedCertificate {
  const certificate = parseCertificate(der);
  const key = ed25519KeyOf(certificate.spki);
  if (key === null) throw new Fault('root-malformed', 'a root must have an Ed25519 key');
  const [uri, ...more] = certificate.altNames?.uris ?? [];
  if (
    uri !== trustDomainId(trustDomain) ||
    more.length > 0 ||
    !certificate.subject.equals(rootSubject({ trustDomain, generation, publicKey: key }))
  )
    throw new Fault('root-malformed', `the certificate is not root g${generation} of ${trustDomain}`);
  if (!certificate.isAuthority || !certificate.keyUsage?.includes(keyUsageBits.keyCertSign))
    throw new Fault('root-malformed', 'the certificate is not for signing certificates');
  return certificate;
}

/**
 * Reads a self-signed root and checks that it is generation `generation` of `trustDomain`. Throws
 * `Fault('root-malformed')` or `Fault('certificate-malformed')`. Says nothing about whether to trust it.
 */
export function readRoot(der: Uint8Array, trustDomain: string, generation: number, verify: Verify): Root {
  const certificate = checkedAuthority(der, trustDomain, generation);
  const publicKey = ed25519KeyOf(certificate.spki)!;
  if (!certificate.issuer.equals(certificate.subject))
    throw new Fault('root-malformed', 'a root must be issued by itself');
  if (!verify(publicKey, certificate.tbs, certificate.signature))
    throw new Fault('root-malformed', 'the root is not signed by its own key');
  const { notBefore, notAfter } = certificate;
  return { trustDomain, generation, publicKey, der: Buffer.from(der), pem: pemOf(der), notBefore, notAfter };
}

/** Whether `crossDer` is `root`'s key certified by the key of `issuer`. Malformed means no. */
export function isCertifiedBy(
  crossDer: Uint8Array,
  root: RootName,
  issuer: RootName,
  verify: Verify,
): boolean {
  try {
    const certificate = checkedAuthority(crossDer, root.trustDomain, root.generation);
    return (
      certificate.issuer.equals(rootSubject(issuer)) &&
      ed25519KeyOf(certificate.spki) === root.publicKey &&
      verify(issuer.publicKey, certificate.tbs, certificate.signature)
    );
  } catch (error) {
    if (error instanceof Fault) return false;
    throw error;
  }
}
