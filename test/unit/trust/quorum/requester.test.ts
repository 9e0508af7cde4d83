import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostId } from '../../../../src/core.ts';
import { decodeIssueReply } from '../../../../src/trust/issuance/issuance.ts';
import { leafRefusal, leafTask } from '../../../../src/trust/quorum/leaf.ts';
import type { QuorumMessage } from '../../../../src/trust/quorum/message.ts';
import { maxSignings } from '../../../../src/trust/quorum/requester.ts';
import { founder } from '../mesh.ts';
import { ask, badShare, courtOf, frame, isSigned, spoil } from './leaves.ts';

test('a bad share is blamed on its trustee, who is done without now and asked last then', () => {
  const { court, state } = courtOf(2, 3);
  spoil(court, 1, badShare);
  const task = ask(court, state);
  court.deliver();
  assert.ok(isSigned(court, 'api', task.message));
  assert.deepEqual(court.blamed(), ['bad-share 1']);
  const before = court.said.length;
  court.sign('again', task.purpose, task.message);
  court.deliver();
  assert.ok(isSigned(court, 'again', task.message));
  assert.ok(!court.said.slice(before).some(({ to }) => to === court.hosts[0]));
});

test('as many bad shares as leave a quorum are routed around, one more is not', () => {
  const { court, state } = courtOf(3, 5);
  spoil(court, 1, badShare);
  spoil(court, 4, badShare);
  const task = ask(court, state);
  court.finish();
  assert.ok(isSigned(court, 'api', task.message));
  spoil(court, 2, badShare);
  court.sign('again', task.purpose, task.message);
  court.finish();
  assert.equal(court.outcome('again'), 'quorum-lost');
});

test('two processes with one trustee key are noticed by whoever hears both, and done without', () => {
  const { court, state } = courtOf(2, 3);
  const [doubled] = court.hosts as [HostId];
  const original = court.trustees.get(doubled)!;
  const copy = court.clone(doubled);
  let turn = 0;
  court.tamper = (message, _from, to) => {
    // Connections end up at the one or the other.
    if (message.type === 'ask' && to === doubled)
      court.trustees.set(doubled, turn++ % 2 === 0 ? original : copy);
    return [message];
  };
  for (const name of ['one', 'two', 'three', 'four']) {
    const task = ask(court, state, 'api', name);
    court.deliver();
    assert.ok(isSigned(court, name, task.message));
    court.now += 1000;
  }
  const alarms = court.outcomes.filter((effect) => effect.type === 'alarm');
  assert.deepEqual(
    alarms.map(({ code, host: named }) => [code, named]),
    [['cloned-trustee', doubled]],
  );
  assert.equal(turn, 3, 'from then on it is not asked while others are there');
});

test('a copy of the memory of a trustee promises the same nonces again, and is noticed', () => {
  const { court, state } = courtOf(2, 3);
  const first = new Map<HostId, QuorumMessage>();
  court.tamper = (message, from) => {
    if (message.type !== 'commitment' || from !== court.hosts[0]) return [message];
    const { nonceId, bytes } = { ...message, ...first.get(from) };
    first.set(from, message);
    return [{ ...message, nonceId, bytes }];
  };
  for (const name of ['one', 'two']) {
    const task = ask(court, state, 'api', name);
    court.deliver();
    assert.ok(isSigned(court, name, task.message));
  }
  assert.equal(court.outcomes.filter((effect) => effect.type === 'alarm').length, 1);
});

test('a trustee that restarts is no clone', () => {
  const { court, state } = courtOf(2, 3);
  for (const name of ['one', 'two', 'three']) {
    const task = ask(court, state, 'api', name);
    court.deliver();
    assert.ok(isSigned(court, name, task.message));
    for (const id of court.hosts) court.restart(id);
  }
  assert.deepEqual(
    court.outcomes.map((effect) => effect.type),
    ['signed', 'signed', 'signed'],
  );
});

test('silent and unreachable trustees are routed around, and asked last for a while', () => {
  const { court, state } = courtOf(2, 3);
  court.kill(court.hosts[0]!);
  const started = court.now;
  const task = ask(court, state);
  court.finish();
  assert.ok(isSigned(court, 'api', task.message));
  assert.equal(court.now - started, 1000);
  const again = ask(court, state, 'api', 'again');
  court.deliver();
  assert.ok(isSigned(court, 'again', again.message), 'without waiting');
  court.now += 60_000;
  const fresh = leafTask(frame({ issuedAt: court.now }), state.bundle, court.self.publicKey);
  court.sign('later', fresh.purpose, fresh.message);
  court.feed({ type: 'unreachable', host: court.hosts[0]! });
  court.deliver();
  assert.ok(isSigned(court, 'later', fresh.message), 'and who is known to be unreachable is not waited for');
});

