import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../../src/core.ts';
import { BalancedEndpoint, type Outcome } from '../../../../src/proxy/balance/endpoint.ts';
import type { PassiveHealthPolicy } from '../../../../src/proxy/policy.ts';
import { Ejection, ejectedCount, maxEjectionMs } from '../../../../src/proxy/resilience/ejection.ts';

const policy: PassiveHealthPolicy = {
  intervalMs: 10_000,
  maxFailures: 5,
  enforcingConsecutive5xx: 100,
  maxEjectionPercent: 50,
  baseEjectionTimeMs: 30_000,
};

interface Setting {
  readonly ejection: Ejection;
  readonly endpoints: readonly BalancedEndpoint[];
  /** So many outcomes of one endpoint. */
  tell(index: number, now: number, count: number, outcome: Outcome): void;
}

function setting(size: number, changes: Partial<PassiveHealthPolicy> = {}): Setting {
  const ejection = new Ejection({ ...policy, ...changes }, seededRandom(1));
  const rotation = { isStale: false };
  const endpoints = Array.from(
    { length: size },
    (_, i) => new BalancedEndpoint(`e${i}`, 1, '', rotation, null),
  );
  const tell = (index: number, now: number, count: number, outcome: Outcome): void => {
    for (let i = 0; i < count; i++) ejection.record(endpoints[index]!, endpoints, now, outcome);
  };
  return { ejection, endpoints, tell };
}

test('failures in a row eject, of whatever kind, and a success starts the count anew', () => {
  const { endpoints, tell } = setting(4);
  tell(0, 1000, 4, 'failed');
  tell(0, 1000, 1, 'ok');
  tell(0, 1000, 3, 'failed');
  tell(0, 1000, 1, 'abandoned');
  tell(0, 1000, 1, 'connect-failure');
  assert.equal(endpoints[0]!.isFit(1000), true);
  tell(0, 1000, 1, 'failed');
  assert.equal(endpoints[0]!.isFit(30_999), false);
  assert.equal(endpoints[0]!.isFit(31_000), true);
});

test('each ejection is longer, up to a bound, and intervals without one make it shorter again', () => {
  const { endpoints, tell } = setting(4);
  const spans: number[] = [];
  let now = 1000;
  for (let i = 0; i < 12; i++) {
    tell(0, now, 5, 'failed');
    spans.push(endpoints[0]!.ejectedUntil - now);
    now = endpoints[0]!.ejectedUntil;
  }
  assert.deepEqual(spans.slice(0, 4), [30_000, 60_000, 90_000, 120_000]);
  assert.equal(spans.at(-1), maxEjectionMs);
  tell(0, now + 100_000, 5, 'failed');
  assert.equal(endpoints[0]!.ejectedUntil - now - 100_000, 3 * 30_000);
  now = endpoints[0]!.ejectedUntil + 1e6;
  tell(0, now, 5, 'failed');
  assert.equal(endpoints[0]!.ejectedUntil - now, 30_000);
});

test('what was under way at an ejection and fails after it does not prolong it', () => {
  const { ejection, endpoints, tell } = setting(4);
  tell(0, 1000, 50, 'failed');
  assert.equal(endpoints[0]!.ejectedUntil, 31_000);
  assert.equal(ejection.ejected, 1);
  tell(0, 31_000, 4, 'failed');
  assert.equal(ejection.ejected, 1);
});

test('no more are out than the share allows, but one always may be', () => {
  const capped = (size: number, maxEjectionPercent: number): number => {
    const { endpoints, tell } = setting(size, { maxEjectionPercent });
    for (let i = 0; i < size; i++) tell(i, 1000, 5, 'failed');
    return ejectedCount(endpoints, 1000);
  };
  assert.deepEqual(
    [
      [1, 0],
      [3, 10],
      [10, 10],
      [10, 29],
      [10, 30],
      [10, 100],
    ].map(([size, percent]) => capped(size!, percent!)),
    [1, 1, 1, 2, 3, 10],
  );
});

test('an ejection that there was no room for is counted, and looked at again after as many failures', () => {
  const { ejection, endpoints, tell } = setting(4, { maxEjectionPercent: 25 });
  tell(0, 1000, 5, 'failed');
  tell(1, 1000, 5, 'failed');
  assert.deepEqual([ejection.ejected, ejection.spared], [1, 1]);
  tell(1, 31_000, 4, 'failed');
  assert.equal(endpoints[1]!.isFit(31_000), true);
  tell(1, 31_000, 1, 'failed');
  assert.equal(endpoints[1]!.isFit(31_000), false);
});

test('enforcing is a chance: at 0 nobody is ejected, at 25 every fourth time or so', () => {
  const times = (enforcingConsecutive5xx: number): number => {
    const { ejection, tell } = setting(4, { enforcingConsecutive5xx, baseEjectionTimeMs: 1, intervalMs: 1 });
    for (let i = 0; i < 1000; i++) tell(0, i * 1e6, 5, 'failed');
    return ejection.ejected;
  };
  assert.equal(times(0), 0);
  assert.equal(times(100), 1000);
  assert.ok(Math.abs(times(25) - 250) < 50, `${times(25)}`);
});
