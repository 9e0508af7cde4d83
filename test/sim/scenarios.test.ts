/** Whole agents under every scenario: they keep their promises, and the same seed is the same run. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type RunReport, run } from '../../sim/run.ts';
import { scenarios } from '../../sim/scenarios/index.ts';

function play(name: string, hosts: number, seed: number): RunReport {
  const scenario = scenarios.get(name);
  assert.ok(scenario !== undefined, `there is a scenario ${name}`);
  return run({ scenario, hosts, seed });
}

test('the same seed gives the same trace, another seed another', () => {
  const first = play('swarm', 6, 1);
  const again = play('swarm', 6, 1);
  assert.equal(again.traceHash, first.traceHash);
  assert.equal(again.events, first.events);
  assert.equal(again.virtualMs, first.virtualMs);
  assert.deepEqual(again.network, first.network);
  assert.notEqual(play('swarm', 6, 2).traceHash, first.traceHash);
});

/** What trust.test.ts plays. */
const ofTrust: readonly string[] = ['trust', 'trust-traitor'];

for (const name of [...scenarios.keys()].filter((name) => !ofTrust.includes(name)))
  test(`eight agents keep their promises in ${name}`, () => {
    const report = play(name, 8, 11);
    assert.equal(report.falseDowns, 0, 'nobody is held down that is well');
    const { frames, datagrams } = report.network;
    assert.ok(frames > 100 && datagrams > 200, `the agents talked: ${frames} frames, ${datagrams} datagrams`);
  });

test('in calm a write is everywhere in a fraction of a second, and a death known in seconds', () => {
  const report = play('calm', 12, 3);
  assert.ok(report.convergence.count > 5, 'writes were measured');
  assert.ok(report.convergence.max! < 500, `converged after ${report.convergence.max} ms`);
  assert.ok(report.detection.count >= 9, 'every live agent was watched');
  assert.ok(report.detection.max! < 3_000, `detected after ${report.detection.max} ms`);
  assert.ok(report.ejection.max! < 3_000, `ejected after ${report.ejection.max} ms`);
});

test('every seed that ever failed passes, fifty whole agents among them', () => {
  const lines = readFileSync(join(import.meta.dirname, '../../sim/seeds.txt'), 'utf8').split('\n');
  const seeds = lines.filter((line) => line.trim() !== '' && !line.startsWith('#'));
  assert.ok(seeds.length > 0, 'the regression list is not empty');
  assert.ok(seeds.some((line) => Number(line.split(/\s+/)[1]) >= 50));
  for (const line of seeds) {
    const [name, hosts, seed] = line.split(/\s+/);
    const report = play(name!, Number(hosts), Number(seed));
    assert.ok(report.agreedMs >= 0, line);
  }
});
