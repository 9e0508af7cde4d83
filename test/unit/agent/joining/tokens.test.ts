import assert from 'node:assert/strict';
import { test } from 'node:test';
import { listTokens } from '../../../../src/agent/joining/tokens.ts';
import { GRANT } from '../../../../src/agent/kinds.ts';
import type { RevokedToken } from '../../../../src/agent/port.ts';
import { ed25519Signer, Fault, type Signer } from '../../../../src/core.ts';
import { encodeRecord } from '../../../../src/gossip/replica/codec.ts';
import { slotOf } from '../../../../src/gossip/replica/record.ts';
import { encodeDelta } from '../../../../src/gossip/spread/dissemination.ts';
import { encodeGrant, type GrantValue } from '../../../../src/trust/admission/grant.ts';
import { Flock, type FlockHost, operator } from '../../../support/flock.ts';

function hasCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof Fault && error.code === code;
}

function revoke(at: FlockHost, id: string, signer: Signer = operator): RevokedToken {
  return at.command({ type: 'revoke-token', id, operator: signer }) as RevokedToken;
}

function allow(at: FlockHost, source: string, signer: Signer): void {
  const entry = {
    Kind: 'service-intentions',
    Name: source,
    Sources: [{ Name: source, Action: 'allow', Precedence: 9, Type: 'consul' }],
  };
  at.command({ type: 'put-config-entry', kind: entry.Kind, name: entry.Name, entry, operator: signer });
}

test('tokens are listed with their terms and how many uses are taken, on every host alike', () => {
  const { flock, first } = Flock.founded();
  const created = flock.createToken(first, { services: ['api'], uses: 3 });
  flock.run(1000);
  const other = flock.createToken(first, { roles: ['operator'] });
  const second = flock.join('second', first, flock.token(first, { uses: 2 }));
  const tokens = listTokens(first.core.trust);
  assert.deepEqual(listTokens(second.core.trust), tokens);
  assert.equal(tokens.length, 3);
  assert.equal(tokens.filter(({ used }) => used === 1).length, 1);
  assert.deepEqual(tokens.at(-1), {
    id: created.id,
    roles: ['agent'],
    services: ['api'],
    uses: 3,
    used: 0,
    createdAt: created.expiresAt - 3_600_000,
    expiresAt: created.expiresAt,
    revokedAt: null,
    operatorKey: null,
  });
  const signsAs = ed25519Signer(Buffer.from(other.operatorSeed!, 'hex')).publicKey;
  assert.deepEqual(
    tokens.flatMap(({ operatorKey }) => operatorKey ?? []),
    [signsAs],
  );
  assert.doesNotMatch(JSON.stringify(tokens), new RegExp(other.operatorSeed!));
});

test('a revoked token admits nobody more, while the hosts that joined by it stay, also for those who come later', () => {
  const { flock, first } = Flock.founded();
  const token = flock.token(first);
  const second = flock.join('second', first, token);
  const { changed, used, revokedAt } = revoke(second, token.grantId);
  assert.deepEqual([changed, used, revokedAt], [true, 1, flock.now]);
  flock.run(1000);
  const late = flock.add('late');
  const answer = flock.askToJoin(first, flock.joinRequest(late, token));
  assert.equal(answer?.outcome === 'refused' && answer.code, 'grant-revoked');
  second.kill();
  second.start();
  const third = flock.join('third', first, flock.token(first));
  for (const host of [first, second, third]) assert.ok(host.core.isAdmitted(second.id), host.name);
  assert.ok(second.core.isSynchronised());
});

test('a revoked operator writes nothing more on any host, and what it wrote stays', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  const created = flock.createToken(first, { roles: ['operator'] });
  const signer = ed25519Signer(Buffer.from(created.operatorSeed!, 'hex'));
  flock.run(1000);
  allow(second, 'web', signer);
  flock.run(1000);
  revoke(first, created.id);
  flock.run(1000);
  assert.throws(() => allow(second, 'db', signer), hasCode('not-operator'));
  assert.throws(() => revoke(second, created.id, signer), hasCode('not-operator'));
  for (const host of [first, second])
    assert.notEqual(host.core.policies.get('service-intentions', 'web'), undefined, host.name);
});

