import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fellowship } from '../../../src/gossip/fellowship.ts';
import { noMembershipStats } from '../../../src/gossip/membership/membership-stats.ts';
import { incarnationsPerEpoch } from '../../../src/gossip/membership/swim.ts';
import type { GossipEffect, Member, MemberStatus } from '../../../src/gossip/port.ts';
import { denialKind, departureKind } from '../../../src/gossip/replica/lifecycle.ts';
import type { Record } from '../../../src/gossip/replica/record.ts';
import { Replica } from '../../../src/gossip/replica/replica.ts';
import type { SwimOrder, SwimReport, SwimStats } from '../../../src/gossip/swim-port.ts';
import { idleSigner, makeRecord } from './records.ts';

const now = 1_000_000;
const epoch = 3;
const self = idleSigner('self').publicKey;
const alice = idleSigner('alice').publicKey;
const bob = idleSigner('bob').publicKey;
const firstIncarnation = epoch * incarnationsPerEpoch;

/** What a fellowship does with the records of a replica. */
class Bench {
  readonly replica = new Replica();
  readonly effects: GossipEffect[] = [];
  readonly fellowship = new Fellowship({
    self,
    epoch,
    replica: this.replica,
    memberKind: 'admission',
    leftKind: 'lifecycle',
    emit: (effect) => this.effects.push(effect),
  });

  /** They won their slots. */
  note(...records: readonly Record[]): void {
    for (const record of records) assert.equal(this.replica.join(record), 'applied');
    this.fellowship.note(records, now);
  }

  report(report: SwimReport, at = now): void {
    this.fellowship.take(report, at);
  }

  /** Since it was last asked. */
  takeEffects(): GossipEffect[] {
    return this.effects.splice(0);
  }

  takeOrders(): SwimOrder[] {
    return this.takeEffects().flatMap((effect) => (effect.type === 'swim' ? [effect.order] : []));
  }
}

const admission = (author: string, version = 1, deleted = false): Record =>
  makeRecord({ author, kind: 'admission', key: '', version, deleted });
const lifecycle = (author: string, state: string, incarnation: number, version = 1): Record =>
  makeRecord({ author, kind: 'lifecycle', key: '', version, value: { state, incarnation } });
const departure = (host: string, incarnation: number): Record =>
  makeRecord({ author: 'operator', scope: 'policy', kind: departureKind, key: host, value: { incarnation } });
const denial = (host: string, more: Partial<Record> = {}): Record =>
  makeRecord({
    author: 'operator',
    scope: 'policy',
    kind: denialKind,
    key: `host/${host}`,
    hlc: 7 * 1024,
    ...more,
  });
const member = (id: string, state: Member['state'], incarnation: number): Member => ({
  id,
  state,
  incarnation,
  since: now,
  roundTripMs: null,
});
/** As membership reports it. */
const status = (id: string, state: Member['state'], incarnation: number): MemberStatus => ({
  id,
  state,
  incarnation,
  roundTripMs: null,
});
const stats = (more: Partial<SwimStats>): SwimReport => ({
  type: 'stats',
  stats: {
    ...noMembershipStats(),
    localHealth: 0,
    withoutDatagrams: [],
    throughHelpers: [],
    discredited: [],
    ...more,
  },
});

test('an admission makes a member, once, and membership is told to add it', () => {
  const bench = new Bench();
  bench.note(admission('alice'));
  assert.deepEqual(bench.takeEffects(), [
    { type: 'swim', order: { type: 'add', id: alice } },
    { type: 'member', member: member(alice, 'alive', 0), was: null },
  ]);
  bench.note(admission('alice', 2));
  assert.deepEqual(bench.takeEffects(), []);
});

test('this agent is no member of its own list, and other kinds, keys and scopes make none', () => {
  const bench = new Bench();
  bench.note(
    admission('self'),
    makeRecord({ author: 'alice', kind: 'service', key: '' }),
    makeRecord({ author: 'alice', kind: 'admission', key: 'other' }),
    makeRecord({ author: 'alice', scope: 'policy', kind: 'admission', key: '' }),
  );
  assert.deepEqual(bench.takeEffects(), []);
  assert.equal(bench.fellowship.list.count, 0);
});

