/** Trustees that do their part towards some and not towards others: that holds up no new key, and nobody honest pays. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostId } from '../../../../src/core.ts';
import type { CryptoOrder, CryptoReport } from '../../../../src/trust/epoch/crypto-port.ts';
import { highAssurancePolicy, sharesNeeded } from '../../../../src/trust/epoch/policy.ts';
import { decodeVoucher, encodeVoucher, voucherMessage } from '../../../../src/trust/epoch/voucher.ts';
import { type MessageType, messageTypes } from '../../../../src/trust/frost/envelope.ts';
import { type Cryptography, type EpochNet, type HostCrypto, mesh } from '../epoch/net.ts';
import { hostOf } from '../frost/parties.ts';
import { idOf, realCryptography } from './engines.ts';
import { hurriedMs, patienceMs, quorums, replacedWithin, rotating, typeAt } from './rotation.ts';

/** How the engine of a liar differs from the real one: what it is told, and what it says. */
interface Vice {
  readonly told?: (order: CryptoOrder) => CryptoOrder | null;
  readonly says?: (report: CryptoReport) => boolean;
}

/** Those of `vices` lie from when they are in it. */
function lyingCryptography(vices: ReadonlyMap<HostId, Vice>): Cryptography {
  const real = realCryptography();
  const start: Cryptography['start'] = (index, disk, net) => {
    const crypto = real.start(index, disk, net);
    const spoken = (said: readonly CryptoReport[]): readonly CryptoReport[] =>
      said.filter((report) => vices.get(idOf(index))?.says?.(report) !== false);
    const order: HostCrypto['order'] = (told) => {
      const heard = vices.get(idOf(index))?.told?.(told);
      return heard === null ? [] : spoken(crypto.order(heard ?? told));
    };
    return {
      order,
      forget: (names) => crypto.forget?.(names),
      nextWake: () => crypto.nextWake?.() ?? null,
      wake: () => spoken(crypto.wake?.() ?? []),
    };
  };
  return { ...real, start };
}

function typeOf(bytes: Uint8Array): MessageType | undefined {
  return messageTypes[bytes[typeAt]! - 1];
}

/** Keeps the shares of some from them, and answers nobody. */
function stingyTo(victims: readonly HostId[]): Vice {
  const isKept = (to: HostId, type: MessageType | undefined): boolean =>
    type === 'answer' || (type === 'share' && victims.includes(to));
  return { says: (report) => report.type !== 'send' || !isKept(report.to, typeOf(report.bytes)) };
}

/** Takes in no shares, says that it lacks them all, and has none in the end. */
const deaf: Vice = {
  told: (order) =>
    order.type === 'deliver' && ['share', 'answer'].includes(typeOf(order.bytes) ?? '') ? null : order,
};

/** Holds its share, and says so with something that is no ack. */
const receiptless: Vice = {
  told: (order) => (order.type === 'kept' ? { ...order, receipt: new Uint8Array(9) } : order),
};

/** The same with an ack that no voter takes, though the leader might: of the right epoch, and of another ballot. */
function wrongAck(label: string, net: () => EpochNet): Vice {
  return {
    told: (order) => {
      if (order.type !== 'kept' || order.receipt.length === 0) return order;
      const ack = decodeVoucher(order.receipt);
      const content = { ...ack, value: { ...ack.value!, ballot: ack.ballot + 1 } };
      const { publicKey, sign } = hostOf(label);
      const signature = sign(voucherMessage(mesh, net().latest.hash, content));
      return { ...order, receipt: encodeVoucher({ ...content, by: publicKey, signature }) };
    },
  };
}

/** Else a key is made where one has no share of it, and is given one by the next epoch. */
function isEachNeeded({ latest: { plan } }: EpochNet): boolean {
  return sharesNeeded(plan.threshold, plan.trustees.length) === plan.trustees.length;
}

