import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createCsr, parseCsr } from '../../../../src/trust/x509/csr.ts';
import {
  dnsNamesOf,
  formatSpiffeId,
  parseServerName,
  parseSpiffeId,
  serverName,
} from '../../../../src/trust/x509/spiffe.ts';
import { faultCode, p256, trustDomain } from '../mesh.ts';

const folder = mkdtempSync(join(tmpdir(), 'starling-csr-'));
after(() => rmSync(folder, { recursive: true }));

const identity = { trustDomain, datacenter: 'dc1', service: 'api' };
const id = formatSpiffeId(identity);

/** A request made by OpenSSL for `key` with this subject and these extensions. */
function fromOpenssl(key: KeyObject, subject: string, ...extensions: string[]): Buffer {
  writeFileSync(join(folder, 'k'), key.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
  writeFileSync(join(folder, 'c'), '[req]\ndistinguished_name=dn\n[dn]\n');
  const added = extensions.flatMap((extension) => ['-addext', extension]);
  const args = [
    'req',
    '-new',
    '-key',
    'k',
    '-subj',
    subject,
    '-config',
    'c',
    ...added,
    '-outform',
    'DER',
    '-out',
    'r',
  ];
  execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  return readFileSync(join(folder, 'r'));
}

const code = (der: Uint8Array): string | null => faultCode(() => parseCsr(der));

test('a request reads back what it asks for, and OpenSSL verifies it', () => {
  const key = p256();
  const der = createCsr(key, id, dnsNamesOf(identity));
  const csr = parseCsr(der);
  assert.equal(csr.spiffeId, id);
  assert.deepEqual(csr.dnsNames, [serverName(identity)]);
  assert.deepEqual(csr.spki, createPublicKey(key).export({ type: 'spki', format: 'der' }));
  writeFileSync(join(folder, 'own'), der);
  const said = execFileSync(
    'openssl',
    ['req', '-inform', 'DER', '-in', 'own', '-verify', '-noout', '-text'],
    {
      cwd: folder,
      stdio: 'pipe',
    },
  );
  assert.match(said.toString(), new RegExp(`URI:${id}, DNS:${serverName(identity)}`));
});

test('a request made by OpenSSL in the same form is taken', () => {
  const csr = parseCsr(fromOpenssl(p256(), '/', `subjectAltName=URI:${id},DNS:${serverName(identity)}`));
  assert.deepEqual([csr.spiffeId, csr.dnsNames], [id, [serverName(identity)]]);
});

test('two URIs, no URI, an address, or no names at all are refused', () => {
  const names = (list: string): string | null => code(fromOpenssl(p256(), '/', `subjectAltName=${list}`));
  assert.equal(names(`URI:${id},URI:${id}x`), 'csr-names');
  assert.equal(names('DNS:api.example'), 'csr-names');
  assert.equal(names(`URI:${id},IP:127.0.0.1`), 'csr-names');
  assert.equal(code(fromOpenssl(p256(), '/')), 'csr-names');
  assert.equal(code(fromOpenssl(p256(), '/', 'keyUsage=digitalSignature')), 'csr-names');
});

test('a request to be an authority, or for anything but names, is refused', () => {
  const names = `subjectAltName=URI:${id}`;
  assert.equal(code(fromOpenssl(p256(), '/', names, 'basicConstraints=critical,CA:TRUE')), 'csr-extension');
  assert.equal(code(fromOpenssl(p256(), '/', names, 'keyUsage=keyCertSign')), 'csr-extension');
});

test('a subject is refused: the SPIFFE id is the only name', () => {
  assert.equal(code(fromOpenssl(p256(), '/CN=api', `subjectAltName=URI:${id}`)), 'csr-malformed');
});

test('keys of other kinds and curves are refused', () => {
  const names = `subjectAltName=URI:${id}`;
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const ed25519 = generateKeyPairSync('ed25519').privateKey;
  for (const key of [p384, rsa, ed25519]) assert.equal(code(fromOpenssl(key, '/', names)), 'csr-key');
});

test('a key that is not on the curve is refused', () => {
  const der = createCsr(p256(), id, []);
  const spki = parseCsr(der).spki;
  const at = der.indexOf(spki) + spki.length - 1;
  der[at]! ^= 1;
  assert.equal(code(der), 'csr-key');
});

test('a request signed by another key is refused', () => {
  const key = p256();
  const der = createCsr(key, id, []);
  const at = der.indexOf(Buffer.from('/svc/api')) + 5;
  const changed = Buffer.from(der);
  changed.write('apj', at, 'latin1');
  assert.equal(code(changed), 'csr-signature');
});

test('requests that are too large, cut short, followed by more or not canonical are malformed', () => {
  const der = createCsr(p256(), id, []);
  assert.equal(code(Buffer.alloc(0)), 'csr-malformed');
  assert.equal(code(der.subarray(0, -1)), 'csr-malformed');
  assert.equal(code(Buffer.concat([der, Buffer.of(0)])), 'csr-malformed');
  const longForm = Buffer.concat([Buffer.of(0x30, 0x83, 0), der.subarray(2)]);
  assert.equal(der[1], 0x82);
  assert.equal(code(longForm), 'csr-malformed');
  const many = Array.from({ length: 60 }, (_, index) => `name-${index}.${'x'.repeat(30)}.example`);
  assert.equal(code(createCsr(p256(), id, many)), 'csr-malformed');
});

test('SPIFFE ids and server names are of one form', () => {
  assert.deepEqual(parseSpiffeId(id), identity);
  for (const bad of [
    '',
    'spiffe://mesh.example',
    `${id}/`,
    `${id}?x`,
    `${id}\n`,
    id.replace('spiffe', 'SPIFFE'),
    id.replace('default', 'other'),
    id.replace('api', '-api'),
    id.replace('api', 'API'),
    id.replace('mesh.example', 'user@mesh.example'),
    id.replace('mesh.example', 'mesh.example:80'),
  ])
    assert.equal(
      faultCode(() => parseSpiffeId(bad)),
      'spiffe-id-malformed',
      bad,
    );
  assert.deepEqual(parseServerName(serverName(identity), trustDomain), identity);
  for (const bad of [
    '',
    'api',
    'api.default.dc1.internal.other',
    'a.b.default.dc1.internal.mesh.example',
    'api.prod.dc1.internal.mesh.example',
    '.default.dc1.internal.mesh.example',
  ])
    assert.equal(parseServerName(bad, trustDomain), null, bad);
});
