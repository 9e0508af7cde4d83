import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ed25519Signer, ed25519Verify, seededRandom } from '../../src/core.ts';
import { encodeFrame } from '../../src/gossip/framecodec.ts';
import { maxWaitingFrames, ReportQueue } from '../../src/gossip/io/report-queue.ts';
import { MemberList } from '../../src/gossip/member-list.ts';
import { incarnationsPerEpoch, Swim } from '../../src/gossip/membership/swim.ts';
import type { SwimInput, SwimOrder, SwimReport } from '../../src/gossip/swim-port.ts';
import { frames } from '../unit/gossip/arbitraries.ts';

const signers = [1, 2, 3, 4].map((number) => ed25519Signer(new Uint8Array(32).fill(number)));
const ids = signers.map(({ publicKey }) => publicKey);
const self = ids[0]!;
const id = fc.constantFrom(...ids.slice(1));
const incarnation = fc.oneof(fc.integer({ min: 0, max: 2 ** 40 }), fc.constant(0));

/** Well-formed frames, some cut or with a byte changed, and plain noise. */
const bytes: fc.Arbitrary<Uint8Array> = fc.oneof(
  frames.map(encodeFrame),
  fc.tuple(frames, fc.nat()).map(([frame, at]) => {
    const whole = encodeFrame(frame);
    return whole.subarray(0, at % whole.length);
  }),
  fc.tuple(frames, fc.nat(), fc.integer({ min: 1, max: 255 })).map(([frame, at, change]) => {
    const whole = encodeFrame(frame);
    whole[at % whole.length]! ^= change;
    return whole;
  }),
  fc.uint8Array({ maxLength: 100 }),
);
const order: fc.Arbitrary<SwimOrder> = fc.oneof(
  fc.record({ type: fc.constantFrom('add' as const, 'remove' as const), id }),
  fc.record({
    type: fc.constant('lifecycle' as const),
    id,
    state: fc.constantFrom('active' as const, 'left' as const),
    incarnation,
  }),
  fc.record({ type: fc.constant('root' as const), root: fc.constantFrom('00000000', '11111111') }),
  fc.record({ type: fc.constant('leave' as const) }),
  fc.record({ type: fc.constant('rejoin' as const), leftAt: incarnation }),
  fc.record({ type: fc.constant('frame' as const), from: id, bytes }),
  fc.record({
    type: fc.constantFrom('connected' as const, 'disconnected' as const, 'unreachable' as const),
    peer: id,
  }),
);
const input: fc.Arbitrary<SwimInput> = fc.oneof(
  fc.constant({ type: 'wake' as const }),
  fc.record({ type: fc.constant('datagram' as const), from: id, bytes }),
  fc.record({ type: fc.constant('order' as const), order }),
);
const steps = fc.array(fc.record({ input, passesMs: fc.nat({ max: 3000 }) }), { maxLength: 60 });

function swim(): Swim {
  const machine = new Swim({
    self,
    signer: signers[0]!,
    verify: ed25519Verify,
    random: seededRandom(1),
    epoch: 1,
    root: '00000000',
  });
  for (const member of ids.slice(1)) machine.step({ type: 'order', order: { type: 'add', id: member } }, 0);
  return machine;
}

test('whatever comes in, counters and the own incarnation only grow, and reports are well-formed', () => {
  fc.assert(
    fc.property(steps, (inputs) => {
      const machine = swim();
      let now = 1;
      let before = machine.stats;
      let ownIncarnation = incarnationsPerEpoch;
      let statsAt = Number.NEGATIVE_INFINITY;
      for (const step of inputs) {
        now += step.passesMs;
        const effects = machine.step(step.input, now);
        for (const effect of effects) {
          if (effect.type !== 'report') continue;
          if (effect.report.type === 'incarnation') {
            assert.ok(effect.report.incarnation > ownIncarnation);
            ownIncarnation = effect.report.incarnation;
          }
          if (effect.report.type !== 'stats') continue;
          assert.ok(now - statsAt >= 1000);
          statsAt = now;
        }
        const { stats } = machine;
        for (const counter of ['probesSent', 'probesAcked', 'streamAcks', 'badFrames', 'suspicions'] as const)
          assert.ok(stats[counter] >= before[counter]);
        before = stats;
      }
      assert.equal(machine.membership.incarnation, ownIncarnation);
    }),
    { numRuns: 300 },
  );
});

