/** The simulator's command line, and what it says of its runs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hostsOf, readArguments, replayCommand } from '../../sim/arguments.ts';
import {
  type Broken,
  type Kept,
  line,
  pack,
  planText,
  summaryLine,
  toJson,
  toSvg,
  unpack,
} from '../../sim/report/report.ts';
import { planOf, run } from '../../sim/run.ts';
import { scenarios } from '../../sim/scenarios/index.ts';
import { Fault } from '../../src/core.ts';

test('a count of seeds means the first so many, a range those of the range', () => {
  assert.deepEqual(readArguments(['--seeds', '4']).seeds, [1, 2, 3, 4]);
  assert.deepEqual(readArguments(['--seeds', '7..9']).seeds, [7, 8, 9]);
  assert.deepEqual(readArguments(['--seed', '5']).seeds, [5]);
  assert.deepEqual(readArguments([]).seeds, [1]);
});

test('what makes no sense is refused before anything runs', () => {
  for (const argv of [
    ['--seeds', '0'],
    ['--seeds', '9..7'],
    ['--seeds', '1..2..3'],
    ['--seeds', '1..'],
    ['--seed', '-1'],
    ['--seed', '1', '--seeds', '2'],
    ['--scenario', 'nothing-of-the-sort'],
    ['--hosts', '3'],
    ['--workers', '0'],
    ['--seeds', '2', '--trace'],
    ['--seeds', '2', '--plan'],
    ['--scenario', 'scale', '--plan'],
  ])
    assert.throws(
      () => readArguments(argv),
      (error) => error instanceof Fault || error instanceof TypeError,
      argv.join(' '),
    );
});

test('a seed chooses its number of hosts, always the same, and seeds differ in it', () => {
  const sizes = Array.from({ length: 200 }, (_, seed) => hostsOf(seed));
  assert.deepEqual(
    sizes,
    Array.from({ length: 200 }, (_, seed) => hostsOf(seed)),
  );
  assert.ok(sizes.every((size) => size >= 4 && size <= 20));
  assert.ok(new Set(sizes).size > 10);
});

test('the replay command reads back as the run it names', () => {
  const argv = replayCommand('swarm', 9, 42).replace('npm run sim -- ', '').split(' ');
  const { scenario, hosts, seeds, trace } = readArguments(argv);
  assert.deepEqual(
    { scenario, hosts, seeds, trace },
    { scenario: 'swarm', hosts: 9, seeds: [42], trace: true },
  );
});

test('a plan prints a line for each step, in the order of time', () => {
  const plan = planOf({ scenario: scenarios.get('swarm')!, hosts: 9, seed: 42 });
  const lines = planText(plan).trimEnd().split('\n');
  assert.equal(lines.length, plan.timeline.length + 1);
  assert.equal(JSON.parse(lines[0]!).hosts, 9);
  const times = lines.slice(1).map((text) => Number.parseInt(text, 10));
  assert.deepEqual(
    times,
    times.toSorted((a, b) => a - b),
  );
});

const broken: Broken = {
  outcome: 'broken',
  scenario: 'swarm',
  hosts: 9,
  seed: 42,
  checker: 'detection',
  detail: 'detection at 1.000 s: host-1 holds host-2 alive',
};

test('a run is the same after it went from one thread to another', () => {
  const report = run({ scenario: scenarios.get('calm')!, hosts: 5, seed: 1 });
  const kept: Kept = { outcome: 'kept', report, realMs: 100, rssBytes: 1e8 };
  const there = unpack(structuredClone(pack(kept))) as Kept;
  assert.deepEqual(there, kept);
  assert.deepEqual(unpack(pack(broken)), broken);

  assert.match(line(kept), /hosts 5 {2}seed 1 .*trace [0-9a-f]{16}/);
  assert.match(
    line(broken),
    /VIOLATED detection.*\nreplay: npm run sim -- --scenario swarm --hosts 9 --seed 42/,
  );
  assert.match(summaryLine([kept, broken], 1_000), /^2 runs, 1 violated/);
  const [first, second] = JSON.parse(toJson([kept, broken]));
  assert.equal(first.traceHash, report.traceHash);
  assert.equal(first.convergence.unit, 'ms');
  assert.equal(first.bytesPerHost.count, 5);
  assert.ok(first.bytesPerHost.max > 1_000);
  assert.match(second.replay, /--seed 42/);
  const svg = toSvg('calm', [kept]);
  assert.match(svg, /bytes sent by a host \(5\)/);
  assert.ok(!/NaN|undefined|Infinity/.test(svg));
});
