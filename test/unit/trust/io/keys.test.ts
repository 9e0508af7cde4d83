import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { ed25519Verify, Fault } from '../../../../src/core.ts';
import {
  deleteIdentity,
  loadIdentities,
  retainIdentities,
  saveIdentity,
} from '../../../../src/trust/io/identities.ts';
import {
  deleteSecret,
  loadOrCreateHostKey,
  loadOrCreateOperatorToken,
  loadOrCreateRootKey,
  loadRootKey,
  makeLeafKey,
  readOperatorToken,
  readSecret,
  writeSecret,
} from '../../../../src/trust/io/keys.ts';
import { parseCsr } from '../../../../src/trust/x509/csr.ts';

const base = await mkdtemp(join(tmpdir(), 'starling-keys-'));
after(() => rm(base, { recursive: true }));

let folders = 0;
/** A folder that does not exist yet. */
const fresh = (): string => join(base, `data-${++folders}`);
const mode = async (path: string): Promise<string> => ((await stat(path)).mode & 0o777).toString(8);
const hasCode = (code: string) => (error: unknown) => error instanceof Fault && error.code === code;

test('a host key is made once, is the same ever after, and is for its owner only', async () => {
  const folder = fresh();
  const made = await loadOrCreateHostKey(folder);
  assert.ok(made.created);
  const again = await loadOrCreateHostKey(folder);
  assert.equal(again.created, false);
  assert.equal(again.signer.publicKey, made.signer.publicKey);
  assert.deepEqual(Buffer.from(again.seed), Buffer.from(made.seed));
  const message = Buffer.from('message');
  assert.ok(ed25519Verify(made.signer.publicKey, message, again.signer.sign(message)));
  assert.equal(await mode(join(folder, 'host.seed')), '600');
  assert.equal(await mode(folder), '700');
  assert.deepEqual(await readdir(folder), ['host.seed']);
});

test('only the founding host has a root key', async () => {
  const folder = fresh();
  assert.equal(await loadRootKey(folder), null);
  const made = await loadOrCreateRootKey(folder);
  assert.equal((await loadRootKey(folder))?.signer.publicKey, made.signer.publicKey);
  assert.notEqual((await loadOrCreateHostKey(folder)).signer.publicKey, made.signer.publicKey);
});

test('a secret that others may read is refused with the command that helps', async () => {
  const folder = fresh();
  await loadOrCreateHostKey(folder);
  const path = join(folder, 'host.seed');
  for (const open of [0o640, 0o604, 0o660]) {
    await chmod(path, open);
    await assert.rejects(loadOrCreateHostKey(folder), (error: unknown) => {
      assert.ok(error instanceof Fault && error.code === 'secret-exposed');
      assert.match(error.message, /chmod 600/);
      return true;
    });
  }
  await chmod(path, 0o600);
  assert.equal((await loadOrCreateHostKey(folder)).created, false);
});

test('a damaged seed is told, not replaced', async () => {
  const folder = fresh();
  await writeSecret(join(folder, 'host.seed'), Buffer.from('short'));
  await assert.rejects(loadOrCreateHostKey(folder), hasCode('secret-damaged'));
  assert.equal(await readFile(join(folder, 'host.seed'), 'utf8'), 'short');
});

test('links, folders and huge files are not taken for secrets', async () => {
  const folder = fresh();
  await writeSecret(join(folder, 'real'), Buffer.from('x'));
  await symlink(join(folder, 'real'), join(folder, 'link'));
  await assert.rejects(readSecret(join(folder, 'link')), hasCode('secret-unreadable'));
  await assert.rejects(readSecret(folder), hasCode('secret-unreadable'));
  await writeFile(join(folder, 'huge'), Buffer.alloc(70_000), { mode: 0o600 });
  await assert.rejects(readSecret(join(folder, 'huge')), hasCode('secret-unreadable'));
});

