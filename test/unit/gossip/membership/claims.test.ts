import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Accusation, type Charge, Claims } from '../../../../src/gossip/membership/claims.ts';

const start = 1_000_000;

const death = (accuser: string): Accusation => ({ state: 'down', id: 'x', incarnation: 0, accuser });
const suspicion = (accuser: string): Accusation => ({ ...death(accuser), state: 'suspect' });

/** As many claims as are let through of very many at once. */
function letThrough(claims: Claims, teller: string, claim: Accusation, now = start): Charge[] {
  const charges: Charge[] = [];
  for (let i = 0; i < 2000; i++) {
    const charge = claims.charge(teller, claim, now);
    if (charge !== null) charges.push(charge);
  }
  return charges;
}

test('one teller is heard about a rack at once and one more a second, and others beside it', () => {
  const claims = new Claims();
  assert.equal(letThrough(claims, 'liar', death('liar')).length, 64);
  assert.equal(letThrough(claims, 'liar', suspicion('liar'), start + 10_000).length, 10);
  assert.equal(letThrough(claims, 'another', death('another')).length, 64);
});

test('a claim that proves true costs nothing, however many there are', () => {
  const claims = new Claims();
  for (let round = 0; round < 100; round++) {
    const charges = letThrough(claims, 'honest', death('honest'));
    assert.equal(charges.length, 64);
    claims.settle(charges, false, start);
  }
  assert.deepEqual(claims.discredited(start), []);
});

test('what is passed on in others’ names has a budget of its own, and one for all who pass on', () => {
  const claims = new Claims();
  assert.equal(letThrough(claims, 'relay', suspicion('somebody')).length, 256);
  assert.equal(letThrough(claims, 'relay', death('relay')).length, 64, 'its own word is not touched by it');
  assert.equal(letThrough(claims, 'another', suspicion('somebody')).length, 256);
  assert.equal(letThrough(claims, 'a third', suspicion('somebody')).length, 0);
  assert.equal(letThrough(claims, 'a third', suspicion('somebody'), start + 1000).length, 16);
});

test('a death in the name of another is hearsay, whoever that other is', () => {
  const claims = new Claims();
  assert.equal(claims.charge('relay', death('somebody'), start)?.kind, 'hearsay');
  assert.equal(claims.charge('somebody', death('somebody'), start)?.kind, 'death');
  assert.equal(claims.charge('somebody', suspicion('somebody'), start)?.kind, 'suspicion');
});

test('who claims deaths of the living is named from the ninth on, for ten minutes', () => {
  const claims = new Claims();
  const charges = letThrough(claims, 'liar', death('liar'));
  claims.settle(charges.slice(0, 8), true, start);
  assert.deepEqual(claims.discredited(start), []);
  claims.settle(charges.slice(8), true, start);
  assert.deepEqual(claims.discredited(start), ['liar']);
  assert.deepEqual(claims.discredited(start + 599_999), ['liar']);
  assert.deepEqual(claims.discredited(start + 600_000), []);
});

test('nobody is named for suspicions, nor for what it passed on: those may have been true when they were said', () => {
  const claims = new Claims();
  claims.settle(letThrough(claims, 'honest', suspicion('honest')), true, start);
  claims.settle(letThrough(claims, 'honest', death('liar')), true, start);
  assert.deepEqual(claims.discredited(start), []);
});

test('who is down, or was within the minute, was cut off and is not named', () => {
  const claims = new Claims();
  const member = { id: 'back', incarnation: 0, roundTripMs: null } as const;
  claims.excuse({ ...member, state: 'down' }, start);
  claims.settle(letThrough(claims, 'back', death('back')), true, start);
  claims.excuse({ ...member, state: 'alive' }, start);
  claims.settle(letThrough(claims, 'back', death('back'), start + 59_000), true, start + 59_000);
  assert.deepEqual(claims.discredited(start + 59_000), []);
  claims.settle(letThrough(claims, 'back', death('back'), start + 120_000), true, start + 120_000);
  assert.deepEqual(claims.discredited(start + 120_000), ['back']);
});

test('a former member is not named, and of very many sixteen are', () => {
  const claims = new Claims();
  for (let i = 0; i < 40; i++)
    claims.settle(letThrough(claims, `liar ${i}`, death(`liar ${i}`)), true, start);
  assert.equal(claims.discredited(start).length, 16);
  for (let i = 0; i < 40; i++) claims.forget(`liar ${i}`);
  assert.deepEqual(claims.discredited(start), []);
});
