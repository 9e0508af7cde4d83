import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519Verify, encodeJson } from '../../../src/core.ts';
import { createGrant, encodeGrant, parseGrant, revokeGrant } from '../../../src/trust/admission/grant.ts';
import { encodeRootCertificates } from '../../../src/trust/root-record.ts';
import type { TrustState } from '../../../src/trust/state.ts';
import type { SignedStatement } from '../../../src/trust/statement.ts';
import { certifyRoot, createRootCertificate, type Root, readRoot } from '../../../src/trust/x509/root.ts';
import { pemOf } from '../../../src/trust/x509/x509.ts';
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
  nextRootKeys,
  nextRootSigner,
  nextRootStatement,
  operator,
  rootSigner,
  signerOf,
  startedAt,
  statement,
  trustDomain,
  turnOfRoot,
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

const next = { trustDomain, generation: 1, publicKey: nextRootSigner.publicKey };
const nextDer = createRootCertificate(trustDomain, 1, nextRootSigner, startedAt, 1000 * hour);
const crossDer = certifyRoot(genesis.root, next, rootSigner, startedAt, 100 * hour);

/** The code of the refusal where the chain of epochs has proven g1, and whether it may enter later. */
function judgedLater(one: SignedStatement): [string, boolean] | null {
  const state = foundedState();
  state.bundle.learn(nextRootKeys);
  const refusal = state.judge(one, now);
  return refusal === null ? null : [refusal.code, refusal.later];
}

function rootRecord(ders: { cert?: Buffer; cross?: Buffer }, key = 'g1'): SignedStatement {
  const value = encodeRootCertificates({
    generation: 1,
    certPem: pemOf(ders.cert ?? nextDer),
    crossPem: pemOf(ders.cross ?? crossDer),
  });
  return policy({ kind: 'trust-root', key, value });
}

test('a root proves itself, whoever publishes it, once the chain of epochs has its key', () => {
  assert.deepEqual(judged(nextRootStatement()), ['trust-root-unproven', true]);
  for (const author of [founder, operator, stranger])
    assert.equal(judgedLater(nextRootStatement(author)), null);
  assert.deepEqual(judgedLater({ ...nextRootStatement(), deleted: true }), ['trust-root-permanent', false]);
  assert.deepEqual(judgedLater(rootRecord({}, 'g2')), ['trust-root-unproven', true]);
  for (const key of ['g0', 'g-1', 'root', 'g1/old', 'g99999'])
    assert.ok(judgedLater(rootRecord({}, key)) !== null, key);
  const shapeless = { ...nextRootStatement(), value: encodeJson({ generation: 1 }) };
  assert.deepEqual(judgedLater(shapeless), ['trust-root-malformed', false]);
});

test('a root of another key than its epoch’s, or certified by a stranger, is forged', () => {
  const thief = signerOf('thief of the genesis root');
  const rival = { ...next, publicKey: thief.publicKey };
  const rivals = {
    cert: createRootCertificate(trustDomain, 1, thief, startedAt, hour),
    cross: certifyRoot(genesis.root, rival, rootSigner, startedAt, hour),
  };
  assert.deepEqual(judgedLater(rootRecord(rivals)), ['trust-root-forged', false]);
  const byStranger = certifyRoot(genesis.root, next, stranger, startedAt, hour);
  assert.deepEqual(judgedLater(rootRecord({ cross: byStranger })), ['trust-root-forged', false]);
  assert.deepEqual(judgedLater(rootRecord({ cross: nextDer })), ['trust-root-forged', false]);
});

test('a root turns on the word of its key, or of a later one, alone', () => {
  assert.equal(judgedLater(turnOfRoot(1, 'active')), null);
  assert.equal(judgedLater(turnOfRoot(0, 'retired')), null);
  assert.deepEqual(judged(turnOfRoot(1, 'active')), ['trust-root-unproven', true]);
  assert.deepEqual(judgedLater(turnOfRoot(1, 'retired')), ['trust-root-forged', false]);
  for (const turned of [turnOfRoot(1, 'active', rootSigner), turnOfRoot(0, 'retired', operator)])
    assert.deepEqual(judgedLater(turned), ['trust-root-forged', false]);
  const moved = { ...turnOfRoot(1, 'active'), key: 'g2/active' };
  assert.deepEqual(judgedLater(moved), ['trust-root-forged', false]);
});

test('a rotation goes from next through active and old to retired, whatever the order of its records', () => {
  const records = [nextRootStatement(), turnOfRoot(1, 'active'), turnOfRoot(0, 'retired')];
  const shown = (from: TrustState): string[] =>
    from.bundle.all().map((root) => `g${root.generation} ${root.state}`);
  const state = foundedState();
  state.bundle.learn(nextRootKeys);
  assert.deepEqual(shown(state), ['g0 active']);
  state.apply(records[0]!);
  assert.deepEqual(shown(state), ['g0 active', 'g1 next']);
  assert.equal(state.bundle.pems().length, 2);
  state.apply(records[1]!);
  assert.deepEqual(shown(state), ['g0 old', 'g1 active']);
  assert.equal(state.bundle.active().activeSince, startedAt);
  state.apply(records[2]!);
  assert.deepEqual(shown(state), ['g0 retired', 'g1 active']);
  const backward = foundedState();
  backward.bundle.learn(nextRootKeys);
  for (const record of records.toReversed()) backward.apply(record);
  assert.deepEqual(shown(backward), shown(state));
});

test('a root certificate of another domain, generation or key type is malformed', () => {
  const read = (der: Uint8Array): Root => readRoot(der, trustDomain, 1, ed25519Verify);
  assert.equal(read(nextDer).publicKey, nextRootSigner.publicKey);
  assert.equal(
    faultCode(() => read(createRootCertificate('other.example', 1, nextRootSigner, startedAt, hour))),
    'root-malformed',
  );
  assert.equal(
    faultCode(() => read(createRootCertificate(trustDomain, 2, nextRootSigner, startedAt, hour))),
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
  const records = [founderStatement, grantStatement(grant), admissionStatement(stranger, 'grant', grant)];
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