test('a deleted admission, and a collected one, lets the member go', () => {
  const bench = new Bench();
  const collected = admission('bob');
  bench.note(admission('alice'), collected);
  bench.report({ type: 'member', member: status(alice, 'down', 5), was: 'alive' });
  bench.takeEffects();
  bench.note(admission('alice', 2, true));
  assert.deepEqual(bench.takeEffects(), [
    { type: 'swim', order: { type: 'remove', id: alice } },
    { type: 'member', member: member(alice, 'left', 5), was: 'down' },
  ]);
  bench.fellowship.forget([makeRecord({ author: 'bob', kind: 'service', key: '' }), collected]);
  assert.deepEqual(bench.takeOrders(), [{ type: 'remove', id: bob }]);
  bench.fellowship.forget([collected]);
  assert.deepEqual(bench.takeEffects(), [], 'it is gone already');
});

test('a goodbye is passed on whichever comes first, it or the admission', () => {
  const order: SwimOrder = { type: 'lifecycle', id: alice, state: 'left', incarnation: 7 };
  const add: SwimOrder = { type: 'add', id: alice };
  const after = new Bench();
  after.note(admission('alice'));
  after.note(lifecycle('alice', 'left', 7));
  assert.deepEqual(after.takeOrders(), [add, order]);
  const before = new Bench();
  before.note(lifecycle('alice', 'left', 7));
  before.takeOrders();
  before.note(admission('alice'));
  assert.deepEqual(before.takeOrders(), [add, order]);
});

test('a lifecycle that says nothing sensible is no order', () => {
  const bench = new Bench();
  bench.note(admission('alice'));
  bench.takeEffects();
  bench.note(lifecycle('alice', 'gone', 7));
  bench.note(lifecycle('alice', 'left', -1, 2));
  assert.deepEqual(bench.takeEffects(), []);
});

test('an operator’s word is passed on whichever comes first, also when it is of this agent itself', () => {
  const order = (id: string): SwimOrder => ({ type: 'lifecycle', id, state: 'departed', incarnation: 9 });
  const bench = new Bench();
  bench.note(admission('alice'), departure(alice, 9));
  assert.deepEqual(bench.takeOrders(), [{ type: 'add', id: alice }, order(alice), order(alice)]);
  bench.note(departure(bob, 9));
  assert.deepEqual(bench.takeOrders(), [order(bob)], 'membership does not know it yet');
  bench.note(admission('bob'));
  assert.deepEqual(bench.takeOrders(), [{ type: 'add', id: bob }, order(bob)]);
  bench.note(departure(self, 9));
  assert.deepEqual(bench.takeOrders(), [order(self)]);
});

test('membership is told the replica’s digest when it changed, and not again', () => {
  const bench = new Bench();
  bench.fellowship.tellRoot();
  assert.deepEqual(bench.takeEffects(), [], 'that of an empty replica is known');
  bench.replica.join(admission('alice'));
  bench.fellowship.tellRoot();
  bench.fellowship.tellRoot();
  assert.deepEqual(bench.takeOrders(), [{ type: 'root', root: bench.replica.root() }]);
});

test('a reported state is told on with the one that was told before', () => {
  const bench = new Bench();
  bench.note(admission('alice'));
  bench.takeEffects();
  bench.report({ type: 'member', member: status(alice, 'suspect', 4), was: 'alive' });
  // What membership says it was may be older than what this list told: its own word counts.
  bench.report({ type: 'member', member: status(alice, 'down', 4), was: 'alive' });
  assert.deepEqual(bench.takeEffects(), [
    { type: 'member', member: member(alice, 'suspect', 4), was: 'alive' },
    { type: 'member', member: member(alice, 'down', 4), was: 'suspect' },
  ]);
});

test('a state lasts since it was reported, by the clock here, whatever else is reported meanwhile', () => {
  const bench = new Bench();
  bench.note(admission('alice'));
  const sinceOf = () => bench.fellowship.list.get(alice)?.since;
  const report = (state: Member['state'], incarnation: number, at: number) =>
    bench.report({ type: 'member', member: status(alice, state, incarnation), was: 'alive' }, at);
  const measured = { type: 'measured', id: alice, roundTripMs: 3, incarnation: 5, clockAheadMs: 0 } as const;
  bench.report(measured, now + 10);
  report('alive', 5, now + 20);
  assert.equal(sinceOf(), now);
  report('down', 5, now + 30);
  report('down', 6, now + 40);
  bench.report(measured, now + 50);
  assert.equal(sinceOf(), now + 30);
});

