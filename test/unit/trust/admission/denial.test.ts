import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeJson, Fault } from '../../../../src/core.ts';
import {
  checkDenial,
  createDenial,
  Denials,
  type Denied,
  denialKey,
  deniedOf,
  encodeDenial,
  expiryOf,
  maxReasonLength,
  parseDenial,
  serialDenialMs,
} from '../../../../src/trust/admission/denial.ts';
import { maxTtlMs } from '../../../../src/trust/issuance/leaf-rules.ts';
import { clockSkewMs, type SignedStatement } from '../../../../src/trust/statement.ts';
import {
  admissionStatement,
  foundedState,
  grantStatement,
  hlcOf,
  makeGrant,
  operator,
  signerOf,
  startedAt,
} from '../mesh.ts';

const hour = 3_600_000;
const host = signerOf('host');
const ofHost: Denied = { type: 'host', host: host.publicKey };
const ofSerial: Denied = { type: 'serial', serial: '40ab' };

function statement(denied: Denied, more: Partial<SignedStatement> = {}, at = startedAt): SignedStatement {
  return {
    scope: 'policy',
    author: operator.publicKey,
    kind: 'deny',
    key: denialKey(denied),
    hlc: hlcOf(at),
    deleted: false,
    value: encodeDenial(createDenial(denied, 'why', at)),
    ...more,
  };
}

const codeOf = (one: SignedStatement, now = startedAt): string | null => {
  try {
    checkDenial(one, now);
    return null;
  } catch (error) {
    if (error instanceof Fault) return error.code;
    throw error;
  }
};
const withValue = (denied: Denied, value: object): SignedStatement =>
  statement(denied, { value: encodeJson(value) });

test('a denial survives being written and read, and its key says whom it is of', () => {
  for (const denied of [ofHost, ofSerial]) {
    const denial = createDenial(denied, 'its disk was stolen', startedAt);
    assert.deepEqual(parseDenial(encodeDenial(denial), denialKey(denied)), denial);
    assert.deepEqual(deniedOf(denialKey(denied)), denied);
  }
  const longest = 'f'.repeat(42);
  for (const key of ['', 'host', 'host/', 'host/ab', `host/${'F'.repeat(64)}`, `host/${host.publicKey}/x`])
    assert.equal(deniedOf(key), null, key);
  for (const key of ['serial/', 'serial/a', 'serial/AB', 'serial/xy', `serial/${longest}`, 'other/ab'])
    assert.equal(deniedOf(key), null, key);
});

test('that of a host has no end, that of a serial number ends when no certificate of that number is valid', () => {
  assert.equal(createDenial(ofHost, '', startedAt).until, null);
  const { until } = createDenial(ofSerial, '', startedAt);
  assert.ok(until! >= startedAt + maxTtlMs + clockSkewMs);
  assert.equal(expiryOf(statement(ofHost)), null);
  assert.equal(expiryOf(statement(ofSerial)), until);
  assert.equal(expiryOf(statement(ofSerial, { kind: 'config-entry' })), null);
  assert.equal(expiryOf(statement(ofSerial, { value: encodeJson({}) })), null);
});

test('what is no denial, is taken back, antedated or over does not enter', () => {
  const at = startedAt;
  assert.equal(codeOf(statement(ofHost)), null);
  assert.equal(codeOf(statement(ofSerial)), null);
  assert.equal(codeOf(statement(ofHost, { deleted: true, value: new Uint8Array(0) })), 'denial-permanent');
  const malformed: [Denied, object][] = [
    [ofHost, { reason: '', at, until: at + hour }],
    [ofSerial, { reason: '', at, until: null }],
    [ofSerial, { reason: '', at, until: at }],
    [ofSerial, { reason: '', at, until: at + serialDenialMs + 1 }],
    [ofHost, { reason: 'two\nlines', at, until: null }],
    [ofHost, { reason: 'x'.repeat(maxReasonLength + 1), at, until: null }],
    [ofHost, { reason: 1, at, until: null }],
    [ofHost, { reason: '', at: -1, until: null }],
    [ofHost, []],
  ];
  for (const [denied, value] of malformed)
    assert.equal(codeOf(withValue(denied, value)), 'denial-malformed', JSON.stringify(value));
  assert.equal(codeOf(statement(ofHost, { key: 'host/x' })), 'denial-malformed');
  assert.equal(codeOf(statement(ofHost, { hlc: hlcOf(at + 5 * 60_000) })), 'denial-antedated');
  assert.equal(codeOf(statement(ofHost, { hlc: hlcOf(at - 5 * 60_000) })), 'denial-antedated');
  const overAt = at + serialDenialMs + hour;
  assert.equal(codeOf(statement(ofSerial), overAt), 'denial-over');
  assert.equal(codeOf(statement(ofHost), overAt), null);
});

test('all hosts judge by the full hour, when they forget', () => {
  const denial = createDenial(ofSerial, '', startedAt);
  const nextHour = Math.ceil(denial.until! / hour) * hour;
  assert.equal(codeOf(statement(ofSerial), nextHour - 1), null);
  assert.equal(codeOf(statement(ofSerial), nextHour), 'denial-over');
});

test('a later denial of a host changes nothing, a later one of a serial number makes it last', () => {
  const denials = new Denials();
  const by = operator.publicKey;
  denials.apply({ ...createDenial(ofHost, 'first', startedAt), by });
  denials.apply({ ...createDenial(ofHost, 'second', startedAt + hour), by });
  assert.equal(denials.ofHost(host.publicKey)?.reason, 'first');
  denials.apply({ ...createDenial(ofSerial, 'second', startedAt + hour), by });
  denials.apply({ ...createDenial(ofSerial, 'first', startedAt), by });
  assert.equal(denials.ofSerial('40ab')?.reason, 'second');
  assert.deepEqual(
    denials.all().map(({ denied }) => denied.type),
    ['serial', 'host'],
  );
  const { revision } = denials;
  denials.forget(denialKey(ofHost));
  denials.forget('serial/unknown');
  assert.deepEqual([denials.count, denials.revision], [2, revision], 'that of a host is never forgotten');
  denials.forget(denialKey(ofSerial));
  assert.deepEqual([denials.deniedHosts(), denials.deniedSerials()], [[host.publicKey], []]);
});

test('a denied host is admitted no more, though what it says stays in replicas; its name and use go different ways', () => {
  const state = foundedState();
  const grant = makeGrant('grant', { uses: 1 });
  state.apply(grantStatement(grant));
  const admission = admissionStatement(host, 'grant', grant);
  state.apply(admission);
  const { name } = state.admissionOf(host.publicKey)!;
  assert.equal(state.judge(statement(ofHost), startedAt), null);
  state.apply(statement(ofHost));
  assert.deepEqual(
    [state.isDenied(host.publicKey), state.isAdmitted(host.publicKey), state.wasAdmitted(host.publicKey)],
    [true, false, true],
  );
  assert.equal(state.mayServe(host.publicKey, 'api'), false);
  assert.ok(!state.admitted().some((one) => one.host === host.publicKey));
  assert.equal(state.judge({ ...admission, kind: 'service', key: 'x' }, startedAt), null);
  assert.equal(state.nameHolder(name, ''), undefined, 'the name is free');
  assert.equal(state.takenUses(grant.id), 1, 'the use of its token is not');
  assert.equal(state.judgeJoin(host.publicKey, admission.value, startedAt, () => false)?.code, 'denied');
});
