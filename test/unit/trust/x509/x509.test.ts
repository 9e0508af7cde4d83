import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { type KeyObject, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { connect, createServer, type TLSSocket } from 'node:tls';
import { leafFieldsOf, serialOf } from '../../../../src/trust/issuance/issuance.ts';
import { certificatesOfPem, parseCertificate } from '../../../../src/trust/x509/certificate.ts';
import { createCsr, parseCsr } from '../../../../src/trust/x509/csr.ts';
import { certifyRoot, createRootCertificate } from '../../../../src/trust/x509/root.ts';
import { dnsNamesOf, formatSpiffeId, serverName } from '../../../../src/trust/x509/spiffe.ts';
import { verifySvidProfile } from '../../../../src/trust/x509/svid-profile.ts';
import { assembleCertificate, buildLeafTbs, ed25519Spki, pemOf } from '../../../../src/trust/x509/x509.ts';
import {
  faultCode,
  founder,
  genesis,
  hour,
  p256,
  rootSigner,
  signerOf,
  startedAt,
  trustDomain,
} from '../mesh.ts';

const folder = mkdtempSync(join(tmpdir(), 'starling-x509-'));
after(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
  const path = join(folder, name);
  writeFileSync(path, content, { mode: 0o600 });
  return path;
}

function openssl(...args: string[]): string {
  return execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] }).toString();
}

interface Leaf {
  readonly der: Buffer;
  readonly key: KeyObject;
}

const host = signerOf('host').publicKey;
const identityOf = (service: string) => ({ trustDomain, datacenter: 'dc1', service });

/** A certificate for `service`; times are about `issuedAt`. */
function issue(service: string, issuedAt = startedAt, ttlMs = hour): Leaf {
  const key = p256();
  const identity = identityOf(service);
  const csr = parseCsr(createCsr(key, formatSpiffeId(identity), dnsNamesOf(identity)));
  const tbs = buildLeafTbs(leafFieldsOf({ issuedAt, ttlMs }, csr, genesis.root, host));
  return { der: assembleCertificate(tbs, rootSigner.sign(tbs)), key };
}

const leaf = issue('api');
const rootPem = file('root.pem', genesis.root.pem);
const leafPem = file('leaf.pem', pemOf(leaf.der));
const attime = ['-attime', String(startedAt / 1000)];

test('OpenSSL takes the root and the certificates under its strictest rules, for both TLS roles', () => {
  const verify = (...args: string[]): string =>
    openssl('verify', '-x509_strict', ...attime, '-CAfile', rootPem, ...args);
  assert.match(verify(rootPem), /: OK/);
  assert.match(verify('-purpose', 'sslserver', leafPem), /: OK/);
  assert.match(verify('-purpose', 'sslclient', leafPem), /: OK/);
  const stranger = file(
    'stranger.pem',
    pemOf(createRootCertificate(trustDomain, 0, founder, startedAt, hour)),
  );
  assert.throws(() => openssl('verify', ...attime, '-CAfile', stranger, leafPem), /verification failed/);
});

test('OpenSSL believes a new root through the certificate of the old one', () => {
  const nextSigner = signerOf('next');
  const next = { trustDomain, generation: 1, publicKey: nextSigner.publicKey };
  const cross = file('cross.pem', pemOf(certifyRoot(genesis.root, next, rootSigner, startedAt, hour)));
  const csr = parseCsr(createCsr(p256(), formatSpiffeId(identityOf('web')), []));
  const root = { ...genesis.root, ...next };
  const tbs = buildLeafTbs(leafFieldsOf({ issuedAt: startedAt, ttlMs: hour }, csr, root, host));
  const under = file('under.pem', pemOf(assembleCertificate(tbs, nextSigner.sign(tbs))));
  const args = ['verify', '-x509_strict', ...attime, '-CAfile', rootPem];
  assert.match(openssl(...args, '-untrusted', cross, under), /: OK/);
  assert.throws(() => openssl(...args, under), /unable to get local issuer/);
});