test('a report about somebody who is no member any more is of no interest', () => {
  const bench = new Bench();
  bench.report({ type: 'member', member: status(alice, 'down', 4), was: 'alive' });
  bench.report({ type: 'measured', id: alice, roundTripMs: 3, incarnation: 9, clockAheadMs: 0 });
  assert.deepEqual(bench.takeEffects(), []);
});

test('what membership wants sent, connected and let go goes out, and the rest stays in', () => {
  const bench = new Bench();
  const bytes = new Uint8Array([1]);
  bench.report({ type: 'frame', to: alice, bytes });
  bench.report({ type: 'connect', peer: alice });
  bench.report({ type: 'disconnect', peer: alice });
  bench.report({ type: 'root', peer: alice, root: '12345678' });
  bench.report(stats({ suspicions: 5 }));
  assert.deepEqual(bench.takeEffects(), [
    { type: 'send', to: alice, bytes },
    { type: 'connect', peer: alice },
    { type: 'disconnect', peer: alice },
  ]);
  assert.equal(bench.fellowship.list.stats.suspicions, 5);
});

test('who claims deaths of the living is an alarm, once while it lasts, and again after', () => {
  const bench = new Bench();
  const alarmed = () =>
    bench.takeEffects().flatMap((effect) => (effect.type === 'alarm' ? [effect.code, effect.subject] : []));
  bench.report(stats({ discredited: [alice] }));
  assert.deepEqual(alarmed(), ['false-claims', alice]);
  bench.report(stats({ discredited: [alice], probesSent: 1 }));
  assert.deepEqual(alarmed(), []);
  bench.report(stats({ discredited: [alice, bob] }));
  assert.deepEqual(alarmed(), ['false-claims', bob]);
  bench.report(stats({}));
  bench.report(stats({ discredited: [alice] }));
  assert.deepEqual(alarmed(), ['false-claims', alice]);
});

test('an agent that had not left has nothing to say when it starts', () => {
  for (const said of [[], [lifecycle('self', 'active', 5)], [lifecycle('alice', 'left', 5)]]) {
    const bench = new Bench();
    bench.note(...said);
    bench.takeEffects();
    bench.fellowship.comeBack();
    assert.equal(bench.fellowship.denyDeparture(now), null);
    assert.deepEqual(bench.takeEffects(), []);
    assert.equal(bench.fellowship.list.incarnation, firstIncarnation);
  }
});

test('one that had left comes back above its goodbye, or above its earlier runs, whichever is more', () => {
  for (const leftAt of [5, firstIncarnation + 99]) {
    const bench = new Bench();
    bench.note(lifecycle('self', 'left', leftAt));
    const incarnation = Math.max(firstIncarnation, leftAt + 1);
    bench.fellowship.comeBack();
    assert.deepEqual(bench.fellowship.denyDeparture(now), { state: 'active', incarnation });
    assert.deepEqual(bench.takeOrders(), [{ type: 'rejoin', leftAt }]);
    assert.equal(bench.fellowship.list.incarnation, incarnation);
  }
});

test('a goodbye leaves room for refutations on their way, and is outdated only by more of them', () => {
  const bench = new Bench();
  const { fellowship } = bench;
  const report = (incarnation: number) => bench.report({ type: 'incarnation', incarnation });
  const isFull = new Error('no room');
  const fail = (): never => {
    throw isFull;
  };
  assert.throws(() => fellowship.goodbye(fail), isFull);
  assert.equal(fellowship.isGoodbyeOutdated, false, 'nothing was said yet');
  const { state, incarnation } = fellowship.goodbye((said) => said);
  assert.equal(state, 'left');
  assert.ok(incarnation > firstIncarnation);
  report(incarnation);
  assert.equal(fellowship.isGoodbyeOutdated, false);
  report(incarnation + 1);
  assert.equal(fellowship.isGoodbyeOutdated, true);
  assert.ok(fellowship.goodbye((said) => said).incarnation > incarnation + 1);
  assert.equal(fellowship.isGoodbyeOutdated, false);
});

