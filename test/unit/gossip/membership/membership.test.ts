import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Millis, seededRandom } from '../../../../src/core.ts';
import { originCoordinate as coordinate } from '../../../../src/gossip/coordinates/coordinate.ts';
import type { Rumor, SwimFrame } from '../../../../src/gossip/frames.ts';
import { Membership } from '../../../../src/gossip/membership/membership.ts';
import { defaultSwimParameters } from '../../../../src/gossip/parameters.ts';
import type { MembershipEffect, MembershipInput } from '../../../../src/gossip/swim-port.ts';

const start = 1_000_000;
const proof = (incarnation: number) => new Uint8Array(64).fill(incarnation % 251);

/** One agent called `self` among members that do what a test says. */
class Bench {
  now: Millis = start;
  readonly sent: { to: string; frame: SwimFrame; at: Millis }[] = [];
  readonly states: string[] = [];
  readonly membership: Membership;
  /** Members that answer pings, with their incarnation. */
  readonly answering = new Map<string, number>();

  constructor(members: readonly string[], incarnation = 10) {
    this.membership = new Membership({
      self: 'self',
      random: seededRandom(3),
      incarnation,
      prove: proof,
      isProof: (_id, claimed, given) => Buffer.compare(given, proof(claimed)) === 0,
      root: () => '12345678',
    });
    for (const id of members) {
      this.answering.set(id, 1);
      this.membership.add(id, this.now);
    }
    this.perform(this.membership.drain(this.now));
    this.states.length = 0;
  }

  step(input: MembershipInput): void {
    this.perform(this.membership.step(input, this.now));
  }

  hear(from: string, ...rumors: Rumor[]): void {
    this.step({ type: 'frame', from, via: 'datagram', frame: { type: 'rumors', rumors } });
  }

  private perform(effects: readonly MembershipEffect[]): void {
    const replies: MembershipInput[] = [];
    for (const effect of effects) {
      if (effect.type === 'member') this.states.push(`${effect.member.id} ${effect.member.state}`);
      if (effect.type !== 'send') continue;
      const { to, frame } = effect;
      this.sent.push({ to, frame, at: this.now });
      const incarnation = this.answering.get(to);
      if (frame.type !== 'ping' || incarnation === undefined) continue;
      const { sequence, belief } = frame;
      const refuted = belief.state === 'suspect' || belief.state === 'down' ? belief.incarnation + 1 : 0;
      this.answering.set(to, Math.max(incarnation, refuted));
      const ack: SwimFrame = {
        type: 'ack',
        sequence,
        incarnation: this.answering.get(to)!,
        coordinate,
        belief: { state: 'alive', incarnation: 0 },
        clock: this.now,
        root: '12345678',
        rumors: [],
      };
      replies.push({ type: 'frame', from: to, via: 'datagram', frame: ack });
    }
    for (const reply of replies) this.step(reply);
  }

  run(milliseconds: number): void {
    const end = this.now + milliseconds;
    for (let due = this.membership.nextWake(); due !== null && due <= end; due = this.membership.nextWake()) {
      this.now = Math.max(this.now, due);
      this.step({ type: 'wake' });
    }
    this.now = end;
  }

  state(id: string) {
    return this.membership.get(id)?.state;
  }
}

const five = ['a', 'b', 'c', 'd', 'e'];
const suspect = (id: string, accuser: string, incarnation = 1): Rumor => ({
  state: 'suspect',
  id,
  incarnation,
  accuser,
});
const down = (id: string, accuser: string, incarnation = 1): Rumor => ({
  state: 'down',
  id,
  incarnation,
  accuser,
});

test('a healthy mesh suspects nobody, and every member is probed in turn', () => {
  const bench = new Bench(five);
  bench.run(20_000);
  assert.deepEqual(bench.states, []);
  const pinged = new Set(bench.sent.filter(({ frame }) => frame.type === 'ping').map(({ to }) => to));
  assert.deepEqual([...pinged].sort(), five);
});

test('a silent member is pinged, asked after through helpers, suspected, corroborated, then found down', () => {
  const bench = new Bench(five);
  bench.run(2000);
  bench.answering.delete('c');
  bench.sent.length = 0;
  bench.run(15_000);
  assert.deepEqual(bench.states, ['c suspect', 'c down']);
  const kinds = bench.sent
    .filter(({ frame }) => 'target' in frame && frame.target === 'c')
    .map(({ frame }) => frame.type);
  assert.equal(kinds.filter((kind) => kind === 'ping-req').length % defaultSwimParameters.indirectProbes, 0);
  assert.equal(kinds.filter((kind) => kind === 'corroborate').length, defaultSwimParameters.corroborators);
});

