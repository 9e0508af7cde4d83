import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../../src/core.ts';
import { Members } from '../../../../src/gossip/membership/members.ts';
import { Roster } from '../../../../src/gossip/membership/roster.ts';

function tableOf(size: number, seed = 1): Members {
  const table = new Members('self', seededRandom(seed), new Roster(), false);
  for (let i = 0; i < size; i++) table.add(`m${i}`);
  return table;
}

test('a round visits every reachable member once, in an order that differs between rounds and agents', () => {
  const orders = new Set<string>();
  for (const seed of [1, 2, 3]) {
    const table = tableOf(17, seed);
    table.nextInRound();
    while (table.nextInRound() !== 0);
    for (let round = 0; round < 2; round++) {
      const visited = Array.from({ length: 17 }, () => table.nextInRound());
      assert.deepEqual(
        [...visited].sort((a, b) => a! - b!),
        Array.from({ length: 17 }, (_, i) => i),
      );
      orders.add(visited.join());
    }
  }
  assert.ok(orders.size > 2);
});

test('down and left members are neither in the round nor in a sample; down ones are found apart', () => {
  const table = tableOf(5);
  table.set(1, { state: 'down', incarnation: 1 });
  table.set(2, { state: 'left', incarnation: 1 });
  assert.equal(table.reachableCount, 3);
  for (let i = 0; i < 20; i++) assert.ok(![1, 2].includes(table.nextInRound()!));
  assert.deepEqual(table.sample(10, 0).sort(), [3, 4]);
  assert.equal(table.nextDown(), 1);
  table.set(1, { state: 'alive', incarnation: 2 });
  assert.equal(table.nextDown(), undefined);
  assert.deepEqual(table.describe(1), {
    id: 'm1',
    state: 'alive',
    incarnation: 2,
    roundTripMs: null,
  });
});

test('a member that was removed is a stranger, and its incarnation has not fallen when it returns', () => {
  const table = tableOf(3);
  table.set(1, { state: 'down', incarnation: 7 });
  table.remove(1);
  assert.equal(table.indexOf('m1'), undefined);
  assert.equal(table.count, 2);
  assert.equal(table.downCount, 0);
  assert.ok(table.add('m1'));
  assert.equal(table.incarnation(1), 7);
});

test('on a shared roster everybody but this agent is a member without taking memory', () => {
  const roster = new Roster();
  for (let i = 0; i < 1000; i++) roster.add(`m${i}`);
  const table = new Members('m5', seededRandom(1), roster, true);
  assert.equal(table.count, 999);
  assert.equal(table.indexOf('m5'), undefined);
  assert.ok(!table.sample(50, undefined).includes(5));
  assert.equal([...table.all()].length, 999);
});

test('the round trip is smoothed upwards, and a quicker answer is believed at once', () => {
  const table = tableOf(1);
  table.noteRoundTrip(0, 8);
  table.noteRoundTrip(0, 16);
  assert.equal(table.describe(0).roundTripMs, 9);
  table.noteRoundTrip(0, 2);
  assert.equal(table.describe(0).roundTripMs, 2);
});
