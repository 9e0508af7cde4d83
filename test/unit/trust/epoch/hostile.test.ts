import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EpochAgreement } from '../../../../src/trust/epoch/agreement.ts';
import { maxBallot } from '../../../../src/trust/epoch/descriptor.ts';
import { Electorate } from '../../../../src/trust/epoch/electorate.ts';
import { decodeMessage, type EpochMessage, encodeMessage } from '../../../../src/trust/epoch/message.ts';
import { highAssurancePolicy, standardPolicy } from '../../../../src/trust/epoch/policy.ts';
import { defaultTimings, type EpochEffect, type EpochInput } from '../../../../src/trust/epoch/port.ts';
import { EpochNet } from './net.ts';
import { standInSigner, standInVerify } from './stand-in.ts';

/** A mesh whose three hosts hold the root together. */
function settledNet(): EpochNet {
  const net = new EpochNet({ seed: 9, hosts: 3, policy: standardPolicy });
  net.run(120_000);
  assert.ok(net.isSettled() && net.latest.plan.epoch === 1);
  return net;
}

/** A host that knows nothing yet but the genesis. */
function lateMember(net: EpochNet): EpochAgreement {
  return new EpochAgreement({
    signer: standInSigner('late'),
    verify: standInVerify,
    random: net.random,
    genesis: net.genesis,
    policy: standardPolicy,
    timings: defaultTimings,
    saved: [],
    secrets: [],
  });
}

function recordsOf(net: EpochNet): Uint8Array[] {
  return [...net.hosts[0]!.disk.store].filter(([key]) => key.includes('record')).map(([, bytes]) => bytes);
}

function messageOf(net: EpochNet, message: EpochMessage): Extract<EpochInput, { type: 'message' }> {
  return { type: 'message', from: net.hosts[0]!.id, bytes: encodeMessage(message) };
}

function alarmsOf(effects: readonly EpochEffect[]): string[] {
  return effects.flatMap((effect) => (effect.type === 'alarm' ? [effect.code] : []));
}

test('a good record enters durably although a bad one follows it in the same answer', () => {
  const net = settledNet();
  const late = lateMember(net);
  const records = [...recordsOf(net), Uint8Array.of(1, 2, 3)];
  const effects = late.step(messageOf(net, { type: 'records', epoch: 2, records }), net.now);
  assert.equal(late.current.hash, net.latest.hash);
  assert.deepEqual(alarmsOf(effects), ['malformed']);
  const [persist] = effects.filter((effect) => effect.type === 'persist');
  assert.ok(persist !== undefined, 'what this host entered is written');
  assert.deepEqual(
    persist.ops.map((op) => op.key.replace(/[0-9]+$/, '')),
    ['epoch/record/', 'epoch/state'],
  );
  assert.ok(persist.then.some((effect) => effect.type === 'entered'));
});

function exaggerated(epoch: number, ballot: number): Uint8Array {
  const refused = { type: 'refused', epoch, ballot, code: 'superseded', retryAfterMs: 0 } as const;
  return encodeMessage({ ...refused, promised: maxBallot });
}

/** Has `liar` answer whatever ballot it hears of by naming a far higher one, `times` times. */
function exaggerate(net: EpochNet, liar: number, times: number): void {
  const { machine, id } = net.hosts[liar]!;
  const step = machine!.step.bind(machine);
  machine!.step = (input, now): readonly EpochEffect[] => {
    const asked = input.type === 'message' ? decodeMessage(input.bytes) : null;
    if (input.type !== 'message' || asked?.type !== 'prepare' || input.from === id) return step(input, now);
    const bytes = exaggerated(asked.epoch, asked.ballot);
    const leader = net.hosts.find((host) => host.id === input.from)!;
    for (let i = 0; i < times; i++) net.feed(leader, { type: 'message', from: id, bytes });
    return [];
  };
}

test('a trustee that names far higher ballots does not drive the others beyond what they can follow', () => {
  const net = new EpochNet({ seed: 11, hosts: 5, policy: { ...standardPolicy, settleMs: 5000 } });
  net.run(60_000);
  const before = net.latest;
  assert.equal(before.plan.trustees.length, 5);
  exaggerate(net, 4, 50);
  net.withholds = (from, _to, message) => from === net.hosts[4]!.id && message.type === 'prepare';
  // Too few to decide: every attempt fails, and each time the liar has its say.
  for (const away of [1, 2]) net.crash(away);
  net.rotateGeneration = before.plan.generation;
  net.refreshEpoch = before.plan.epoch;
  net.run(4 * 3_600_000);
  assert.equal(net.latest.hash, before.hash);
  for (const away of [1, 2]) net.start(away);
  net.run(120_000);
  assert.ok(net.latest.plan.epoch > before.plan.epoch, 'the others agree as soon as they are enough');
  assert.deepEqual(net.forks, []);
});