test('a relayed ack saves a member whose direct path is broken', () => {
  const bench = new Bench(five);
  bench.answering.delete('c');
  for (let i = 0; i < 400; i++) {
    const before = bench.sent.length;
    bench.run(25);
    for (const { to, frame } of bench.sent.slice(before))
      if (frame.type === 'ping-req')
        bench.step({
          type: 'frame',
          from: to,
          via: 'datagram',
          frame: { type: 'relayed-ack', sequence: frame.sequence },
        });
  }
  assert.deepEqual(bench.states, []);
});

test('however many claim that a living member is down, it is not found down', () => {
  const bench = new Bench(five);
  bench.run(3000);
  for (const accuser of ['b', 'c', 'd', 'e', 'nobody']) bench.hear('b', down('a', accuser, 1));
  assert.equal(bench.state('a'), 'suspect');
  bench.run(5000);
  assert.equal(bench.state('a'), 'alive');
  assert.ok(!bench.states.includes('a down'));
  assert.equal(bench.membership.get('a')?.incarnation, 2);
});

test('a claim that a dead member is down is checked at once and then believed', () => {
  const bench = new Bench(five);
  bench.run(3000);
  bench.answering.delete('a');
  bench.hear('b', down('a', 'b'));
  bench.run(defaultSwimParameters.probeTimeoutMs * defaultSwimParameters.checkAttempts + 50);
  assert.equal(bench.state('a'), 'down');
});

test('a lost connection starts a probe at once and is no verdict', () => {
  const bench = new Bench(five);
  bench.run(3000);
  bench.sent.length = 0;
  bench.step({ type: 'disconnected', peer: 'a' });
  assert.ok(bench.sent.some(({ to, frame }) => to === 'a' && frame.type === 'ping'));
  bench.run(3000);
  assert.deepEqual(bench.states, []);
});

test('a process that refuses everything is known down within a second of the hint', () => {
  const bench = new Bench(five);
  bench.run(3000);
  bench.answering.delete('a');
  bench.step({ type: 'disconnected', peer: 'a' });
  bench.step({ type: 'unreachable', peer: 'a' });
  bench.run(60);
  const request = bench.sent.findLast(({ frame }) => frame.type === 'ping-req')!.frame;
  assert.ok(request.type === 'ping-req');
  for (const helper of ['b', 'c', 'd']) {
    bench.step({
      type: 'frame',
      from: helper,
      via: 'datagram',
      frame: { type: 'nack', sequence: request.sequence },
    });
  }
  assert.equal(bench.state('a'), 'suspect', 'once all helpers failed too, there is nothing to wait for');
  for (const accuser of ['b', 'c', 'd']) bench.hear(accuser, suspect('a', accuser));
  bench.run(1000);
  assert.equal(bench.state('a'), 'down');
});

test('a member refutes what is believed of it by raising its own incarnation, and proves it', () => {
  const bench = new Bench(five);
  bench.hear('a', suspect('self', 'b', 10));
  assert.equal(bench.membership.incarnation, 11);
  const told = bench.sent.length;
  bench.run(500);
  const rumors = bench.sent.slice(told).flatMap(({ frame }) => ('rumors' in frame ? frame.rumors : []));
  assert.ok(
    rumors.some((rumor) => rumor.id === 'self' && rumor.state === 'alive' && rumor.incarnation === 11),
  );
  bench.hear('a', suspect('self', 'b', 10));
  assert.equal(bench.membership.incarnation, 11, 'an old accusation needs no answer');
});

test('nobody can drive an incarnation out of its range by a wild claim', () => {
  const bench = new Bench(five);
  bench.hear('a', suspect('self', 'b', Number.MAX_SAFE_INTEGER));
  assert.equal(bench.membership.incarnation, 10);
  bench.hear('a', suspect('c', 'b', Number.MAX_SAFE_INTEGER));
  assert.equal(bench.membership.get('c')?.incarnation, 0, 'an accusation raises no incarnation');
});

test('a rumor that somebody is alive counts only with that member’s own signature', () => {
  const bench = new Bench(five);
  bench.hear('a', { state: 'alive', id: 'c', incarnation: 50, proof: proof(49) });
  assert.equal(bench.membership.get('c')?.incarnation, 0);
  assert.equal(bench.membership.stats.badProofs, 1);
  bench.hear('a', { state: 'alive', id: 'c', incarnation: 50, proof: proof(50) });
  assert.equal(bench.membership.get('c')?.incarnation, 50);
});

