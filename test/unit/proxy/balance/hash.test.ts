import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../../src/core.ts';
import { noHash } from '../../../../src/proxy/balance/chooser.ts';
import { hashOf, xxHash32 } from '../../../../src/proxy/balance/hash.ts';
import { type HashSource, RequestHasher } from '../../../../src/proxy/balance/hash-key.ts';
import type { HashPolicy } from '../../../../src/proxy/policy.ts';

test('xxHash32 gives what its specification gives', () => {
  const vectors: readonly (readonly [string, number, number])[] = [
    ['', 0, 0x02cc5d05],
    ['', 0x9e3779b1, 0x36b78ae7],
    ['a', 0, 0x550d7456],
    ['abc', 0, 0x32d153ff],
    ['Nobody inspects the spammish repetition', 0, 0xe2293b2f],
  ];
  for (const [text, seed, expected] of vectors) assert.equal(hashOf(text, seed), expected, text);
  const bytes = Buffer.from('xxabcxx');
  assert.equal(xxHash32(bytes, 2, 5, 0), 0x32d153ff);
});

interface Request {
  readonly headers?: { readonly [name: string]: string };
  readonly query?: { readonly [name: string]: string };
  readonly cookies?: { readonly [name: string]: string };
}

function source({ headers = {}, query = {}, cookies = {} }: Request): HashSource {
  return {
    header: (name) => headers[name] ?? null,
    query: (name) => query[name] ?? null,
    cookie: (name) => cookies[name] ?? null,
    sourceIp: '192.0.2.7',
  };
}

const byUser: HashPolicy = { type: 'header', name: 'x-user', terminal: false };
const byUserOnly: HashPolicy = { type: 'header', name: 'x-user', terminal: true };
const byTenant: HashPolicy = { type: 'query', name: 'tenant', terminal: false };
const byAddress: HashPolicy = { type: 'source-ip', terminal: false };
const session = (ttlMs: number): HashPolicy => ({
  type: 'cookie',
  name: 'session',
  terminal: true,
  issue: { ttlMs, path: '/shop' },
});

test('the hash is that of what policy lists, and none where there is none of it', () => {
  const random = seededRandom(1);
  const request = source({ headers: { 'x-user': 'ada' }, query: { tenant: 'ada' } });
  assert.equal(new RequestHasher([byUser]).hash(request, random), hashOf('ada', 0));
  assert.equal(new RequestHasher([byTenant]).hash(request, random), hashOf('ada', 0));
  assert.equal(new RequestHasher([byAddress]).hash(request, random), hashOf('192.0.2.7', 0));
  assert.equal(new RequestHasher([byUser]).hash(source({}), random), noHash);
  assert.equal(new RequestHasher([]).hash(request, random), noHash);
});

test('several values are combined in order; a terminal one that is there ends the list', () => {
  const random = seededRandom(1);
  const both = source({ headers: { 'x-user': 'ada' }, query: { tenant: 'blue' } });
  const combined = new RequestHasher([byUser, byTenant]).hash(both, random);
  assert.notEqual(combined, new RequestHasher([byTenant, byUser]).hash(both, random));
  assert.ok(combined >= 0 && combined < 2 ** 32);
  assert.equal(new RequestHasher([byUserOnly, byTenant]).hash(both, random), hashOf('ada', 0));
  const onlyTenant = source({ query: { tenant: 'blue' } });
  assert.equal(new RequestHasher([byUserOnly, byTenant]).hash(onlyTenant, random), hashOf('blue', 0));
});

test('equal values twice do not cancel each other out', () => {
  const same = source({ headers: { 'x-user': 'ada' }, query: { tenant: 'ada' } });
  const other = source({ headers: { 'x-user': 'bob' }, query: { tenant: 'bob' } });
  const hasher = new RequestHasher([byUser, byTenant]);
  assert.notEqual(hasher.hash(same, seededRandom(1)), hasher.hash(other, seededRandom(1)));
});

test('a client without the cookie is given one that leads it to where it is sent now', () => {
  const hasher = new RequestHasher([session(90_500)]);
  const random = seededRandom(9);
  const first = hasher.hash(source({}), random);
  const match = /^session=([0-9a-f]{16}); Max-Age=91; Path=\/shop; HttpOnly$/.exec(hasher.setCookie!);
  assert.ok(match, hasher.setCookie!);
  assert.equal(hasher.hash(source({ cookies: { session: match[1]! } }), random), first);
  assert.equal(hasher.setCookie, null);
  hasher.hash(source({}), random);
  assert.notEqual(hasher.setCookie!.slice(0, 24), match[0].slice(0, 24));
});

test('a cookie whose name or path would be another field or attribute is given to nobody', () => {
  for (const [name, path] of [
    ['a b', '/'],
    ['', '/'],
    ['ok', '/\r\nx: y'],
    ['ok', '/; Secure'],
  ] as const) {
    const hasher = new RequestHasher([{ type: 'cookie', name, terminal: false, issue: { ttlMs: 0, path } }]);
    assert.equal(hasher.hash(source({}), seededRandom(1)), noHash);
    assert.equal(hasher.setCookie, null);
  }
});

test('a cookie without a life lasts for the session, and policy may forbid to give one', () => {
  const lasting = new RequestHasher([session(0)]);
  lasting.hash(source({}), seededRandom(2));
  assert.match(lasting.setCookie!, /^session=[0-9a-f]{16}; Path=\/shop; HttpOnly$/);
  const never = new RequestHasher([{ type: 'cookie', name: 'session', terminal: false, issue: null }]);
  assert.equal(never.hash(source({}), seededRandom(2)), noHash);
  assert.equal(never.setCookie, null);
});