test('writing replaces the whole file, and leaves nothing behind when it fails', async () => {
  const folder = fresh();
  const path = join(folder, 'secret');
  await writeSecret(path, Buffer.from('a long first secret'));
  await writeSecret(path, Buffer.from('second'));
  assert.equal((await readSecret(path))?.toString(), 'second');
  await assert.rejects(writeSecret(join(path, 'below'), Buffer.from('x')), hasCode('secret-unwritable'));
  await writeSecret(join(folder, 'sub', 'a'), Buffer.from('x'));
  await assert.rejects(writeSecret(join(folder, 'sub'), Buffer.from('x')), hasCode('secret-unwritable'));
  assert.deepEqual((await readdir(folder)).sort(), ['secret', 'sub']);
});

test('deleting what is not there is fine', async () => {
  const folder = fresh();
  const path = join(folder, 'secret');
  await writeSecret(path, Buffer.from('x'));
  await deleteSecret(path);
  await deleteSecret(path);
  assert.equal(await readSecret(path), null);
});

test('the operator token is made once and gives one signer wherever it is read', async () => {
  const folder = fresh();
  const made = await loadOrCreateOperatorToken(folder);
  assert.ok(made.created);
  assert.equal(made.path, join(folder, 'operator.token'));
  assert.equal((await loadOrCreateOperatorToken(folder)).signer.publicKey, made.signer.publicKey);
  assert.equal((await readOperatorToken(made.path)).publicKey, made.signer.publicKey);
  assert.match(await readFile(made.path, 'utf8'), /^starling-operator-1\.[\w-]+\n$/);
  await assert.rejects(readOperatorToken(join(folder, 'none')), hasCode('operator-token-missing'));
});

test('a leaf key comes with a request for it', async () => {
  const id = 'spiffe://mesh.example/ns/default/dc/dc1/svc/api';
  const made = await makeLeafKey(id, ['api.example']);
  const csr = parseCsr(made.csr);
  assert.deepEqual([csr.spiffeId, csr.dnsNames], [id, ['api.example']]);
  assert.equal(createPrivateKey(made.keyPem).asymmetricKeyDetails?.namedCurve, 'prime256v1');
});

test('identities of other services, and what interrupted writes left, are deleted; nothing else is', async () => {
  const folder = fresh();
  const none = new Set<string>();
  await retainIdentities(folder, none);
  for (const service of ['api', 'web'])
    await saveIdentity(folder, { service, certPem: '-----BEGIN CERTIFICATE-----\n', keyPem: 'x' });
  for (const name of ['api.identity.pem.0123456789ab.tmp', 'gone.identity.pem.ab.tmp', 'notes', '-.pem'])
    await writeFile(join(folder, name), '');
  await retainIdentities(folder, new Set(['api', 'other']));
  assert.deepEqual((await readdir(folder)).sort(), ['-.pem', 'api.identity.pem', 'notes']);
  await retainIdentities(folder, none);
  assert.deepEqual((await readdir(folder)).sort(), ['-.pem', 'notes']);
});

test('identities are kept one file a service and come back after a restart', async () => {
  const folder = fresh();
  const { keyPem } = await makeLeafKey('spiffe://a/ns/default/dc/b/svc/c', []);
  const identity = {
    service: 'api',
    certPem: '-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n',
    keyPem,
  };
  const problems: string[] = [];
  const load = () => loadIdentities(folder, (fault) => problems.push(fault.code));
  assert.deepEqual(await load(), []);
  await saveIdentity(folder, identity);
  await saveIdentity(folder, { ...identity, service: 'web' });
  assert.deepEqual((await load()).map((one) => one.service).sort(), ['api', 'web']);
  assert.deepEqual(
    (await load()).find((one) => one.service === 'api'),
    identity,
  );
  await chmod(join(folder, 'web.identity.pem'), 0o644);
  await writeFile(join(folder, 'bad.identity.pem'), 'nothing', { mode: 0o600 });
  assert.deepEqual(await load(), [identity]);
  assert.deepEqual(problems.sort(), ['secret-damaged', 'secret-exposed']);
  await deleteIdentity(folder, 'api');
  assert.deepEqual(await load(), []);
  assert.throws(
    () => saveIdentity(folder, { ...identity, service: '../escape' }),
    hasCode('service-name-malformed'),
  );
});
