import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Fault } from '../../src/core.ts';
import { compileFilter } from '../../src/proxy/filter/filter.ts';
import { instanceShape } from '../../src/proxy/filter/instance.ts';

interface Data {
  readonly name: string;
  readonly tags: readonly string[];
  readonly meta: { readonly [key: string]: string };
  readonly port: number;
}

/** An expression as text, and what it means. */
interface Sentence {
  readonly text: string;
  readonly holds: (data: Data) => boolean;
}

const word = fc.constantFrom('a', 'b', 'ab', 'not', 'and', 'x-1', '');
const quoted = (value: string): string => (value.includes('"') ? `\`${value}\`` : JSON.stringify(value));
const space = fc.constantFrom(' ', '\n', ' \t ');
const maybeSpace = fc.constantFrom('', ' ', '\n\n');

const comparison: fc.Arbitrary<Sentence> = fc
  .tuple(word, word, maybeSpace, space, fc.boolean())
  .chain((drawn) => {
    const [value, key, near, gap, negated] = drawn;
    const sentence = (plain: string, negation: string, holds: (data: Data) => boolean): Sentence => ({
      text: negated ? negation : plain,
      holds: (data) => holds(data) !== negated,
    });
    const [no, key_] = [`${gap}not${gap}`, `meta[${near}${quoted(key)}${near}]`];
    return fc.constantFrom(
      sentence(
        `name${near}==${near}${quoted(value)}`,
        `name${near}!=${near}${quoted(value)}`,
        ({ name }) => name === value,
      ),
      sentence(
        `${key_}${near}==${near}${quoted(value)}`,
        `${key_}!=${quoted(value)}`,
        ({ meta }) => meta[key] === value,
      ),
      sentence(`${quoted(value)}${gap}in${gap}tags`, `${quoted(value)}${no}in${gap}tags`, ({ tags }) =>
        tags.includes(value),
      ),
      sentence(
        `name${gap}contains${gap}${quoted(value)}`,
        `name${no}contains${gap}${quoted(value)}`,
        ({ name }) => name.includes(value),
      ),
      sentence(`${quoted(key)}${gap}in${gap}meta`, `${quoted(key)}${no}in${gap}meta`, ({ meta }) =>
        Object.hasOwn(meta, key),
      ),
      sentence(`tags${gap}is${gap}empty`, `tags${gap}is${no}empty`, ({ tags }) => tags.length === 0),
      sentence(
        `${key_}${gap}is${gap}empty`,
        `${key_}${gap}is${no}empty`,
        ({ meta }) => (meta[key] ?? '') === '',
      ),
      sentence(`name${gap}matches${gap}"^a+$"`, `name${no}matches${gap}"^a+$"`, ({ name }) =>
        /^a+$/.test(name),
      ),
      sentence(`port${near}==${near}80`, `port${near}!=${near}80`, ({ port }) => port === 80),
    );
  });

const { sentence } = fc.letrec<{ sentence: Sentence }>((tie) => ({
  sentence: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    comparison,
    fc.tuple(tie('sentence'), space).map(([inner, gap]) => ({
      text: `not${gap}(${inner.text})`,
      holds: (data: Data) => !inner.holds(data),
    })),
    fc
      .tuple(fc.constantFrom('and', 'or'), tie('sentence'), tie('sentence'), maybeSpace, space)
      .map(([joint, left, right, near, gap]) => ({
        text: `(${near}${left.text}${near})${gap}${joint}${gap}(${right.text})`,
        holds: (data: Data) =>
          joint === 'and' ? left.holds(data) && right.holds(data) : left.holds(data) || right.holds(data),
      })),
  ),
}));

const data: fc.Arbitrary<Data> = fc.record({
  name: word,
  tags: fc.array(word, { maxLength: 2 }),
  meta: fc.dictionary(word, word, { maxKeys: 2, noNullPrototype: true }),
  port: fc.constantFrom(80, 81),
});

test('an expression holds for just the data that it means', () => {
  fc.assert(
    fc.property(sentence, data, ({ text, holds }, given) => {
      assert.equal(compileFilter(text).matches(given), holds(given));
    }),
    { numRuns: 500 },
  );
});

test('"and" and "or" without parentheses are read as sums of products', () => {
  const terms = fc.array(fc.array(comparison, { minLength: 1, maxLength: 3 }), {
    minLength: 1,
    maxLength: 3,
  });
  fc.assert(
    fc.property(terms, data, (sums, given) => {
      const text = sums.map((products) => products.map((each) => each.text).join(' and ')).join(' or ');
      const expected = sums.some((products) => products.every(({ holds }) => holds(given)));
      assert.equal(compileFilter(text).matches(given), expected);
    }),
    { numRuns: 200 },
  );
});

test('whatever is written is either an expression or a fault, never anything worse', () => {
  const piece = fc.constantFrom(
    ...[
      '(',
      ')',
      '[',
      ']',
      '"',
      '`',
      '"a"',
      '.',
      '==',
      '!=',
      'in',
      'not',
      'and',
      'or',
      'is',
      'empty',
      'contains',
    ],
    ...[
      'matches',
      'Service',
      'Meta',
      'Tags',
      '7',
      '-1.5',
      '\\',
      ' ',
      '"(a"',
      '__proto__',
      '\u0000',
      'é',
      '/',
    ],
  );
  const text = fc.oneof(
    fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(' ')),
    fc.string(),
  );
  fc.assert(
    fc.property(text, (written) => {
      try {
        compileFilter(written, instanceShape).matches({});
      } catch (error) {
        assert.ok(error instanceof Fault && /^invalid-(filter|regex)$/.test(error.code), String(error));
      }
    }),
    { numRuns: 1000 },
  );
});
