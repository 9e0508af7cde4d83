import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Fault, seededRandom } from '../../src/core.ts';
import { freshAcceptor } from '../../src/trust/epoch/acceptor.ts';
import {
  decodeDescriptor,
  decodePlan,
  describeEpoch,
  type EpochDescriptor,
  type EpochPlan,
  encodePlan,
} from '../../src/trust/epoch/descriptor.ts';
import type { Justification, Lock } from '../../src/trust/epoch/electorate.ts';
import { Holdings } from '../../src/trust/epoch/holdings.ts';
import { decodeMessage, type EpochMessage, encodeMessage } from '../../src/trust/epoch/message.ts';
import {
  checkPolicy,
  highAssurancePolicy,
  isSafeQuorum,
  standardPolicy,
} from '../../src/trust/epoch/policy.ts';
import type { EpochEffect } from '../../src/trust/epoch/port.ts';
import { createRecord, decodeRecord } from '../../src/trust/epoch/record.ts';
import { emptyView, judgePlan } from '../../src/trust/epoch/rules.ts';
import { type Candidate, maxNewcomers, sameSeats, selectSeats } from '../../src/trust/epoch/selection.ts';
import { decodeVoucher, encodeVoucher, type Voucher } from '../../src/trust/epoch/voucher.ts';
import { EpochNet, mesh, startedAt } from '../unit/trust/epoch/net.ts';

const bytesOf = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });
const hex32 = bytesOf(32).map((bytes) => Buffer.from(bytes).toString('hex'));
const ballot = fc.nat();
const epoch = fc.nat();

const plan: fc.Arbitrary<EpochPlan> = fc
  .uniqueArray(hex32, { minLength: 1, maxLength: 13 })
  .chain((trustees) =>
    fc.record({
      mesh: hex32,
      epoch,
      previous: hex32,
      generation: fc.nat({ max: 10_000 }),
      kind: fc.constantFrom('genesis' as const, 'generate' as const, 'reshare' as const, 'recover' as const),
      threshold: fc.integer({ min: Math.floor(trustees.length / 2) + 1, max: trustees.length }),
      trustees: fc.constant(trustees),
      dealers: fc.subarray(trustees),
      ballot,
      proposedAt: fc.nat(),
      cold: fc.constant(null),
      coldDealt: fc.nat({ max: 6 }),
      formers: fc.uniqueArray(hex32, { maxLength: 5 }),
      weakest: fc.nat({ max: 13 }),
    }),
  );
const descriptor: fc.Arbitrary<EpochDescriptor> = fc
  .tuple(plan, hex32, fc.uint8Array({ maxLength: 200 }))
  .map(([of, rootKey, outcome]) => describeEpoch(of, rootKey, outcome));
const voucher: fc.Arbitrary<Voucher> = fc.record({
  role: fc.constantFrom('promise' as const, 'vote' as const, 'accepted' as const, 'ack' as const),
  epoch,
  ballot,
  value: fc.option(fc.record({ ballot, hash: hex32 })),
  voted: ballot,
  holdsShare: fc.boolean(),
  by: hex32,
  signature: bytesOf(64),
});
const vouchers = fc.array(voucher, { maxLength: 7 });
const lock: fc.Arbitrary<Lock> = fc.record({ ballot, descriptor, votes: vouchers });
const justification: fc.Arbitrary<Justification> = fc.record({ promises: vouchers, lock: fc.option(lock) });

const message: fc.Arbitrary<EpochMessage> = fc.oneof(
  fc.record({ type: fc.constant('prepare' as const), epoch, ballot }),
  fc.record({ type: fc.constant('promise' as const), epoch, voucher, lock: fc.option(lock) }),
  fc.record({
    type: fc.constant('refused' as const),
    epoch,
    ballot,
    code: fc.constantFrom('busy', 'superseded'),
    promised: ballot,
    retryAfterMs: fc.nat({ max: 3_600_000 }),
  }),
  fc.record({ type: fc.constant('start' as const), epoch, plan, justification }),
  fc.record({ type: fc.constant('ready' as const), epoch, session: hex32 }),
  fc.record({ type: fc.constant('ack' as const), epoch, voucher, descriptor }),
  fc.record({
    type: fc.constant('propose' as const),
    epoch,
    ballot,
    descriptor,
    justification,
    acks: vouchers,
  }),
  fc.record({ type: fc.constantFrom('vote' as const, 'accepted' as const), epoch, voucher }),
  fc.record({ type: fc.constant('accept' as const), epoch, lock }),
  fc.record({ type: fc.constant('sign' as const), epoch, descriptor, accepted: vouchers }),
  fc.record({
    type: fc.constant('relay' as const),
    epoch,
    session: hex32,
    sequence: fc.nat({ max: 63 }),
    bytes: fc.uint8Array({ maxLength: 300 }),
  }),
  fc.record({ type: fc.constant('relayed' as const), epoch, session: hex32, count: fc.nat({ max: 64 }) }),
  fc.record({ type: fc.constant('ask' as const), epoch }),
  fc.record({
    type: fc.constant('records' as const),
    epoch,
    records: fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 }),
  }),
);

