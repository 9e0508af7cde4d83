/** Peers that withhold: liars all around a victim, and sessions that never end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { seededRandom } from '../../../../src/core.ts';
import { decodeFrame } from '../../../../src/gossip/framecodec.ts';
import type { SyncFrame } from '../../../../src/gossip/frames.ts';
import { defaultGossipParameters, defaultSyncParameters } from '../../../../src/gossip/parameters.ts';
import { Replica } from '../../../../src/gossip/replica/replica.ts';
import { AntiEntropy } from '../../../../src/gossip/spread/antientropy.ts';
import { maxSessionMs } from '../../../../src/gossip/spread/session.ts';
import { Mesh } from '../mesh.ts';
import { makeRecord } from '../records.ts';

function machineOf(records: number) {
  const replica = new Replica();
  for (let i = 0; i < records; i++) replica.join(makeRecord({ key: `${i}`, value: 'x'.repeat(1000) }));
  const sent: { to: string; frame: SyncFrame }[] = [];
  const sync = new AntiEntropy(replica, seededRandom(1), defaultSyncParameters, {
    send: (to, frame) => sent.push({ to, frame }),
    accept: (batch) => batch.map(() => ({ outcome: 'known' as const })),
    collected: () => undefined,
  });
  return { sync, sent };
}

/** Gives the machine its wakes until `until`, with something to do every second. */
function drive(sync: AntiEntropy, from: number, until: number, everySecond: (now: number) => void): void {
  for (let now = from; now <= until; now += 1000) {
    everySecond(now);
    sync.wake(now);
  }
}

test('a peer that keeps a session alive without end holds up nobody: the next one is asked in time', () => {
  const { sync, sent } = machineOf(100);
  const start = 1_000_000;
  sync.heard('liar', 'liarroot', start);
  sync.wake(start + 600);
  const opened = sent.findLast(({ frame }) => frame.type === 'sync-open')!;
  assert.equal(opened.to, 'liar');
  const { session } = opened.frame;
  sync.heard('honest', 'trueroot', start + 1000);
  drive(sync, start + 1000, start + maxSessionMs + 3000, (now) => {
    sync.heard('liar', 'liarroot', now);
    sync.receive('liar', { type: 'sync-credit', session }, now);
    sync.receive('liar', { type: 'sync-listing', session, last: false, ranges: [] }, now);
  });
  const ends = sent.filter(({ frame }) => frame.type === 'sync-close').map(({ to }) => to);
  assert.deepEqual(ends, ['liar']);
  assert.equal(sent.findLast(({ frame }) => frame.type === 'sync-open')!.to, 'honest');
});

test('dawdlers that fill the places of an answering agent lose them, and do not get them back at once', () => {
  const { sync, sent } = machineOf(1000);
  const start = 1_000_000;
  const liars = ['a', 'b', 'c', 'd'];
  for (const [i, liar] of liars.entries())
    sync.receive(liar, { type: 'sync-open', session: i, buckets: null }, start);
  sync.receive('honest', { type: 'sync-open', session: 9, buckets: null }, start + 100);
  const refused = { to: 'honest', frame: { type: 'sync-close', session: 9, reason: 'busy' } } as const;
  assert.deepEqual(sent.at(-1), refused);
  const end = start + maxSessionMs + 1000;
  drive(sync, start + 1000, end, (now) => {
    for (const [i, liar] of liars.entries())
      if (now % 2000 === 0) sync.receive(liar, { type: 'sync-credit', session: i }, now);
  });
  for (const [i, liar] of liars.entries())
    sync.receive(liar, { type: 'sync-open', session: 10 + i, buckets: null }, end + 1000);
  sync.receive('honest', { type: 'sync-open', session: 20, buckets: null }, end + 1001);
  const answered = sent.filter(({ to, frame }) => to === 'honest' && frame.type === 'sync-records');
  assert.ok(answered.length > 0, 'the honest one is answered');
});

/** These answer probes, and neither open nor answer any session. */
function silence(mesh: Mesh, liars: ReadonlySet<string>): void {
  for (const host of mesh.hosts) {
    if (!liars.has(host.id)) continue;
    const perform = host.gossip.step.bind(host.gossip);
    host.gossip.step = (input, now) =>
      perform(input, now).filter((effect) => effect.type !== 'send' || !isSync(effect.bytes));
  }
}

function isSync(bytes: Uint8Array): boolean {
  return decodeFrame(bytes).type.startsWith('sync-');
}

test('a victim whose every neighbour withholds is healed by honest members beyond them', () => {
  const view = { ...defaultGossipParameters.swim.view, maxNeighbours: 6, minNeighbours: 4 };
  const swim = { ...defaultGossipParameters.swim, view };
  const mesh = new Mesh({
    seed: 8,
    size: 16,
    publishing: false,
    parameters: { ...defaultGossipParameters, swim },
  });
  mesh.run(10_000);
  const victim = mesh.host(0);
  const neighbours = new Set([...victim.gossip.neighbours(), ...victim.connections]);
  assert.ok(neighbours.size > 0 && neighbours.size < 15, `${neighbours.size} of 15 are neighbours`);
  silence(mesh, neighbours);
  const writer = mesh.hosts.find((host) => host !== victim && !neighbours.has(host.id))!;
  mesh.put(writer, 'service', 'web', { port: 80 });
  const slot = `host/${writer.id}/service/web`;
  const tookMs = mesh.until(() => victim.gossip.replica.get(slot) !== undefined, 120_000);
  assert.ok(tookMs !== null, 'the victim heard of it');
  assert.ok(tookMs < 60_000, `${tookMs} ms`);
});
