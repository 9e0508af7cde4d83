/** Trustees that are here and do not do their part: a new key is made without them, and of nobody else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostId } from '../../../../src/core.ts';
import type { EpochMessage } from '../../../../src/trust/epoch/message.ts';
import { highAssurancePolicy, standardPolicy } from '../../../../src/trust/epoch/policy.ts';
import { idOf } from './engines.ts';
import { patienceMs, quorums, replacedWithin, rotating, typeAt } from './rotation.ts';

/** Ways to be silent: which of its messages a trustee does not send. */
const silences: Readonly<Record<string, (message: EpochMessage) => boolean>> = {
  'deals nothing': ({ type }) => type === 'relay',
  'answers nothing': ({ type }) => type !== 'ask' && type !== 'records',
};

/** The types of a dealing and of its shares. */
const dealt: readonly number[] = [1, 2];

test('where nobody can be done without, one that deals and never says that it has its share is done without', () => {
  for (const [trustees, policy] of [
    [3, standardPolicy],
    [5, highAssurancePolicy],
  ] as const) {
    const net = rotating(trustees, trustees, policy);
    const silent = net.latest.plan.trustees[1]!;
    net.withholds = (from, _to, message) =>
      from === silent &&
      (message.type === 'ack' ||
        message.type === 'prepare' ||
        (message.type === 'relay' && !dealt.includes(message.bytes[typeAt]!)));
    replacedWithin(net, 2 * patienceMs);
    assert.ok(!net.latest.plan.trustees.includes(silent));
  }
});

for (const [how, isWithheld] of Object.entries(silences))
  for (const [hosts, trustees, policy] of quorums)
    test(`of ${hosts} hosts a trustee ${how}, and a new key is made without it (of ${trustees})`, () => {
      const net = rotating(hosts, trustees, policy);
      const silent = net.latest.plan.trustees[1]!;
      net.withholds = (from, _to, message) => from === silent && isWithheld(message);
      replacedWithin(net, patienceMs);
      const { plan } = net.latest;
      assert.ok(!plan.trustees.includes(silent), 'its seat is another’s, or vacant');
      assert.equal(plan.trustees.length, Math.min(trustees, hosts - 1));
    });

test('a leader that keeps a trustee from its dealings does not make it lose its seat', () => {
  for (const [trustees, policy, liars] of [
    [5, standardPolicy, 1],
    [5, highAssurancePolicy, 2],
    [7, highAssurancePolicy, 2],
  ] as const) {
    const net = rotating(trustees + 1, trustees, policy);
    const victim = net.latest.plan.trustees.at(-1)!;
    const leaders: readonly HostId[] = net.latest.plan.trustees.slice(0, liars);
    net.withholds = (from, to, message) =>
      leaders.includes(from) && to === victim && message.type === 'start';
    replacedWithin(net, patienceMs);
    for (let i = 0; i < 3; i++) {
      net.rotateGeneration = net.latest.plan.generation;
      replacedWithin(net, patienceMs);
    }
    assert.ok(net.latest.plan.trustees.includes(victim));
  }
});

test('whoever says something again keeps its seat', () => {
  const net = rotating(5, 5, standardPolicy);
  const late = net.latest.plan.trustees[2]!;
  const until = net.now + 17_000;
  net.withholds = (from, _to, message) => from === late && message.type === 'relay' && net.now < until;
  replacedWithin(net, patienceMs);
  assert.ok(net.latest.plan.trustees.includes(late));
  const named = net.hosts.flatMap((host) => host.machine!.reproached(net.now));
  assert.deepEqual(
    named.filter(({ until }) => until !== null),
    [],
  );
});

test('a silent one is named, by all who missed it', () => {
  const net = rotating(6, 5, standardPolicy);
  const silent = net.latest.plan.trustees[1]!;
  net.withholds = (from, _to, message) => from === silent && message.type === 'relay';
  replacedWithin(net, patienceMs);
  assert.ok(net.alarms.some((alarm) => /^silent: .* led: its seat is to be another's/.test(alarm)));
  for (const host of net.hosts.slice(0, 5)) {
    const named = host.machine!.reproached(net.now).map((one) => one.host);
    if (host.id !== silent) assert.deepEqual(named, [silent], `${idOf(host.index)} knows`);
  }
});

test('whoever forgot what it missed is shown once more, and a quorum that knows comes together', () => {
  const net = rotating(5, 5, highAssurancePolicy);
  const silent = net.latest.plan.trustees[1]!;
  const forgetful = net.hosts.find(({ id }) => id === net.latest.plan.trustees[2])!;
  net.withholds = (from, _to, message) => from === silent && message.type === 'relay';
  const isKnown = (): boolean => forgetful.machine!.reproached(net.now).some(({ until }) => until !== null);
  net.run(patienceMs, isKnown);
  assert.ok(isKnown());
  assert.equal(net.latest.plan.generation, 1);
  net.crash(forgetful.index);
  net.start(forgetful.index);
  assert.deepEqual(forgetful.machine!.reproached(net.now), []);
  replacedWithin(net, 2 * patienceMs);
  assert.ok(!net.latest.plan.trustees.includes(silent));
});