test('a host that outlived an operator’s word that it is gone denies it until that is in writing, now and then', () => {
  const raised = firstIncarnation + 3;
  const bench = new Bench();
  assert.equal(bench.fellowship.denyDeparture(now), null, 'nobody said so');
  bench.note(departure(self, firstIncarnation + 2));
  assert.equal(bench.fellowship.denyDeparture(now), null, 'it has not refuted yet');
  bench.report({ type: 'incarnation', incarnation: raised });
  assert.deepEqual(bench.fellowship.denyDeparture(now), { state: 'active', incarnation: raised });
  assert.equal(bench.fellowship.denyDeparture(now + 9_999), null, 'it may be on its way to the disk');
  assert.deepEqual(bench.fellowship.denyDeparture(now + 10_000), { state: 'active', incarnation: raised });
  bench.note(lifecycle('self', 'active', raised));
  assert.equal(bench.fellowship.denyDeparture(now + 20_000), null);
  bench.note(lifecycle('self', 'active', raised + 1, 2));
  assert.equal(bench.fellowship.denyDeparture(now + 60_000), null);

  const started = new Bench();
  started.note(departure(self, firstIncarnation - 2));
  assert.deepEqual(started.fellowship.denyDeparture(now), { state: 'active', incarnation: firstIncarnation });
  const denied = new Bench();
  denied.note(departure(self, firstIncarnation - 2), lifecycle('self', 'active', firstIncarnation - 1));
  assert.equal(denied.fellowship.denyDeparture(now), null, 'it has said so already');
});

test('who leaves of its own accord does not deny that it is gone', () => {
  const bench = new Bench();
  bench.note(departure(self, firstIncarnation - 1));
  bench.fellowship.goodbye((said) => said);
  assert.equal(bench.fellowship.denyDeparture(now), null);
});

test('a denied host is expelled, and is no member again whatever it says and whoever passes that on', () => {
  const bench = new Bench();
  bench.note(admission('alice'), admission('bob'));
  bench.report({ type: 'member', member: status(alice, 'alive', 3), was: 'alive' });
  bench.takeEffects();
  bench.note(denial(alice));
  const effects = bench.takeEffects();
  assert.deepEqual(
    effects.map(({ type }) => type),
    ['alarm', 'swim', 'member', 'expel'],
  );
  assert.deepEqual(effects[1], { type: 'swim', order: { type: 'remove', id: alice } });
  assert.ok(
    effects[2]?.type === 'member' && effects[2].member.state === 'left' && effects[2].was === 'alive',
  );
  assert.deepEqual(effects[3], { type: 'expel', peer: alice });
  assert.deepEqual([bench.fellowship.expelledSince(alice), bench.fellowship.expelledSince(bob)], [7, null]);
  bench.note(admission('alice', 2), lifecycle('alice', 'active', 9));
  bench.report({ type: 'member', member: status(alice, 'alive', 9), was: 'alive' });
  assert.equal(bench.fellowship.list.get(alice), undefined);
  assert.ok(bench.takeEffects().every(({ type }) => type !== 'member'));
  assert.ok(bench.fellowship.list.get(bob) !== undefined);
});

test('a denial that came before the host, or with it, keeps it out as well', () => {
  for (const records of [
    [denial(alice), admission('alice')],
    [admission('alice'), denial(alice)],
  ]) {
    const together = new Bench();
    together.note(...records);
    assert.equal(together.fellowship.list.get(alice), undefined);
    const apart = new Bench();
    for (const record of records) apart.note(record);
    assert.equal(apart.fellowship.list.get(alice), undefined);
  }
});

test('nobody is expelled by what is no denial of a host, and an agent does not expel itself', () => {
  const bench = new Bench();
  bench.note(admission('alice'));
  bench.note(denial(self));
  const effects = bench.takeEffects();
  assert.ok(effects.some((effect) => effect.type === 'alarm' && effect.subject === self));
  assert.ok(effects.every(({ type }) => type !== 'expel'));
  bench.note(
    denial(alice, { kind: 'other' }),
    denial(alice, { key: alice }),
    denial(alice, { key: `serial/${alice}` }),
    denial(alice, { scope: 'host' }),
    makeRecord({ scope: 'policy', kind: denialKind, key: `host/${alice}`, deleted: true }),
  );
  assert.ok(bench.fellowship.list.get(alice) !== undefined);
});
