import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Fault } from '../../../../src/core.ts';
import { compileRegex } from '../../../../src/proxy/regex/regex.ts';

test('expressions mean what they mean in RE2', () => {
  for (const [expression, yes, no] of [
    ['^v[0-9]+$', ['v1', 'v12'], ['v', 'xv1', 'v1\n']],
    ['a|bc|', ['', 'x'], []],
    ['^(?:ab|cd)*e?$', ['', 'abcd', 'abe'], ['abc', 'ee']],
    ['^a{2,3}$', ['aa', 'aaa'], ['a', 'aaaa']],
    ['^a{2,}$', ['aa', 'aaaaa'], ['a']],
    ['^a{,2}$', ['a{,2}'], ['aa']],
    ['(?i)^Grüße$', ['grÜSSE'.replace('SS', 'ß'), 'GRÜßE'], ['grusse']],
    ['^(?i:a)b$', ['Ab', 'ab'], ['aB']],
    ['^(?P<name>x)(?<other>y)$', ['xy'], ['x']],
    ['\\bfoo\\b', ['a foo b', 'foo'], ['food']],
    ['^.$', ['x', '😀'], ['\n', 'xy']],
    ['(?s)^.$', ['\n'], ['']],
    ['(?m)^b$', ['a\nb\nc'], ['ab']],
    ['^[^a-c\\d]$', ['d', '-'], ['b', '5']],
    ['^[]a-]+$', [']-a'], ['b']],
    ['^[[:alpha:]_]+$', ['ab_'], ['a1']],
    ['^(?i)[^a]$', ['b'], ['A', 'a']],
    ['^\\x41\\x{1F600}\\.$', ['A😀.'], ['A😀x']],
    ['^\\w+\\s\\D$', ['ab_1 x'], ['a 1']],
    ['\\A\\z', [''], ['a']],
  ] as const) {
    for (const text of yes)
      assert.equal(compileRegex(expression).search(text), true, `${expression} ~ ${text}`);
    for (const text of no)
      assert.equal(compileRegex(expression).search(text), false, `${expression} !~ ${text}`);
  }
  assert.equal(compileRegex('a|ab').matchesAll('ab'), true);
  assert.equal(compileRegex('a').matchesAll('ba'), false);
});

test('what RE2 does not know, or what would grow without bound, is refused', () => {
  for (const expression of [
    '(?=a)',
    '(?<=a)b',
    '(a)\\1',
    'a**',
    '*a',
    '(',
    ')',
    '[a',
    '[z-a]',
    '\\p{L}',
    'a\\',
    'a{1001}',
    'a{3,2}',
    '((a{100}){100}){100}',
    '('.repeat(100) + ')'.repeat(100),
    'a'.repeat(2000),
    '[[:nothing:]]',
  ])
    assert.throws(
      () => compileRegex(expression),
      (error: Error) => error instanceof Fault && error.code === 'invalid-regex',
      expression,
    );
});

test('an expression that explodes where there is backtracking takes a step for each character', () => {
  const text = `${'a'.repeat(20_000)}!`;
  assert.equal(compileRegex('^(a+)+$').search(text), false);
  assert.equal(compileRegex('^(a|aa|a*)*$').search(text), false);
});

test('an expression that needs more states than are remembered still matches, in bounded time and space', () => {
  const regex = compileRegex('^[ab]*a[ab]{12}$');
  const bits = Array.from({ length: 3000 }, (_, i) => ((i * 2654435761) >>> 7) & 1);
  const text = bits.map((bit) => (bit === 1 ? 'a' : 'b')).join('');
  for (let cut = text.length - 20; cut < text.length; cut++)
    assert.equal(regex.search(text.slice(0, cut)), text[cut - 13] === 'a');
});

test('characters outside of ASCII are told apart, also those of two units', () => {
  const regex = compileRegex('^[α-ω]+\\b😀$|^.😁');
  for (const [text, expected] of [
    ['αβγ😀', false],
    ['x😁', true],
    ['😀😁', true],
    ['\ud83d😁', true],
    ['αβγ', false],
  ] as const)
    assert.equal(regex.search(text), expected, text);
  assert.equal(compileRegex('(?i)^Ω$').search('ω'), true);
});

test('to repeat nothing costs nothing', () => {
  const nothing = `${'('.repeat(50)}${'){1000}'.repeat(50)}`;
  assert.equal(compileRegex(`^${nothing}$`).search(''), true);
});

test('random expressions agree with those of JavaScript', () => {
  const atom = fc.constantFrom('a', 'b', '.', '[ab]', '[^a]', '^', '$', '\\b', '\\w', '\\s', 'A');
  const { expression } = fc.letrec<{ expression: string; part: string }>((tie) => ({
    expression: fc
      .array(
        fc.array(tie('part'), { maxLength: 4 }).map((parts) => parts.join('')),
        { minLength: 1, maxLength: 3 },
      )
      .map((options) => options.join('|')),
    part: fc.oneof(
      { maxDepth: 3 },
      fc
        .tuple(
          fc.constantFrom('a', 'b', '.', '[^b]'),
          fc.constantFrom('', '*', '+', '?', '*?', '{2}', '{1,2}', '{1,}'),
        )
        .map((both) => both.join('')),
      atom,
      fc
        .tuple(tie('expression'), fc.constantFrom('', '*', '+', '?'))
        .map(([inner, times]) => `(?:${inner})${times}`),
    ),
  }));
  const text = fc.string({ unit: fc.constantFrom('a', 'b', 'A', ' ', '\n'), maxLength: 8 });
  fc.assert(
    fc.property(
      expression,
      fc.array(text, { maxLength: 6 }),
      fc.boolean(),
      (source, subjects, ignoreCase) => {
        // A longer one may take more steps than there may be.
        fc.pre(source.length <= 300);
        const theirs = new RegExp(source, ignoreCase ? 'iu' : 'u');
        const whole = new RegExp(`^(?:${source})$`, ignoreCase ? 'iu' : 'u');
        const ours = compileRegex(source, { ignoreCase });
        for (const subject of subjects) {
          assert.equal(ours.search(subject), theirs.test(subject));
          assert.equal(ours.matchesAll(subject), whole.test(subject));
        }
      },
    ),
    { numRuns: 200 },
  );
});
