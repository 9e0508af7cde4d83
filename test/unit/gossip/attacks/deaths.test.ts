/** Members that lie about who is alive: they may make others look, and never make them find anybody down. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type HostId, type Millis, seededRandom } from '../../../../src/core.ts';
import { originCoordinate } from '../../../../src/gossip/coordinates/coordinate.ts';
import { decodeFrame, encodeFrame } from '../../../../src/gossip/framecodec.ts';
import type { Frame, Rumor } from '../../../../src/gossip/frames.ts';
import { Swim } from '../../../../src/gossip/membership/swim.ts';
import { defaultSwimParameters } from '../../../../src/gossip/parameters.ts';
import type { SwimInput } from '../../../../src/gossip/swim-port.ts';
import { Mesh, signerOf, verify } from '../mesh.ts';

const start = 1_800_000_000_000;
const victim = signerOf('victim').publicKey;
const liar = signerOf('liar').publicKey;
const members = Array.from({ length: 20 }, (_, i) => signerOf(`member ${i}`).publicKey);

/** One agent in whose mesh everybody answers every ping at once, the victim too. */
class Listener {
  now: Millis = start;
  /** When it looked at the victim of its own accord: its last word before a verdict. */
  checkedAt: Millis | null = null;
  readonly states: string[] = [];
  private readonly swim: Swim;

  constructor() {
    const signer = signerOf('listener');
    const self = signer.publicKey;
    this.swim = new Swim({ self, signer, verify, random: seededRandom(1), epoch: 1, root: '\0'.repeat(8) });
    for (const id of [victim, liar, ...members]) this.feed({ type: 'order', order: { type: 'add', id } });
  }

  get self(): HostId {
    return signerOf('listener').publicKey;
  }

  feed(input: SwimInput): void {
    for (const effect of this.swim.step(input, this.now)) {
      if (effect.type === 'datagram') this.answer(effect.to, decodeFrame(effect.bytes));
      else if (effect.report.type === 'frame' && effect.report.to === victim) this.checkedAt ??= this.now;
      else if (effect.report.type === 'member' && effect.report.member.id === victim)
        this.states.push(effect.report.member.state);
    }
  }

  private answer(from: HostId, frame: Frame): void {
    if (frame.type !== 'ping') return;
    const { sequence } = frame;
    const belief = { state: 'alive', incarnation: 2 ** 16 } as const;
    const head = { incarnation: 0, belief, coordinate: originCoordinate, clock: Math.floor(this.now) };
    const said = { ...head, root: '\0'.repeat(8), rumors: [] };
    this.feed({ type: 'datagram', from, bytes: encodeFrame({ type: 'ack', sequence, ...said }) });
  }

  hear(rumors: readonly Rumor[]): void {
    this.feed({ type: 'datagram', from: liar, bytes: encodeFrame({ type: 'rumors', rumors }) });
  }

  /** Lets time pass until the victim was looked at; how long that took. */
  untilChecked(limitMs: Millis): Millis | null {
    while (this.checkedAt === null && this.now - start < limitMs) {
      this.now = Math.min(this.swim.nextWake() ?? Number.POSITIVE_INFINITY, start + limitMs);
      this.feed({ type: 'wake' });
    }
    return this.checkedAt === null ? null : this.checkedAt - start;
  }
}

const claim = (accuser: HostId, state: 'suspect' | 'down'): Rumor => ({
  state,
  id: victim,
  incarnation: 0,
  accuser,
});

/** How long after these claims the listener checks the victim itself. */
function checkDelayMs(accusers: readonly HostId[], from = new Listener()): Millis | null {
  from.hear(accusers.map((accuser) => claim(accuser, 'suspect')));
  return from.untilChecked(60_000);
}

test('made-up accusers shorten nothing; three other members that collude make an agent look at its soonest', () => {
  const minMs = defaultSwimParameters.suspicionMinMs * Math.log10(members.length + 3);
  const leadMs = defaultSwimParameters.checkAttempts * defaultSwimParameters.probeTimeoutMs;
  const alone = checkDelayMs(members.slice(0, 1));
  assert.ok(alone !== null && alone > minMs * (defaultSwimParameters.suspicionMaxFactor - 1) - leadMs);
  const strangers = Array.from({ length: 50 }, (_, i) => signerOf(`stranger ${i}`).publicKey);
  assert.equal(checkDelayMs([members[0]!, ...strangers]), alone);
  assert.equal(checkDelayMs([members[0]!, victim, new Listener().self]), alone);
  const delays = [2, 3, 4, 20].map((count) => checkDelayMs(members.slice(0, count))!);
  assert.ok(delays[0]! < alone && delays[1]! < delays[0]!);
  assert.ok(delays[2]! <= Math.max(0, minMs - leadMs) + 1, `${delays[2]} ms`);
  assert.equal(delays[3], delays[2], 'more than three confirmations count for nothing');
});

test('accusers that do not exist begin no suspicion, however many they are', () => {
  const listener = new Listener();
  const strangers = Array.from({ length: 50 }, (_, i) => signerOf(`stranger ${i}`).publicKey);
  assert.equal(checkDelayMs([...strangers, victim, listener.self], listener), null);
  assert.deepEqual(listener.states, []);
});

