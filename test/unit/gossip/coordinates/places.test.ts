import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../../src/core.ts';
import { type Coordinate, originCoordinate } from '../../../../src/gossip/coordinates/coordinate.ts';
import { Places } from '../../../../src/gossip/coordinates/places.ts';
import { MemberList } from '../../../../src/gossip/member-list.ts';

const at = (placeMs: number): Coordinate => ({
  ...originCoordinate,
  vectorMs: [placeMs, 0, 0, 0, 0, 0, 0, 0],
});

function placesWithReports() {
  const told: { id: string; coordinate: Coordinate }[] = [];
  const places = new Places('self', seededRandom(1), ({ id, coordinate }) => told.push({ id, coordinate }));
  return { places, told };
}

test('where a member is, is told once, and again only after a move that matters', () => {
  const { places, told } = placesWithReports();
  places.note('a', at(20));
  places.note('a', at(20.5));
  places.note('a', at(19.5));
  assert.deepEqual(told, [{ id: 'a', coordinate: at(20) }]);
  places.note('a', at(22));
  assert.deepEqual(told.at(-1), { id: 'a', coordinate: at(22) });
  places.note('b', at(0));
  places.note('b', at(0.05));
  places.note('b', at(0.2));
  assert.deepEqual(
    told.slice(2).map(({ coordinate }) => coordinate),
    [at(0), at(0.2)],
  );
});

test('that a place has become one to rely on is told, though nothing moved', () => {
  const { places, told } = placesWithReports();
  const errors = [1.5, 0.6, 0.4, 0.1, 0.7];
  for (const error of errors) places.note('a', { ...at(20), error });
  assert.deepEqual(
    told.map(({ coordinate }) => coordinate.error),
    [1.5, 0.4, 0.7],
  );
});

test('a measured round trip moves this agent, which is told as its own coordinate', () => {
  const { places, told } = placesWithReports();
  places.note('a', at(0));
  places.observe('a', 50);
  const own = told.at(-1);
  assert.equal(own?.id, 'self');
  assert.deepEqual(own?.coordinate, places.own);
  assert.notDeepEqual(places.own, originCoordinate);
});

test('in a mesh at rest the rest of the agent is told nothing more', () => {
  const { places, told } = placesWithReports();
  for (let i = 0; i < 300; i++) {
    places.note('a', at(40));
    places.observe('a', 40 + (i % 3) * 0.1);
  }
  const settled = told.length;
  for (let i = 0; i < 300; i++) {
    places.note('a', at(40));
    places.observe('a', 40 + (i % 3) * 0.1);
  }
  assert.ok(told.length - settled <= 3, `${told.length - settled} reports at rest`);
});

test('of a member that was forgotten nothing is known, and it is told anew when it is back', () => {
  const { places, told } = placesWithReports();
  places.note('a', at(20));
  places.forget('a');
  places.observe('a', 30);
  assert.deepEqual(places.own, originCoordinate);
  places.note('a', at(20));
  assert.equal(told.length, 2);
});

test('estimates come from what was reported of members and of this agent, and of nobody else', () => {
  const list = new MemberList('self', 0);
  list.add('a', 0);
  list.add('b', 0);
  for (const [id, placeMs] of [
    ['self', 0],
    ['a', 30],
    ['b', 70],
    ['stranger', 1],
  ] as const)
    list.take({ type: 'coordinate', id, coordinate: at(placeMs) }, 0);
  const heights = 2 * originCoordinate.heightMs;
  assert.equal(list.estimateMs('self', 'a'), 30 + heights);
  assert.equal(list.estimateMs('b', 'a'), 40 + heights);
  assert.equal(list.estimateMs('a', 'a'), 0);
  assert.equal(list.estimateMs('self', 'stranger'), null);
  list.remove('a');
  assert.equal(list.estimateMs('self', 'a'), null);
});
