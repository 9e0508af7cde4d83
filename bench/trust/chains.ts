/** Two chains that prove the same service: one whose root is held by a quorum, and one as `openssl` makes them. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Signer } from '../../src/core.ts';
import { makeLeafKey } from '../../src/trust/io/keys.ts';
import { parseCsr } from '../../src/trust/x509/csr.ts';
import { backdateMs, createRootCertificate, wholeSeconds } from '../../src/trust/x509/root.ts';
import { dnsNamesOf, formatSpiffeId } from '../../src/trust/x509/spiffe.ts';
import { assembleCertificate, buildLeafTbs, pemOf } from '../../src/trust/x509/x509.ts';
import { generatedKeys, hostOf, signWith } from '../../test/unit/trust/frost/parties.ts';
import type { Stage } from '../stage.ts';

export interface Chain {
  readonly name: string;
  /** PEM files: the root, and the certificate with its key. */
  readonly rootFile: string;
  readonly leafFile: string;
}

const trustDomain = 'bench.example';
const identity = { trustDomain, datacenter: 'dc1', service: 'web' };
const spiffeId = formatSpiffeId(identity);
const dnsNames = dnsNamesOf(identity);
/** Both sides present the same certificate, whose name the client checks. */
export const serverName: string = dnsNames[0]!;
const lifetimeMs = 86_400_000;

function filesOf(stage: Stage, name: string): Chain & { readonly folder: string } {
  const folder = join(stage.directory, name);
  mkdirSync(folder, { mode: 0o700 });
  return { name, folder, rootFile: join(folder, 'root.pem'), leafFile: join(folder, 'leaf.pem') };
}

/** A P-256 certificate under an Ed25519 root that two of three hold; both signed by two of them. */
export async function makeQuorumChain(stage: Stage): Promise<Chain> {
  const chain = filesOf(stage, 'quorum-ed25519');
  const { group, shares } = generatedKeys(2, 3);
  const signers = [...shares.values()].slice(0, 2);
  let signatures = 0;
  const root: Signer = {
    publicKey: group.publicKey,
    sign: (message) => signWith(group, signers, message, `signature ${++signatures}`),
  };
  const now = Date.now();
  writeFileSync(chain.rootFile, pemOf(createRootCertificate(trustDomain, 1, root, now, lifetimeMs)));
  const { csr, keyPem } = await makeLeafKey(spiffeId, dnsNames);
  const tbs = buildLeafTbs({
    issuer: { trustDomain, generation: 1, publicKey: root.publicKey },
    host: hostOf('h1').publicKey,
    spki: parseCsr(csr).spki,
    ...{ spiffeId, dnsNames },
    notBefore: wholeSeconds(now - backdateMs),
    notAfter: wholeSeconds(now + lifetimeMs),
  });
  const leaf = pemOf(assembleCertificate(tbs, root.sign(tbs)));
  writeFileSync(chain.leafFile, leaf + keyPem, { mode: 0o600 });
  return chain;
}

/** The same names and key type under a P-256 root, signed by `openssl`. */
export async function makePlainChain(stage: Stage): Promise<Chain> {
  const chain = filesOf(stage, 'plain-p256');
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  const request = ['req', '-x509', ...newKey];
  const rootKey = join(chain.folder, 'root.key');
  await stage.run('openssl', [
    ...[...request, '-keyout', rootKey, '-out', chain.rootFile, '-subj', `/O=${trustDomain}/CN=plain root`],
    ...['-addext', `subjectAltName=URI:spiffe://${trustDomain}`],
  ]);
  const names = [`URI:${spiffeId}`, ...dnsNames.map((name) => `DNS:${name}`)].join(',');
  await stage.run('openssl', [
    ...[...request, '-keyout', chain.leafFile, '-out', `${chain.leafFile}.crt`],
    ...['-subj', `/CN=${hostOf('h1').publicKey}`, '-CA', chain.rootFile, '-CAkey', rootKey],
    ...['-addext', `subjectAltName=${names}`, '-addext', 'basicConstraints=critical,CA:FALSE'],
    ...['-addext', 'keyUsage=critical,digitalSignature', '-addext', 'extendedKeyUsage=serverAuth,clientAuth'],
  ]);
  await stage.run('sh', ['-c', 'cat "$1.crt" >> "$1"', 'sh', chain.leafFile]);
  return chain;
}