/** Of five that all must agree but one; when the root has been replaced, milliseconds after it was wanted. */
function replacedDespite(seed: number, everyMs: number): number {
  const net = new EpochNet({ seed, hosts: 5, policy: { ...highAssurancePolicy, settleMs: 5000 } });
  net.run(120_000);
  const { plan } = net.latest;
  assert.equal(plan.trustees.length, 5);
  const liar = net.hosts[1]!;
  const seat = plan.trustees.indexOf(liar.id);
  const victims = net.hosts.filter((host) => host !== liar);
  /** What each of the others says that it promised. */
  const heights = new Map<string, number>();
  net.withholds = (from, to, message) => {
    if (to === liar.id && message.type === 'refused') heights.set(from, message.promised);
    if (to === liar.id && message.type === 'promise') heights.set(from, message.voucher.ballot);
    return from === liar.id && !['relay', 'relayed', 'ack'].includes(message.type);
  };
  net.rotateGeneration = plan.generation;
  const since = net.now;
  for (let turn = 0; net.latest.plan.generation === plan.generation; turn++) {
    assert.ok(net.now < since + 600_000, 'kept from it for ever');
    const victim = victims[turn % victims.length]!;
    const round = Math.floor((heights.get(victim.id) ?? 0) / 5) + 500;
    const prepare = { type: 'prepare', epoch: plan.epoch + 1, ballot: round * 5 + seat } as const;
    net.feed(victim, { type: 'message', from: liar.id, bytes: encodeMessage(prepare) });
    net.run(everyMs, () => net.latest.plan.generation > plan.generation);
  }
  return net.now - since;
}

test('a trustee that has the others promise ever higher ballots, one by one, keeps them from nothing', () => {
  for (const seed of [1, 2, 3, 4])
    for (const everyMs of [20, 300, 1250]) {
      const tookMs = replacedDespite(seed, everyMs);
      assert.ok(tookMs < 120_000, `${tookMs} ms, one every ${everyMs} ms`);
    }
});

/** Has `liar` say in each promise that it has just voted. */
function overstateVotes(net: EpochNet, liar: number): void {
  const { machine } = net.hosts[liar]!;
  const step = machine!.step.bind(machine);
  const signer = standInSigner(`host-${liar}`);
  const electorate = new Electorate(net.latest, standInVerify);
  machine!.step = (input, now): readonly EpochEffect[] =>
    step(input, now).map((effect) => {
      const said = effect.type === 'send' ? decodeMessage(effect.bytes) : null;
      if (effect.type !== 'send' || said?.type !== 'promise') return effect;
      const voucher = electorate.sign({ ...said.voucher, voted: said.voucher.ballot }, signer);
      return { ...effect, bytes: encodeMessage({ ...said, voucher }) };
    });
}

/** Of five that all must agree but one. */
function agreesDespiteVotes(seed: number): void {
  const net = new EpochNet({ seed, hosts: 5, policy: { ...highAssurancePolicy, settleMs: 5000 } });
  net.run(120_000);
  const { plan } = net.latest;
  assert.equal(plan.trustees.length, 5);
  overstateVotes(net, 1);
  // Shares are made again and again, nothing is voted for, and no ballot does without the liar's promise.
  const unheard = net.hosts[2]!.id;
  net.withholds = (from, _to, { type }) => type === 'propose' || (type === 'promise' && from === unheard);
  net.refreshEpoch = plan.epoch;
  const pendingOf = (index: number): number => net.hosts[index]!.disk.secrets.size;
  net.run(3_600_000, () => pendingOf(0) > 50);
  assert.ok(pendingOf(0) > 45, `${pendingOf(0)} shares`);
  net.withholds = () => false;
  net.run(20_000, () => net.latest.plan.epoch > plan.epoch);
  assert.ok(net.latest.plan.epoch > plan.epoch, 'as soon as the others are enough');
}

test('a trustee that says it voted when it did not has the others keep no shares beyond what they have room for', () => {
  for (const seed of [16, 18]) agreesDespiteVotes(seed);
});

test('who is no trustee has no say in how high ballots are', () => {
  const net = new EpochNet({ seed: 12, hosts: 4, policy: { ...standardPolicy, settleMs: 5000 } });
  net.run(60_000);
  const before = net.latest;
  const stranger = net.hosts.find((host) => !before.plan.trustees.includes(host.id))!;
  net.refreshEpoch = before.plan.epoch;
  const [first, ...others] = net.hosts.filter((host) => before.plan.trustees.includes(host.id));
  for (const { index } of others) net.crash(index);
  const { machine } = first!;
  const step = machine!.step.bind(machine);
  machine!.step = (input, now): readonly EpochEffect[] => {
    const effects = step(input, now);
    const sent = effects.flatMap((effect) => (effect.type === 'send' ? [decodeMessage(effect.bytes)] : []));
    const prepare = sent.find((message) => message.type === 'prepare');
    if (prepare?.type !== 'prepare') return effects;
    for (let i = 0; i < 50; i++)
      step({ type: 'message', from: stranger.id, bytes: exaggerated(prepare.epoch, prepare.ballot) }, now);
    return effects;
  };
  net.run(600_000);
  for (const { index } of others) net.start(index);
  net.run(120_000);
  assert.ok(net.latest.plan.epoch > before.plan.epoch);
  assert.ok(net.latest.plan.ballot < 5000, `ballot ${net.latest.plan.ballot}`);
});
