/** Recovery with real engines: shares that were sealed, opened where their key is, and dealt to who is left. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '../../../../src/core.ts';
import { describeEpoch } from '../../../../src/trust/epoch/descriptor.ts';
import { standardPolicy } from '../../../../src/trust/epoch/policy.ts';
import type { RecoveryOrder } from '../../../../src/trust/epoch/recovery.ts';
import { planRecovery } from '../../../../src/trust/epoch/recovery-plan.ts';
import type { TrusteeView } from '../../../../src/trust/epoch/rules.ts';
import { scalars } from '../../../../src/trust/frost/group.ts';
import { recipientOf } from '../../../../src/trust/frost/key-agreement.ts';
import type { KeyShare } from '../../../../src/trust/frost/keys.ts';
import { lagrangeWeight } from '../../../../src/trust/frost/polynomial.ts';
import { SigningSession } from '../../../../src/trust/frost/signing.ts';
import { type ColdKey, dealForRecovery, openColdSeats } from '../../../../src/trust/quorum/cold-dealer.ts';
import { coldBlocksOf, encodeOutcome, groupOfEpoch } from '../../../../src/trust/quorum/epoch-group.ts';
import { decodeSecret } from '../../../../src/trust/quorum/held-shares.ts';
import { EpochNet, startedAt } from '../epoch/net.ts';
import { entropyOf, hostOf, signWith } from '../frost/parties.ts';
import { realCryptography, seedOf, trustDomain } from './engines.ts';

const policy = { ...standardPolicy, replaceAfterMs: 60_000, settleMs: 5000 };
const patienceMs = 20 * 60_000;
const coldKey: ColdKey = { signer: hostOf('recovery'), agree: recipientOf(seedOf('recovery')) };
const wish = { key: coldKey.signer.publicKey, seats: null };
let drawn = 0;
const entropy = (bytes: number): Uint8Array => Uint8Array.from(entropyOf(`recovery ${drawn++}`, bytes));

function hasCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof Fault && error.code === code;
}

/** A mesh of so many trustees, some of whose shares are cold. */
function netOf(hosts: number, seats: number | null = null, seed = 1): EpochNet {
  const net = new EpochNet({ seed, hosts, policy, cryptography: realCryptography() });
  net.cold = { ...wish, seats };
  net.run(patienceMs, () => net.isSettled() && net.latest.plan.trustees.length === hosts);
  net.run(1000);
  assert.equal(net.latest.plan.trustees.length, hosts);
  return net;
}

/** As the host of that index sees it now. */
function planAt(net: EpochNet, index: number, view: Partial<TrusteeView> = {}) {
  const machine = net.hosts[index]!.machine;
  assert.ok(machine !== null);
  const seen = { ...net.viewOf(net.hosts[index]!), ...view };
  return planRecovery({ current: machine.current, view: seen, policy, foundedAt: startedAt }, net.now);
}

function orderAt(net: EpochNet, index: number, key = coldKey): RecoveryOrder {
  const epoch = net.hosts[index]!.machine!.current;
  return dealForRecovery({ trustDomain, epoch, plan: planAt(net, index), key, entropy });
}

function lose(net: EpochNet, indices: readonly number[]): void {
  for (const index of indices) {
    net.crash(index);
    net.hosts[index]!.disk.store.clear();
    net.hosts[index]!.disk.secrets.clear();
  }
  net.run(10_000);
}

function secretOf(shares: readonly KeyShare[]): bigint {
  const seats = shares.map(({ seat }) => seat);
  return shares
    .map((share) => scalars.mul(lagrangeWeight(seats, share.seat), share.reveal()))
    .reduce((total, term) => scalars.add(total, term), 0n);
}

function sharesKept(net: EpochNet): KeyShare[] {
  return net.hosts.flatMap(({ disk }) => {
    const secret = disk.secrets.get(net.latest.session);
    return secret === undefined ? [] : [decodeSecret(secret).share];
  });
}

