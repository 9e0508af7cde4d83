import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Policies } from '../../../../src/agent/policy/policy.ts';
import { policyFindings } from '../../../../src/agent/policy/policy-findings.ts';
import type { Record } from '../../../../src/gossip/replica/record.ts';

interface Entry {
  readonly Kind: string;
  readonly Name: string;
  readonly [field: string]: unknown;
}

function policiesOf(...entries: readonly Entry[]): Policies {
  const policies = new Policies(() => true);
  for (const entry of entries)
    policies.record({ key: `${entry.Kind}/${entry.Name}`, author: 'aa', hlc: 1 } as Record, entry, 1);
  return policies;
}

test('entries that work together are nothing to report', () => {
  assert.deepEqual(policyFindings(policiesOf()), []);
  const redirect = { Kind: 'service-resolver', Name: 'old', Redirect: { Service: 'api' } };
  assert.deepEqual(policyFindings(policiesOf(redirect)), []);
});

test('what was written at once in two places, and what a newer version wrote, is told by its record', () => {
  const found = policyFindings(
    policiesOf(
      { Kind: 'service-resolver', Name: 'a', Redirect: { Service: 'b' } },
      { Kind: 'service-resolver', Name: 'b', Redirect: { Service: 'a' } },
      { Kind: 'service-dreams', Name: 'x' },
    ),
  );
  assert.deepEqual(
    found.map(({ grade, subject, detail }) => `${grade} ${subject} ${detail}`),
    [
      'warning service-dreams/x is of a kind that this version does not know',
      'warning service-resolver/a Redirect: redirects must not form a circle: a -> b -> a',
      'warning service-resolver/b Redirect: redirects must not form a circle: b -> a -> b',
    ],
  );
});

test('many are told as a number', () => {
  const entries = Array.from({ length: 30 }, (_, i) => ({ Kind: 'service-dreams', Name: `x${i}` }));
  const found = policyFindings(policiesOf(...entries));
  assert.equal(found.length, 21);
  assert.equal(found.at(-1)?.detail, '10 more entries do not do what they say');
});
