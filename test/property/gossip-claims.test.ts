/** However many claims come, from whomever and in whatever order: what an agent does for them is bounded. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { seededRandom } from '../../src/core.ts';
import { originCoordinate } from '../../src/gossip/coordinates/coordinate.ts';
import type { SwimFrame } from '../../src/gossip/frames.ts';
import { Membership } from '../../src/gossip/membership/membership.ts';
import type { MembershipEffect, MembershipInput } from '../../src/gossip/swim-port.ts';

const members = Array.from({ length: 150 }, (_, i) => `member ${i}`);
const tellers = members.slice(0, 3);
const firstIncarnation = 1000;

type Event =
  | {
      readonly type: 'claims';
      readonly teller: string;
      readonly accuser: string | null;
      readonly isDeath: boolean;
    }
  | { readonly type: 'requests'; readonly teller: string }
  | {
      readonly type: 'belief';
      readonly teller: string;
      readonly ahead: number;
      readonly state: 'alive' | 'suspect' | 'down';
    }
  | { readonly type: 'pass'; readonly ms: number };

const teller = fc.constantFrom(...tellers);
const event: fc.Arbitrary<Event> = fc.oneof(
  fc.record({
    type: fc.constant('claims' as const),
    teller,
    accuser: fc.option(fc.constantFrom(...members)),
    isDeath: fc.boolean(),
  }),
  fc.record({ type: fc.constant('requests' as const), teller }),
  fc.record({
    type: fc.constant('belief' as const),
    teller,
    ahead: fc.constantFrom(0, 0, 1, 2 ** 24, 2 ** 40),
    state: fc.constantFrom('alive' as const, 'suspect' as const, 'down' as const),
  }),
  fc.record({ type: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 2000 }) }),
);

/** One agent among members that answer at once and refute what is believed of them, the liars too. */
class Bench {
  now = 1_000_000;
  readonly membership = new Membership({
    self: 'self',
    random: seededRandom(1),
    incarnation: firstIncarnation,
    prove: () => new Uint8Array(64),
    isProof: () => true,
    root: () => '01234567',
  });
  private readonly incarnations = new Map<string, number>();

  constructor() {
    for (const id of members) this.membership.add(id, this.now);
    this.perform(this.membership.drain(this.now));
  }

  private perform(effects: readonly MembershipEffect[]): void {
    for (const effect of effects)
      if (effect.type === 'send' && effect.frame.type === 'ping' && effect.via === 'datagram')
        this.answer(effect.to, effect.frame);
  }

  private answer(from: string, { sequence, belief }: SwimFrame & { type: 'ping' }): void {
    const refuted = belief.state === 'alive' ? 0 : belief.incarnation + 1;
    const incarnation = Math.max(this.incarnations.get(from) ?? 0, refuted);
    this.incarnations.set(from, incarnation);
    const said = {
      sequence,
      incarnation,
      coordinate: originCoordinate,
      clock: 0,
      root: '01234567',
      rumors: [],
    };
    this.hear(from, { type: 'ack', ...said, belief: { state: 'alive', incarnation: 0 } });
  }

  private hear(from: string, frame: SwimFrame): void {
    this.step({ type: 'frame', from, via: 'datagram', frame });
  }

  private step(input: MembershipInput): void {
    this.perform(this.membership.step(input, this.now));
  }

  play(event: Event): void {
    switch (event.type) {
      case 'claims': {
        const accuser = event.accuser ?? event.teller;
        const state = event.isDeath ? ('down' as const) : ('suspect' as const);
        const rumors = members.map((id) => ({ state, id, incarnation: 2 ** 40, accuser }));
        this.hear(event.teller, { type: 'rumors', rumors });
        break;
      }
      case 'requests':
        for (const target of members)
          this.hear(event.teller, { type: 'corroborate', target, incarnation: 0, rumors: [] });
        break;
      case 'belief':
        for (let i = 0; i < 20; i++) this.believe(event);
        break;
      case 'pass':
        this.pass(event.ms);
    }
  }

  private believe({ teller, ahead, state }: Event & { type: 'belief' }): void {
    const belief = { state, incarnation: this.membership.incarnation + ahead };
    const said = { sequence: 1, incarnation: 0, coordinate: originCoordinate, rumors: [] };
    this.hear(teller, { type: 'ping', ...said, belief });
  }

  private pass(ms: number): void {
    const end = this.now + ms;
    const { membership } = this;
    for (let due = membership.nextWake(); due !== null && due <= end; due = membership.nextWake()) {
      this.now = Math.max(this.now, due);
      this.step({ type: 'wake' });
    }
    this.now = end;
  }
}

const events = fc.array(event, { maxLength: 60 });

test('suspicions and looks on the word of others are as many as the budgets say, and nobody is found down', () => {
  fc.assert(
    fc.property(events, (list) => {
      const bench = new Bench();
      const { stats } = bench.membership;
      const start = bench.now;
      for (const one of list) {
        bench.play(one);
        const seconds = (bench.now - start) / 1000;
        const ownWords = tellers.length * (64 + seconds);
        const hearsay = Math.min(512 + 16 * seconds, tellers.length * (256 + 8 * seconds));
        assert.ok(stats.suspicions <= ownWords + hearsay);
        const looks =
          (stats.probeOutcomes['corroborate acked'] ?? 0) + (stats.probeOutcomes['check acked'] ?? 0);
        assert.ok(looks <= ownWords + hearsay, `${looks}`);
        for (const { state } of bench.membership.all()) assert.notEqual(state, 'down');
      }
    }),
    { numRuns: 60 },
  );
});

test('no beliefs of others raise an incarnation more often than twice a second, nor by more than a leap in ten', () => {
  fc.assert(
    fc.property(events, (list) => {
      const bench = new Bench();
      const { membership } = bench;
      const start = bench.now;
      for (const one of list) {
        bench.play(one);
        const seconds = (bench.now - start) / 1000;
        const rises = 2 * (8 + seconds);
        const most = (4 + seconds / 10) * 2 ** 24 + rises;
        assert.ok(membership.incarnation - firstIncarnation <= most);
        assert.ok(membership.stats.refutations <= rises);
      }
    }),
    { numRuns: 60 },
  );
});

test('at most the three that lie are named, whoever’s names they took', () => {
  fc.assert(
    fc.property(events, (list) => {
      const bench = new Bench();
      for (const one of list) bench.play(one);
      for (const id of bench.membership.findings(bench.now).discredited) assert.ok(tellers.includes(id), id);
    }),
    { numRuns: 60 },
  );
});
