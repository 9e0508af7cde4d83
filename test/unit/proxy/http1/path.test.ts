/** One spelling for a path: what an application would take for it is what policy sees. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ambiguous, asIs, normalTarget } from '../../../../src/proxy/http1/path.ts';

function normal(target: string): string | null {
  const bytes = Buffer.from(`xx${target}xx`);
  const result = normalTarget(bytes, 2, 2 + target.length);
  if (result === ambiguous) return null;
  return result === asIs ? target : result.toString();
}

test('a path that is in its one spelling stays, and so does every query', () => {
  for (const target of ['/', '/a', '/a/', '/a.b/c..d', '/a?x=/../%2F', '/.hidden', '/a;v=1', '*', '/~me'])
    assert.equal(normal(target), target);
  assert.equal(normal('/b/../a?q=..%2f'), '/a?q=..%2f');
});

test('other spellings of a path become the one', () => {
  const spellings: readonly (readonly [string, string])[] = [
    ['/%61dmin', '/admin'],
    ['/public/../admin', '/admin'],
    ['/public/%2e%2e/admin', '/admin'],
    ['/public/%2E./admin/', '/admin/'],
    ['//admin', '/admin'],
    ['/a//b///c', '/a/b/c'],
    ['/./admin/.', '/admin/'],
    ['/a/b/..', '/a/'],
    ['/a/..', '/'],
    ['/a%7eb%2db', '/a~b-b'],
    ['/a%3ab', '/a%3Ab'],
    ['/%c3%a9', '/%C3%A9'],
    ['/a%20b', '/a%20b'],
  ];
  for (const [target, expected] of spellings) assert.equal(normal(target), expected, target);
});

test('a path that two readers could take for different ones has no spelling', () => {
  for (const target of [
    '/a%2fb',
    '/a%2Fb',
    '/a%5cb',
    '/a\\b',
    '/a%00',
    '/..',
    '/../a',
    '/a/../../b',
    '/%2e%2e',
    '/a%',
    '/a%2',
    '/a%zz',
    '/a%2?x',
    '/public/..;/admin',
    '/public/..;x=1/admin',
    '/.;/a',
    '/;/admin',
    '/public/;x=1/admin',
  ])
    assert.equal(normal(target), null, target);
});

test('what came out goes in and comes out the same, and holds nothing that could be read in two ways', () => {
  const target = fc.string({ unit: fc.constantFrom(...'/.%25eEfFcC0\\;aA?~-'), maxLength: 24 });
  fc.assert(
    fc.property(target, (rest) => {
      const once = normal(`/${rest}`);
      if (once === null) return;
      assert.equal(normal(once), once);
      const [path] = once.split('?');
      assert.doesNotMatch(path!, /\/\/|\/\.{1,2}(\/|$)|%2[fFeE]|%5[cC]|%00|\\/);
    }),
    { numRuns: 500 },
  );
});
