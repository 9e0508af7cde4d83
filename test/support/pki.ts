/** A certificate authority for tests: one root, leaves with a SPIFFE id, made by the openssl command. */
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { VerifiedPeer } from '../../src/proxy/io/options.ts';
import type { IdentityView } from '../../src/proxy/view.ts';

export interface TestAuthority {
  readonly trustDomain: string;
  readonly rootPem: string;
  /** A leaf for a service. `uris` replaces its SPIFFE id, to make certificates that must be refused. */
  issue(service: string, uris?: readonly string[]): IdentityView;
}

export function spiffeIdOf(trustDomain: string, service: string): string {
  return `spiffe://${trustDomain}/ns/default/dc/dc1/svc/${service}`;
}

/** Runs openssl in a folder of its own that is gone afterwards; `-` files are not used, so errors are shown. */
function inFolder<T>(work: (folder: string, openssl: (...args: string[]) => void) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'starling-pki-'));
  try {
    return work(folder, (...args) => {
      execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] });
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export function createTestAuthority(trustDomain: string): TestAuthority {
  const root = inFolder((folder, openssl) => {
    openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', 'root.key');
    const subject = ['-subj', `/CN=${trustDomain} root`, '-days', '2'];
    openssl('req', '-x509', '-new', '-key', 'root.key', '-out', 'root.pem', ...subject);
    return {
      key: readFileSync(join(folder, 'root.key'), 'utf8'),
      pem: readFileSync(join(folder, 'root.pem'), 'utf8'),
    };
  });
  return {
    trustDomain,
    rootPem: root.pem,
    issue(service, uris = [spiffeIdOf(trustDomain, service)]) {
      return inFolder((folder, openssl) => {
        writeFileSync(join(folder, 'root.key'), root.key, { mode: 0o600 });
        writeFileSync(join(folder, 'root.pem'), root.pem);
        const names = [...uris.map((uri) => `URI:${uri}`), `DNS:${service}.mesh`].join(',');
        writeFileSync(
          join(folder, 'leaf.cnf'),
          `basicConstraints=critical,CA:FALSE\nkeyUsage=digitalSignature\n` +
            `extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=${names}\n`,
        );
        openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', 'leaf.key');
        openssl('req', '-new', '-key', 'leaf.key', '-subj', `/CN=${service}`, '-out', 'leaf.csr');
        const authority = ['-CA', 'root.pem', '-CAkey', 'root.key', '-CAcreateserial'];
        const output = ['-days', '1', '-extfile', 'leaf.cnf', '-out', 'leaf.pem'];
        openssl('x509', '-req', '-in', 'leaf.csr', ...authority, ...output);
        const certPem = readFileSync(join(folder, 'leaf.pem'), 'utf8');
        return {
          service,
          spiffeId: uris[0] ?? '',
          certPem,
          keyPem: readFileSync(join(folder, 'leaf.key'), 'utf8'),
          notAfter: Date.parse(new X509Certificate(certPem).validTo),
        };
      });
    },
  };
}

/** Exactly one URI, and it is a service of `trustDomain`: enough of the real check for tests of the proxy. The host is
 * called as the service is. */
export function verifyTestPeer(trustDomain: string) {
  return (der: Uint8Array): VerifiedPeer | { problem: string } => {
    const certificate = new X509Certificate(der);
    const names = certificate.subjectAltName ?? '';
    const uris = names.split(', ').filter((name) => name.startsWith('URI:'));
    const prefix = `URI:${spiffeIdOf(trustDomain, '')}`;
    const uri = uris[0];
    if (uris.length !== 1 || uri === undefined || !uri.startsWith(prefix))
      return { problem: `not exactly one id of ${trustDomain}: ${names}` };
    const host = certificate.subject.replace('CN=', '');
    const serial = certificate.serialNumber.toLowerCase();
    return { spiffeId: uri.slice(4), service: uri.slice(prefix.length), host, serial };
  };
}
