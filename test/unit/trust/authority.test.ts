import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519Verify, encodeJson } from '../../../src/core.ts';
import { encodeTrustRoot, genesisTrustRoot, type TrustRootValue } from '../../../src/trust/bundle.ts';
import { createGrant, encodeGrant, parseGrant, revokeGrant } from '../../../src/trust/grant.ts';
import { certifyRoot, createRootCertificate, type Root, readRoot } from '../../../src/trust/root.ts';
import type { SignedStatement } from '../../../src/trust/statement.ts';
import { pemOf } from '../../../src/trust/x509.ts';
import {
  admissionStatement,
  faultCode,
  foundedState,
  founder,
  founderStatement,
  genesis,
  grantStatement,
  hlcOf,
  hour,
  makeGrant,
  operator,
  rootSigner,
  rootStatement,
  signerOf,
  startedAt,
  statement,
  trustDomain,
} from './mesh.ts';

const now = startedAt + hour;
const stranger = signerOf('stranger');
const second = signerOf('second operator');

function policy(parts: Partial<SignedStatement>): SignedStatement {
  return statement({
    scope: 'policy',
    kind: 'config-entry',
    key: 'mesh/mesh',
    author: operator.publicKey,
    ...parts,
  });
}

/** Code and whether it may come later; null when taken. */
function judged(one: SignedStatement, ...known: SignedStatement[]): [string, boolean] | null {
  const state = foundedState();
  for (const earlier of known) state.apply(earlier);
  const refusal = state.judge(one, now);
  return refusal === null ? null : [refusal.code, refusal.later];
}

test('an admitted host writes about itself, a stranger may once it is admitted', () => {
  for (const kind of ['host', 'service', 'check', 'something-new']) {
    assert.equal(judged(statement({ kind, author: founder.publicKey })), null);
    assert.deepEqual(judged(statement({ kind, author: stranger.publicKey })), ['not-admitted', true]);
  }
  const grant = makeGrant('grant');
  const admission = admissionStatement(stranger, 'grant', grant);
  assert.equal(
    judged(statement({ kind: 'host', author: stranger.publicKey }), grantStatement(grant), admission),
    null,
  );
});

test('an admission is one record that is never deleted', () => {
  assert.deepEqual(judged({ ...founderStatement, deleted: true }), ['admission-permanent', false]);
  assert.deepEqual(judged({ ...founderStatement, key: 'x' }), ['admission-malformed', false]);
});

test('policy of any kind is written by the operator, and not by hosts', () => {
  for (const kind of ['config-entry', 'something-new']) {
    assert.equal(judged(policy({ kind })), null);
    assert.equal(judged(policy({ kind, deleted: true })), null);
    assert.deepEqual(judged(policy({ kind, author: founder.publicKey })), ['not-operator', true]);
    assert.deepEqual(judged(policy({ kind, author: stranger.publicKey })), ['not-operator', true]);
  }
});

test('an operator grant lets its key write policy until it expires or is revoked, by the time the record claims', () => {
  const grant = makeGrant('second', { roles: ['operator'], operatorKey: second.publicKey });
  const known = grantStatement(grant);
  const at = (time: number): SignedStatement => policy({ author: second.publicKey, hlc: hlcOf(time) });
  assert.deepEqual(judged(at(startedAt + 1)), ['not-operator', true]);
  assert.equal(judged(at(startedAt + 1), known), null);
  assert.equal(judged(at(startedAt + hour), known), null);
  assert.deepEqual(judged(at(startedAt + hour + 1), known), ['operator-expired', false]);
  const revoked = grantStatement(revokeGrant(grant, startedAt + 5000));
  assert.equal(judged(at(startedAt + 4999), known, revoked), null);
  assert.deepEqual(judged(at(startedAt + 5000), known, revoked), ['operator-revoked', false]);
});

