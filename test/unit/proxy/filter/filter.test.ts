import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '../../../../src/core.ts';
import { compileFilter } from '../../../../src/proxy/filter/filter.ts';
import { instanceData, instanceShape } from '../../../../src/proxy/filter/instance.ts';
import { boolean, map, number, object, string } from '../../../../src/proxy/filter/shape.ts';
import { instanceView } from '../views.ts';

const instance = instanceData(
  'api',
  instanceView('b', { tags: ['primary', 'v1'], meta: { version: 'v1', 'rack-id': '7', empty: '' } }),
);

function matches(text: string, data: unknown = instance): boolean {
  return compileFilter(text, data === instance ? instanceShape : null).matches(data);
}

function refusal(text: string, shape = instanceShape): string {
  try {
    compileFilter(text, shape);
  } catch (error) {
    if (error instanceof Fault) return error.message;
    throw error;
  }
  return assert.fail(`${text} was accepted`);
}

test('every operator of the language holds where it should, and its negation where it does not', () => {
  for (const [holds, negation] of [
    ['Service.Meta.version == v1', 'Service.Meta.version != v1'],
    ['Service.Meta.version=="v1"', 'Service.Meta.version!=`v1`'],
    ['Service.Meta["rack-id"] == 7', 'Service.Meta[ `rack-id` ] != 7'],
    ['primary in Service.Tags', '"primary" not in Service.Tags'],
    ['Service.Tags contains v1', 'Service.Tags not contains v1'],
    ['Service.Meta contains version', 'Service.Meta not contains version'],
    ['host in Node.Node', 'host not in Node.Node'],
    ['Service.Meta.empty is empty', 'Service.Meta.empty is not empty'],
    ['Service.Tags is not empty', 'Service.Tags is empty'],
    ['Service.Meta.version matches "^v[0-9]+$"', 'Service.Meta.version not matches "^v[0-9]+$"'],
    ['Service.Port == 8080', 'Service.Port != 8080'],
    ['Node.Meta.zone == z1', 'Node.Meta.zone != z1'],
    ['"/Service/Meta/version" == v1', '"/Service/Meta/version" != v1'],
  ] as const) {
    assert.equal(matches(holds), true, holds);
    assert.equal(matches(negation), false, negation);
    assert.equal(matches(`not ${holds}`), false, holds);
    assert.equal(matches(`not not (${holds})`), true, holds);
  }
});

test('a key that a map does not have equals nothing and is empty', () => {
  assert.equal(matches('Service.Meta.canary == true'), false);
  assert.equal(matches('Service.Meta.canary != true'), true);
  assert.equal(matches('Service.Meta.canary is empty'), true);
  assert.equal(matches('Service.Meta.canary matches ".*"'), false);
  assert.equal(matches('Service.Meta.constructor is empty'), true);
  assert.equal(matches('Service.Meta.__proto__ is empty'.replace('.__proto__', '["__proto__"]')), true);
});

test('"and" binds tighter than "or", and parentheses tighter than both', () => {
  const data = { a: '1', b: '0', c: '0' };
  assert.equal(matches('a == 1 or b == 1 and c == 1', data), true);
  assert.equal(matches('(a == 1 or b == 1) and c == 1', data), false);
  assert.equal(matches('not a == 1 or b == 0', data), true);
  assert.equal(matches('not (a == 1 or b == 0)', data), false);
  assert.equal(matches('  ( a == 1 )\n\tand\r\n(b==0) ', data), true);
});

test('numbers and booleans compare by value', () => {
  const shape = object({ port: number, on: boolean });
  const compiled = (text: string) => compileFilter(text, shape).matches({ port: 80, on: true });
  assert.equal(compiled('port == 80.0 and on == true and on != F'), true);
  assert.equal(compiled('port == -80'), false);
  assert.match(refusal('port == http', shape), /"port" is a number/);
  assert.match(refusal('on == yes', shape), /"on" is a boolean/);
});

test('strings in quotes are taken as Go takes them', () => {
  assert.equal(matches('a == "x\\ty"', { a: 'x\ty' }), true);
  assert.equal(matches('a == `x\\ty`', { a: 'x\\ty' }), true);
  assert.equal(matches('a == "and or )"', { a: 'and or )' }), true);
});

test('a selector of nothing, and a comparison that means nothing, are refused before any data is seen', () => {
  assert.equal(refusal('Service.Mta.version == v1'), 'Selector "Service.Mta.version" is not valid');
  assert.equal(refusal('Checks is empty'), 'Selector "Checks" is not valid');
  assert.match(refusal('Service.Tags == v1'), /"Service.Tags" is a list/);
  assert.match(refusal('Service.Port matches "1"'), /"Service.Port" is a number/);
  assert.match(refusal('Service is empty'), /"Service" is a object/);
  assert.match(refusal('Service.Meta.version.more == 1'), /not valid/);
  assert.match(refusal('a == 1', map(map(string))), /"a" is a map/);
});

test('what is malformed is refused with the place', () => {
  for (const [text, expected] of [
    ['', /expected a field or a value, found the end/],
    ['a', /expected an operator.*found the end/],
    ['a == ', /expected a field or a value, found the end/],
    ['a == 1 b', /expected "and", "or" or the end, found "b" at character 8/],
    ['(a == 1', /expected "\)", found the end/],
    ['a == 1)', /expected "and", "or" or the end/],
    ['a == "x', /unterminated string at character 6/],
    ['a is 1', /expected "empty"/],
    ['1 == a', /expected the name of a field/],
    ['a[b] == 1', /expected a string in quotes/],
    ['a["b" == 1', /expected "\]"/],
    ['a. == 1', /expected a name/],
    ['a ~ b', /unexpected character at character 3/],
    ['a == "\\q"', /unknown escape/],
    ['a matches "("', /missing \)/],
  ] as const)
    assert.throws(
      () => compileFilter(text),
      (error: Error) => expected.test(error.message),
      text,
    );
});

test('expressions that are bombs are refused', () => {
  assert.match(refusal('a'.repeat(5000)), /longer than 4096/);
  assert.match(refusal(`${'('.repeat(100)}a == 1${')'.repeat(100)}`), /nests deeper/);
  assert.match(refusal(`${'not '.repeat(100)}a == 1`), /nests deeper/);
  assert.match(refusal(Array(200).fill('a==1').join(' or ')), /more than 128 comparisons/);
  assert.equal(matches(Array(128).fill('Service.ID == x').join(' or ')), false);
});