test('a down member is probed for ever at a slow rate, and is back when it answers', () => {
  const bench = new Bench(five);
  bench.answering.delete('e');
  bench.run(20_000);
  assert.equal(bench.state('e'), 'down');
  bench.sent.length = 0;
  bench.run(100_000);
  const attempts = bench.sent.filter(({ to }) => to === 'e').length;
  assert.ok(attempts >= 20 && attempts <= 80, `${attempts} pings in 100 s`);
  bench.answering.set('e', 1);
  bench.run(8000);
  assert.equal(bench.state('e'), 'alive');
});

test('who left is neither probed nor suspected, until it says at a higher incarnation that it is back', () => {
  const bench = new Bench(five);
  bench.membership.noteLifecycle('b', 'left', 5, bench.now);
  bench.membership.drain(bench.now);
  bench.sent.length = 0;
  bench.run(20_000);
  assert.equal(bench.state('b'), 'left');
  assert.ok(!bench.sent.some(({ to }) => to === 'b'));
  bench.hear('a', suspect('b', 'a', 9), down('b', 'c', 9));
  bench.membership.noteLifecycle('b', 'active', 5, bench.now);
  assert.equal(bench.state('b'), 'left');
  bench.hear('a', { state: 'alive', id: 'b', incarnation: 6, proof: proof(6) });
  assert.equal(bench.state('b'), 'alive');
});

test('this process having been stopped accuses nobody, and it trusts itself less for a while', () => {
  const bench = new Bench(five);
  bench.run(3000);
  bench.step({ type: 'disconnected', peer: 'a' });
  for (const id of five) bench.answering.delete(id);
  bench.run(300);
  bench.now += 8000;
  bench.step({ type: 'wake' });
  assert.equal(bench.membership.stats.stalls, 1);
  assert.ok(bench.membership.localHealth > 0);
  for (const id of five) bench.answering.set(id, 1);
  bench.run(5000);
  assert.ok(!bench.states.some((state) => state.endsWith('down')));
});

test('an agent that leaves neither probes nor refutes any more', () => {
  const bench = new Bench(five);
  bench.run(1000);
  bench.membership.leave();
  bench.membership.drain(bench.now);
  bench.sent.length = 0;
  bench.run(10_000);
  assert.ok(!bench.sent.some(({ frame }) => frame.type === 'ping'));
  bench.hear('a', suspect('self', 'b', 10));
  assert.equal(bench.membership.incarnation, 10);
});

test('a new neighbour is told who is impaired', () => {
  const bench = new Bench(five);
  bench.answering.delete('e');
  bench.run(20_000);
  bench.sent.length = 0;
  bench.step({ type: 'connected', peer: 'a' });
  const told = bench.sent.find(({ to, frame }) => to === 'a' && frame.type === 'rumors')!.frame;
  assert.ok(told.type === 'rumors');
  assert.ok(told.rumors.some((rumor) => rumor.id === 'e' && rumor.state === 'down'));
  assert.ok(told.rumors.some((rumor) => rumor.id === 'self' && rumor.state === 'alive'));
});

test('strangers get an answer, and nothing they say about strangers is kept', () => {
  const bench = new Bench(['a']);
  const frame: SwimFrame = {
    type: 'ping',
    sequence: 7,
    incarnation: 3,
    coordinate,
    belief: { state: 'unknown', incarnation: 0 },
    rumors: [suspect('another stranger', 'x')],
  };
  bench.step({ type: 'frame', from: 'stranger', via: 'datagram', frame });
  const answer = bench.sent.at(-1)!;
  assert.equal(answer.to, 'stranger');
  assert.ok(
    answer.frame.type === 'ack' && answer.frame.sequence === 7 && answer.frame.belief.state === 'unknown',
  );
  assert.equal(bench.membership.count, 1);
});

test('a flood of requests to probe others is bounded', () => {
  const bench = new Bench(five);
  bench.answering.delete('a');
  bench.sent.length = 0;
  for (let sequence = 0; sequence < 1000; sequence++)
    bench.step({
      type: 'frame',
      from: 'b',
      via: 'datagram',
      frame: { type: 'ping-req', sequence, target: 'a', urgent: false, rumors: [] },
    });
  assert.ok(bench.sent.filter(({ to }) => to === 'a').length <= 128);
});

