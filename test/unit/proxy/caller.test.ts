/** For whom the owner of a socket speaks, and the sentence for whoever speaks for nobody. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callerOf } from '../../../src/proxy/caller.ts';
import type { SocketOwnerRule } from '../../../src/proxy/config.ts';

const rule: SocketOwnerRule = {
  type: 'socket-owner',
  byUid: { 33: 'web' },
  otherwise: null,
  services: [
    { name: 'api', uids: [] },
    { name: 'job', uids: [34] },
    { name: 'shop', uids: [34, 35] },
    { name: 'web', uids: [33] },
  ],
};

test('the service whose definition names the uid calls, else the only one of the host', () => {
  assert.deepEqual(callerOf(rule, 33), { service: 'web', problem: null });
  assert.deepEqual(callerOf({ ...rule, otherwise: 'web' }, 99), { service: 'web', problem: null });
});

test('whoever speaks for no service is told which uid it has, which services there are and what to write', () => {
  const problem = (uid: number | null, more: Partial<SocketOwnerRule> = {}) => {
    const caller = callerOf({ ...rule, ...more }, uid);
    assert.equal(caller.service, null);
    return caller.problem;
  };
  assert.equal(
    problem(0),
    'uid 0 owns the calling socket, and several services run on this host, none for that user: api (no user), ' +
      'job (uid 34), shop (uid 34, 35), web (uid 33). Add "user": "0" to the definition of the one that calls, or ' +
      'let it declare an upstream',
  );
  assert.match(problem(34)!, /^uid 34 owns .* job and shop all name that user: give each a user of its own$/);
  assert.match(problem(7, { services: [] })!, /no service is registered on this host/);
  const many = Array.from({ length: 11 }, (_, i) => ({ name: `s${i}`, uids: [] }));
  assert.match(problem(7, { services: many })!, /s7 \(no user\), 3 more\./);
  assert.match(problem(null)!, /closed before it was looked at/);
  assert.match(callerOf({ ...rule, otherwise: 'web' }, null).problem!, /closed/, 'not even the only one');
});
