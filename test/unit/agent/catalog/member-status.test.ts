import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memberStatuses } from '../../../../src/agent/catalog/member-status.ts';
import { hostValue, MemoryAgent, selfId } from '../../../support/agent.ts';
import { Flock } from '../../../support/flock.ts';

const two = 'b'.repeat(64);

test('a member is told with its state, incarnation, place, version and round trip to a tenth of a millisecond', () => {
  const agent = new MemoryAgent();
  agent.addHost(two, hostValue('two', '127.0.0.2', { zone: 'z2' }));
  const member = { id: two, state: 'suspect', incarnation: 7, since: 12.6, roundTripMs: 3.14 } as const;
  agent.catalog.member(member);
  const statuses = memberStatuses(
    agent.catalog.allHosts(),
    selfId,
    (a, b) => (a === b ? 0 : 2.96),
    (host) => agent.departureOf(host),
  );
  assert.deepEqual(statuses[1], {
    name: 'two',
    id: two,
    address: '127.0.0.2',
    port: 7946,
    state: 'suspect',
    incarnation: 7,
    since: 13,
    roundTripMs: 3.1,
    estimatedMs: 3,
    departure: null,
    datacenter: 'dc1',
    zone: 'z2',
    version: '0.1.0',
  });
  assert.equal(statuses[0]?.roundTripMs, 0);
});

test('what is not known of a member is null', () => {
  const agent = new MemoryAgent();
  agent.addHost(two, hostValue('two', '127.0.0.2'));
  const [, status] = memberStatuses(
    agent.catalog.allHosts(),
    selfId,
    () => null,
    () => null,
  );
  assert.deepEqual([status?.roundTripMs, status?.estimatedMs], [null, null]);
});

test('an agent knows its own incarnation after it had to refute a suspicion', () => {
  const { flock, first } = Flock.founded();
  const own = () => first.core.catalog.host(first.id)!;
  const before = own();
  const { incarnation, since } = before;
  first.feed({ type: 'swim', report: { type: 'incarnation', incarnation: incarnation + 1 } });
  flock.run(1000);
  assert.equal(own().incarnation, incarnation + 1);
  assert.equal(own().since, since);
});