test('too few trustees and the cold seats move the root to those who are left, and it is the same root', () => {
  const net = netOf(5);
  const before = net.latest;
  assert.deepEqual(before.plan.cold, { key: wish.key, seats: 1 });
  const kept = sharesKept(net);
  const [cold] = openColdSeats(before, coldKey);
  assert.equal(
    secretOf([...kept.slice(0, 2), cold!]),
    secretOf(kept.slice(0, 3)),
    'a cold share is one like all others',
  );
  lose(net, [1, 2, 4]);
  assert.equal(net.latest.hash, before.hash, 'two of five decide nothing');
  net.feed(net.hosts[3]!, { type: 'recover', order: orderAt(net, 3) });
  net.run(patienceMs, () => net.latest.plan.epoch > before.plan.epoch && net.isSettled());
  net.run(1000);
  const { latest } = net;
  assert.equal(latest.plan.kind, 'recover');
  assert.equal(latest.rootKey, before.rootKey);
  assert.deepEqual([latest.plan.threshold, latest.plan.trustees.length], [2, 2]);
  const group = groupOfEpoch(latest);
  signWith(group, sharesKept(net), Buffer.from('a certificate'));
  assert.throws(() => group.publicShare(4), 'two trustees and one cold seat');
  const [fresh] = openColdSeats(latest, coldKey);
  assert.notEqual(fresh!.reveal(), cold!.reveal(), 'the cold seats were dealt anew, without their key');
  assert.deepEqual(net.forks, []);
  assert.deepEqual(net.alarms, []);
  // Ordinary succession goes on from there.
  net.start(1);
  net.run(patienceMs, () => net.latest.plan.trustees.length === 3 && net.isSettled());
  assert.equal(net.latest.rootKey, before.rootKey);
  assert.equal(net.latest.plan.epoch, latest.plan.epoch + 1);
});

test('those who were away and decided without the recovered go over to them', () => {
  const net = netOf(5);
  const before = net.latest;
  // Two believe that the other three are lost; those go on and change the epoch.
  for (const index of [0, 1, 2]) net.sides[index] = 1;
  net.run(10_000);
  net.feed(net.hosts[3]!, { type: 'recover', order: orderAt(net, 3) });
  net.refreshEpoch = before.plan.epoch;
  const epochAt = (index: number): number => net.hosts[index]!.machine!.current.plan.epoch;
  net.run(patienceMs, () => epochAt(0) === before.plan.epoch + 1 && epochAt(3) > before.plan.epoch + 1);
  net.refreshEpoch = null;
  net.sides.fill(0);
  net.run(patienceMs, () => net.hosts.every(({ index }) => epochAt(index) === epochAt(3)));
  assert.equal(new Set(net.hosts.map(({ machine }) => machine!.current.hash)).size, 1);
  assert.equal(net.latest.rootKey, before.rootKey);
  assert.deepEqual(net.forks, []);
});

test('a recovery that a crash or a bad network cuts off is tried again, and ends in one epoch', () => {
  for (const seed of [1, 2, 3, 4, 5, 6, 7, 8]) {
    const net = netOf(5, null, seed);
    const before = net.latest;
    lose(net, [1, 2, 4]);
    net.loss = 0.2;
    net.duplication = 0.2;
    for (let attempt = 0; attempt < 12 && net.latest.hash === before.hash; attempt++) {
      for (const index of [0, 3]) net.start(index);
      net.run(10_000);
      // It may have been done before the crash was noticed.
      if (net.hosts[3]!.machine!.current.hash !== before.hash) break;
      const order = orderAt(net, 3);
      net.feed(net.hosts[3]!, { type: 'recover', order });
      if (attempt < 2) {
        net.run(net.random.next() * 2500);
        net.crash(net.random.next() < 0.5 ? 0 : 3);
      }
      net.run(60_000, () => net.latest.hash !== before.hash);
    }
    net.loss = 0;
    for (const index of [0, 3]) net.start(index);
    net.run(patienceMs, () => net.latest.plan.kind === 'recover' && net.isSettled());
    net.run(1000);
    assert.equal(net.latest.rootKey, before.rootKey, `seed ${seed}`);
    signWith(groupOfEpoch(net.latest), sharesKept(net), Buffer.from('a certificate'));
    assert.deepEqual(net.forks, []);
  }
});

