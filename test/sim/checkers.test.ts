/** The checkers are checked: a system broken on purpose is caught, by the checker that should catch it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Violation } from '../../sim/checks/violation.ts';
import type { Sabotage } from '../../sim/flock.ts';
import { HostClock } from '../../sim/host/clock.ts';
import { Process } from '../../sim/host/process.ts';
import type { Plan, Scenario, TimedStep } from '../../sim/plan.ts';
import { run } from '../../sim/run.ts';
import { basePlan, ordinaryBounds } from '../../sim/scenarios/common.ts';
import { epoch, World } from '../../sim/world.ts';
import { open } from '../../src/agent/envelope.ts';
import type { Machine } from '../../src/core.ts';
import { decodeFrame } from '../../src/gossip/framecodec.ts';

/** What one frame between agents is, in gossip's words; null for other rooms. */
function gossipFrame(frame: Uint8Array): ReturnType<typeof decodeFrame> | null {
  const { room, payload } = open(frame);
  return room === 'gossip' ? decodeFrame(payload) : null;
}

function scenarioOf(timeline: readonly TimedStep[], change: Partial<Plan> = {}): Scenario {
  return {
    name: 'broken',
    summary: 'something is broken on purpose',
    bounds: ordinaryBounds,
    plan: (hosts, random) => ({ ...basePlan(hosts, random, 500), activeMs: 20_000, timeline, ...change }),
  };
}

function violationOf(scenario: Scenario, sabotage: Sabotage | null): Violation {
  try {
    run({ scenario, hosts: 6, seed: 1, ...(sabotage === null ? {} : { sabotage }) });
  } catch (error) {
    if (error instanceof Violation) return error;
    throw error;
  }
  return assert.fail('no checker noticed');
}

/** Both sides of a partition write, so that deltas alone cannot make them agree. */
const splitAndWrite: readonly TimedStep[] = [
  { atMs: 1_000, step: { do: 'partition', sides: [[4, 5]] } },
  { atMs: 5_000, step: { do: 'register', host: 1, service: 'mail' } },
  { atMs: 5_000, step: { do: 'register', host: 5, service: 'billing' } },
];

/** By then the six hosts know each other: without anti-entropy nobody could even join. */
const formedMs = 6_000;

test('replicas that nobody mends are noticed', () => {
  const scenario = scenarioOf(splitAndWrite, { lazyPublish: false });
  const whole = run({ scenario, hosts: 6, seed: 1 });
  assert.ok(whole.agreedMs < ordinaryBounds.convergeMs, 'unbroken, the same plan passes');
  const violation = violationOf(scenario, (_from, _to, frame, elapsedMs) => {
    const decoded = elapsedMs > formedMs ? gossipFrame(frame) : null;
    return decoded !== null && 'session' in decoded;
  });
  assert.equal(violation.checker, 'convergence');
  assert.match(violation.message, /replicas of host-\d and host-\d differ|does not balance (mail|billing)/);
});

test('a dead host that nobody finds down is noticed', () => {
  const scenario = scenarioOf([{ atMs: 2_000, step: { do: 'kill', host: 3 } }]);
  const accusations: Sabotage = (_from, _to, frame) => {
    const decoded = gossipFrame(frame);
    return decoded !== null && 'rumors' in decoded && decoded.rumors.some(({ state }) => state !== 'alive');
  };
  const report = run({ scenario, hosts: 6, seed: 1 });
  assert.ok(report.detection.count >= 4, 'unbroken, all find it down');
  const strict: Scenario = { ...scenario, bounds: { ...scenario.bounds, detectMs: 100 } };
  assert.equal(violationOf(strict, accusations).checker, 'detection');
});

test('a healthy host that stays cut off from the rest is noticed', () => {
  const deafTo3: Sabotage = (from, to, _frame, elapsedMs) => elapsedMs > formedMs && (from === 3 || to === 3);
  const violation = violationOf(scenarioOf([]), deafTo3);
  assert.ok(['false-down', 'convergence'].includes(violation.checker), violation.message);
  assert.match(violation.message, /host-3/);
});

test('a mesh that cannot form is noticed', () => {
  const violation = violationOf(scenarioOf([]), () => true);
  assert.ok(['formation', 'false-down'].includes(violation.checker), violation.message);
});

function processOf<I extends { readonly type: string }>(
  machine: Machine<I, never>,
  wake: I,
): { readonly world: World; readonly process: Process<I, never> } {
  const world = new World(1);
  const process = new Process<I, never>({
    world,
    clock: new HostClock(world.now, 0, 0),
    machine,
    host: 0,
    wake,
    perform: () => undefined,
    describe: (input, trace) => void trace.text(input.type),
  });
  return { world, process };
}

test('a machine that throws is a violation with its stack', () => {
  const { process } = processOf(
    {
      step: () => {
        throw new Error('never mind');
      },
      nextWake: () => null,
    },
    { type: 'wake' },
  );
  assert.throws(
    () => process.feed({ type: 'wake' }),
    (error) => error instanceof Violation && error.checker === 'no-crash' && /never mind/.test(error.message),
  );
});

test('a machine that never lets time pass is a violation', () => {
  const { world, process } = processOf({ step: () => [], nextWake: () => epoch }, { type: 'wake' });
  process.feed({ type: 'wake' });
  assert.throws(
    () => world.runUntil(epoch + 1_000),
    (error) => error instanceof Violation && error.checker === 'progress',
  );
});

test('a process is woken at the first whole millisecond of its own clock after its deadline', () => {
  const woken: number[] = [];
  const machine: Machine<{ readonly type: string }, never> = {
    step: (_input, now) => {
      woken.push(now);
      return [];
    },
    nextWake: () => (woken.length < 4 ? epoch + woken.length * 100.3 : null),
  };
  const { world, process } = processOf(machine, { type: 'wake' });
  process.feed({ type: 'wake' });
  world.runUntil(epoch + 1_000);
  assert.deepEqual(
    woken.map((at) => at - epoch),
    [0, 101, 201, 301],
  );
});

test('a frozen process handles nothing, and everything once it thaws', () => {
  const seen: string[] = [];
  const machine: Machine<{ readonly type: string }, never> = {
    step: (input) => {
      seen.push(input.type);
      return [];
    },
    nextWake: () => null,
  };
  const { process } = processOf(machine, { type: 'wake' });
  process.freeze();
  process.feed({ type: 'a' });
  process.feed({ type: 'b' });
  assert.deepEqual(seen, []);
  process.thaw();
  assert.deepEqual(seen, ['a', 'b']);
  process.kill();
  process.feed({ type: 'c' });
  assert.deepEqual(seen, ['a', 'b']);
});
