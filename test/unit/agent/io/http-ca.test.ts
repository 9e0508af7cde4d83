/** The certificate authority through the local API: who reads a key, who may call whom, what is signed. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { parseConfigEntry } from '../../../../src/agent/entries/entry.ts';
import { leafTopic } from '../../../../src/agent/port.ts';
import { definitionOf, operatorKey, selfId } from '../../../support/agent.ts';
import { operatorToken, startApi, type TestApi } from '../../../support/api.ts';
import { asStranger, strangersApi, strangerUid } from '../../../support/stranger.ts';
import { genesis } from '../../trust/mesh.ts';

let api: TestApi;
beforeEach(async () => {
  api = await startApi();
});
afterEach(() => api.server.close());

const spiffeId = 'spiffe://flock.test/ns/default/dc/dc1/svc/web';
const leafPath = '/v1/agent/connect/ca/leaf/web';

function holds(target: TestApi, keyPem = 'KEY'): void {
  const certPem = genesis.root.pem;
  target.agent.leaves.set('web', { service: 'web', spiffeId, certPem, keyPem, notAfter: 1 });
  target.agent.catalog.touch(leafTopic('web'));
  target.agent.changed();
}

async function register(target: TestApi, user: { user: string; uid: number } | null): Promise<void> {
  const definition = definitionOf({ name: 'web', id: 'web-1', ...(user ?? {}) });
  await target.agent.command({ type: 'register-service', definition });
}

test('a service’s certificate and key are given in Consul’s JSON, and never kept by caches', async () => {
  await register(api, null);
  holds(api);
  const reply = await api.call('GET', leafPath);
  assert.equal(reply.status, 200);
  assert.equal(reply.headers['cache-control'], 'no-store');
  const body = reply.json<{ [field: string]: string }>();
  assert.deepEqual([body.Service, body.ServiceURI, body.PrivateKeyPEM], ['web', spiffeId, 'KEY']);
  assert.equal(body.CertPEM, genesis.root.pem);
  assert.match(body.SerialNumber ?? '', /^[0-9a-f]{2}(:[0-9a-f]{2})*$/);
  assert.ok(Date.parse(body.ValidAfter ?? '') < Date.parse(body.ValidBefore ?? ''));
});

test('a blocking query for a certificate returns when it is renewed', { timeout: 10_000 }, async () => {
  await register(api, null);
  holds(api);
  const index = (await api.call('GET', leafPath)).headers['x-consul-index'];
  const waiting = api.call('GET', `${leafPath}?index=${index}&wait=30s`);
  while (api.server.waiting() === 0) await new Promise((next) => setImmediate(next));
  holds(api, 'ANOTHER');
  const renewed = (await waiting).json<{ PrivateKeyPEM: string }>();
  assert.equal(renewed.PrivateKeyPEM, 'ANOTHER');
});

test('who asks for the key of a service that is not here, or has none, is told so', async () => {
  assert.equal((await api.call('GET', leafPath)).status, 404);
  await register(api, null);
  const reply = await api.call('GET', leafPath);
  assert.equal(reply.status, 503);
  assert.match(reply.text, /web has no certificate yet/);
});

test('a key is read by the user that the definition names and by nobody else, whatever token they have', async () => {
  const target = await strangersApi();
  try {
    await register(target, null);
    holds(target);
    assert.equal(await asStranger(target, 'GET', leafPath), 403);
    assert.equal(await asStranger(target, 'GET', leafPath, '', operatorToken), 403);
    await register(target, { user: 'nobody', uid: strangerUid });
    assert.equal(await asStranger(target, 'GET', leafPath), 200);
  } finally {
    await target.server.close();
  }
});

test('authorize answers by the intentions, with the rule that decided', async () => {
  const ask = (body: object) => api.call('POST', '/v1/agent/connect/authorize', { body });
  const from = (service: string) => spiffeId.replace('svc/web', `svc/${service}`);
  const entry = {
    Kind: 'service-intentions',
    Name: 'api',
    Sources: [{ Name: 'web', Action: 'allow' }],
  };
  const { kind, name, entry: parsed } = parseConfigEntry(entry);
  const operator = { publicKey: operatorKey, sign: () => new Uint8Array(64) };
  await api.agent.command({ type: 'put-config-entry', kind, name, entry: parsed, operator });
  const serial = { ClientCertSerial: '0a:0b' };
  const allowed = await ask({ Target: 'api', ClientCertURI: spiffeId, ...serial });
  assert.equal(allowed.json<{ Authorized: boolean }>().Authorized, true);
  assert.match(allowed.text, /Matched intention: ALLOW web => api/);
  const denied = (await ask({ Target: 'api', ClientCertURI: from('db'), ...serial })).json();
  assert.deepEqual(denied, { Authorized: false, Reason: 'Default intention of the mesh: deny' });
  const foreign = spiffeId.replace('flock.test', 'other.test');
  const outside = await ask({ Target: 'api', ClientCertURI: foreign, ...serial });
  assert.match(outside.text, /external trust domain: other\.test/);
  assert.equal((await ask({ Target: 'api', ClientCertURI: 'https://x/' })).status, 400);
  assert.equal((await ask({ ClientCertURI: spiffeId })).status, 400);
  assert.equal((await ask({ Target: 'api' })).status, 400);
});

test('authorize refuses a certificate that an operator denied, however its number is written', async () => {
  const view = api.agent.view();
  api.agent.view = () => ({ ...view, defaultIntention: 'allow', denied: { hosts: [], serials: ['0a0b'] } });
  const ask = async (ClientCertSerial: string) => {
    const body = { Target: 'api', ClientCertURI: spiffeId, ClientCertSerial };
    return (await api.call('POST', '/v1/agent/connect/authorize', { body })).json<{ Authorized: boolean }>();
  };
  assert.equal((await ask('0A:0B')).Authorized, false);
  assert.equal((await ask('a0b')).Authorized, false);
  assert.equal((await ask('0c')).Authorized, true);
});

test('a signing request made with openssl is taken, and one that is none is refused', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'starling-csr-'));
  try {
    const [key, csr] = [join(folder, 'key.pem'), join(folder, 'csr.pem')];
    const names = `subjectAltName=URI:${spiffeId},DNS:web.default.dc1.internal.flock.test`;
    const make = [
      'req',
      '-new',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-subj',
      '/',
    ];
    execFileSync('openssl', [...make, '-addext', names, '-keyout', key, '-out', csr], { stdio: 'ignore' });
    const pem = readFileSync(csr, 'utf8');
    const signed = await api.call('POST', '/v1/mesh/ca/sign?ttl=1h', { body: pem });
    assert.deepEqual([signed.status, signed.text], [200, 'CHAIN']);
    const command = api.agent.commands.at(-1);
    assert.ok(command?.type === 'sign-csr' && command.ttlMs === 3_600_000 && command.user === null);
    assert.equal((await api.call('POST', '/v1/mesh/ca/sign?ttl=1y', { body: pem })).status, 400);
    const target = await strangersApi();
    try {
      assert.equal(await asStranger(target, 'POST', '/v1/mesh/ca/sign', pem), 403);
      await register(target, { user: 'nobody', uid: strangerUid });
      assert.equal(await asStranger(target, 'POST', '/v1/mesh/ca/sign', pem), 200);
      const theirs = target.agent.commands.at(-1);
      assert.ok(theirs?.type === 'sign-csr' && theirs.user === strangerUid);
    } finally {
      await target.server.close();
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  for (const body of [
    'junk',
    '',
    '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----',
  ]) {
    const refused = await api.call('POST', '/v1/mesh/ca/sign', { body });
    assert.equal(refused.status, 400, body);
    assert.equal(refused.json<{ code: string }>().code, 'csr-malformed');
  }
});

test('the log is given as it was read, cut to a host if asked', async () => {
  const source = { id: selfId, name: 'one', sequence: 3, entries: 3, from: 1, problem: null };
  api.agent.caLog = { entries: [], sources: [source], alarms: [] };
  const reply = await api.call('GET', '/v1/mesh/ca/log?host=two');
  assert.deepEqual(reply.json(), api.agent.caLog);
  assert.deepEqual(api.agent.commands.at(-1), { type: 'read-ca-log', host: 'two' });
});

test('only an operator has the root replaced', async () => {
  assert.equal((await api.call('POST', '/v1/mesh/ca/rotate')).status, 403);
  const reply = await api.call('POST', '/v1/mesh/ca/rotate', { operator: true });
  assert.equal(reply.json<{ next: number }>().next, 2);
  api.agent.caParts = { rotation: 'asked' };
  assert.equal((await api.call('POST', '/v1/mesh/ca/rotate', { operator: true })).status, 409);
});