test('an accusation older than what the accused has proven since is void', () => {
  const bench = new Bench(five);
  bench.hear('a', { state: 'alive', id: 'c', incarnation: 50, proof: proof(50) });
  bench.hear('a', suspect('c', 'b', 49), down('c', 'd', 49));
  assert.equal(bench.state('c'), 'alive');
  bench.hear('a', suspect('c', 'b', 50));
  assert.equal(bench.state('c'), 'suspect');
});

test('an ack counts only if it comes from the member that was pinged', () => {
  const bench = new Bench(five);
  bench.answering.delete('c');
  for (let i = 0; i < 600; i++) {
    const before = bench.sent.length;
    bench.run(25);
    for (const { to, frame } of bench.sent.slice(before))
      if (to === 'c' && frame.type === 'ping') {
        const { sequence } = frame;
        const belief = { state: 'unknown', incarnation: 0 } as const;
        const forged: SwimFrame = {
          type: 'ack',
          sequence,
          incarnation: 9,
          coordinate,
          belief,
          clock: 0,
          root: '12345678',
          rumors: [],
        };
        bench.step({ type: 'frame', from: 'd', via: 'datagram', frame: forged });
      }
  }
  assert.equal(bench.state('c'), 'down');
});

test('once one down member is back, the others are looked for at once', () => {
  const bench = new Bench([...five, 'f', 'g', 'h']);
  const lost = ['d', 'e', 'f', 'g', 'h'];
  for (const id of lost) bench.answering.delete(id);
  bench.run(60_000);
  assert.ok(lost.every((id) => bench.state(id) === 'down'));
  for (const id of lost) bench.answering.set(id, 1);
  while (lost.every((id) => bench.state(id) === 'down')) bench.run(100);
  bench.run(2000);
  assert.deepEqual(
    lost.map((id) => bench.state(id)),
    Array(5).fill('alive'),
  );
});

test('a member that said goodbye and then refuted higher is gone, not down, once it is silent', () => {
  const bench = new Bench(five);
  bench.hear('a', { state: 'alive', id: 'c', incarnation: 50, proof: proof(50) });
  bench.membership.noteLifecycle('c', 'left', 40, bench.now);
  assert.equal(bench.state('c'), 'alive');
  bench.answering.delete('c');
  bench.run(20_000);
  assert.equal(bench.state('c'), 'left');
});

test('a goodbye that comes late, and below what was refuted, still tells why a member is silent', () => {
  const bench = new Bench(five);
  bench.hear('a', { state: 'alive', id: 'c', incarnation: 50, proof: proof(50) });
  bench.answering.delete('c');
  bench.run(20_000);
  assert.equal(bench.state('c'), 'down');
  bench.membership.noteLifecycle('c', 'departed', 40, bench.now);
  assert.equal(bench.state('c'), 'down', 'an operator’s word counts up to its incarnation');
  bench.membership.noteLifecycle('c', 'left', 40, bench.now);
  assert.equal(bench.state('c'), 'left');
});

test('who said in writing that it is back and is silent is down, also for an agent that heard of it only then', () => {
  const bench = new Bench(five);
  bench.membership.noteLifecycle('c', 'left', 40, bench.now);
  bench.hear('a', { state: 'alive', id: 'c', incarnation: 50, proof: proof(50) });
  assert.equal(bench.state('c'), 'alive');
  bench.answering.delete('c');
  bench.run(20_000);
  assert.equal(bench.state('c'), 'left');
  bench.membership.noteLifecycle('c', 'active', 50, bench.now);
  assert.equal(bench.state('c'), 'down');
  bench.answering.set('c', 51);
  bench.run(10_000);
  assert.equal(bench.state('c'), 'alive', 'and is looked for as all that are down');
});

test('who is gone by a word that says as much stays so, whatever it had said before', () => {
  const bench = new Bench(five);
  bench.membership.noteLifecycle('c', 'active', 40, bench.now);
  bench.membership.noteLifecycle('c', 'departed', 40, bench.now);
  bench.membership.noteLifecycle('c', 'active', 40, bench.now);
  assert.equal(bench.state('c'), 'left');
  bench.membership.noteLifecycle('d', 'left', 40, bench.now);
  bench.hear('a', { state: 'alive', id: 'd', incarnation: 50, proof: proof(50) });
  bench.answering.delete('d');
  bench.run(20_000);
  bench.membership.noteLifecycle('d', 'departed', 50, bench.now);
  bench.membership.noteLifecycle('d', 'active', 50, bench.now);
  assert.equal(bench.state('d'), 'left');
});
