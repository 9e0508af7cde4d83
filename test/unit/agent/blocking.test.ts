import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  defaultWaitMs,
  maxWaitMs,
  mustWait,
  parseWait,
  Waiters,
  withJitter,
} from '../../../src/agent/blocking.ts';

test('index and wait are read in every form that clients send', () => {
  assert.deepEqual(parseWait(null, null), { seenIndex: 0, waitMs: defaultWaitMs });
  assert.deepEqual(parseWait('7', '525s'), { seenIndex: 7, waitMs: 525_000 });
  assert.deepEqual(parseWait('7', '1ms'), { seenIndex: 7, waitMs: 1 });
  assert.deepEqual(parseWait('7', '100000ms'), { seenIndex: 7, waitMs: 100_000 });
  assert.deepEqual(parseWait('7', '20m'), { seenIndex: 7, waitMs: maxWaitMs });
  assert.deepEqual(parseWait('7', '0s'), { seenIndex: 7, waitMs: defaultWaitMs });
});

test('a malformed index or wait is refused with its name', () => {
  assert.throws(() => parseWait('-1', null), { field: 'index' });
  assert.throws(() => parseWait('seven', null), { field: 'index' });
  assert.throws(() => parseWait('7', 'soon'), { field: 'wait' });
});

test('jitter adds at most a sixteenth', () => {
  assert.equal(withJitter(1600, 0), 1600);
  assert.ok(withJitter(1600, 0.999) < 1700);
});

test('a caller waits only when it has seen exactly the present index', () => {
  assert.equal(mustWait(0, 5), false);
  assert.equal(mustWait(5, 5), true);
  assert.equal(mustWait(4, 5), false);
  assert.equal(mustWait(900, 5), false, 'an index from before a restart');
});

test('a change wakes those who wait for its topic, once, and nobody else', () => {
  const waiters = new Waiters();
  const woken: string[] = [];
  waiters.add('service:api', () => woken.push('api'));
  waiters.add('service:web', () => woken.push('web'));
  waiters.wake(['service:api', 'services']);
  waiters.wake(['service:api']);
  assert.deepEqual(woken, ['api']);
  assert.equal(waiters.count, 1);
  waiters.wakeAll();
  assert.deepEqual(woken, ['api', 'web']);
  assert.equal(waiters.count, 0);
});

test('beyond the limit nobody more waits, and a place is free again when one stops', () => {
  const waiters = new Waiters(2);
  const stop = waiters.add('a', () => {});
  waiters.add('b', () => {});
  assert.throws(() => waiters.add('c', () => {}), { code: 'too-many-waiting' });
  stop();
  stop();
  assert.equal(waiters.count, 1);
  waiters.add('c', () => {});
});
