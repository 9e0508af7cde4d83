import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../../src/core.ts';
import { noHash } from '../../../../src/proxy/balance/chooser.ts';
import type { Outcome } from '../../../../src/proxy/balance/endpoint.ts';
import { noLocality } from '../../../../src/proxy/balance/zones.ts';
import type { UpstreamPolicy } from '../../../../src/proxy/policy.ts';
import { defaultBalance, defaultUpstream } from '../../../../src/proxy/policy-defaults.ts';
import { Failover } from '../../../../src/proxy/upstream/failover.ts';
import type { UpstreamGroup } from '../../../../src/proxy/upstream/upstream-group.ts';
import { groupOf } from '../../../support/queueing.ts';

function group(ids: readonly string[], policy: Partial<UpstreamPolicy> = {}): UpstreamGroup {
  const made = groupOf(
    ids.map((id) => ({ id })),
    seededRandom(1),
  );
  made.configure({ ...defaultBalance, method: 'round_robin' }, { ...defaultUpstream, ...policy }, noLocality);
  return made;
}

const one = { maxConnections: 0, maxPendingRequests: 0, maxConcurrentRequests: 1 };
const passiveHealth = {
  intervalMs: 1000,
  maxFailures: 1,
  enforcingConsecutive5xx: 100,
  maxEjectionPercent: 100,
  baseEjectionTimeMs: 1000,
};
const breaker = { errorPercent: 50, minimumRequests: 1, windowMs: 1000, openMs: 1000, halfOpenRequests: 1 };

/** Whom one request asks, as long as everybody fails. */
function asked(
  groups: readonly UpstreamGroup[],
  tries: number,
  now = 0,
  outcome: Outcome = 'failed',
): string {
  const failover = new Failover();
  const ids: string[] = [];
  for (let i = 0; i < tries; i++) {
    const endpoint = failover.pick(groups, now, noHash);
    if (endpoint === null) break;
    ids.push(endpoint.id);
    failover.avoid(groups[failover.groupIndex]!, endpoint);
    endpoint.end(now, outcome, 1);
  }
  return ids.join('').replaceAll(/\d/g, '');
}

test('two tries in each group, the second of another endpoint, then the next group, and from the first again', () => {
  const groups = [group(['a1', 'a2', 'a3']), group(['b1']), group(['c1', 'c2'])];
  // A group of one has no other endpoint to try.
  assert.equal(asked(groups, 8), 'aabccaab');
  assert.equal(asked([group(['a1', 'a2'])], 4), 'aaaa');
});

test('however often who failed is asked again, there is an end', () => {
  for (const groups of [[group(['a'])], [group(['a']), group(['b'])], [group(['a1', 'a2']), group(['b'])]]) {
    const failover = new Failover();
    let picks = 0;
    do {
      const endpoint = failover.pick(groups, 0, noHash);
      if (endpoint === null) failover.forgive();
      else {
        picks++;
        failover.avoid(groups[failover.groupIndex]!, endpoint);
        endpoint.end(0, 'connect-failure', 1);
      }
    } while (failover.hasMore(groups) && picks < 100);
    assert.ok(picks <= 2 * groups.length, `${picks}`);
  }
});

test('connections that fail lead on to the next group, though nobody knew before that all of them would', () => {
  const groups = [group(['a1', 'a2', 'a3']), group(['b1', 'b2', 'b3'])];
  assert.equal(asked(groups, 4, 0, 'connect-failure'), 'aabb');
  const failover = new Failover();
  assert.equal(failover.hasMore(groups), true);
  for (const more of [true, true, true, false]) {
    const endpoint = failover.pick(groups, 100_000, noHash)!;
    failover.avoid(groups[failover.groupIndex]!, endpoint);
    assert.equal(failover.hasMore(groups), more);
  }
});

test('a group whose endpoints are all out is passed over; where all groups are out the first is asked', () => {
  const first = group(['a1', 'a2'], { passiveHealth });
  const second = group(['b1'], { passiveHealth });
  assert.equal(asked([group([]), first, second], 1), 'a');
  assert.equal(asked([first, second], 3), 'aba');
  assert.equal(asked([first, second], 1), 'a');
  assert.equal(asked([first, second], 1, 1000), 'a');
});

test('an open circuit hands over to the next group, a limit that is reached does not', () => {
  const [broken, spare] = [group(['a1'], { breaker }), group(['b1'])];
  broken.pick(0, undefined)!.end(0, 'failed', 0);
  assert.equal(asked([broken, spare], 1), 'b');
  assert.equal(asked([broken], 1), '');
  assert.equal(broken.refusal, 'circuit-open');
  const full = group(['c1'], { limits: one });
  full.pick(0, undefined);
  const failover = new Failover();
  assert.equal(failover.pick([broken, full, spare], 0, noHash), null);
  assert.deepEqual([failover.isFull, failover.refusedBy, full.refusal], [true, 1, 'overflow']);
});
