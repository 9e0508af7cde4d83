/** A member that says of everybody that it is down: what the others do for it is bounded, and it is named. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type HostId, type Millis, seededRandom } from '../../../../src/core.ts';
import { originCoordinate } from '../../../../src/gossip/coordinates/coordinate.ts';
import { decodeFrame, encodeFrame } from '../../../../src/gossip/framecodec.ts';
import type { Frame, Rumor } from '../../../../src/gossip/frames.ts';
import { incarnationsPerEpoch, Swim } from '../../../../src/gossip/membership/swim.ts';
import type { SwimInput } from '../../../../src/gossip/swim-port.ts';
import { Mesh, type MeshHost, signerOf, verify } from '../mesh.ts';

const start = 1_800_000_000_000;
const root = '\0'.repeat(8);

/** One agent among members of whom the living answer at once, and refute what it believes of them. */
class Hearer {
  now: Millis = start;
  /** When the agent checked each member, and when it found it down. */
  readonly checked: HostId[] = [];
  readonly foundDownAt = new Map<HostId, Millis>();
  private readonly living: Set<HostId>;
  private readonly incarnations = new Map<HostId, number>();
  readonly swim: Swim;

  constructor(living: readonly HostId[], dead: readonly HostId[] = []) {
    const signer = signerOf('hearer');
    this.living = new Set(living);
    this.swim = new Swim({ self: signer.publicKey, signer, verify, random: seededRandom(1), epoch: 1, root });
    for (const id of [...living, ...dead]) this.feed({ type: 'order', order: { type: 'add', id } });
  }

  feed(input: SwimInput): void {
    for (const effect of this.swim.step(input, this.now)) {
      if (effect.type === 'datagram') this.answer(effect.to, decodeFrame(effect.bytes));
      // Regular probes of who answers at once need no connection: only looks that somebody caused do.
      else if (effect.report.type === 'frame') this.checked.push(effect.report.to);
      else if (effect.report.type === 'member' && effect.report.member.state === 'down')
        this.foundDownAt.set(effect.report.member.id, this.now);
    }
  }

  private answer(from: HostId, frame: Frame): void {
    if (frame.type !== 'ping' || !this.living.has(from)) return;
    const { sequence, belief } = frame;
    const before = this.incarnations.get(from) ?? incarnationsPerEpoch;
    const isWrong = belief.state === 'suspect' || belief.state === 'down';
    const incarnation = isWrong ? Math.max(before, belief.incarnation + 1) : before;
    this.incarnations.set(from, incarnation);
    const wellKnown = { state: 'alive', incarnation: incarnationsPerEpoch } as const;
    const said = { incarnation, belief: wellKnown, coordinate: originCoordinate, rumors: [] };
    const ack: Frame = { type: 'ack', sequence, ...said, clock: Math.floor(this.now), root };
    this.feed({ type: 'datagram', from, bytes: encodeFrame(ack) });
  }

  hear(from: HostId, rumors: readonly Rumor[]): void {
    this.feed({ type: 'datagram', from, bytes: encodeFrame({ type: 'rumors', rumors }) });
  }

  run(forMs: Millis): void {
    const end = this.now + forMs;
    for (let due = this.swim.nextWake(); due !== null && due <= end; due = this.swim.nextWake()) {
      this.now = Math.max(this.now, due);
      this.feed({ type: 'wake' });
    }
    this.now = end;
  }
}

const membersOf = (count: number, name: string) =>
  Array.from({ length: count }, (_, i) => signerOf(`${name} ${i}`).publicKey);
const healthy = membersOf(200, 'member');
const [liar] = membersOf(1, 'liar') as [HostId];

/** High enough that it is never out of date. */
const claimOf = (id: HostId, accuser: HostId, state: 'suspect' | 'down'): Rumor => ({
  state,
  id,
  incarnation: 2 ** 40,
  accuser,
});

/** For ten seconds, ten times a second, of everybody. */
function lie(hearer: Hearer, claims: readonly Rumor[]): void {
  for (let round = 0; round < 100; round++) {
    hearer.hear(liar, claims);
    hearer.run(100);
  }
}

test('a liar that claims all members down makes an agent look at a few of them, and is named for it', () => {
  const hearer = new Hearer([...healthy, liar]);
  lie(
    hearer,
    healthy.map((id) => claimOf(id, liar, 'down')),
  );
  assert.ok(hearer.checked.length <= 64 + 10, `${hearer.checked.length} looks`);
  assert.ok(hearer.swim.stats.claimsIgnored > 10_000);
  assert.deepEqual(hearer.swim.stats.discredited, [liar]);
  assert.equal(hearer.foundDownAt.size, 0);
});

test('a liar that takes others’ names causes no more than all that is passed on may', () => {
  const hearer = new Hearer([...healthy, liar]);
  lie(
    hearer,
    healthy.map((id, i) => claimOf(id, healthy[(i + 1) % healthy.length]!, i % 2 === 0 ? 'down' : 'suspect')),
  );
  assert.ok(hearer.swim.stats.suspicions <= 256 + 8 * 10, `${hearer.swim.stats.suspicions} suspicions`);
  assert.deepEqual(hearer.swim.stats.discredited, [], 'whose name was used is not blamed');
  assert.equal(hearer.foundDownAt.size, 0);
});