test('nobody lends itself to a recovery while a quorum is here, or by another key, or for other hosts', () => {
  const net = netOf(3);
  const before = net.latest;
  assert.throws(() => planAt(net, 0), hasCode('quorum-here'));
  lose(net, [2]);
  assert.throws(() => planAt(net, 0), hasCode('quorum-here'));
  // Host 0 sees host 1 no more, and host 1 sees host 0: it asks for what is not so.
  const blind = net
    .viewOf(net.hosts[0]!)
    .candidates.map((candidate) =>
      candidate.host === net.hosts[1]!.id
        ? { ...candidate, aliveSince: null, absentSince: net.now }
        : candidate,
    );
  const thief: ColdKey = { signer: hostOf('thief'), agree: recipientOf(seedOf('thief')) };
  assert.throws(() => orderAt(net, 0), hasCode('quorum-here'));
  assert.throws(() => openColdSeats(before, thief), hasCode('other-recovery-key'));
  assert.throws(() => planAt(net, 0, { candidates: blind }), hasCode('too-few-hosts'));
  const trustees = [net.hosts[0]!.id, net.hosts[1]!.id];
  const plan = {
    ...before.plan,
    epoch: before.plan.epoch + 1000,
    previous: before.hash,
    kind: 'recover' as const,
    trustees,
    dealers: [trustees[0]!],
    coldDealt: 1,
    formers: [net.hosts[2]!.id],
  };
  const order = dealForRecovery({ trustDomain, epoch: before, plan, key: coldKey, entropy });
  net.feed(net.hosts[0]!, {
    type: 'recover',
    order: { ...order, signature: thief.signer.sign(Buffer.of(1)) },
  });
  assert.match(net.alarms.pop() ?? '', /unjustified/);
  net.feed(net.hosts[0]!, { type: 'recover', order });
  net.run(patienceMs, () => net.hosts[0]!.machine!.status().lastFailure !== null);
  assert.match(net.hosts[0]!.machine!.status().lastFailure ?? '', /quorum-here/);
  assert.equal(net.latest.hash, before.hash);
});

test('the holder of the cold seats alone signs nothing, nor with one trustee too few', () => {
  const net = netOf(5, 2);
  const { latest } = net;
  const group = groupOfEpoch(latest);
  const cold = openColdSeats(latest, coldKey);
  assert.equal(cold.length, 2);
  assert.deepEqual(group.coldSeats, [6, 7]);
  assert.throws(() => new SigningSession(group, Buffer.of(1), []), hasCode('too-few-signers'));
  assert.notEqual(secretOf(cold), secretOf(sharesKept(net).slice(0, 3)));
  lose(net, [0, 1, 2, 3, 4].slice(0, 5));
  assert.throws(
    () => dealForRecovery({ trustDomain, epoch: latest, plan: latest.plan, key: coldKey, entropy }),
    hasCode('not-a-successor'),
  );
  const everything = {
    ...latest.plan,
    kind: 'recover' as const,
    epoch: latest.plan.epoch + 1000,
    previous: latest.hash,
  };
  assert.throws(
    () =>
      dealForRecovery({
        trustDomain,
        epoch: latest,
        plan: { ...everything, dealers: [], coldDealt: 3 },
        key: coldKey,
        entropy,
      }),
    hasCode('not-a-successor'),
  );
});

test('a drill finds a dealer that sealed something else than it dealt', () => {
  const net = netOf(3);
  const { latest } = net;
  openColdSeats(latest, coldKey);
  const blocks = new Map(coldBlocksOf(latest));
  const [[dealer, block]] = [...blocks] as [[number, Uint8Array]];
  const spoilt = Uint8Array.from(block);
  spoilt[32]! ^= 1;
  const outcome = encodeOutcome(groupOfEpoch(latest), blocks.set(dealer, spoilt));
  const epoch = describeEpoch(latest.plan, latest.rootKey, outcome);
  assert.throws(() => openColdSeats(epoch, coldKey), hasCode('cold-share-wrong'));
});
