/** Trustees that are here and do not do their part: a new key is made without them, and of nobody else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostId } from '../../../../src/core.ts';
import type { CryptoReport } from '../../../../src/trust/epoch/crypto-port.ts';
import type { EpochMessage } from '../../../../src/trust/epoch/message.ts';
import {
  highAssurancePolicy,
  sharesNeeded,
  standardPolicy,
  type TrusteePolicy,
} from '../../../../src/trust/epoch/policy.ts';
import { type MessageType, messageTypes } from '../../../../src/trust/frost/envelope.ts';
import { type Cryptography, EpochNet, type HostCrypto } from '../epoch/net.ts';
import { idOf, realCryptography, type Tap } from './engines.ts';

const hurried = { replaceAfterMs: 10 * 60_000, settleMs: 5000 };
/** Of virtual time. Three dealings that come to nothing and two that the silent one leads, each after a round. */
const patienceMs = 180_000;
/** One dealing in which what is lacking is claimed, and a round that comes to nothing before it. */
const hurriedMs = 30_000;

/** A mesh whose quorum has formed, and whose root is to be replaced from now on. */
function rotating(
  hosts: number,
  trustees: number,
  policy: TrusteePolicy,
  cryptography = realCryptography(),
): EpochNet {
  const net = new EpochNet({ seed: 1, hosts, policy: { ...policy, ...hurried }, cryptography });
  const isFormed = (): boolean => net.latest.plan.trustees.length === trustees && net.isSettled();
  net.run(5 * 60_000, isFormed);
  assert.ok(isFormed());
  // Whoever has only just come is not yet expected to answer.
  net.run(30_000);
  net.rotateGeneration = net.latest.plan.generation;
  return net;
}

function replacedWithin(net: EpochNet, withinMs: number): void {
  const { generation } = net.latest.plan;
  const since = net.now;
  net.run(withinMs, () => net.latest.plan.generation > generation);
  assert.ok(net.latest.plan.generation > generation, `no new key within ${withinMs} ms: ${net.alarms}`);
  assert.ok(net.now - since <= withinMs);
  assert.deepEqual(net.forks, []);
}

/** Ways to be silent: which of its messages a trustee does not send. */
const silences: Readonly<Record<string, (message: EpochMessage) => boolean>> = {
  'deals nothing': ({ type }) => type === 'relay',
  'answers nothing': ({ type }) => type !== 'ask' && type !== 'records',
};

/** Where in an encoded envelope of a ceremony its type is, and those of a dealing and of its shares. */
const typeAt = 32;
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

/** Which message of a ceremony a report sends, by the place of its type among `messageTypes`; null for any other report. */
function sentType(report: CryptoReport): MessageType | null {
  return report.type === 'send' ? (messageTypes[report.bytes[typeAt]! - 1] ?? null) : null;
}

const quorums = [
  [3, 3, standardPolicy],
  [6, 5, standardPolicy],
  [5, 5, highAssurancePolicy],
  [9, 7, highAssurancePolicy],
] as const;

/** Else a key is made where one has no share of it, and is given one by the next epoch. */
function isEachNeeded({ latest: { plan } }: EpochNet): boolean {
  return sharesNeeded(plan.threshold, plan.trustees.length) === plan.trustees.length;
}

for (const [hosts, trustees, policy] of quorums) {
  test(`of ${trustees} trustees one says nothing to another, and the new key is made with it all the same`, () => {
    const net = rotating(hosts, trustees, policy);
    const [silent, victim] = net.latest.plan.trustees.slice(-2);
    net.withholds = (from, to, message) => from === silent && to === victim && message.type !== 'records';
    replacedWithin(net, hurriedMs);
    assert.ok(net.latest.plan.trustees.includes(silent!));
  });

  test(`of ${trustees} trustees two cannot reach each other, and the new key is made all the same`, () => {
    const net = rotating(hosts, trustees, policy);
    const cut = net.latest.plan.trustees.slice(0, 2);
    net.withholds = (from, to) => cut.includes(from) && cut.includes(to);
    // Neither can lead, for it cannot ask the other.
    replacedWithin(net, patienceMs);
    for (const host of cut) assert.ok(net.latest.plan.trustees.includes(host));
    const named = net.hosts.flatMap((host) => host.machine!.reproached(net.now));
    assert.ok(named.every(({ until }) => until === null));
  });

  test(`of ${trustees} trustees one keeps a share from another, also in public, and that helps it nothing`, () => {
    let isLying = false;
    let [liar, victim]: readonly HostId[] = [];
    const taps = new Map(
      Array.from({ length: hosts }, (_, index): [number, Tap] => [
        index,
        (_order, said) =>
          said.filter((report) => {
            if (!isLying || idOf(index) !== liar || report.type !== 'send') return true;
            const type = sentType(report);
            return type !== 'answer' && (type !== 'share' || report.to !== victim);
          }),
      ]),
    );
    const net = rotating(hosts, trustees, policy, realCryptography(taps));
    [liar, victim] = net.latest.plan.trustees.slice(-2);
    isLying = true;
    replacedWithin(net, patienceMs);
    assert.ok(net.latest.plan.trustees.includes(victim!));
    if (isEachNeeded(net)) assert.ok(!net.latest.plan.trustees.includes(liar!));
  });

  test(`of ${trustees} trustees one does not say to a leader that it has its share, and others do`, () => {
    const net = rotating(hosts, trustees, policy);
    const silent = net.latest.plan.trustees.at(-1)!;
    net.withholds = (from, _to, { type }) => from === silent && (type === 'ack' || type === 'prepare');
    replacedWithin(net, hurriedMs);
    assert.ok(net.latest.plan.trustees.includes(silent));
  });

  test(`of ${trustees} trustees one says that it has its share without an ack, and that helps it nothing`, () => {
    const liar = 1;
    let isLying = false;
    const real = realCryptography();
    const start: Cryptography['start'] = (index, disk, net) => {
      const crypto = real.start(index, disk, net);
      const order: HostCrypto['order'] = (told) =>
        crypto.order(
          isLying && index === liar && told.type === 'kept' ? { ...told, receipt: new Uint8Array(9) } : told,
        );
      return {
        order,
        forget: (names) => crypto.forget?.(names),
        nextWake: () => crypto.nextWake?.() ?? null,
        wake: () => crypto.wake?.() ?? [],
      };
    };
    const net = rotating(hosts, trustees, policy, { ...real, start });
    assert.ok(net.latest.plan.trustees.includes(idOf(liar)));
    isLying = true;
    net.withholds = (from, _to, { type }) => from === idOf(liar) && (type === 'ack' || type === 'prepare');
    replacedWithin(net, patienceMs);
    if (isEachNeeded(net)) assert.ok(!net.latest.plan.trustees.includes(idOf(liar)));
  });
}

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