test('a rack that died, told by one at once, is found down as fast as ever', () => {
  const rack = membersOf(40, 'rack');
  const teller = healthy[0]!;
  const hearer = new Hearer(healthy, rack);
  hearer.hear(
    teller,
    rack.map((id) => claimOf(id, teller, 'down')),
  );
  // Three pings of 200 ms each, which is what looking costs, and nothing before them.
  hearer.run(605);
  assert.equal(hearer.foundDownAt.size, rack.length);
  assert.equal(hearer.swim.stats.claimsIgnored, 0);
  assert.deepEqual(hearer.swim.stats.discredited, []);
});

test('a zone that died, told by one rack by rack, is found down without a claim being ignored', () => {
  const zone = membersOf(180, 'zone');
  const teller = healthy[0]!;
  const hearer = new Hearer(healthy, zone);
  for (let first = 0; first < zone.length; first += 60) {
    hearer.hear(
      teller,
      zone.slice(first, first + 60).map((id) => claimOf(id, teller, 'down')),
    );
    // Longer than a rack: this agent's own probes fail as well, for which it takes itself for slow.
    hearer.run(2000);
  }
  assert.equal(hearer.foundDownAt.size, zone.length);
  assert.equal(hearer.swim.stats.claimsIgnored, 0);
});

test('beside a liar that has used up its budget an honest member is heard at once', () => {
  const rack = membersOf(20, 'rack');
  const hearer = new Hearer([...healthy, liar], rack);
  lie(
    hearer,
    [...healthy, ...rack].map((id) => claimOf(id, liar, 'down')),
  );
  const teller = healthy[7]!;
  const toldAt = hearer.now;
  hearer.hear(
    teller,
    rack.map((id) => claimOf(id, teller, 'down')),
  );
  hearer.run(605);
  assert.equal(hearer.foundDownAt.size, rack.length);
  for (const [id, at] of hearer.foundDownAt) assert.ok(at <= toldAt + 605, id);
});

/** What the liar sends to everybody else, of everybody else. */
function slander(mesh: Mesh, from: MeshHost): void {
  for (const target of mesh.hosts) {
    const victims = mesh.hosts.filter((host) => host !== from && host !== target);
    const rumors = victims.map(({ id }) => claimOf(id, from.id, 'down'));
    const bytes = encodeFrame({ type: 'rumors', rumors });
    if (target !== from) mesh.feed(target, { type: 'datagram', from: from.id, bytes });
  }
}

const looksOf = (host: MeshHost): number => {
  const { probeOutcomes } = host.swim.stats;
  return (['acked', 'relayed', 'failed'] as const).reduce(
    (sum, outcome) => sum + (probeOutcomes[`check ${outcome}`] ?? 0),
    0,
  );
};

test('in a mesh that one slanders for half a minute all stay up, look little, and name the one', () => {
  const mesh = new Mesh({ seed: 11, size: 24 });
  mesh.run(5000);
  const from = mesh.host(23);
  const before = mesh.hosts.map((host) => host.swim.membership.incarnation);
  for (let round = 0; round < 300; round++) {
    slander(mesh, from);
    mesh.run(100);
  }
  mesh.run(10_000);
  assert.equal(mesh.observations.filter(({ state }) => state === 'down').length, 0);
  for (const [i, host] of mesh.hosts.entries()) {
    if (host === from) continue;
    assert.ok(looksOf(host) <= 64 + 30, `${looksOf(host)} looks`);
    assert.ok(host.swim.membership.incarnation - before[i]! <= 8 + 40, 'one refutation a second');
    assert.deepEqual(host.swim.stats.discredited, [from.id]);
    for (const other of mesh.hosts)
      if (other !== host) assert.equal(mesh.stateOf(host, other), 'alive', 'all is well in the end');
  }
  const named = mesh.alarms.filter(({ code }) => code === 'false-claims');
  assert.deepEqual([...new Set(named.map(({ subject }) => subject))], [from.id]);
  assert.equal(named.length, mesh.hosts.length - 1, 'each says so once');
});

test('while one slanders, a member that really dies is found down by all', () => {
  const mesh = new Mesh({ seed: 12, size: 24 });
  mesh.run(5000);
  const [dying, from] = [mesh.host(0), mesh.host(23)];
  for (let round = 0; round < 100; round++) {
    slander(mesh, from);
    mesh.run(100);
  }
  mesh.kill(dying);
  const others = mesh.hosts.slice(1);
  let tookMs: number | null = null;
  for (let round = 0; round < 100 && tookMs === null; round++) {
    slander(mesh, from);
    mesh.run(100);
    if (others.every((host) => mesh.stateOf(host, dying) === 'down')) tookMs = (round + 1) * 100;
  }
  assert.ok(tookMs !== null && tookMs <= 5000, `${tookMs} ms`);
});
