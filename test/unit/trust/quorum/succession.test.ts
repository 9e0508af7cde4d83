/** The epoch agreement with real engines: every root key and every signature here is one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EpochDescriptor } from '../../../../src/trust/epoch/descriptor.ts';
import { encodeMessage } from '../../../../src/trust/epoch/message.ts';
import { standardPolicy } from '../../../../src/trust/epoch/policy.ts';
import { encodeScalar, multiplyBase, scalars } from '../../../../src/trust/frost/group.ts';
import type { GroupKey, KeyShare } from '../../../../src/trust/frost/keys.ts';
import { lagrangeWeight } from '../../../../src/trust/frost/polynomial.ts';
import { groupOfEpoch } from '../../../../src/trust/quorum/epoch-group.ts';
import { decodeSecret } from '../../../../src/trust/quorum/held-shares.ts';
import { EpochNet } from '../epoch/net.ts';
import { signWith } from '../frost/parties.ts';
import { EngineCrypto, realCryptography, type Tap } from './engines.ts';

const policy = { ...standardPolicy, replaceAfterMs: 60_000, settleMs: 5000 };
/** Of virtual time: far more than a succession takes in any of these tests. */
const patienceMs = 20 * 60_000;

function netOf(hosts: number, seed = 1, taps?: ReadonlyMap<number, Tap>): EpochNet {
  return new EpochNet({ seed, hosts, policy, cryptography: realCryptography(taps) });
}

/** What this host's store keeps of an epoch. */
function secretOf(net: EpochNet, index: number, { session }: EpochDescriptor): Uint8Array {
  const secret = net.hosts[index]!.disk.secrets.get(session);
  assert.ok(secret !== undefined, `host ${index} keeps its share`);
  return secret;
}

/** The shares that all trustees of the latest epoch keep, each checked to be of its group and seat. */
function keptShares(net: EpochNet): { readonly group: GroupKey; readonly shares: readonly KeyShare[] } {
  const { latest } = net;
  const group = groupOfEpoch(latest);
  const shares = latest.plan.trustees.map((id, i) => {
    const kept = decodeSecret(
      secretOf(
        net,
        net.hosts.findIndex((host) => host.id === id),
        latest,
      ),
    );
    assert.deepEqual(kept.group.encode(), group.encode());
    assert.equal(kept.share.seat, i + 1);
    return kept.share;
  });
  return { group, shares };
}

function runUntil(net: EpochNet, what: string, holds: () => boolean): void {
  net.run(patienceMs, holds);
  assert.ok(holds(), what);
  assert.deepEqual(net.forks, []);
}

/** All that was decided is on disk, and what it replaced is not. */
const writtenMs = 1000;

function settle(net: EpochNet, trustees: number): void {
  const isReached = (): boolean => net.latest.plan.trustees.length === trustees && net.isSettled();
  runUntil(net, `${trustees} trustees, each with its share`, isReached);
  net.run(writtenMs);
}

test('one founder, then three trustees with a new key, then five and seven with the same', () => {
  const net = netOf(7);
  for (let index = 1; index < 7; index++) net.crash(index);
  const roots = [net.latest.rootKey];
  for (const [count, threshold] of [
    [3, 2],
    [5, 3],
    [7, 4],
  ] as const) {
    for (let index = 0; index < count; index++) net.start(index);
    settle(net, count);
    assert.equal(net.latest.plan.threshold, threshold);
    const { group, shares } = keptShares(net);
    signWith(group, shares.slice(-threshold), Buffer.from('a certificate'));
    roots.push(net.latest.rootKey);
  }
  assert.equal(new Set(roots).size, 2, 'the founder’s throwaway root, and one that never existed whole');
  assert.equal(roots[1], roots[3]);
  assert.deepEqual(net.alarms, []);
});

test('no message between trustees ever carries the key that they make, nor any store a share in the clear', () => {
  const net = netOf(5);
  const said: Buffer[] = [];
  net.withholds = (_from, _to, message) => {
    said.push(Buffer.from(encodeMessage(message)));
    return false;
  };
  settle(net, 5);
  net.refreshEpoch = net.latest.plan.epoch;
  const { epoch } = net.latest.plan;
  runUntil(net, 'a refresh', () => net.latest.plan.epoch > epoch && net.isSettled());
  const { group, shares } = keptShares(net);
  const quorum = shares.slice(0, group.threshold);
  const seats = quorum.map(({ seat }) => seat);
  const key = quorum
    .map((share) => scalars.mul(lagrangeWeight(seats, share.seat), share.reveal()))
    .reduce((a, b) => scalars.add(a, b));
  assert.ok(multiplyBase(key).equals(group.commitments[0]!), 'it is the key');
  assert.ok(said.length > 100);
  const secrets = [key, ...shares.map((share) => share.reveal())].flatMap((secret) => {
    const bytes = Buffer.from(encodeScalar(secret));
    return [bytes, Buffer.from(bytes).reverse(), Buffer.from(bytes.toString('hex'))];
  });
  for (const secret of secrets) {
    assert.ok(!said.some((message) => message.includes(secret)), 'nobody says it');
    for (const { disk } of net.hosts)
      for (const value of disk.store.values()) assert.ok(!Buffer.from(value).includes(secret));
  }
});

test('a restart between two epochs finds every share where it was, and deals with it', () => {
  const net = netOf(5);
  settle(net, 5);
  for (let index = 0; index < 5; index++) net.crash(index);
  for (let index = 0; index < 5; index++) net.start(index);
  net.refreshEpoch = net.latest.plan.epoch;
  const before = net.latest;
  runUntil(net, 'a refresh', () => net.latest.plan.epoch > before.plan.epoch && net.isSettled());
  assert.equal(net.latest.rootKey, before.rootKey);
  assert.deepEqual(net.alarms, []);
});

