import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Suspicion } from '../../../../src/gossip/membership/suspicion.ts';

const bounds = { minMs: 100, maxMs: 600, confirmations: 3 };

test('each independent confirmation brings the verdict closer, down to the shortest suspicion', () => {
  const suspicion = new Suspicion(1, 'a', bounds, 1000);
  const deadlines = [suspicion.deadline()];
  for (const accuser of ['b', 'c', 'd']) {
    assert.ok(suspicion.confirm(accuser));
    deadlines.push(suspicion.deadline());
  }
  assert.equal(deadlines[0], 1600);
  assert.equal(deadlines[3], 1100);
  assert.ok(deadlines[1]! < deadlines[0]! && deadlines[2]! < deadlines[1]! && deadlines[3]! < deadlines[2]!);
});

test('an accuser counts once, and those beyond the needed confirmations not at all', () => {
  const suspicion = new Suspicion(1, 'a', bounds, 0);
  assert.ok(!suspicion.confirm('a'));
  for (const accuser of ['b', 'c', 'd']) suspicion.confirm(accuser);
  assert.ok(!suspicion.confirm('e'));
  assert.equal(suspicion.deadline(), 100);
});

test('a mesh in which nobody could confirm waits for the shortest time only', () => {
  assert.equal(new Suspicion(1, 'a', { ...bounds, confirmations: 0 }, 0).deadline(), 100);
});

test('a verdict of others leaves nothing to wait for, and a stop of this process gives the time back', () => {
  const suspicion = new Suspicion(1, 'a', bounds, 0);
  suspicion.hurry(50);
  assert.equal(suspicion.deadline(), 50);
  suspicion.check = 'failed';
  suspicion.extend(1000);
  assert.equal(suspicion.deadline(), 1050);
  assert.equal(suspicion.check, 'pending');
});

test('a suspect that answers is suspected anew, without its former accusers', () => {
  const suspicion = new Suspicion(1, 'a', bounds, 0);
  suspicion.confirm('b');
  suspicion.hurry(10);
  suspicion.restart(2000);
  assert.equal(suspicion.deadline(), 2600);
  assert.ok(!suspicion.isAccuser('a'));
});
