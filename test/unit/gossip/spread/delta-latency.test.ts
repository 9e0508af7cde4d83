import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeltaLatency, deltaLatencyBoundsMs } from '../../../../src/gossip/spread/delta-latency.ts';
import { WorstLately } from '../../../../src/gossip/worst-lately.ts';
import { Mesh } from '../mesh.ts';

test('latencies are counted into buckets, each with those below it', () => {
  const latency = new DeltaLatency();
  for (const latencyMs of [-5, 10, 11, 60_000]) latency.note(latencyMs);
  const { cumulative, sumMs } = latency.stats();
  assert.equal(cumulative.length, deltaLatencyBoundsMs.length + 1);
  assert.deepEqual([cumulative[0], cumulative[1], cumulative.at(-2), cumulative.at(-1)], [2, 3, 3, 4]);
  assert.equal(sumMs, 60_021);
});

test('a record that comes by delta is counted where it arrives, not where it was written', () => {
  const mesh = new Mesh({ seed: 1, size: 3, delayMs: 20 });
  mesh.run(3000);
  const counts = () => mesh.hosts.map(({ gossip }) => gossip.stats().deltaLatency.cumulative.at(-1)!);
  const before = counts();
  mesh.put(mesh.host(0), 'service', 'web', { port: 80 });
  mesh.run(1000);
  const after = counts();
  assert.deepEqual(
    after.map((count, i) => count - before[i]!),
    [0, 1, 1],
  );
});

test('probes are counted by why they were made and how they ended', () => {
  const mesh = new Mesh({ seed: 2, size: 4 });
  mesh.run(20_000);
  mesh.kill(mesh.host(3));
  mesh.run(20_000);
  const { probeOutcomes, probesAcked, probesFailed } = mesh.host(0).gossip.stats().membership;
  assert.ok((probeOutcomes['round acked'] ?? 0) > 20);
  assert.ok((probeOutcomes['check failed'] ?? 0) > 0);
  const sum = (outcome: RegExp) =>
    Object.entries(probeOutcomes)
      .filter(([kind]) => outcome.test(kind) && !/relay /.test(kind))
      .reduce((total, [, count]) => total + count, 0);
  assert.equal(sum(/ (acked|relayed)$/), probesAcked);
  assert.equal(sum(/ failed$/), probesFailed);
});

test('the worst of lately is kept for one window more, then forgotten', () => {
  const worst = new WorstLately(1000);
  worst.note(50, 0);
  worst.note(20, 900);
  assert.equal(worst.at(999), 50);
  worst.note(10, 1000);
  assert.equal(worst.at(1999), 50);
  assert.equal(worst.at(2000), 10);
  assert.equal(worst.at(9000), 0);
});