test('a dealer that crashes while shares are made holds nobody up for good', () => {
  const net = netOf(7);
  settle(net, 7);
  for (const role of ['leader', 'dealer'] as const) {
    const before = net.latest;
    net.refreshEpoch = before.plan.epoch;
    const dealing = (): number => net.hosts.findIndex((host) => host.machine?.status().leading === 'deal');
    runUntil(net, 'a dealing begins', () => dealing() !== -1);
    const victim = role === 'leader' ? dealing() : (dealing() + 1) % 7;
    net.crash(victim);
    runUntil(net, 'an epoch without it', () => net.latest.plan.epoch > before.plan.epoch);
    net.start(victim);
    runUntil(net, 'everybody has a share', () => net.isSettled());
    net.run(writtenMs);
    assert.equal(net.latest.rootKey, before.rootKey);
    keptShares(net);
  }
});

test('through loss, splits and crashes the root’s key stays usable, and one', () => {
  for (const seed of [3, 4]) {
    const net = netOf(6, seed);
    net.run(20_000);
    net.loss = 0.15;
    net.duplication = 0.1;
    for (let i = 0; i < 120; i++) net.trouble();
    net.heal();
    const goal = net.latest.plan.epoch + 1;
    net.refreshEpoch = goal - 1;
    runUntil(net, `seed ${seed} recovers`, () => net.latest.plan.epoch >= goal && net.isSettled());
    net.run(writtenMs);
    const { group, shares } = keptShares(net);
    signWith(group, shares.slice(0, group.threshold), Buffer.from('a certificate'));
    assert.deepEqual(net.alarms, []);
  }
});

/** Where in an encoded envelope its type is, and the type of a secret share. */
const typeAt = 32;
const shareType = 2;

/** For its first dealing, sends everybody shares of another polynomial than the one it commits to. */
function cheatOnce(index: number, net: () => EpochNet): Tap {
  let hasCheated = false;
  return (order, said) => {
    if (order.type !== 'begin' || order.session.kind === 'sign' || hasCheated) return said;
    hasCheated = true;
    const other = new EngineCrypto(`host-${index}`, 999, net().hosts[index]!.disk, () => net().now);
    const sends = other.order(order).filter((report) => report.type === 'send');
    return said.map((report) =>
      report.type === 'send' && report.bytes[typeAt] === shareType
        ? sends.find(({ to, bytes }) => to === report.to && bytes[typeAt] === shareType)!
        : report,
    );
  };
}

test('a trustee that deals wrongly is blamed by everybody, and the others get their shares', () => {
  for (const hosts of [3, 5]) {
    const net: EpochNet = netOf(hosts, 1, new Map([[1, cheatOnce(1, () => net)]]));
    settle(net, hosts);
    keptShares(net);
    assert.ok(net.alarms.length >= hosts - 1, `all honest hosts of ${hosts} say so`);
    assert.deepEqual([...new Set(net.alarms)], ['blamed: wrong-share']);
  }
});

test('the shares of an epoch past are shredded, and no share of it helps those of the next', () => {
  const net = netOf(5);
  settle(net, 5);
  const before = net.latest;
  const old = keptShares(net);
  const stolen = secretOf(net, 0, before);
  net.refreshEpoch = before.plan.epoch;
  runUntil(net, 'a refresh', () => net.latest.plan.epoch > before.plan.epoch && net.isSettled());
  net.run(writtenMs);
  const fresh = keptShares(net);
  for (const { disk } of net.hosts) assert.ok(!disk.secrets.has(before.session), 'the old one is gone');
  assert.equal(decodeSecret(stolen).share.belongsTo(fresh.group), false);
  const mixed = [old.shares[0]!, fresh.shares[1]!, fresh.shares[2]!];
  assert.throws(() => signWith(fresh.group, mixed, Buffer.from('a certificate')), /shares make a signature/);
  // A file put back in the place of the new one: the host says so, and signs nothing with it.
  const { disk } = net.hosts[0]!;
  disk.secrets.set(net.latest.session, stolen);
  const thief = new EngineCrypto('host-0', 998, disk, () => net.now);
  const session = {
    kind: 'sign',
    id: 'cd'.repeat(32),
    from: net.latest,
    share: net.latest.session,
    coordinator: net.hosts[1]!.id,
    message: Buffer.from('a certificate'),
  } as const;
  const [report, ...more] = thief.order({ type: 'begin', session });
  assert.deepEqual(more, []);
  assert.ok(report?.type === 'failed' && report.detail.startsWith('share-foreign'));
});

test('three of five sign, whoever they are; one or two sign nothing', () => {
  const net = netOf(5);
  settle(net, 5);
  const { group, shares } = keptShares(net);
  const message = Buffer.from('a certificate');
  for (let subset = 1; subset < 32; subset++) {
    const signers = shares.filter((_, i) => (subset >> i) & 1);
    if (signers.length >= 3) signWith(group, signers, message);
    else {
      assert.throws(() => signWith(group, signers, message), /trustees must sign/);
      // Nor does their sum lead anywhere, with the weights of a smaller group.
      const seats = signers.map(({ seat }) => seat);
      const guess = signers
        .map((share) => scalars.mul(lagrangeWeight(seats, share.seat), share.reveal()))
        .reduce((a, b) => scalars.add(a, b));
      assert.ok(!multiplyBase(guess).equals(group.commitments[0]!));
    }
  }
});