test('revoking again changes nothing, and only the first operator revokes operators', () => {
  const { flock, first } = Flock.founded();
  const created = flock.createToken(first, { roles: ['operator'] });
  const peer = flock.createToken(first, { roles: ['operator'] });
  const forHosts = flock.createToken(first);
  const signer = ed25519Signer(Buffer.from(created.operatorSeed!, 'hex'));
  flock.run(1000);
  assert.equal(revoke(first, forHosts.id, signer).changed, true);
  assert.throws(() => revoke(first, peer.id, signer), hasCode('not-first-operator'));
  assert.throws(() => revoke(first, created.id, signer), hasCode('not-first-operator'));
  const { revokedAt } = revoke(first, peer.id);
  flock.run(1000);
  const before = first.core.gossip.replica.root();
  const again = revoke(first, peer.id);
  assert.deepEqual([again.changed, again.revokedAt], [false, revokedAt]);
  assert.equal(first.core.gossip.replica.root(), before);
  assert.throws(() => revoke(first, '0'.repeat(16)), hasCode('unknown-token'));
  const stranger = ed25519Signer(Buffer.alloc(32, 9));
  assert.throws(() => revoke(first, forHosts.id, stranger), hasCode('not-operator'));
});

/** What any operator can do who does not keep to the commands: write the grant as it was, once more and later. */
function writeUnrevoked(at: FlockHost, grant: GrantValue, signer: Signer): void {
  const fields = at.core.gossip.nextPolicyFields(signer.publicKey, at.flock.now);
  const value = encodeGrant({ ...grant, revokedAt: null });
  const record = encodeRecord({ scope: 'policy', kind: GRANT, key: grant.id, value, ...fields }, signer);
  at.feed({ type: 'delta', bytes: encodeDelta([record.bytes]) });
  const slot = { scope: 'policy', author: '', kind: GRANT, key: grant.id } as const;
  const held = [at.core.gossip.replica.get(slotOf(slot))!, ...at.core.gossip.replica.history(slotOf(slot))];
  assert.ok(
    held.some(({ text }) => text === record.text),
    'it is taken in, like all that an operator writes',
  );
}

function assertAgreed(hosts: readonly FlockHost[], id: string, revokedAt: number | null): void {
  for (const { core, name } of hosts) assert.equal(core.trust.grant(id)?.revokedAt, revokedAt, name);
  assert.equal(new Set(hosts.map(({ core }) => core.gossip.replica.root())).size, 1);
}

test('a revocation is final: an operator that writes the grant once more without it changes nothing anywhere', () => {
  const { flock, first } = Flock.founded();
  const token = flock.token(first, { uses: 2 });
  const second = flock.join('second', first, token);
  const created = flock.createToken(first, { roles: ['operator'] });
  const other = ed25519Signer(Buffer.from(created.operatorSeed!, 'hex'));
  flock.run(1000);
  const { revokedAt } = revoke(first, token.grantId);
  flock.run(1000);
  const grant = first.core.trust.grant(token.grantId)!;
  writeUnrevoked(second, grant, other);
  writeUnrevoked(first, grant, operator);
  const third = flock.join('third', first, flock.token(first));
  flock.run(20_000);
  assertAgreed([first, second, third], grant.id, revokedAt);
  third.kill();
  third.start();
  flock.run(1000);
  assertAgreed([first, second, third], grant.id, revokedAt);
  const answer = flock.askToJoin(third, flock.joinRequest(flock.add('late'), token));
  assert.equal(answer?.outcome === 'refused' && answer.code, 'grant-revoked');
});

test('a revocation wins where the grant was written anew before it was heard of', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  const token = flock.token(first);
  flock.run(1000);
  second.isCut = true;
  const { revokedAt } = revoke(first, token.grantId);
  flock.run(1000);
  writeUnrevoked(second, second.core.trust.grant(token.grantId)!, operator);
  assert.equal(second.core.trust.grant(token.grantId)?.revokedAt, null);
  second.isCut = false;
  flock.run(20_000);
  assertAgreed([first, second], token.grantId, revokedAt);
});
