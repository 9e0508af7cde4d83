/** Attackers that say too much or nothing: what they do really is beyond measure, and costs nobody else anything. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  drawAbsurdDelta,
  drawBomb,
  drawFullFrame,
  drawHollowFrame,
  oversizedRecord,
} from '../../sim/attacks/bombs.ts';
import { Shares } from '../../sim/checks/shares.ts';
import { Violation } from '../../sim/checks/violation.ts';
import { Flock, type Sabotage } from '../../sim/flock.ts';
import { drawSigner } from '../../sim/host/keys.ts';
import type { Attack, Plan, Scenario, TimedStep } from '../../sim/plan.ts';
import { run } from '../../sim/run.ts';
import { basePlan } from '../../sim/scenarios/common.ts';
import { scenarios } from '../../sim/scenarios/index.ts';
import { epoch, World } from '../../sim/world.ts';
import { open } from '../../src/agent/envelope.ts';
import { Fault, seededRandom } from '../../src/core.ts';
import { decodeFrame, encodeFrame, needsStream } from '../../src/gossip/framecodec.ts';
import { maxFrameBytes } from '../../src/gossip/frames.ts';
import { decodeRecord, encodeRecord } from '../../src/gossip/replica/codec.ts';
import { maxValueBytes } from '../../src/gossip/replica/record.ts';
import { defaultReplicaLimits, othersSlack, Replica } from '../../src/gossip/replica/replica.ts';
import { decodeDelta } from '../../src/gossip/spread/dissemination.ts';
import { makeRecord } from '../unit/gossip/records.ts';

for (const [name, seeds] of [
  ['siege', [1]],
  ['surrounded', [1, 2]],
] as const)
  for (const seed of seeds)
    test(`five agents keep their promises in ${name} of seed ${seed}`, () => {
      const report = run({ scenario: scenarios.get(name)!, hosts: 5, seed });
      assert.equal(report.falseDowns, 0);
      assert.ok(
        report.convergence.count >= 5,
        `${report.convergence.count} writes were seen by all meanwhile`,
      );
    });

/** Hosts of which nobody else does anything. */
function formed(hosts: number, attacker: number, how: Attack, change: Partial<Plan> = {}) {
  const world = new World(7);
  const strike: TimedStep = { atMs: 0, step: { do: 'attack', host: attacker, how } };
  const plan = { ...basePlan(hosts, world.random('plan'), 500), timeline: [strike], ...change };
  const flock = new Flock(world, { plan, log: null, sabotage: null });
  flock.form();
  world.runUntil(epoch + 6_000);
  assert.equal(flock.unfinished(), null);
  flock.apply(strike.step);
  const later = (ms: number): void => world.runUntil(world.now + ms);
  return { flock, later };
}

test('keys without end fill one author’s share in every replica, and others go on writing', () => {
  const { flock, later } = formed(4, 2, 'many-keys');
  later(8_000);
  flock.apply({ do: 'register', host: 1, service: 'late' });
  later(1_000);
  const { id: author } = flock.hosts[2]!;
  const { id: writer } = flock.hosts[1]!;
  for (const { number, agent } of flock.hosts) {
    if (number === 2) continue;
    let records = 0;
    let bytes = 0;
    for (const record of agent!.records())
      if (record.author === author) {
        records++;
        bytes += record.text.length;
      }
    const { hostEntries, hostBytes } = defaultReplicaLimits;
    const isFull = records === othersSlack * hostEntries || bytes > othersSlack * hostBytes - 64 * 1024;
    assert.ok(isFull, `host ${number} has room for more than ${records} records of ${bytes} bytes`);
    assert.ok((agent!.stats().recordsRefused.get('quota-exceeded') ?? 0) > 100);
    assert.ok(agent!.record(`host/${writer}/service/late`) !== undefined, `host ${number} lacks a write`);
  }
});

test('a host that stonewalls stays alive to all, is told of all, and tells nobody', () => {
  const { flock, later } = formed(5, 2, 'stonewall');
  flock.apply({ do: 'register', host: 2, service: 'hidden' });
  flock.apply({ do: 'register', host: 1, service: 'known' });
  const holders = (host: number, service: string): number => {
    const slot = `host/${flock.hosts[host]!.id}/service/${service}`;
    return flock.hosts.filter(({ agent }) => agent!.record(slot) !== undefined).length;
  };
  later(19_000);
  assert.deepEqual([holders(2, 'hidden'), holders(1, 'known')], [1, 5]);
  const { id } = flock.hosts[2]!;
  for (const { number, agent } of flock.hosts)
    if (number !== 2) assert.equal(agent!.member(id)?.state, 'alive');
  later(10_000);
  assert.equal(holders(2, 'hidden'), 5, 'once it is over anti-entropy has it');
});

