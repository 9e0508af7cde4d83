import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decide, precedence, rulesFor } from '../../../src/proxy/intentions.ts';
import type { IntentionView } from '../../../src/proxy/view.ts';

/** `web->api allow` */
function intention(text: string): IntentionView {
  const [pair, action] = text.split(' ');
  const [source, destination] = pair!.split('->');
  return {
    source: source!,
    destination: destination!,
    action: action as 'allow' | 'deny',
    permissions: null,
    rule: `service-intentions/${destination}`,
  };
}

function decided(intentions: string[], source: string, destination: string): string {
  const { action, rule } = decide(rulesFor(destination, intentions.map(intention)), 'deny', source);
  return `${action} by ${rule ?? 'default'}`;
}

test('precedence numbers are those of Consul without namespaces', () => {
  assert.deepEqual(
    [precedence('web', 'api'), precedence('*', 'api'), precedence('web', '*'), precedence('*', '*')],
    [9, 8, 6, 5],
  );
});

test('an exact pair decides before every wildcard', () => {
  const all = ['*->* allow', 'web->* allow', '*->api allow', 'web->api deny'];
  assert.equal(decided(all, 'web', 'api'), 'deny by service-intentions/api');
});

test("the destination's exactness outweighs the source's", () => {
  assert.equal(decided(['web->* allow', '*->api deny'], 'web', 'api'), 'deny by service-intentions/api');
});

test('a source to any destination decides before any to any', () => {
  const all = ['*->* deny', 'web->* allow'];
  assert.equal(decided(all, 'web', 'api'), 'allow by service-intentions/*');
  assert.equal(decided(all, 'job', 'api'), 'deny by service-intentions/*');
});

test('the default decides when no intention matches', () => {
  assert.equal(decided(['web->db allow', 'job->api allow'], 'web', 'api'), 'deny by default');
});

test('a service called * by mistake of a caller matches only wildcards', () => {
  assert.equal(decided(['web->api allow'], '*', 'api'), 'deny by default');
});

test('of two intentions for one pair deny wins in either order', () => {
  const pair = ['web->api allow', 'web->api deny'];
  assert.equal(decided(pair, 'web', 'api'), 'deny by service-intentions/api');
  assert.equal(decided(pair.reverse(), 'web', 'api'), 'deny by service-intentions/api');
});

test('rules that can never decide are left out', () => {
  const all = ['job->* allow', '*->* allow', '*->api deny', 'web->api allow', 'web->* deny', 'x->y allow'];
  assert.deepEqual(
    rulesFor('api', all.map(intention)).map(({ source, action }) => `${source} ${action}`),
    ['web allow', '* deny'],
  );
});
