import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EpochAgreement } from '../../../../src/trust/epoch/agreement.ts';
import { decodeMessage, encodeMessage } from '../../../../src/trust/epoch/message.ts';
import { standardPolicy, type TrusteePolicy } from '../../../../src/trust/epoch/policy.ts';
import { defaultTimings } from '../../../../src/trust/epoch/port.ts';
import { EpochNet, type Persist } from './net.ts';
import { standInSigner, standInVerify } from './stand-in.ts';

const policy: TrusteePolicy = { ...standardPolicy, replaceAfterMs: 60_000, settleMs: 5000 };

/** Whether a write puts the record of an epoch into the store. */
function putsRecord({ ops }: Persist): boolean {
  return ops.some((op) => op.type === 'put' && op.key.startsWith('epoch/record/'));
}

/** Refuses the first write of its kind on every host; says how many it refused. */
function refuseFirst(net: EpochNet, isMeant: (persist: Persist) => boolean): () => number {
  const refused = new Set<string>();
  net.refusesWrite = (host, persist) => {
    if (refused.has(host) || !isMeant(persist)) return false;
    refused.add(host);
    return true;
  };
  return () => refused.size;
}

function restartAll(net: EpochNet): void {
  for (const { index } of net.hosts) net.crash(index);
  for (const { index } of net.hosts) net.start(index);
}

/** Every ack that leaves a host whose disk does not hold the share that it speaks of. */
function watchAcks(net: EpochNet): string[] {
  const empty: string[] = [];
  for (const { id, disk, machine } of net.hosts) {
    const step = machine!.step.bind(machine!);
    machine!.step = (input, now) => {
      if (input.type === 'message') {
        const message = decodeMessage(input.bytes);
        const sender = net.hosts.find((host) => host.id === input.from)!;
        if (message.type === 'ack' && !sender.disk.secrets.has(message.descriptor.session))
          empty.push(`${sender.index} to ${id.slice(0, 6)}, ${disk.secrets.size} there`);
      }
      return step(input, now);
    };
  }
  return empty;
}

test('a share that the disk refused once is acknowledged only when it is there, and the epoch outlives a restart', () => {
  const net = new EpochNet({ seed: 21, hosts: 5, policy });
  const refused = refuseFirst(net, ({ secrets }) => secrets.length > 0);
  const empty = watchAcks(net);
  net.run(120_000, () => net.latest.plan.epoch >= 1 && net.isSettled());
  assert.equal(refused(), 5);
  assert.deepEqual(empty, []);
  const { latest } = net;
  assert.equal(latest.plan.trustees.length, 5);
  for (const host of net.hosts) assert.ok(host.disk.secrets.has(latest.session), `host ${host.index}`);
  restartAll(net);
  net.run(1000);
  assert.ok(net.isSettled());
  assert.deepEqual(net.alarms, []);
});

test('a share that a disk refuses for as long as the dealing lasts is not counted', () => {
  const net = new EpochNet({ seed: 22, hosts: 5, policy });
  const full = net.hosts[4]!;
  net.refusesWrite = (host, { secrets }) => host === full.id && secrets.length > 0;
  const empty = watchAcks(net);
  net.run(120_000);
  assert.deepEqual(empty, []);
  assert.ok(net.latest.plan.epoch >= 1, 'four of five have theirs');
  assert.equal(full.disk.secrets.size, 0);
  net.heal();
  net.run(60_000);
  restartAll(net);
  net.run(120_000);
  assert.ok(net.isSettled());
  assert.deepEqual(net.alarms, []);
});

test('the record that the disk refused once goes with the next write, and a restart finds all', () => {
  const net = new EpochNet({ seed: 23, hosts: 5, policy });
  net.run(60_000);
  for (let epoch = net.latest.plan.epoch + 1; epoch <= 4; epoch++) {
    const refused = refuseFirst(net, putsRecord);
    net.refreshEpoch = net.latest.plan.epoch;
    net.run(120_000, () => net.latest.plan.epoch >= epoch && net.isSettled() && refused() === 5);
    assert.equal(refused(), 5, `epoch ${epoch}`);
    // The next write of any kind: nobody has to restart for the record to be there.
    net.run(20_000);
    const { hash } = net.latest;
    restartAll(net);
    for (const { machine } of net.hosts) assert.equal(machine!.current.hash, hash);
  }
  assert.deepEqual(net.alarms, []);
});

