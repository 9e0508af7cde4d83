/** Faults that the simulator makes, seen on whole agents: they do what their names say, and the agents cope. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Plan, Scenario, TimedStep } from '../../sim/plan.ts';
import { type RunReport, run } from '../../sim/run.ts';
import { basePlan, ordinaryBounds } from '../../sim/scenarios/common.ts';
import { scenarios } from '../../sim/scenarios/index.ts';

/** What agents said, `<seconds> <host> <level> <event> <fields>`. */
interface Told {
  readonly report: RunReport;
  readonly lines: readonly string[];
}

function play(timeline: readonly TimedStep[], change: Partial<Plan> = {}): Told {
  const lines: string[] = [];
  const scenario: Scenario = {
    name: 'one-fault',
    summary: 'one fault on six agents',
    bounds: ordinaryBounds,
    plan: (hosts, random) => ({ ...basePlan(hosts, random, 500), activeMs: 20_000, timeline, ...change }),
  };
  const report = run({ scenario, hosts: 6, seed: 4, log: (line) => lines.push(line) });
  return { report, lines };
}

function about({ lines }: Told, event: string, host: string): string[] {
  return lines.filter((line) => line.includes(` ${event} `) && line.includes(`"host":"${host}"`));
}

test('an agent whose main thread is busy for ten seconds is found dead by nobody', () => {
  const told = play([
    { atMs: 2_000, step: { do: 'stall', host: 3 } },
    { atMs: 12_000, step: { do: 'thaw', host: 3 } },
  ]);
  assert.deepEqual(about(told, 'member-down', 'host-3'), []);
});

test('a process that is stopped for ten seconds is found dead, and alive again once it goes on', () => {
  const told = play([
    { atMs: 2_000, step: { do: 'freeze', host: 3 } },
    { atMs: 12_000, step: { do: 'thaw', host: 3 } },
  ]);
  assert.equal(about(told, 'member-down', 'host-3').length, 5);
  assert.ok(about(told, 'member-alive', 'host-3').length >= 10);
});

test('a host that comes late and one that left and returns are members like all others', () => {
  const told = play(
    [
      { atMs: 3_000, step: { do: 'join', host: 5 } },
      { atMs: 4_000, step: { do: 'leave', host: 2 } },
      { atMs: 9_000, step: { do: 'restart', host: 2 } },
    ],
    { joinAtMs: [0, 50, 100, 150, 200, null] },
  );
  assert.ok(about(told, 'member-left', 'host-2').length >= 4);
  assert.ok(about(told, 'member-alive', 'host-5').length >= 5);
  assert.equal(told.report.falseDowns, 0);
});

test('a host whose clock was set back while it was down starts in its own past, and is heard all the same', () => {
  const told = play([
    { atMs: 1_000, step: { do: 'register', host: 1, service: 'mail' } },
    { atMs: 2_000, step: { do: 'power-off', host: 1, disk: 'synced' } },
    { atMs: 3_000, step: { do: 'clock-step', host: 1, byMs: -30_000 } },
    { atMs: 8_000, step: { do: 'restart', host: 1 } },
    { atMs: 12_000, step: { do: 'register', host: 1, service: 'billing' } },
    { atMs: 14_000, step: { do: 'intention', host: 1, source: 'web', destination: 'mail', action: 'allow' } },
  ]);
  assert.ok(told.report.convergence.count >= 3, 'its writes after the return were seen by all');
});

test('datagrams that are replayed seconds later change nothing', () => {
  const told = play([{ atMs: 8_000, step: { do: 'kill', host: 2 } }], {
    quality: { duplicateRate: 0.5, replayMs: 5_000, lossRate: 0.02 },
  });
  assert.equal(told.report.falseDowns, 0);
  assert.ok(told.report.detection.count >= 4);
});

test('a prepared mesh agrees as soon as it runs, and no agent writes to it', () => {
  const report = run({ scenario: scenarios.get('large')!, hosts: 10, seed: 2 });
  assert.ok(report.formedMs < 1_000, `formed after ${report.formedMs} ms`);
  // Ten writes or so in twenty seconds, and a receipt from each host for those of policy; forming by joins takes
  // more than that a host.
  assert.ok(report.publish.published < 100, `${report.publish.published} deltas`);
  assert.ok(report.detection.count >= 16);
});
