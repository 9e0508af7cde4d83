import assert from 'node:assert/strict';
import { test } from 'node:test';
import { maxDenialBytes } from '../../../../src/agent/joining/joining.ts';
import { encodeDelta } from '../../../../src/gossip/spread/dissemination.ts';
import { Flock, type FlockHost } from '../../../support/flock.ts';

/** What became of a request: `welcome`, or the code of the refusal. */
function asked(flock: Flock, sponsor: FlockHost, request: Uint8Array): string | undefined {
  const answer = flock.askToJoin(sponsor, request);
  return answer?.outcome === 'refused' ? answer.code : answer?.outcome;
}

test('an admission in force is welcomed by every host that knows it, long after its token expired', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  const third = flock.join('third', first, flock.token(first, { ttlMs: 60_000 }));
  flock.run(120_000);
  const before = second.core.gossip.replica.root();
  assert.equal(asked(flock, second, third.admission!), 'welcome');
  assert.deepEqual(second.core.gossip.replica.root(), before, 'nothing was changed by it');
});

test('another admission of an admitted host is judged like a stranger’s', () => {
  const { flock, first } = Flock.founded();
  const token = flock.token(first, { ttlMs: 60_000 });
  const second = flock.join('second', first, token);
  flock.run(120_000);
  assert.equal(asked(flock, first, flock.joinRequest(second, token)), 'token-expired');
  assert.equal(asked(flock, first, flock.joinRequest(second, token)), 'token-expired');
});

test('an admission that lost its use to an earlier host is not in force', () => {
  const { flock, first } = Flock.founded();
  const token = flock.token(first, { uses: 1 });
  const second = flock.add('second');
  const request = flock.joinRequest(second, token);
  flock.join('third', first, token);
  assert.equal(asked(flock, first, request), 'token-used-up');
});

test('a host that was denied is told so in the operator’s own words, which it takes for what they are', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  second.isCut = true;
  flock.deny(first, second, 'x'.repeat(512));
  flock.run(5000);
  assert.equal(second.core.trust.isDenied(second.id), false, 'it has not heard of it');
  const answer = flock.askToJoin(first, second.admission!);
  assert.ok(answer?.outcome === 'refused' && answer.denial !== undefined);
  assert.equal(answer.code, 'denied');
  second.feed({ type: 'delta', bytes: encodeDelta([answer.denial]) });
  assert.equal(second.core.trust.isDenied(second.id), true);
});

test('a denial too long for an answer is left out of it', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  flock.deny(first, second, '€'.repeat(400));
  const answer = flock.askToJoin(first, second.admission!);
  assert.ok(answer?.outcome === 'refused' && answer.denial === undefined);
  assert.ok(first.core.gossip.replica.get(`policy/deny/host/${second.id}`)!.bytes.length > maxDenialBytes);
});
