/** TLS contexts of the identities this host holds, made once per certificate and set of roots. */
import { constants } from 'node:crypto';
import { createSecureContext, type SecureContext } from 'node:tls';
import { messageOf } from '../../core.ts';
import type { IdentityView } from '../view.ts';

/** TLS 1.3 only; 128-bit AES first, for it is the cheapest that is strong. */
export const tlsVersions = { minVersion: 'TLSv1.3', maxVersion: 'TLSv1.3' } as const;
const ciphers = 'TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256';

/** No resumption: a resumed session would outlive the check of the certificate that it began with. */
const secureOptions = constants.SSL_OP_NO_TICKET;

export const serverOptions = { ciphers, secureOptions, honorCipherOrder: true, ...tlsVersions };

export interface ServiceContext {
  readonly identity: IdentityView;
  readonly roots: readonly string[];
  readonly context: SecureContext;
}

/**
 * The contexts for `identities`, by service; those of `previous` are kept where nothing changed. An identity
 * that TLS does not accept is left out and `onProblem` told.
 */
export function serviceContexts(
  identities: readonly IdentityView[],
  roots: readonly string[],
  previous: ReadonlyMap<string, ServiceContext>,
  onProblem: (service: string, problem: string) => void,
): Map<string, ServiceContext> {
  const contexts = new Map<string, ServiceContext>();
  for (const identity of identities) {
    const before = previous.get(identity.service);
    if (before !== undefined && isSame(before, identity, roots)) {
      contexts.set(identity.service, before);
      continue;
    }
    try {
      const context = createSecureContext({
        cert: identity.certPem,
        key: identity.keyPem,
        ca: [...roots],
        ciphers,
        ...tlsVersions,
        secureOptions,
      });
      contexts.set(identity.service, { identity, roots, context });
    } catch (error) {
      onProblem(identity.service, messageOf(error));
    }
  }
  return contexts;
}

function isSame(before: ServiceContext, identity: IdentityView, roots: readonly string[]): boolean {
  return (
    before.identity.certPem === identity.certPem &&
    before.identity.keyPem === identity.keyPem &&
    before.roots.length === roots.length &&
    before.roots.every((root, index) => root === roots[index])
  );
}