test('a replica that takes in more of one author than its share is noticed', () => {
  const limits = { ...defaultReplicaLimits, hostEntries: 10, hostBytes: 4_000 };
  const shares = new Shares({ elapsedMs: 0 }, () => false, limits);
  const fill = (slack: number, count: number, size: number): Replica => {
    const replica = new Replica({ limits });
    for (let i = 0; i < count; i++)
      replica.join(makeRecord({ key: `${i}`, value: 'x'.repeat(size) }), { slack });
    return replica;
  };
  const isQuota = (error: unknown): boolean => error instanceof Violation && error.checker === 'quota';
  for (const [count, size] of [
    [40, 1],
    [15, 1_000],
  ] as const) {
    assert.doesNotThrow(() => shares.check('host-0', fill(othersSlack, count, size)), 'whole, it minds');
    assert.throws(() => shares.check('host-0', fill(Number.POSITIVE_INFINITY, count, size)), isQuota);
  }
  const growing = fill(othersSlack, 20, 1);
  shares.check('host-0', growing);
  growing.join(makeRecord({ key: 'one more' }), { slack: 3 });
  assert.throws(() => shares.check('host-0', growing), isQuota);
});

test('replicas agree whatever they hold of who writes too much, and on nothing else', () => {
  const [kept, lost] = [makeRecord({ author: 'flood', key: 'a' }), makeRecord({ author: 'flood', key: 'b' })];
  const { author } = kept;
  const shares = new Shares({ elapsedMs: 0 }, (one) => one === author);
  const replicaOf = (records: readonly (typeof kept)[]): Replica => {
    const replica = new Replica();
    for (const record of records) replica.join(record);
    return replica;
  };
  const honest = makeRecord({ author: 'honest' });
  assert.ok(shares.agree(replicaOf([kept, honest]), replicaOf([lost, honest])));
  assert.ok(!shares.agree(replicaOf([kept, honest]), replicaOf([kept])));
  assert.ok(!shares.agree(replicaOf([honest]), replicaOf([makeRecord({ author: 'honest', version: 2 })])));
  const admission = makeRecord({ author: 'flood', kind: 'admission', key: '' });
  assert.ok(!shares.agree(replicaOf([kept, admission]), replicaOf([kept])));
  const entry = { scope: 'policy', kind: 'config-entry', key: 'e', author: 'operator' } as const;
  const [before, after] = [makeRecord(entry), makeRecord({ ...entry, version: 2 })];
  const [whole, winner] = [replicaOf([before, after]), replicaOf([after])];
  assert.deepEqual([...whole.records()], [...winner.records()]);
  assert.ok(!shares.agree(whole, winner), 'one lacks what was said before');
});

test('a host that is not told in time of what another wrote is noticed', () => {
  const surrounded = scenarios.get('surrounded')!;
  const scenario: Scenario = {
    ...surrounded,
    plan: (hosts, random) => ({ ...surrounded.plan(hosts, random), lazyPublish: false, deliverMs: 10_000 }),
  };
  const untold: Sabotage = (_from, _to, frame, elapsedMs) => {
    const { room, payload } = open(frame);
    return elapsedMs > 8_000 && room === 'gossip' && needsStream(payload);
  };
  const noticed = [2, 3, 4].filter((seed) => {
    try {
      run({ scenario, hosts: 8, seed, sabotage: untold });
      return false;
    } catch (error) {
      return error instanceof Violation && error.checker === 'delivery';
    }
  });
  assert.ok(noticed.length > 0, 'where one of the two is no neighbour of the other in the mesh of deltas');
});

/** Whether decoding refuses it, by a fault and nothing else. */
function isRefused(decode: () => unknown): boolean {
  try {
    decode();
    return false;
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
    return true;
  }
}

test('bombs are as large as may be, or larger, and really signed', () => {
  const random = seededRandom(5);
  const signer = drawSigner(random);
  const largest = { value: 0, frame: 0 };
  for (let i = 0; i < 200; i++) {
    const bomb = drawBomb(random);
    const { bytes } = encodeRecord({ scope: 'host', ...bomb, version: 1, hlc: 1 }, signer);
    largest.value = Math.max(largest.value, bomb.value.length);
    assert.ok(isRefused(() => decodeRecord(oversizedRecord(signer, 1, 1, random))));
    const delta = drawAbsurdDelta(bytes, random);
    assert.ok(isRefused(() => decodeDelta(delta)) || decodeDelta(delta).every(({ length }) => length === 0));
    assert.ok(isRefused(() => decodeFrame(drawHollowFrame(1, random))));
    const full = encodeFrame(drawFullFrame(1, bytes, random));
    largest.frame = Math.max(largest.frame, full.length);
    decodeFrame(full);
  }
  assert.equal(largest.value, maxValueBytes);
  assert.ok(largest.frame > maxFrameBytes * 0.9 && largest.frame <= maxFrameBytes);
});
