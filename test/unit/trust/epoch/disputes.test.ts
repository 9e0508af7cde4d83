import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Dispute, Disputes } from '../../../../src/trust/epoch/disputes.ts';

const dealMs = 20_000;
const nobody = (): boolean => false;

/** Dealings led by each of `leaders`, in all of which the same was claimed. */
function after(claims: readonly Dispute[], leaders: readonly string[], spared = 2): Disputes {
  const disputes = new Disputes(dealMs);
  for (const leader of leaders) disputes.note(claims, spared, leader, 0);
  return disputes;
}

const claim = (claimant: string, accused: string): Dispute => ({ accused, claimant });
const ABC = ['A', 'B', 'C'];

test('two that are at odds with each other alone are both passed over, whoever of them claims', () => {
  for (const claims of [[claim('x', 'y')], [claim('y', 'x')], [claim('x', 'y'), claim('y', 'x')]])
    assert.deepEqual(
      after(claims, ABC).atFault(3, nobody, 1),
      new Map([
        ['x', 1],
        ['y', 1],
      ]),
    );
});

test('who is at odds with several is passed over, and nobody that it is at odds with', () => {
  const star = [claim('a', 'x'), claim('b', 'x'), claim('x', 'c')];
  assert.deepEqual(after(star, ABC).atFault(3, nobody, 1), new Map([['x', 3]]));
});

test('who claims to lack the shares of more than can be done without is at odds with all', () => {
  const many = [claim('x', 'a'), claim('x', 'b'), claim('x', 'c')];
  assert.deepEqual(after(many, ABC, 2).atFault(3, nobody, 1), new Map([['x', Number.POSITIVE_INFINITY]]));
  assert.deepEqual(after(many, ABC, 3).atFault(3, nobody, 1), new Map([['x', 3]]));
});

test('it takes enough leaders, and none of the two is one of them', () => {
  const claims = [claim('x', 'y')];
  assert.equal(after(claims, ['A', 'B']).atFault(3, nobody, 1).size, 0);
  assert.equal(after(claims, ['A', 'A', 'A']).atFault(3, nobody, 1).size, 0);
  assert.equal(after(claims, ['A', 'B', 'x']).atFault(3, nobody, 1).size, 0);
  assert.equal(after(claims, ['A', 'B', 'y']).atFault(3, nobody, 1).size, 0);
  assert.equal(after(claims, ['A', 'B', 'C']).atFault(3, nobody, 1).size, 2);
});

test('a dispute that has begun counts for who is at odds with most, before it has been seen often', () => {
  const disputes = after([claim('a', 'x')], ABC);
  disputes.note([claim('b', 'x')], 2, 'A', 1);
  assert.deepEqual([...disputes.atFault(3, nobody, 2).keys()], ['x']);
});

test('whose fault is known is not in dispute', () => {
  const claims = [claim('a', 'x'), claim('b', 'c')];
  const known = (host: string): boolean => host === 'x';
  assert.deepEqual([...after(claims, ABC).atFault(3, known, 1).keys()].sort(), ['b', 'c']);
});

test('what was long ago counts no more', () => {
  const disputes = after([claim('x', 'y')], ['A', 'B']);
  disputes.note([claim('x', 'y')], 2, 'C', 15 * dealMs);
  assert.equal(disputes.atFault(3, nobody, 15 * dealMs).size, 0);
});

test('whatever is claimed, of whom and however often, every dispute leaves at least one of its two', () => {
  const host = fc.constantFrom(...'abcdefg');
  fc.assert(
    fc.property(fc.array(fc.record({ accused: host, claimant: host }), { maxLength: 20 }), (claims) => {
      const told = claims.filter(({ accused, claimant }) => accused !== claimant);
      const fault = after(told, ABC).atFault(3, nobody, 1);
      for (const { accused, claimant } of told)
        assert.ok(fault.has(accused) || fault.has(claimant), `${claimant} and ${accused} both stay`);
      if (told.length > 0) assert.ok(fault.size > 0);
    }),
  );
});

test('made-up disputes without end take no more room than the limit', () => {
  const disputes = new Disputes(dealMs);
  for (let i = 0; i < 3000; i++) disputes.note([claim(`x${i}`, `y${i}`)], 2, 'A', 0);
  assert.equal(disputes.atFault(1, nobody, 1).size, 2 * 1024);
});