test('a second operator makes join grants and no operators', () => {
  const makesSecond = grantStatement(
    makeGrant('second', { roles: ['operator'], operatorKey: second.publicKey }),
  );
  const early = { hlc: hlcOf(startedAt + 1) };
  const join = { ...grantStatement(makeGrant('join'), second.publicKey), ...early };
  assert.equal(judged(join, makesSecond), null);
  const third = makeGrant('third', { roles: ['operator'], operatorKey: stranger.publicKey });
  assert.deepEqual(judged({ ...grantStatement(third, second.publicKey), ...early }, makesSecond), [
    'not-first-operator',
    false,
  ]);
  assert.equal(judged(grantStatement(third)), null);
});

test('a grant is written by operators only, has the id of its terms, and is never deleted', () => {
  const grant = makeGrant('grant');
  assert.deepEqual(judged(grantStatement(grant, founder.publicKey)), ['not-operator', true]);
  assert.deepEqual(judged({ ...grantStatement(grant), key: 'other' }), ['grant-malformed', false]);
  assert.deepEqual(judged({ ...grantStatement(grant), deleted: true }), ['grant-permanent', false]);
  const widened = { ...grantStatement(grant), value: encodeGrant({ ...grant, uses: 99 }) };
  assert.deepEqual(judged(widened), ['grant-malformed', false]);
  assert.equal(judged(grantStatement(revokeGrant(grant, now))), null);
});

test('a grant with impossible terms cannot be made', () => {
  const terms = { ...makeGrant('grant') };
  for (const bad of [
    { uses: 0 },
    { uses: 10_001 },
    { services: ['Not A Name'] },
    { services: ['api', 'api'] },
    { roles: [] },
    { roles: ['king'] as never },
    { roles: ['operator'] as const },
    { operatorKey: second.publicKey },
    { expiresAt: terms.createdAt },
    { expiresAt: 1e18 },
  ])
    assert.equal(
      faultCode(() => createGrant({ ...terms, ...bad })),
      'grant-malformed',
      JSON.stringify(bad),
    );
  const grant = makeGrant('grant');
  assert.deepEqual(parseGrant(encodeJson({ ...grant, fromTheFuture: 1 }), grant.id), grant);
});

test('revoking twice keeps the earlier time', () => {
  const once = revokeGrant(makeGrant('grant'), startedAt + 10);
  assert.equal(revokeGrant(once, startedAt + 20).revokedAt, startedAt + 10);
});

const nextSigner = signerOf('next root');
const next = { trustDomain, generation: 1, publicKey: nextSigner.publicKey };
const nextDer = createRootCertificate(trustDomain, 1, nextSigner, startedAt, 1000 * hour);
const crossDer = certifyRoot(genesis.root, next, rootSigner, startedAt, 100 * hour);

function rootRecord(value: Partial<TrustRootValue>, parts: Partial<SignedStatement> = {}): SignedStatement {
  const whole: TrustRootValue = {
    generation: 1,
    state: 'next',
    certPem: pemOf(nextDer),
    crossPem: pemOf(crossDer),
    ...value,
  };
  return policy({ kind: 'trust-root', key: `g${whole.generation}`, value: encodeTrustRoot(whole), ...parts });
}

test('the genesis root proves itself when the founder publishes it, until an operator puts it away', () => {
  assert.equal(judged(rootStatement), null);
  assert.deepEqual(judged({ ...rootStatement, author: stranger.publicKey }), ['not-operator', true]);
  const old = rootRecord({ ...genesisTrustRoot(genesis), state: 'old' });
  assert.deepEqual(judged(rootStatement, old), ['not-operator', true]);
  assert.equal(judged({ ...rootStatement, author: operator.publicKey }, old), null);
  const forged = createRootCertificate(trustDomain, 0, stranger, startedAt, hour);
  const value = { ...genesisTrustRoot(genesis), certPem: pemOf(forged) };
  assert.deepEqual(judged(rootRecord(value)), ['trust-root-forged', false]);
  assert.deepEqual(judged({ ...rootStatement, deleted: true }), ['trust-root-permanent', false]);
  assert.deepEqual(judged({ ...rootStatement, key: 'g1' }), ['trust-root-malformed', false]);
  assert.deepEqual(judged({ ...rootStatement, value: encodeJson({ generation: 0 }) }), [
    'trust-root-malformed',
    false,
  ]);
});

