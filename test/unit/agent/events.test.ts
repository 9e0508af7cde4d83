import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventLog, type MeshEvent } from '../../../src/agent/events.ts';
import { Flock } from '../../support/flock.ts';

const event = (incarnation: number): MeshEvent => ({
  type: 'alive',
  at: 1,
  host: 'a'.repeat(64),
  name: 'one',
  incarnation,
  was: 'suspect',
});
const events = (count: number) => Array.from({ length: count }, (_, i) => event(i));

test('events are numbered from one without gaps and read after any number', () => {
  const log = new EventLog(10);
  log.add(events(3));
  assert.equal(log.lastIndex, 3);
  const { lost, events: found } = log.read(1, 10);
  assert.equal(lost, 0);
  assert.deepEqual(
    found.map(({ index }) => index),
    [2, 3],
  );
  assert.equal(log.read(0, 2).events.length, 2);
  assert.deepEqual(log.read(3, 10), { lost: 0, events: [] });
});

test('who falls behind what is kept learns how many events were lost', () => {
  const log = new EventLog(4);
  log.add(events(10));
  const { lost, events: found } = log.read(2, 10);
  assert.equal(lost, 4);
  assert.deepEqual(
    found.map(({ index }) => index),
    [7, 8, 9, 10],
  );
});

test('a number from before a restart begins at what is kept', () => {
  const log = new EventLog(4);
  assert.deepEqual(log.read(99, 10), { lost: 0, events: [] });
  log.add(events(2));
  assert.deepEqual(
    log.read(99, 10).events.map(({ index }) => index),
    [1, 2],
  );
});

test('listeners hear of additions until they stop', () => {
  const log = new EventLog();
  let heard = 0;
  const stop = log.onAdd(() => heard++);
  log.add(events(2));
  log.add([]);
  stop();
  log.add(events(1));
  assert.equal(heard, 1);
});

test('an agent tells of joins, records, suspicions, deaths, returns and leaves', () => {
  const { flock, first } = Flock.founded();
  const token = flock.token(first);
  const second = flock.join('second', first, token);
  const third = flock.join('third', first, token);
  second.register('web');
  flock.run(1000);
  const records = first.events.filter((one) => one.type === 'record');
  const web = records.find(({ kind, key }) => kind === 'service' && key === 'web');
  assert.deepEqual([web?.author, web?.name, web?.deleted], [second.id, 'second', false]);
  assert.ok(web!.writtenAt <= web!.at);
  second.kill();
  flock.run(20_000);
  second.start();
  flock.run(10_000);
  third.ask({ type: 'leave' });
  flock.run(5000);
  const told = (name: string) =>
    first.events.flatMap((one) => (one.type !== 'record' && one.name === name ? [one.type] : []));
  assert.deepEqual(told('second'), ['joined', 'suspect', 'down', 'alive']);
  assert.equal(told('third').at(-1), 'left');
});

test('what an agent loads at its start is no event', () => {
  const { flock, first } = Flock.founded();
  first.register('web');
  flock.run(1000);
  first.kill();
  first.events.length = 0;
  first.start();
  flock.run(1000);
  assert.deepEqual(
    first.events.filter((one) => one.type === 'record' && one.kind === 'service'),
    [],
  );
});
