import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { seededRandom } from '../../src/core.ts';
import { originCoordinate } from '../../src/gossip/coordinates/coordinate.ts';
import type { SwimFrame } from '../../src/gossip/frames.ts';
import { outranks } from '../../src/gossip/membership/member.ts';
import { Membership } from '../../src/gossip/membership/membership.ts';
import type { MemberState } from '../../src/gossip/port.ts';
import type { MembershipInput } from '../../src/gossip/swim-port.ts';

const ids = ['a', 'b', 'c', 'd', 'self', 'stranger'];
const id = fc.constantFrom(...ids);
const incarnation = fc.oneof(
  fc.integer({ min: 0, max: 8 }),
  fc.constantFrom(2 ** 24 + 20, Number.MAX_SAFE_INTEGER),
);
const goodProof = new Uint8Array(64);
const badProof = new Uint8Array(64).fill(1);
const rumor = fc.oneof(
  fc.record({
    state: fc.constant('alive' as const),
    id,
    incarnation,
    proof: fc.constantFrom(goodProof, badProof),
  }),
  fc.record({ state: fc.constantFrom('suspect' as const, 'down' as const), id, incarnation, accuser: id }),
);
const rumors = fc.array(rumor, { maxLength: 4 });
const belief = fc.record({
  state: fc.constantFrom(
    'alive' as const,
    'suspect' as const,
    'down' as const,
    'left' as const,
    'unknown' as const,
  ),
  incarnation,
});
const coordinate = fc
  .float({ min: -100, max: 100, noNaN: true })
  .map((placeMs) => ({ ...originCoordinate, vectorMs: [placeMs, 0, 0, 0, 0, 0, 0, 0] }));
const sequence = fc.integer({ min: 0, max: 5 });
const frame: fc.Arbitrary<SwimFrame> = fc.oneof(
  fc.record({ type: fc.constant('ping' as const), sequence, incarnation, coordinate, belief, rumors }),
  fc.record({
    type: fc.constant('ack' as const),
    sequence,
    incarnation,
    coordinate,
    belief,
    clock: fc.nat(),
    root: fc.constant('01234567'),
    rumors,
  }),
  fc.record({ type: fc.constant('ping-req' as const), sequence, target: id, urgent: fc.boolean(), rumors }),
  fc.record({ type: fc.constantFrom('relayed-ack' as const, 'nack' as const), sequence }),
  fc.record({ type: fc.constant('corroborate' as const), target: id, incarnation, rumors }),
  fc.record({ type: fc.constant('rumors' as const), rumors }),
);
type Event =
  | { readonly type: 'input'; readonly input: MembershipInput }
  | {
      readonly type: 'lifecycle';
      readonly id: string;
      readonly state: 'active' | 'left';
      readonly incarnation: number;
    }
  | { readonly type: 'admit'; readonly id: string }
  | { readonly type: 'expel'; readonly id: string }
  | { readonly type: 'pass'; readonly milliseconds: number };
const event: fc.Arbitrary<Event> = fc.oneof(
  fc.record({
    type: fc.constant('input' as const),
    input: fc.oneof(
      fc.record({
        type: fc.constant('frame' as const),
        via: fc.constantFrom('datagram' as const, 'stream' as const),
        from: id,
        frame,
      }),
      fc.record({ type: fc.constantFrom('connected', 'disconnected', 'unreachable' as const), peer: id }),
    ),
  }),
  fc.record({
    type: fc.constant('lifecycle' as const),
    id,
    state: fc.constantFrom('active' as const, 'left' as const),
    incarnation,
  }),
  fc.record({ type: fc.constant('admit' as const), id }),
  fc.record({ type: fc.constant('expel' as const), id }),
  fc.record({ type: fc.constant('pass' as const), milliseconds: fc.integer({ min: 0, max: 3000 }) }),
);

function membershipOf(): Membership {
  const membership = new Membership({
    self: 'self',
    random: seededRandom(1),
    incarnation: 2,
    prove: () => goodProof,
    isProof: (_id, _incarnation, proof) => proof[0] === 0,
    root: () => '01234567',
  });
  for (const member of ['a', 'b', 'c', 'd']) membership.add(member, 0);
  membership.drain(0);
  return membership;
}

/** Plays events against a machine whose probes all stay unanswered but by chance; looks after every step. */
function play(events: readonly Event[], look: (membership: Membership, event: Event) => void): void {
  const membership = membershipOf();
  let now = 0;
  const step = (input: MembershipInput, cause: Event) => {
    membership.step(input, now);
    look(membership, cause);
  };
  for (const cause of events) {
    if (cause.type === 'input') step(cause.input, cause);
    else if (cause.type === 'admit') membership.add(cause.id, now);
    else if (cause.type === 'expel') membership.remove(cause.id);
    else if (cause.type === 'lifecycle')
      membership.noteLifecycle(cause.id, cause.state, cause.incarnation, now);
    else {
      const end = now + cause.milliseconds;
      for (let due = membership.nextWake(); due !== null && due <= end; due = membership.nextWake()) {
        now = Math.max(now, due);
        step({ type: 'wake' }, cause);
      }
      now = end;
    }
    membership.drain(now);
    look(membership, cause);
  }
}

test('no incarnation ever falls, neither a member’s nor the own, whatever arrives', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40 }), (events) => {
      const highest = new Map<string, number>();
      let own = 2;
      play(events, (membership) => {
        assert.ok(membership.incarnation >= own);
        own = membership.incarnation;
        for (const member of membership.all()) {
          assert.ok(member.incarnation >= (highest.get(member.id) ?? 0), member.id);
          highest.set(member.id, member.incarnation);
        }
      });
    }),
    { numRuns: 300 },
  );
});

test('nothing but this agent’s own failed probes finds anybody down: no frame does', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40 }), (events) => {
      const before = new Map<string, MemberState>();
      play(events, (membership, cause) => {
        for (const { id: member, state } of membership.all()) {
          const was = before.get(member);
          if (state === 'down' && was !== 'down') {
            assert.equal(cause.type, 'pass', `${member} was found down by ${JSON.stringify(cause)}`);
            assert.ok(membership.stats.probesFailed > 0);
          }
          before.set(member, state);
        }
      });
    }),
    { numRuns: 300 },
  );
});

test('one statement outranks another in one direction at most', () => {
  const state = fc.constantFrom<MemberState>('alive', 'suspect', 'down', 'left');
  const standing = fc.record({ state, incarnation: fc.integer({ min: 0, max: 3 }) });
  fc.assert(
    fc.property(standing, standing, (a, b) => {
      assert.ok(!(outranks(a, b) && outranks(b, a)));
      assert.ok(!outranks(a, a));
      if (outranks(a, b)) assert.ok(a.incarnation >= b.incarnation);
    }),
  );
});
