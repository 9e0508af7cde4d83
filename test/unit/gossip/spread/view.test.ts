import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../../src/core.ts';
import { Members } from '../../../../src/gossip/membership/members.ts';
import { Roster } from '../../../../src/gossip/membership/roster.ts';
import { defaultViewParameters, View } from '../../../../src/gossip/spread/view.ts';

function viewOf(size: number) {
  const random = seededRandom(9);
  const members = new Members('self', random, new Roster(), false);
  const effects: string[] = [];
  const view = new View(members, random, defaultViewParameters, (effect) =>
    effects.push(`${effect.type} ${effect.peer}`),
  );
  for (let i = 0; i < size; i++) {
    members.add(`m${i}`);
    view.fill();
  }
  return { members, view, effects };
}

test('a small mesh is fully connected', () => {
  const { view, effects } = viewOf(6);
  assert.equal([...view.neighbours].length, 6);
  assert.equal(effects.length, 6);
});

test('a large mesh gives each agent a bounded view, refilled once it runs low', () => {
  const { members, view } = viewOf(200);
  assert.equal([...view.neighbours].length, 6);
  for (const peer of [...view.neighbours].slice(0, 4)) {
    members.set(members.indexOf(peer)!, { state: 'down', incarnation: 1 });
    view.drop(peer);
    view.fill();
  }
  const left = [...view.neighbours];
  assert.ok(left.length >= 4 && left.length <= 6);
  for (const peer of left) assert.equal(members.state(members.indexOf(peer)!), 'alive');
});

test('a lost neighbour is dialled again after waits that double', () => {
  const { view, effects } = viewOf(3);
  effects.length = 0;
  const waits: number[] = [];
  let now = 0;
  for (let i = 0; i < 5; i++) {
    view.lost('m1', now);
    view.lost('m1', now);
    const due = view.nextWake()!;
    waits.push(due - now);
    now = due;
    view.wake(now);
  }
  assert.deepEqual(effects, Array(5).fill('connect m1'));
  assert.ok(waits[4]! > 4 * waits[0]!);
  view.connected('m1');
  view.lost('m1', now);
  assert.ok(view.nextWake()! - now <= 1.5 * defaultViewParameters.redialMs);
});

test('where there are others, a neighbour that stays out of reach is given up', () => {
  const { view, effects } = viewOf(100);
  const [peer] = [...view.neighbours];
  let now = 0;
  for (let i = 0; i < 10 && [...view.neighbours].includes(peer!); i++) {
    view.lost(peer!, now);
    now = (view.nextWake() ?? now) + 1;
    view.wake(now);
  }
  assert.ok(effects.includes(`disconnect ${peer}`));
});

test('while a fleet starts a few neighbours do, and the view is filled up once nobody else becomes known', () => {
  const { members, view, effects } = viewOf(0);
  let now = 0;
  for (let i = 0; i < 20; i++) {
    members.add(`m${i}`);
    view.fillSoon(now);
    now += 100;
    view.wake(now);
    view.fill();
  }
  const { firstNeighbours, maxNeighbours, restMs } = defaultViewParameters;
  assert.equal(effects.length, firstNeighbours);
  const due = view.nextWake()!;
  assert.ok(due - now > 0.4 * restMs && due - now <= 1.5 * restMs, `${due - now} ms`);
  view.wake(due);
  assert.equal([...view.neighbours].length, maxNeighbours);
  assert.equal(view.nextWake(), null);
});

test('newcomers without end do not keep the view from being filled up', () => {
  const { members, view } = viewOf(0);
  const { maxNeighbours, mostRestMs } = defaultViewParameters;
  let now = 0;
  for (let i = 0; now < mostRestMs; i++) {
    members.add(`m${i}`);
    view.fillSoon(now);
    now += 500;
    view.wake(now);
  }
  assert.equal([...view.neighbours].length, maxNeighbours);
});