/** Mostly comings, goings and what is said of them, close together. */
const comings = fc.array(
  fc.record({
    input: fc.oneof(
      { arbitrary: input, weight: 1 },
      {
        arbitrary: order
          .filter(({ type }) => ['add', 'remove', 'lifecycle'].includes(type))
          .map((one): SwimInput => ({ type: 'order', order: one })),
        weight: 3,
      },
    ),
    passesMs: fc.nat({ max: 3000 }),
    isTaken: fc.oneof(
      { arbitrary: fc.constant(false), weight: 3 },
      { arbitrary: fc.constant(true), weight: 1 },
    ),
  }),
  { maxLength: 40 },
);

test('the copy that reports make of the members agrees with membership, however they are merged', () => {
  fc.assert(
    fc.property(comings, (inputs) => {
      const machine = swim();
      const list = new MemberList(self, incarnationsPerEpoch);
      for (const member of ids.slice(1)) list.add(member, 0);
      const queue = new ReportQueue();
      let now = 1;
      const takeAll = (): void => {
        for (const report of queue.take()) list.take(report, now);
      };
      for (const step of inputs) {
        now += step.passesMs;
        const told = step.input.type === 'order' ? step.input.order : null;
        // As the agent does: it decides who is a member, while older reports are still on their way.
        if (told?.type === 'add') list.add(told.id, now);
        if (told?.type === 'remove') list.remove(told.id);
        for (const effect of machine.step(step.input, now))
          if (effect.type === 'report') queue.add(effect.report);
        if (step.isTaken) takeAll();
      }
      takeAll();
      const standings = (members: Iterable<{ id: string; state: string }>) =>
        [...members].map((member) => `${member.id} ${member.state}`).sort();
      assert.deepEqual(standings(list.all()), standings(machine.membership.all()));
      assert.equal(list.incarnation, machine.membership.incarnation);
      assert.deepEqual([...list.neighbours].sort(), [...machine.membership.neighbours()].sort());
    }),
    { numRuns: 600 },
  );
});

const peer = fc.constantFrom('a', 'b', 'c');
const report: fc.Arbitrary<SwimReport> = fc.oneof(
  fc.record({ type: fc.constantFrom('connect' as const, 'disconnect' as const), peer }),
  fc.record({ type: fc.constant('root' as const), peer, root: fc.string() }),
  fc.record({
    type: fc.constant('measured' as const),
    id: peer,
    roundTripMs: fc.nat(),
    incarnation: fc.nat(),
    clockAheadMs: fc.integer(),
  }),
  fc.record({ type: fc.constant('incarnation' as const), incarnation }),
  fc.record({ type: fc.constant('frame' as const), to: peer, bytes: fc.uint8Array({ maxLength: 3 }) }),
);

test('a queue holds of each thing the latest, and frames up to their bound', () => {
  fc.assert(
    fc.property(fc.array(report, { maxLength: 600 }), (reports) => {
      const queue = new ReportQueue();
      for (const one of reports) queue.add(one);
      const waiting = queue.take();
      const allFrames = reports.filter(({ type }) => type === 'frame');
      const kept = allFrames.slice(0, maxWaitingFrames);
      assert.deepEqual(
        waiting.filter(({ type }) => type === 'frame'),
        kept,
      );
      assert.equal(queue.dropped, allFrames.length - kept.length);
      // Three peers, three things to say of each, and one incarnation.
      assert.ok(waiting.length - kept.length <= 10);
      const last = reports.filter(({ type }) => type !== 'frame').at(-1);
      if (last !== undefined) assert.ok(waiting.includes(last));
    }),
  );
});
