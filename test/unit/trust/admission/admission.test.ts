import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeJson } from '../../../../src/core.ts';
import { revokeGrant } from '../../../../src/trust/admission/grant.ts';
import type { TrustState } from '../../../../src/trust/state.ts';
import type { SignedStatement } from '../../../../src/trust/statement.ts';
import {
  admissionStatement,
  foundedState,
  founder,
  founderStatement,
  genesis,
  grantStatement,
  hour,
  makeGrant,
  operator,
  signerOf,
  startedAt,
  statement,
} from '../mesh.ts';

const joiner = signerOf('joiner');
const other = signerOf('other');
const grant = makeGrant('grant');
const nobodyGone = (): boolean => false;

function stateWith(...statements: SignedStatement[]): TrustState {
  const state = foundedState();
  for (const one of statements) state.apply(one);
  return state;
}

/** The refusal of a replicated admission: its code, or null. */
function judged(state: TrustState, admission: SignedStatement, now = startedAt + 2 * hour): string | null {
  return state.judge(admission, now)?.code ?? null;
}

function joined(state: TrustState, admission: SignedStatement, now = startedAt + 1000): string | null {
  return state.judgeJoin(admission.author, admission.value, now, nobodyGone)?.code ?? null;
}

test('an admission signed by the secret of a known grant is taken, fresh and long after', () => {
  const state = stateWith(grantStatement(grant));
  const admission = admissionStatement(joiner, 'grant', grant);
  assert.equal(joined(state, admission), null);
  assert.equal(judged(state, admission, startedAt + 10_000 * hour), null);
  state.apply(admission);
  assert.ok(state.isAdmitted(joiner.publicKey));
  assert.equal(state.admissionOf(joiner.publicKey)?.name, 'second');
  assert.equal(state.takenUses(grant.id), 1);
});

test('an admission whose grant is not known yet may come again later', () => {
  const refusal = foundedState().judge(admissionStatement(joiner, 'grant', grant), startedAt + hour);
  assert.deepEqual([refusal?.code, refusal?.later], ['grant-unknown', true]);
});

test('an admission signed by another secret, for another host or with other terms is a bad proof', () => {
  const state = stateWith(grantStatement(makeGrant('grant', { uses: 5 })));
  const wide = makeGrant('grant', { uses: 5 });
  assert.equal(judged(state, admissionStatement(joiner, 'thief', wide)), 'bad-proof');
  const stolen = { ...admissionStatement(joiner, 'grant', wide), author: other.publicKey };
  assert.equal(judged(state, stolen), 'bad-proof');
  const value = JSON.parse(Buffer.from(admissionStatement(joiner, 'grant', wide).value).toString()) as object;
  for (const change of [{ name: 'third' }, { admittedAt: startedAt + 2000 }])
    assert.equal(
      judged(
        state,
        statement({
          kind: 'admission',
          author: joiner.publicKey,
          value: encodeJson({ ...value, ...change }),
        }),
      ),
      'bad-proof',
    );
});

test('an admission to another mesh is foreign even with a good proof', () => {
  const state = stateWith(grantStatement(grant));
  const admission = admissionStatement(joiner, 'grant', grant, { genesisHash: 'ab'.repeat(32) });
  assert.equal(judged(state, admission), 'foreign-mesh');
  assert.equal(joined(state, admission), 'foreign-mesh');
});

test('only the founder the genesis names is admitted without a grant, under its name', () => {
  assert.equal(judged(foundedState(), founderStatement), null);
  assert.equal(judged(foundedState(), { ...founderStatement, author: joiner.publicKey }), 'bad-proof');
  const value = JSON.parse(Buffer.from(founderStatement.value).toString()) as object;
  const renamed = { ...founderStatement, value: encodeJson({ ...value, name: 'second' }) };
  assert.equal(judged(foundedState(), renamed), 'bad-proof');
});

test('expiry is checked against the time of admission always, and against the clock for a fresh request', () => {
  const state = stateWith(grantStatement(grant));
  const late = admissionStatement(joiner, 'grant', grant, { admittedAt: startedAt + hour + 1 });
  assert.equal(judged(state, late), 'token-expired');
  const inTime = admissionStatement(joiner, 'grant', grant, { admittedAt: startedAt + hour });
  assert.equal(judged(state, inTime), null);
  assert.equal(joined(state, inTime, startedAt + hour), null);
  assert.equal(joined(state, inTime, startedAt + hour + 1), 'token-expired');
});

test('a revoked grant admits nobody new and keeps whom it admitted', () => {
  const revoked = revokeGrant(grant, startedAt + 5000);
  const state = stateWith(grantStatement(revoked));
  const before = admissionStatement(joiner, 'grant', grant, { admittedAt: startedAt + 4999 });
  const after = admissionStatement(joiner, 'grant', grant, { admittedAt: startedAt + 5000 });
  assert.equal(judged(state, before), null);
  assert.equal(judged(state, after), 'grant-revoked');
  assert.equal(joined(state, before, startedAt + 6000), 'grant-revoked');
  state.apply(before);
  assert.ok(state.mayServe(joiner.publicKey, 'api'));
});

test('a grant without the role agent admits no host', () => {
  const operatorGrant = makeGrant('grant', { roles: ['operator'], operatorKey: other.publicKey });
  const state = stateWith(grantStatement(operatorGrant));
  assert.equal(judged(state, admissionStatement(joiner, 'grant', operatorGrant)), 'grant-not-for-hosts');
});