test('an attempt that ends early wastes no nonces of the trustees that did promise some', () => {
  const { court, state } = courtOf(4, 7);
  for (const seat of [1, 3])
    spoil(court, seat, (message) =>
      message.type === 'commitment'
        ? [
            {
              type: 'refused',
              requestId: message.requestId,
              attempt: message.attempt,
              code: 'no',
              message: 'no',
              retryAfterMs: 0,
            },
          ]
        : [message],
    );
  const task = ask(court, state);
  court.deliver();
  assert.ok(isSigned(court, 'api', task.message));
  for (const [i, id] of court.hosts.entries())
    assert.equal(
      court.said.filter(({ to, message }) => to === id && message.type === 'ask').length,
      i < 6 ? 1 : 0,
    );
});

test('when those who refuse do not agree why, the failure counts what they said', () => {
  const { court, state } = courtOf(3, 5);
  court.kill(court.hosts[0]!);
  spoil(court, 2, ({ requestId, attempt }) => [
    { type: 'refused', requestId, attempt, code: 'isolated', message: 'alone', retryAfterMs: 2000 },
  ]);
  spoil(court, 5, badShare);
  ask(court, state);
  court.finish();
  const failed = court.outcomes.find((effect) => effect.type === 'failed');
  assert.equal(failed?.code, 'quorum-lost');
  for (const part of ['1 silent', '1 isolated', '1 bad-share'])
    assert.match(failed.message, new RegExp(part));
  assert.equal(failed.retryAfterMs, 0, 'who was silent may answer at any time');
  const reply = decodeIssueReply(leafRefusal(7, failed));
  assert.ok(reply.type === 'refused' && reply.code === 'quorum-lost' && reply.requestId === 7);
});

test('that nobody can be reached is not their word but a lost quorum, and says so', () => {
  const { court, state } = courtOf(2, 3);
  ask(court, state);
  for (const host of court.hosts.slice(0, 2)) court.feed({ type: 'unreachable', host });
  const failed = court.outcomes.find((effect) => effect.type === 'failed');
  assert.equal(failed?.code, 'quorum-lost');
  assert.equal(failed.message, '2 trustees must sign, and 1 are left (2 unreachable)');
});

test('many requests at once are worked through a few at a time, and beyond 64 told to come back', () => {
  const { court, state } = courtOf(2, 3, founder);
  const task = leafTask(frame(), state.bundle, court.self.publicKey);
  for (let i = 0; i <= maxSignings; i++) court.sign(`r${i}`, task.purpose, task.message);
  assert.equal(court.outcome(`r${maxSignings}`), 'too-many-requests');
  court.finish();
  for (let i = 0; i < maxSignings; i++) assert.ok(isSigned(court, `r${i}`, task.message));
});

test('a request that nobody answers ends in time, those that wait behind it too', () => {
  const { court, state } = courtOf(4, 7);
  for (const id of court.hosts) court.kill(id);
  const started = court.now;
  for (let i = 0; i < 10; i++) ask(court, state, 'api', `r${i}`);
  court.finish();
  assert.ok(court.now - started <= 9000);
  assert.equal(court.requester.nextWake(), null);
  for (let i = 0; i < 10; i++)
    assert.ok(['quorum-lost', 'timed-out'].includes(String(court.outcome(`r${i}`))));
});

test('with too few trustees to ask, nobody is asked', () => {
  const { court, state } = courtOf(2, 3);
  const task = leafTask(frame(), state.bundle, court.self.publicKey);
  court.sign('few', task.purpose, task.message, [court.hosts[0]!, court.hosts[0]!, founder.publicKey]);
  assert.equal(court.outcome('few'), 'quorum-lost');
  assert.deepEqual(court.deliver().said, []);
});

test('an epoch whose outcome is not what its descriptor says is asked nothing', () => {
  const { court, state } = courtOf(2, 3);
  const task = leafTask(frame(), state.bundle, court.self.publicKey);
  const epoch = { ...court.epoch, rootKey: founder.publicKey, hash: 'another' };
  court.feed({ type: 'sign', task: { ...task, requestId: 'x', epoch, order: court.hosts } });
  assert.equal(court.outcome('x'), 'outcome-unsound');
});

test('a trustee that asks for an hour of patience does not get it when others ask for seconds', () => {
  const { court, state } = courtOf(2, 3);
  for (const [seat, retryAfterMs] of [
    [1, 3_600_000],
    [2, 2000],
  ] as const)
    spoil(court, seat, ({ requestId, attempt }) => [
      { type: 'refused', requestId, attempt, code: 'isolated', message: 'alone', retryAfterMs },
    ]);
  ask(court, state);
  court.deliver();
  const failed = court.outcomes.find((effect) => effect.type === 'failed');
  assert.deepEqual([failed?.code, failed?.retryAfterMs], ['isolated', 2000]);
});
