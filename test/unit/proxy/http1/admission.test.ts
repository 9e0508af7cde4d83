/** Which requests a service lets in: its permissions decide on the one spelling of a path, and its rates bound. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Admission, Permissions, RateGuard } from '../../../../src/proxy/http1/admission.ts';
import { RequestHead } from '../../../../src/proxy/http1/head.ts';
import type { Refusal } from '../../../../src/proxy/http1/refusal.ts';
import type { PermissionPolicy, RateLimitsPolicy, RequestMatch } from '../../../../src/proxy/policy.ts';

const all: RequestMatch = { path: null, headers: [], query: [], methods: [] };

function permission(action: 'allow' | 'deny', match: Partial<RequestMatch>): PermissionPolicy {
  return { action, match: { ...all, ...match } };
}

function prefix(value: string): Partial<RequestMatch> {
  return { path: { type: 'prefix', value, ignoreCase: false } };
}

function ask(admission: Admission, target: string, method = 'GET', nowMs = 0, fields = ''): Refusal | null {
  const bytes = Buffer.from(`${method} ${target} HTTP/1.1\r\nHost: api\r\n${fields}\r\n`);
  const head = new RequestHead();
  head.parse(bytes, 0, bytes.length);
  return admission.refusal(bytes, head, nowMs);
}

test('the first permission that matches decides, and none that matches denies', () => {
  const rule = 'service-intentions/api';
  const permissions = [
    permission('deny', prefix('/admin')),
    permission('allow', { ...prefix('/'), methods: ['GET', 'HEAD'] }),
    permission('allow', {
      headers: [{ name: 'x-role', type: 'exact', value: 'writer', ignoreCase: false, invert: false }],
    }),
  ];
  const admission = new Admission('web', 'api', new Permissions(permissions, rule), null);
  assert.equal(ask(admission, '/x'), null);
  assert.equal(ask(admission, '/x', 'POST', 0, 'X-Role: writer\r\n'), null);
  const denied = ask(admission, '/admin/users');
  assert.deepEqual([denied?.status, denied?.reason, denied?.rule], [403, 'denied', rule]);
  assert.equal(denied?.text, `starling: denied: web -> api (rule ${rule}, permission 1)`);
  assert.match(ask(admission, '/x', 'POST')?.text ?? '', /no permission matches/);
});

test('no other spelling of a path gets around a permission', () => {
  const admission = new Admission(
    'web',
    'api',
    new Permissions([permission('deny', prefix('/admin')), permission('allow', {})], 'r'),
    null,
  );
  for (const target of [
    '/admin',
    '//admin',
    '/%61dmin',
    '/x/../admin',
    '/x/%2e%2e/admin',
    '/./admin',
    'http://api/x/../admin',
    'http://api//admin',
  ])
    assert.equal(ask(admission, target)?.status, 403, target);
  for (const target of ['/x%2f..%2fadmin', '/x/..%5cadmin', '/x\\..\\admin', '/..;/admin', '/admin%00'])
    assert.equal(ask(admission, target)?.status, 400, target);
  assert.equal(ask(admission, '/?/admin'), null);
  assert.equal(ask(admission, `/${'x'.repeat(10_000)}`)?.status, 414, 'what is not looked at is not let in');
});

test('no second value, spelling of a name or case of a method gets around a permission', () => {
  const role = (type: 'exact' | 'prefix', value: string, invert = false): Partial<RequestMatch> => ({
    headers: [{ name: 'x-role', type, value, ignoreCase: false, invert }],
  });
  const allows = (action: 'allow' | 'deny', match: Partial<RequestMatch>, fields: string, method = 'GET') => {
    const last = action === 'allow' ? [] : [permission('allow', {})];
    const permissions = new Permissions([permission(action, match), ...last], 'r');
    return ask(new Admission('web', 'api', permissions, null), '/', method, 0, fields) === null;
  };
  for (const fields of [
    'x-role: evil\r\nx-role: good\r\n',
    'x-role: good\r\nX-Role:  evil \r\n',
    'X_Role: evil\r\n',
  ]) {
    assert.equal(allows('deny', role('exact', 'evil'), fields), false, fields);
    assert.equal(allows('allow', role('prefix', 'good'), fields), false, fields);
    assert.equal(allows('allow', role('exact', 'evil', true), fields), false, fields);
  }
  assert.equal(allows('deny', role('exact', 'evil'), 'x-role: good\r\nx-role: better\r\n'), true);
  assert.equal(allows('allow', role('prefix', 'good'), 'x-role: good\r\nx-role: good2\r\n'), true);
  assert.equal(allows('allow', role('prefix', 'good'), 'x_role: good\r\n'), false, 'it was not said');
  assert.equal(allows('deny', { methods: ['DELETE'] }, '', 'Delete'), false);
  assert.equal(allows('allow', { methods: ['DELETE'] }, '', 'Delete'), false);
});

test('rates are kept for all together, for some routes and for each caller, and say when to come again', () => {
  const policy: RateLimitsPolicy = {
    instance: { requestsPerSecond: 100, burst: 100 },
    routes: [
      { path: { type: 'prefix', value: '/dear', ignoreCase: false }, requestsPerSecond: 0.5, burst: 2 },
    ],
    callers: [{ source: 'web', requestsPerSecond: 1, burst: 5 }],
  };
  const rates = new RateGuard(policy, 0);
  const web = new Admission('web', 'api', null, rates);
  const other = new Admission('other', 'api', null, rates);
  assert.deepEqual([ask(other, '/dear'), ask(web, '/dear')], [null, null]);
  const limited = ask(web, '/x/../dear');
  assert.deepEqual([limited?.status, limited?.reason, limited?.retryAfterSeconds], [429, 'rate-limited', 2]);
  assert.match(limited?.text ?? '', /web -> api \(the limit of route \/dear\)/);
  for (let i = 0; i < 4; i++) assert.equal(ask(web, '/x'), null);
  assert.match(ask(web, '/x')?.text ?? '', /the limit of caller web/);
  assert.equal(ask(other, '/x'), null);
  assert.equal(ask(web, '/x', 'GET', 1000), null, 'a second later there is one more');
  rates.configure({ ...policy, routes: [] }, 1000);
  assert.equal(ask(other, '/dear', 'GET', 1000), null);
});

test('who is denied uses up nothing of a rate', () => {
  const rates = new RateGuard({ instance: { requestsPerSecond: 1, burst: 1 }, routes: [], callers: [] }, 0);
  const denied = new Admission('web', 'api', new Permissions([], 'r'), rates);
  for (let i = 0; i < 5; i++) assert.equal(ask(denied, '/')?.reason, 'denied');
  assert.equal(ask(new Admission('other', 'api', null, rates), '/'), null);
});