/** Runs `act`: only a Fault may come out of it. */
function onlyFaults(act: () => unknown): void {
  try {
    act();
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
  }
}

/** Plain values, so that arrays that alias a larger buffer compare by content. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, field: unknown) =>
      field instanceof Uint8Array ? Buffer.from(field).toString('hex') : field,
    ),
  );
}

test('every message, plan, descriptor and voucher reads back as it was written', () => {
  fc.assert(
    fc.property(message, (of) => {
      assert.deepEqual(plain(decodeMessage(encodeMessage(of))), plain(of));
    }),
    { numRuns: 300 },
  );
  fc.assert(fc.property(plan, (of) => assert.deepEqual(plain(decodePlan(encodePlan(of))), plain(of))));
  fc.assert(
    fc.property(descriptor, (of) => {
      const back = decodeDescriptor(of.bytes);
      assert.equal(back.hash, of.hash);
      assert.equal(back.session, of.session);
    }),
  );
  fc.assert(
    fc.property(voucher, (of) => assert.deepEqual(plain(decodeVoucher(encodeVoucher(of))), plain(of))),
  );
});

test('a record and what a trustee keeps read back as they were written', () => {
  fc.assert(
    fc.property(descriptor, vouchers, bytesOf(64), (of, accepted, signature) => {
      const record = createRecord(of, accepted, signature);
      assert.deepEqual(plain(decodeRecord(record.bytes)), plain(record));
    }),
  );
  fc.assert(
    fc.property(
      fc.option(lock),
      fc.array(descriptor, { maxLength: 3 }),
      ballot,
      (held, pending, dealtBallot) => {
        const holdings = new Holdings();
        holdings.pending = pending;
        holdings.dealtBallot = dealtBallot;
        holdings.shares = [{ epoch: 3, generation: 1, name: 'ab'.repeat(32) }];
        const state = { ...freshAcceptor(4), promised: 9, voted: { ballot: 8, hash: mesh }, lock: held };
        const back = new Holdings();
        assert.deepEqual(plain(back.decode(holdings.encode(state))), plain(state));
        assert.deepEqual(plain(back), plain(holdings));
      },
    ),
    { numRuns: 50 },
  );
});

test('nothing but a fault comes out of reading bytes that nobody vouches for', () => {
  const readers = [decodeMessage, decodePlan, decodeDescriptor, decodeRecord, decodeVoucher];
  const readHoldings = (bytes: Uint8Array): unknown => new Holdings().decode(bytes);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      for (const read of [...readers, readHoldings]) onlyFaults(() => read(bytes));
    }),
    { numRuns: 300 },
  );
  fc.assert(
    fc.property(message, fc.nat(), fc.nat({ max: 255 }), fc.nat(), (of, at, value, cut) => {
      const bytes = Uint8Array.from(encodeMessage(of));
      bytes[at % bytes.length] = value;
      onlyFaults(() => decodeMessage(bytes));
      onlyFaults(() => decodeMessage(bytes.subarray(0, cut % bytes.length)));
    }),
    { numRuns: 300 },
  );
});

test('a trustee takes any garbling of real messages, from anybody, without a fork or an exception', () => {
  const policy = { ...standardPolicy, replaceAfterMs: 60_000, settleMs: 5000 };
  for (let seed = 1; seed <= 6; seed++) {
    const net = new EpochNet({ seed, hosts: 5, policy });
    const random = seededRandom(seed);
    const heard: Uint8Array[] = [];
    for (const host of net.hosts) {
      const machine = host.machine!;
      const step = machine.step.bind(machine);
      machine.step = (input, now): readonly EpochEffect[] => {
        if (input.type !== 'message') return step(input, now);
        if (heard.length < 500) heard.push(input.bytes);
        const other = heard[Math.floor(random.next() * heard.length)]!;
        const garbled = Uint8Array.from(other);
        if (random.next() < 0.7) garbled[Math.floor(random.next() * garbled.length)] = random.next() * 256;
        const from = net.hosts[Math.floor(random.next() * 5)]!.id;
        // Nobody speaks for this host itself: the driver hands its own messages back to it.
        const extra = from === host.id ? [] : step({ type: 'message', from, bytes: garbled }, now);
        return [...extra, ...step(input, now)];
      };
    }
    for (let i = 0; i < 4; i++) {
      net.refreshEpoch = net.latest.plan.epoch;
      net.run(40_000);
    }
    assert.deepEqual(net.forks, []);
    assert.ok(net.latest.plan.epoch >= 3, `only epoch ${net.latest.plan.epoch} of seed ${seed}`);
  }
});

const now = startedAt + 3_600_000;
const candidate: fc.Arbitrary<Candidate> = fc
  .record({
    host: hex32,
    admittedAt: fc.integer({ min: startedAt, max: startedAt + 100 }),
    zone: fc.constantFrom('a', 'b', 'c', ''),
    eligible: fc.boolean(),
    gone: fc.boolean(),
    alive: fc.boolean(),
    since: fc.integer({ min: now - 2_000_000, max: now }),
  })
  .map(({ alive, since, ...rest }) => ({
    ...rest,
    aliveSince: alive ? since : null,
    absentSince: alive ? null : since,
  }));

test('the seats chosen are a safe quorum, change few at once, and are what other trustees would have too', () => {
  const policies = [standardPolicy, highAssurancePolicy];
  fc.assert(
    fc.property(
      fc.uniqueArray(candidate, { minLength: 1, maxLength: 14, selector: (of) => of.host }),
      fc.constantFrom(...policies),
      fc.nat({ max: 3 }),
      (candidates, policy, size) => {
        const row = policy.rows[size]!;
        const trustees = candidates.slice(0, row.trustees).map((of) => of.host);
        if (trustees.length < row.trustees) return;
        const current = { trustees, threshold: row.threshold };
        const seats = selectSeats(current, candidates, policy, now);
        assert.ok(isSafeQuorum(seats.threshold, seats.trustees.length));
        assert.ok(seats.threshold >= current.threshold, 'the threshold never falls');
        const left = trustees.filter((host) => !seats.trustees.includes(host));
        assert.ok(left.length <= row.trustees - row.threshold);
        const came = seats.trustees.filter((host) => !trustees.includes(host));
        assert.ok(came.length <= maxNewcomers(current, seats.threshold));
        const shuffled = [...candidates].reverse();
        assert.deepEqual(
          selectSeats(current, shuffled, policy, now),
          seats,
          'the order of a view is nothing',
        );
        if (sameSeats(seats, current)) return;
        const genesis = {
          mesh,
          epoch: 4,
          previous: mesh,
          generation: row.threshold === 1 ? 0 : 1,
          kind: 'reshare' as const,
          dealers: trustees.slice(0, row.threshold),
          ballot: 1,
          proposedAt: 0,
          cold: null,
          coldDealt: 0,
          formers: [],
          weakest: row.threshold,
        };
        const before = describeEpoch({ ...genesis, ...current }, mesh, new Uint8Array());
        const kind = row.threshold === 1 ? ('generate' as const) : ('reshare' as const);
        const next: EpochPlan = { ...genesis, ...seats, epoch: 5, kind };
        judgePlan(next, before, { ...emptyView, candidates }, policy, false, now);
      },
    ),
    { numRuns: 500 },
  );
});

test('a policy is accepted exactly if every size of it is a majority and sizes ascend', () => {
  const row = fc.record({
    trustees: fc.integer({ min: 1, max: 14 }),
    threshold: fc.integer({ min: 1, max: 14 }),
  });
  fc.assert(
    fc.property(fc.array(row, { maxLength: 4 }), (more) => {
      const rows = [{ trustees: 1, threshold: 1 }, ...more];
      const isSound = rows.every(
        (of, i) =>
          isSafeQuorum(of.threshold, of.trustees) &&
          (i === 0 || (of.trustees > rows[i - 1]!.trustees && of.threshold > rows[i - 1]!.threshold)),
      );
      const check = (): void => checkPolicy({ ...standardPolicy, rows });
      if (isSound) check();
      else assert.throws(check, (error) => error instanceof Fault && error.code === 'trustee-policy');
    }),
  );
});