test('a later root needs an operator and the certificate of the root before it', () => {
  assert.equal(judged(rootRecord({})), null);
  assert.deepEqual(judged(rootRecord({}, { author: founder.publicKey })), ['not-operator', true]);
  assert.deepEqual(judged(rootRecord({ crossPem: null })), ['trust-root-forged', false]);
  const wrongCross = pemOf(certifyRoot(genesis.root, next, stranger, startedAt, hour));
  assert.deepEqual(judged(rootRecord({ crossPem: wrongCross })), ['trust-root-forged', false]);
  const other = createRootCertificate(trustDomain, 2, stranger, startedAt, hour);
  const jump = rootRecord({ generation: 2, certPem: pemOf(other) });
  assert.deepEqual(judged(jump), ['trust-root-unproven', true]);
});

test('a rotation goes from active through old to retired, and the bundle follows', () => {
  const state = foundedState();
  const shown = (): string[] => state.bundle.all().map((root) => `g${root.generation} ${root.state}`);
  assert.deepEqual(shown(), ['g0 active']);
  state.apply(rootRecord({}));
  assert.deepEqual(shown(), ['g0 active', 'g1 next']);
  assert.equal(state.bundle.active()?.generation, 0);
  assert.equal(state.bundle.pems().length, 2);
  state.apply(rootRecord({ state: 'active' }));
  assert.equal(state.bundle.active()?.generation, 1);
  const retired = rootRecord({ ...genesisTrustRoot(genesis), state: 'retired' });
  assert.equal(state.judge(retired, now), null);
  assert.equal(state.judge({ ...retired, author: founder.publicKey }, now)?.code, 'not-operator');
  state.apply(retired);
  assert.deepEqual(
    state.bundle.believed().map((root) => root.generation),
    [1],
  );
});

test('a root certificate of another domain, generation or key type is malformed', () => {
  const read = (der: Uint8Array): Root => readRoot(der, trustDomain, 1, ed25519Verify);
  assert.equal(read(nextDer).publicKey, nextSigner.publicKey);
  assert.equal(
    faultCode(() => read(createRootCertificate('other.example', 1, nextSigner, startedAt, hour))),
    'root-malformed',
  );
  assert.equal(
    faultCode(() => read(createRootCertificate(trustDomain, 2, nextSigner, startedAt, hour))),
    'root-malformed',
  );
  assert.equal(
    faultCode(() => read(crossDer)),
    'root-malformed',
  );
  assert.equal(
    faultCode(() => read(Buffer.from('nonsense'))),
    'certificate-malformed',
  );
});

test('records are applied in any order with one result', () => {
  const grant = makeGrant('grant', { services: ['api'] });
  const records = [
    founderStatement,
    rootStatement,
    grantStatement(grant),
    admissionStatement(stranger, 'grant', grant),
  ];
  const forward = foundedState();
  const backward = foundedState();
  for (const one of records) forward.apply(one);
  for (const one of records.toReversed()) backward.apply(one);
  for (const state of [forward, backward]) {
    assert.deepEqual(
      state.admitted().map((one) => one.host),
      [founder.publicKey, stranger.publicKey],
    );
    assert.ok(state.mayServe(stranger.publicKey, 'api'));
    assert.equal(state.mayServe(stranger.publicKey, 'web'), false);
    assert.ok(state.mayServe(founder.publicKey, 'web'));
    assert.deepEqual(state.allGrants(), [grant]);
  }
});

test('a record that cannot be read changes nothing when it is applied', () => {
  const state = foundedState();
  for (const kind of ['grant', 'trust-root'])
    state.apply(policy({ kind, key: 'g0', value: Buffer.from('{}') }));
  state.apply(statement({ kind: 'admission', author: stranger.publicKey, value: Buffer.from('nonsense') }));
  assert.deepEqual(state.allGrants(), []);
  assert.equal(state.admitted().length, 1);
  assert.equal(state.bundle.all().length, 1);
});