test('a certificate says what the profile says, as Node and OpenSSL read it', () => {
  const read = new X509Certificate(leaf.der);
  const root = new X509Certificate(genesis.root.der);
  assert.equal(
    read.subjectAltName,
    `URI:${formatSpiffeId(identityOf('api'))}, DNS:${serverName(identityOf('api'))}`,
  );
  assert.deepEqual([read.ca, root.ca], [false, true]);
  assert.ok(read.checkIssued(root) && read.verify(root.publicKey) && root.verify(root.publicKey));
  assert.equal(read.validFromDate.getTime(), startedAt - 5 * 60_000);
  assert.equal(read.validToDate.getTime(), startedAt + hour);
  assert.deepEqual(read.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
  const text = openssl('x509', '-in', leafPem, '-noout', '-text');
  assert.match(text, /Subject Alternative Name: \n/);
  assert.equal(read.subject, `CN=${host}`);
  assert.match(text, /Basic Constraints: critical\s+CA:FALSE/);
  assert.match(text, /X509v3 Key Usage: critical\s+Digital Signature\n/);
  assert.match(
    openssl('x509', '-in', rootPem, '-noout', '-text'),
    /CA:TRUE, pathlen:1[\s\S]*Certificate Sign, CRL Sign/,
  );
});

test('two builders of one request write the same bytes, and another time, key or host another serial', () => {
  const key = p256();
  const csr = parseCsr(createCsr(key, formatSpiffeId(identityOf('api')), dnsNamesOf(identityOf('api'))));
  const again = parseCsr(createCsr(key, formatSpiffeId(identityOf('api')), dnsNamesOf(identityOf('api'))));
  const request = { issuedAt: startedAt, ttlMs: hour };
  const fields = leafFieldsOf(request, csr, genesis.root, host);
  assert.deepEqual(buildLeafTbs(fields), buildLeafTbs(leafFieldsOf(request, again, genesis.root, host)));
  const spki = ed25519Spki(genesis.root.publicKey);
  const serial = serialOf(fields, spki);
  const tbs = buildLeafTbs(fields);
  assert.equal(parseCertificate(assembleCertificate(tbs, rootSigner.sign(tbs))).serial, serial);
  assert.notEqual(
    serialOf(leafFieldsOf({ ...request, issuedAt: startedAt + 1000 }, csr, genesis.root, host), spki),
    serial,
  );
  const otherHost = leafFieldsOf(request, csr, genesis.root, founder.publicKey);
  assert.notEqual(serialOf(otherHost, spki), serial);
  const otherCsr = { ...csr, spki: parseCsr(createCsr(p256(), csr.spiffeId, [])).spki };
  assert.notEqual(serialOf(leafFieldsOf(request, otherCsr, genesis.root, host), spki), serial);
});

test('a certificate never outlives its root', () => {
  const csr = parseCsr(createCsr(p256(), formatSpiffeId(identityOf('api')), []));
  const fields = leafFieldsOf(
    { issuedAt: genesis.root.notAfter - 60_000, ttlMs: hour },
    csr,
    genesis.root,
    host,
  );
  assert.equal(fields.notAfter, genesis.root.notAfter);
});

test('the profile check reads a good certificate and holds to its times', () => {
  const svid = verifySvidProfile(leaf.der, trustDomain, startedAt);
  assert.deepEqual(
    [svid.service, svid.datacenter, svid.spiffeId, svid.host],
    ['api', 'dc1', formatSpiffeId(identityOf('api')), host],
  );
  const at = (time: number): string | null => faultCode(() => verifySvidProfile(leaf.der, trustDomain, time));
  assert.equal(at(startedAt + hour), 'svid-expired');
  assert.equal(at(startedAt + hour - 1), null);
  assert.equal(at(startedAt - 5 * 60_000 - 1), 'svid-not-yet-valid');
  assert.equal(
    faultCode(() => verifySvidProfile(leaf.der, 'other.example', startedAt)),
    'svid-foreign',
  );
});

/** A certificate that OpenSSL makes with these extensions: what a forger with a root's key could present. */
function forged(subject: string, ...extensions: string[]): Buffer {
  const key = file('forged.key', p256().export({ type: 'pkcs8', format: 'pem' }));
  const lines = ['[req]', 'distinguished_name=dn', 'x509_extensions=ext', '[dn]', '[ext]', ...extensions];
  const config = file('forged.cnf', `${lines.join('\n')}\n`);
  openssl(
    'req',
    '-x509',
    '-new',
    '-key',
    key,
    '-subj',
    subject,
    '-days',
    '2',
    '-config',
    config,
    '-outform',
    'DER',
    '-out',
    'forged.der',
  );
  return Buffer.from(new X509Certificate(execFileSync('cat', [join(folder, 'forged.der')])).raw);
}

const good = {
  subject: `/CN=${host}`,
  constraints: 'basicConstraints=critical,CA:FALSE',
  usage: 'keyUsage=critical,digitalSignature',
  extended: 'extendedKeyUsage=serverAuth,clientAuth',
  names: `subjectAltName=URI:${formatSpiffeId(identityOf('api'))},DNS:api.example`,
};

test('the profile check refuses what TLS libraries let through', () => {
  // OpenSSL dates what it makes by the clock, from the moment it runs, for two days.
  const now = Date.now() + hour;
  const check = (parts: Partial<typeof good>, ...more: string[]): string | null => {
    const { subject, ...extensions } = { ...good, ...parts };
    const der = forged(subject, ...Object.values(extensions).filter((line) => line !== ''), ...more);
    return faultCode(() => verifySvidProfile(der, trustDomain, now));
  };
  assert.equal(check({}), null);
  assert.equal(
    check({ names: `${good.names},URI:spiffe://mesh.example/ns/default/dc/dc1/svc/web` }),
    'svid-names',
  );
  for (const subject of [
    '/',
    '/CN=web',
    `/CN=${host}/O=mesh`,
    `/O=mesh/CN=${host}`,
    `/CN=${host.toUpperCase()}`,
  ])
    assert.equal(check({ subject }), 'svid-host', subject);
  assert.equal(check({ names: '' }), 'svid-names');
  assert.equal(check({ names: 'subjectAltName=DNS:api.example' }), 'svid-names');
  assert.equal(check({ names: 'subjectAltName=URI:https://api.example' }), 'svid-names');
  assert.equal(check({ names: `${good.names},IP:127.0.0.1` }), 'svid-names');
  assert.equal(check({ names: `${good.names},email:a@b.example` }), 'svid-names');
  assert.equal(
    check({ names: 'subjectAltName=URI:spiffe://other.example/ns/default/dc/dc1/svc/api' }),
    'svid-foreign',
  );
  assert.equal(check({ constraints: 'basicConstraints=critical,CA:TRUE' }), 'svid-usage');
  assert.equal(check({ usage: '' }), 'svid-usage');
  assert.equal(check({ usage: 'keyUsage=digitalSignature,keyCertSign' }), 'svid-usage');
  assert.equal(check({ usage: 'keyUsage=keyAgreement' }), 'svid-usage');
  assert.equal(check({ extended: '' }), 'svid-usage');
  assert.equal(check({ extended: 'extendedKeyUsage=serverAuth' }), 'svid-usage');
  assert.equal(check({}, '1.2.3.4=critical,DER:0500'), 'svid-usage');
  assert.equal(check({}, '1.2.3.4=DER:0500'), null);
});

test('two services shake hands over mutual TLS 1.3 and find each other to be who they are', async () => {
  const now = Date.now();
  const issuedAt = Math.floor(now / 1000) * 1000;
  // The genesis of these tests lies in the past, its root is valid for ten years.
  const [web, api] = [issue('web', issuedAt), issue('api', issuedAt)];
  const credentials = (one: Leaf) => ({
    cert: pemOf(one.der),
    key: one.key.export({ type: 'pkcs8', format: 'pem' }),
    ca: [genesis.root.pem],
    minVersion: 'TLSv1.3' as const,
    rejectUnauthorized: true,
  });
  const peerOf = (socket: TLSSocket): string =>
    verifySvidProfile(socket.getPeerCertificate().raw, trustDomain, now).service;
  const server = createServer({ ...credentials(api), requestCert: true }, (socket) =>
    socket.end(peerOf(socket)),
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    const { port } = server.address() as AddressInfo;
    const client = connect({
      ...credentials(web),
      host: '127.0.0.1',
      port,
      servername: serverName(identityOf('api')),
    });
    let received = '';
    client.setEncoding('utf8').on('data', (text: string) => {
      received += text;
    });
    await once(client, 'secureConnect');
    assert.ok(client.authorized);
    assert.equal(peerOf(client), 'api');
    await once(client, 'end');
    assert.equal(received, 'web');
    client.destroy();
  } finally {
    server.close();
    await once(server, 'close');
  }
});

test('PEM texts are read quickly, whatever they hold', () => {
  assert.deepEqual(certificatesOfPem(`noise\n${pemOf(leaf.der)}${genesis.root.pem}`), [
    leaf.der,
    genesis.root.der,
  ]);
  const head = '-----BEGIN CERTIFICATE-----';
  const tail = '-----END CERTIFICATE-----';
  for (const bad of [
    '',
    head,
    `${head}${' '.repeat(60_000)}`,
    `${head}\n?\n${tail}`,
    `${head}${tail}`,
    pemOf(leaf.der).repeat(9),
  ])
    assert.equal(
      faultCode(() => certificatesOfPem(bad)),
      'certificate-malformed',
      bad.slice(0, 60),
    );
});
