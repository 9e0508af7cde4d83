import assert from 'node:assert/strict';
import { test } from 'node:test';
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