test('clocks too far apart are refused: at once when fresh, until then when from the future', () => {
  const state = stateWith(grantStatement(grant));
  const admission = admissionStatement(joiner, 'grant', grant, { admittedAt: startedAt + 10 * 60_000 });
  assert.equal(joined(state, admission, startedAt + 7 * 60_000), 'clock-skew');
  assert.equal(joined(state, admission, startedAt + 9 * 60_000), null);
  const refusal = state.judge(admission, startedAt + 7 * 60_000);
  assert.deepEqual([refusal?.code, refusal?.later], ['clock-skew', true]);
  const early = admissionStatement(joiner, 'grant', grant, { admittedAt: startedAt - 3 * 60_000 });
  assert.equal(judged(state, early), 'clock-skew');
});

test('a name is refused while a host bears it, and free once that host is gone', () => {
  const wide = makeGrant('grant', { uses: 3 });
  const state = stateWith(grantStatement(wide), admissionStatement(other, 'grant', wide));
  const admission = admissionStatement(joiner, 'grant', wide);
  assert.equal(joined(state, admission), 'name-taken');
  assert.equal(judged(state, admission), null);
  const gone = (host: string): boolean => host === other.publicKey;
  assert.equal(state.judgeJoin(joiner.publicKey, admission.value, startedAt + 1000, gone), null);
  const founderName = admissionStatement(joiner, 'grant', wide, { name: 'first' });
  assert.equal(joined(state, founderName), 'name-taken');
});

test('a host that asks again with the use it holds is let in again', () => {
  const state = stateWith(grantStatement(grant), admissionStatement(joiner, 'grant', grant));
  assert.equal(joined(state, admissionStatement(joiner, 'grant', grant)), null);
});

test('a token admits as many hosts as it has uses', () => {
  const wide = makeGrant('grant', { uses: 2 });
  const state = stateWith(grantStatement(wide), admissionStatement(other, 'grant', wide, { name: 'third' }));
  const second = admissionStatement(joiner, 'grant', wide);
  assert.equal(joined(state, second), null);
  state.apply(second);
  const late = { name: 'fourth', admittedAt: startedAt + 5000 };
  const third = admissionStatement(signerOf('late'), 'grant', wide, late);
  assert.equal(joined(state, third), 'token-used-up');
  assert.equal(judged(state, third), 'token-used-up');
});

test('hosts that join by one token apart from each other all stay while it has uses to spare', () => {
  const wide = makeGrant('grant', { uses: 3 });
  const hosts = ['a', 'b', 'c'].map((name, i) =>
    admissionStatement(signerOf(name), 'grant', wide, { name, admittedAt: startedAt + 1000 * i }),
  );
  const state = stateWith(grantStatement(wide));
  for (const admission of [hosts[2]!, hosts[0]!, hosts[1]!]) {
    assert.equal(judged(state, admission), null);
    state.apply(admission);
  }
  assert.equal(state.admitted().length, 4);
});

test('of two hosts that took one use apart from each other, everybody keeps the earlier', () => {
  const first = admissionStatement(joiner, 'grant', grant, { admittedAt: startedAt + 1000 });
  const second = admissionStatement(other, 'grant', grant, { admittedAt: startedAt + 2000, name: 'third' });
  const holdsSecond = stateWith(grantStatement(grant), second);
  assert.equal(judged(holdsSecond, first), null);
  holdsSecond.apply(first);
  const holdsFirst = stateWith(grantStatement(grant), first);
  assert.equal(judged(holdsFirst, second), 'token-used-up');
  holdsFirst.apply(second);
  for (const state of [holdsFirst, holdsSecond]) {
    assert.deepEqual(
      state.admitted().map((one) => one.host),
      [founder.publicKey, joiner.publicKey],
    );
    assert.equal(state.isAdmitted(other.publicKey), false);
    assert.equal(state.nameHolder('third', ''), undefined);
  }
});

test('of two hosts that took one use in the same millisecond, everybody keeps the lower id', () => {
  const [low, high] = [joiner, other].sort((a, b) => (a.publicKey < b.publicKey ? -1 : 1)) as [
    typeof joiner,
    typeof joiner,
  ];
  const lowFirst = stateWith(grantStatement(grant), admissionStatement(low, 'grant', grant));
  assert.equal(judged(lowFirst, admissionStatement(high, 'grant', grant)), 'token-used-up');
  const highFirst = stateWith(grantStatement(grant), admissionStatement(high, 'grant', grant));
  assert.equal(judged(highFirst, admissionStatement(low, 'grant', grant)), null);
});

test('a malformed admission is refused with one line and no exception', () => {
  const state = stateWith(grantStatement(grant));
  for (const value of ['', '{', 'null', '[]', '{"founder":1}', '{"founder":false}']) {
    const bytes = Buffer.from(value);
    const record = statement({ kind: 'admission', author: joiner.publicKey, value: bytes });
    assert.equal(judged(state, record), 'admission-malformed', value);
    assert.equal(joined(state, record), 'admission-malformed', value);
  }
});

test('a host that joins by a second grant keeps one admission, the newer', () => {
  const more = makeGrant('more', { services: ['api'] });
  const state = stateWith(grantStatement(grant), grantStatement(more));
  state.apply(admissionStatement(joiner, 'grant', grant));
  assert.ok(state.mayServe(joiner.publicKey, 'web'));
  state.apply(admissionStatement(joiner, 'more', more));
  assert.equal(state.mayServe(joiner.publicKey, 'web'), false);
  assert.ok(state.mayServe(joiner.publicKey, 'api'));
  assert.deepEqual([state.takenUses(grant.id), state.takenUses(more.id)], [0, 1]);
});

test('the genesis and the operator key are not confused with a host', () => {
  const state = foundedState();
  assert.equal(state.isAdmitted(operator.publicKey), false);
  assert.equal(state.genesis, genesis);
});
