/** An admitted peer that floods gossipsub by hand: what it costs is bounded, and honest deltas still flow. */
import assert from 'node:assert/strict';
import { hash, randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { deltaTopic, maxDeltaBytes } from '../../../../src/gossip/io/delta-gossipsub.ts';
import { bytesOf, Directory, type Host, idOf, startHost } from './helpers.ts';
import {
  field,
  framed,
  type RawPeer,
  rpc,
  sendAll,
  startRawPeer,
  startSilentPeer,
  varint,
} from './raw-peer.ts';

const attackerNumber = 9;

interface Scene {
  readonly victim: Host;
  readonly friend: Host;
  readonly attacker: RawPeer;
}

/** Two honest hosts in each other's mesh, and an attacker connected to the first. */
async function setScene(t: TestContext): Promise<Scene> {
  const directory = new Directory();
  const victim = await startHost(directory, 1);
  t.after(() => victim.transport.stop());
  const friend = await startHost(directory, 2);
  t.after(() => friend.transport.stop());
  friend.transport.connect(victim.id);
  await victim.untilConnected(friend);
  for (const host of [victim, friend]) while (host.transport.stats().meshPeers < 1) await setImmediate();
  const attacker = await startRawPeer(directory, attackerNumber, victim);
  t.after(() => attacker.stop());
  return { victim, friend, attacker };
}

let deltas = 0;

/** A delta of each arrives at the other. */
async function assertHonestFlow({ victim, friend }: Scene): Promise<void> {
  for (const [from, to] of [
    [victim, friend],
    [friend, victim],
  ] as const) {
    const text = `honest ${++deltas}`;
    from.transport.publish(bytesOf(text));
    await to.untilText('delta', text);
  }
}

/** Resolves once the victim has taken in all that the attacker wrote before: a delta of its own arrives last. */
async function untilTakenIn({ victim, attacker }: Scene): Promise<void> {
  const text = `marker ${++deltas}`;
  await sendAll(attacker.stream, framed(rpc.message(deltaTopic, bytesOf(text))));
  await victim.untilText('delta', text);
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** What is held, without what waits to be collected. */
function heapBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}
const maxHeapGrowthBytes = 16 * 1024 * 1024;

test('a peer that answers on no stream keeps nobody else waiting for deltas', async (t) => {
  const directory = new Directory();
  const victim = await startHost(directory, 1);
  t.after(() => victim.transport.stop());
  const silent = await startSilentPeer(directory, attackerNumber, victim);
  t.after(() => silent.stop());
  await silent.asked;
  const friend = await startHost(directory, 2);
  t.after(() => friend.transport.stop());
  friend.transport.connect(victim.id);
  await victim.untilConnected(friend);
  victim.transport.publish(bytesOf('meanwhile'));
  const heard = friend.untilText('delta', 'meanwhile').then(() => 'heard');
  assert.equal(await Promise.race([heard, silent.givenUp.then(() => 'given up')]), 'heard');
});

test('subscriptions to topics without end are not remembered', async (t) => {
  const scene = await setScene(t);
  const before = heapBytes();
  for (let batch = 0; batch < 40; batch++) {
    const topics = Array.from({ length: 1000 }, (_, i) =>
      rpc.subscription(`${'x'.repeat(200)}${batch}/${i}`),
    );
    await sendAll(scene.attacker.stream, framed(...topics));
  }
  await untilTakenIn(scene);
  assert.ok(heapBytes() - before < maxHeapGrowthBytes);
  await assertHonestFlow(scene);
});

test('offers and requests of messages that do not exist are answered a bounded number of times', async (t) => {
  const scene = await setScene(t);
  const before = heapBytes();
  let sentBytes = 0;
  for (let batch = 0; batch < 60; batch++) {
    const ids = Array.from({ length: 4000 }, () => randomBytes(16));
    const flood = framed(rpc.control(rpc.ihave(deltaTopic, ids), rpc.iwant(ids)));
    sentBytes += flood.length;
    await sendAll(scene.attacker.stream, flood);
  }
  await untilTakenIn(scene);
  const answered = scene.attacker.received();
  assert.ok(answered < sentBytes / 4, `${answered} bytes were answered to ${sentBytes}`);
  assert.ok(heapBytes() - before < maxHeapGrowthBytes);
  await assertHonestFlow(scene);
});

test('a delta is not sent again and again to who keeps asking for it', async (t) => {
  const scene = await setScene(t);
  const { victim, friend, attacker } = scene;
  const text = 'large '.repeat(8000);
  victim.transport.publish(bytesOf(text));
  await friend.untilText('delta', text);
  const before = attacker.received();
  const id = hash('sha256', bytesOf(text), 'buffer').subarray(0, 16);
  for (let i = 0; i < 300; i++) await sendAll(attacker.stream, framed(rpc.control(rpc.iwant([id]))));
  await untilTakenIn(scene);
  const answers = (attacker.received() - before) / text.length;
  assert.ok(answers < 6, `${answers.toFixed(1)} answers`);
  await assertHonestFlow(scene);
});

test('grafts and prunes without end leave the mesh as it is for the others', async (t) => {
  const scene = await setScene(t);
  const before = heapBytes();
  await sendAll(scene.attacker.stream, framed(rpc.subscription(deltaTopic)));
  for (let i = 0; i < 3000; i++) {
    const other = `topic ${i}`;
    const parts = [rpc.graft(deltaTopic), rpc.prune(deltaTopic), rpc.graft(other), rpc.prune(other)];
    await sendAll(scene.attacker.stream, framed(rpc.control(...parts)));
  }
  await untilTakenIn(scene);
  assert.ok(scene.victim.transport.stats().meshPeers >= 1);
  assert.ok(heapBytes() - before < maxHeapGrowthBytes);
  await assertHonestFlow(scene);
});

test('RPCs that are none, and fields of absurd lengths, cost the sender’s words only', async (t) => {
  const scene = await setScene(t);
  const { stream } = scene.attacker;
  const malformed = [
    framed(randomBytes(500)),
    framed(Buffer.from('ffffffffffffffffffff01', 'hex')),
    framed(Buffer.concat([varint(8 * 2 + 2), varint(2 ** 31)])),
    framed(Buffer.concat([varint(8 * 3 + 2), varint(2 ** 52)])),
    framed(field(3, field(1, field(1, field(1, field(1, 'deep')))))),
    framed(...Array.from({ length: 20_000 }, () => rpc.subscription(''))),
    framed(rpc.control(...Array.from({ length: 20_000 }, () => rpc.graft('')))),
    framed(),
  ];
  for (const bytes of malformed) await sendAll(stream, bytes);
  await untilTakenIn(scene);
  await assertHonestFlow(scene);
});

test('an RPC larger than any is not kept, and its sender is cut off rather than left without deltas', async (t) => {
  const scene = await setScene(t);
  const { victim, attacker } = scene;
  const before = victim.transport.stats().deltas.received;
  attacker.stream.send(varint(1024 * 1024 * 1024));
  await sendAll(attacker.stream, Buffer.alloc(16 * 1024 * 1024));
  await assertHonestFlow(scene);
  await victim.until((seen) => seen.type === 'disconnected' && seen.peer === idOf(attackerNumber));
  assert.equal(victim.transport.stats().deltas.mutePeersCut, 1);
  assert.equal(victim.transport.stats().deltas.received, before + 1);
  assert.equal(victim.transport.connections(), 1, 'the friend stays');
  await assertHonestFlow(scene);
});

test('giant messages, within an RPC, are neither delivered nor relayed', async (t) => {
  const scene = await setScene(t);
  const { friend, attacker } = scene;
  for (let i = 0; i < 10; i++)
    await sendAll(attacker.stream, framed(rpc.message('elsewhere', randomBytes(maxDeltaBytes - 100))));
  await untilTakenIn(scene);
  assert.ok(!friend.seen.some((seen) => seen.type === 'delta' && seen.text.length > 1000));
  await assertHonestFlow(scene);
});

test('messages under made-up topics and with others’ names on them are not taken for deltas', async (t) => {
  const scene = await setScene(t);
  const { victim, friend, attacker } = scene;
  const signed = Buffer.concat([
    field(1, randomBytes(36)),
    field(2, bytesOf('with an author')),
    field(3, randomBytes(8)),
    field(4, deltaTopic),
    field(5, randomBytes(64)),
  ]);
  await sendAll(attacker.stream, framed(field(2, signed)));
  for (let i = 0; i < 200; i++)
    await sendAll(attacker.stream, framed(rpc.message(`topic ${i}`, bytesOf(`elsewhere ${i}`))));
  await untilTakenIn(scene);
  for (const host of [victim, friend])
    assert.ok(!host.seen.some((seen) => seen.type === 'delta' && /author|elsewhere/.test(seen.text)));
  await assertHonestFlow(scene);
});