test('disks that refuse every fifth write lead to no fork, no empty ack, and no state that cannot be read', () => {
  for (let seed = 1; seed <= 15; seed++) {
    const net = new EpochNet({ seed, hosts: 3 + (seed % 5), policy });
    net.refusesWrite = () => net.random.next() < 0.2;
    net.run(60_000);
    for (let i = 0; i < 150; i++) net.trouble();
    net.heal();
    net.refreshEpoch = net.latest.plan.epoch;
    const goal = net.latest.plan.epoch + 1;
    net.run(20 * 60_000, () => net.latest.plan.epoch >= goal && net.isSettled());
    assert.deepEqual(net.forks, [], `seed ${seed}`);
    assert.deepEqual(net.alarms, [], `seed ${seed}`);
    assert.ok(net.isSettled() && net.latest.plan.epoch >= goal, `seed ${seed} is stuck`);
  }
});

test('what another host says of this one’s disk is not believed', () => {
  const net = new EpochNet({ seed: 24, hosts: 3, policy });
  const [victim, other] = net.hosts;
  net.refusesWrite = (host, { secrets }) => host === victim!.id && secrets.length > 0;
  const written = encodeMessage({ type: 'written', epoch: 1, write: 1_000_000 });
  const isTrustee = (): boolean => victim!.machine!.current.plan.epoch >= 1;
  for (let i = 0; i < 600 && !isTrustee(); i++) {
    net.run(100);
    net.feed(victim!, { type: 'message', from: other!.id, bytes: written });
  }
  net.heal();
  net.run(60_000);
  net.crash(0);
  net.start(0);
  net.run(60_000);
  assert.ok(net.isSettled());
  assert.ok(victim!.disk.secrets.has(net.latest.session));
  assert.deepEqual(net.alarms, []);
});

test('a host that does not know what it promised follows, declines every question and writes nothing', () => {
  const net = new EpochNet({ seed: 25, hosts: 5, policy });
  net.run(60_000);
  const [host, other] = net.hosts;
  const { current } = net.hosts[0]!.machine!;
  const machine = new EpochAgreement({
    signer: standInSigner('host-0'),
    verify: standInVerify,
    random: net.random,
    genesis: net.genesis,
    policy,
    timings: defaultTimings,
    saved: [...host!.disk.store].filter(([key]) => key !== 'epoch/state'),
    secrets: [],
    withdrawn: true,
  });
  assert.equal(machine.current.hash, current.hash);
  assert.deepEqual([machine.status().isTrustee, machine.status().share], [false, null]);
  machine.step({ type: 'wake' }, net.now);
  const { trustees, epoch } = current.plan;
  for (let ballot = 5; ballot < 10; ballot++) {
    const bytes = encodeMessage({ type: 'prepare', epoch: epoch + 1, ballot });
    for (const from of trustees) {
      const effects = machine.step({ type: 'message', from, bytes }, net.now);
      const answers = effects.map((effect) => effect.type === 'send' && decodeMessage(effect.bytes));
      assert.deepEqual(
        answers.map((answer) => answer && answer.type === 'refused' && answer.code),
        ['withdrawn'],
      );
    }
  }
  // The others go on without it, and it follows them.
  net.crash(0);
  net.refreshEpoch = epoch;
  net.run(60_000);
  assert.ok(net.latest.plan.epoch > epoch);
  const record = [...other!.disk.store].filter(([key]) => key.startsWith('epoch/record/')).at(-1)![1];
  const effects = machine.step({ type: 'record', bytes: record }, net.now);
  assert.equal(machine.current.hash, other!.machine!.current.hash);
  for (const effect of effects)
    if (effect.type === 'persist') assert.deepEqual([effect.ops, effect.secrets], [[], []]);
});