for (const [hosts, trustees, policy] of quorums) {
  test(`of ${trustees} trustees of ${hosts} hosts one says nothing to another, and the new key is made with it all the same`, () => {
    const net = rotating(hosts, trustees, policy);
    const [silent, victim] = net.latest.plan.trustees.slice(-2);
    net.withholds = (from, to, message) => from === silent && to === victim && message.type !== 'records';
    replacedWithin(net, hurriedMs);
    assert.ok(net.latest.plan.trustees.includes(silent!));
  });

  test(`of ${trustees} trustees of ${hosts} hosts two cannot reach each other, and the new key is made all the same`, () => {
    const net = rotating(hosts, trustees, policy);
    const cut = net.latest.plan.trustees.slice(0, 2);
    net.withholds = (from, to) => cut.includes(from) && cut.includes(to);
    // Neither can lead, for it cannot ask the other.
    replacedWithin(net, patienceMs);
    for (const host of cut) assert.ok(net.latest.plan.trustees.includes(host));
    const named = net.hosts.flatMap((host) => host.machine!.reproached(net.now));
    assert.ok(named.every(({ until }) => until === null));
  });

  test(`of ${trustees} trustees of ${hosts} hosts one does not say to a leader that it has its share, and others do`, () => {
    const net = rotating(hosts, trustees, policy);
    const silent = net.latest.plan.trustees.at(-1)!;
    net.withholds = (from, _to, { type }) => from === silent && (type === 'ack' || type === 'prepare');
    replacedWithin(net, hurriedMs);
    assert.ok(net.latest.plan.trustees.includes(silent));
  });

  for (const [how, vice] of [
    ['keeps a share from another, also in public', stingyTo],
    ['takes no shares and says that it lacks them', () => deaf],
    ['says that it has its share, without an ack', () => receiptless],
  ] as const)
    test(`of ${trustees} trustees of ${hosts} hosts one ${how}, and that helps it nothing`, () => {
      const vices = new Map<HostId, Vice>();
      const net = rotating(hosts, trustees, policy, lyingCryptography(vices));
      const [victim, liar] = net.latest.plan.trustees.slice(-2);
      vices.set(liar!, vice([victim!]));
      net.withholds = (from, _to, { type }) => from === liar && (type === 'ack' || type === 'prepare');
      const honest = net.latest.plan.trustees.filter((host) => host !== liar);
      replacedWithin(net, patienceMs);
      if (isEachNeeded(net)) assert.ok(!net.latest.plan.trustees.includes(liar!));
      for (const host of honest) assert.ok(net.latest.plan.trustees.includes(host));
    });
}

test('an ack that no voter would take is counted by no leader, and whoever gives it is done without', () => {
  for (const [hosts, trustees, policy] of quorums) {
    const vices = new Map<HostId, Vice>();
    const net = rotating(hosts, trustees, policy, lyingCryptography(vices));
    const liar = idOf(1);
    assert.ok(net.latest.plan.trustees.includes(liar));
    vices.set(
      liar,
      wrongAck('host-1', () => net),
    );
    net.withholds = (from, _to, { type }) => from === liar && (type === 'ack' || type === 'prepare');
    replacedWithin(net, patienceMs);
    if (isEachNeeded(net)) assert.ok(!net.latest.plan.trustees.includes(liar));
  }
});

test('of seven trustees two lie together, each in its way, and the new key is made without one of them at least', () => {
  const pairs: readonly (readonly ((victims: readonly HostId[]) => Vice)[])[] = [
    [stingyTo, stingyTo],
    [stingyTo, () => deaf],
    [() => deaf, () => receiptless],
  ];
  for (const [one, other] of pairs) {
    const vices = new Map<HostId, Vice>();
    const net = rotating(9, 7, highAssurancePolicy, lyingCryptography(vices));
    const { trustees } = net.latest.plan;
    const liars = [trustees[1]!, trustees[5]!];
    const honest = trustees.filter((host) => !liars.includes(host));
    vices.set(liars[0]!, one!(honest.slice(0, 2)));
    vices.set(liars[1]!, other!(honest.slice(2, 4)));
    net.withholds = (from, _to, { type }) => liars.includes(from) && (type === 'ack' || type === 'prepare');
    replacedWithin(net, 2 * patienceMs);
    for (const host of honest) assert.ok(net.latest.plan.trustees.includes(host));
    assert.ok(liars.some((host) => !net.latest.plan.trustees.includes(host)));
  }
});