test('one claim that a member is down makes an agent look at once, and find it alive', () => {
  const listener = new Listener();
  listener.hear([claim(liar, 'down')]);
  assert.ok(listener.untilChecked(60_000)! < 5);
  for (let i = 0; i < 200; i++) {
    listener.hear(members.map((accuser) => claim(accuser, 'down')));
    listener.checkedAt = null;
    listener.untilChecked(listener.now - start + 100);
  }
  assert.deepEqual(
    [...new Set(listener.states)],
    ['suspect'],
    'it never becomes down: its own probes succeed',
  );
});

/** Liars tell all others, for ten seconds, that the victim is down, in the name of everybody. */
function slander(mesh: Mesh, liars: number, incarnation: number): void {
  const [accused, ...rest] = mesh.hosts;
  for (let round = 0; round < 50; round++) {
    const rumors = rest.map(
      ({ id }, i): Rumor => ({
        state: i % 2 === 0 ? 'down' : 'suspect',
        id: accused!.id,
        incarnation,
        accuser: id,
      }),
    );
    const bytes = encodeFrame({ type: 'rumors', rumors });
    for (const from of rest.slice(-liars))
      for (const target of rest.slice(0, -liars))
        mesh.feed(target, { type: 'datagram', from: from.id, bytes });
    mesh.run(200);
  }
}

for (const liars of [1, 6])
  test(`${liars} of ten members that lie cannot have a healthy one found down, and it refutes`, () => {
    const mesh = new Mesh({ seed: 5, size: 10, loss: 0.02 });
    mesh.run(5000);
    for (const incarnation of [2 ** 16, 2 ** 40, Number.MAX_SAFE_INTEGER]) slander(mesh, liars, incarnation);
    assert.ok(mesh.observations.some(({ state }) => state === 'suspect'));
    assert.equal(mesh.observations.filter(({ state }) => state === 'down').length, 0);
    const cleared = () => mesh.hosts.slice(1).every((host) => mesh.stateOf(host, mesh.host(0)) === 'alive');
    assert.notEqual(mesh.until(cleared, 10_000), null);
  });

test('an incarnation that its owner did not sign is not believed, and no claim drags a victim to the last one', () => {
  const mesh = new Mesh({ seed: 6, size: 5 });
  mesh.run(3000);
  const [accused, target, from] = mesh.hosts as [Mesh['hosts'][0], Mesh['hosts'][0], Mesh['hosts'][0]];
  const before = target.gossip.member(accused.id)!.incarnation;
  for (const incarnation of [before + 1, 2 ** 40, Number.MAX_SAFE_INTEGER]) {
    const proof = new Uint8Array(64).fill(1);
    const rumors: Rumor[] = [{ state: 'alive', id: accused.id, incarnation, proof }];
    mesh.feed(target, { type: 'datagram', from: from.id, bytes: encodeFrame({ type: 'rumors', rumors }) });
    const belief = { state: 'down', incarnation } as const;
    const ping = {
      type: 'ping',
      sequence: 1,
      incarnation: 0,
      coordinate: originCoordinate,
      belief,
      rumors: [],
    } as const;
    mesh.feed(accused, { type: 'datagram', from: from.id, bytes: encodeFrame(ping) });
  }
  mesh.run(2000);
  assert.ok(accused.swim.membership.incarnation <= before + 2, 'only what is near is climbed over');
  assert.equal(mesh.stateOf(target, accused), 'alive');
  assert.ok(target.swim.stats.badProofs >= 3);
});

/** An agent of a mesh in which nobody answers, and whom it pings. */
function deafened(count: number) {
  const signer = signerOf('listener');
  const root = '\0'.repeat(8);
  const swim = new Swim({ self: signer.publicKey, signer, verify, random: seededRandom(2), epoch: 1, root });
  const everybody = Array.from({ length: count }, (_, i) => signerOf(`silent ${i}`).publicKey);
  for (const id of [liar, ...everybody]) swim.step({ type: 'order', order: { type: 'add', id } }, start);
  const pinged = new Set<HostId>();
  const hear = (from: HostId, frame: Frame): void => {
    for (const effect of swim.step({ type: 'datagram', from, bytes: encodeFrame(frame) }, start))
      if (effect.type === 'datagram' && decodeFrame(effect.bytes).type === 'ping') pinged.add(effect.to);
  };
  return { everybody, pinged, hear };
}

test('one member that asks for probes without end has a few of them, and leaves room for others', () => {
  const { everybody, pinged, hear } = deafened(300);
  const rumors: Rumor[] = [];
  for (const [sequence, target] of everybody.entries())
    hear(liar, { type: 'ping-req', sequence, target, urgent: true, rumors });
  assert.equal(pinged.size, 32);
  const target = everybody.find((id) => !pinged.has(id))!;
  hear(everybody[299]!, { type: 'ping-req', sequence: 1, target, urgent: false, rumors });
  assert.ok(pinged.has(target), 'an honest request is served');
});

test('requests to look at everybody at once cost a bounded number of probes and connections', () => {
  const { everybody, pinged, hear } = deafened(300);
  for (let round = 0; round < 3; round++)
    for (const target of everybody) hear(liar, { type: 'corroborate', target, incarnation: 0, rumors: [] });
  assert.equal(pinged.size, 64);
});
