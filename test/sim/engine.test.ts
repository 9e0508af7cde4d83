/** The simulator's own engine: order of events, streams of chance, clocks, disks and traces. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Heap } from '../../sim/heap.ts';
import { HostClock } from '../../sim/host/clock.ts';
import { type Crash, Disk } from '../../sim/host/disk.ts';
import { Samples } from '../../sim/report/statistics.ts';
import { distributionPlot } from '../../sim/report/svg.ts';
import { Trace } from '../../sim/trace.ts';
import { epoch, World } from '../../sim/world.ts';
import { randomInt, seededRandom } from '../../src/core.ts';

test('the heap gives events by time, and those of one time in the order they came', () => {
  const heap = new Heap();
  const random = seededRandom(1);
  const expected: { readonly time: number; readonly slot: number }[] = [];
  for (let slot = 0; slot < 5_000; slot++) {
    const time = randomInt(random, 50);
    heap.push(time, slot);
    expected.push({ time, slot });
  }
  expected.sort((a, b) => a.time - b.time || a.slot - b.slot);
  for (const { time, slot } of expected) {
    assert.equal(heap.firstTime, time);
    assert.equal(heap.pop(), slot);
  }
  assert.equal(heap.size, 0);
});

test('the heap keeps that order when pushes and pops alternate', () => {
  const heap = new Heap();
  const random = seededRandom(2);
  let now = 0;
  let lastSlotAtNow = -1;
  const timeOf: number[] = [];
  for (let slot = 0; slot < 20_000; slot++) {
    timeOf[slot] = now + randomInt(random, 5);
    heap.push(timeOf[slot], slot);
    if (random.next() < 0.5) continue;
    const time = heap.firstTime;
    const popped = heap.pop();
    assert.equal(timeOf[popped], time);
    assert.ok(time > now || (time === now && popped > lastSlotAtNow), 'time and insertion only grow');
    now = time;
    lastSlotAtNow = popped;
  }
});

test('events run in order, may plan others, and stop at the time asked for', () => {
  const world = new World(1);
  const seen: string[] = [];
  world.after(10, () => {
    seen.push('a');
    world.after(0, () => seen.push('c'));
    world.at(epoch, () => seen.push('d, planned for the past'));
  });
  world.after(10, () => seen.push('b'));
  world.after(11, () => seen.push('too late'));
  world.runUntil(epoch + 10);
  assert.deepEqual(seen, ['a', 'b', 'c', 'd, planned for the past']);
  assert.equal(world.elapsedMs, 10);
  assert.equal(world.pending, 1);
});

test('streams of chance depend on seed and purpose alone', () => {
  const first = new World(7);
  const second = new World(7);
  second.random('host/9').next();
  assert.equal(first.random('host/1').next(), second.random('host/1').next());
  assert.notEqual(first.random('host/1').next(), first.random('host/2').next());
  assert.notEqual(first.random('host/1').next(), new World(8).random('host/1').next());
});

test('a clock that is wrong still shows each of its milliseconds at the moment it says', () => {
  for (const [offsetMs, driftPpm] of [
    [0, 0],
    [-45_000, 200],
    [90_000, -500],
  ] as const) {
    const clock = new HostClock(epoch, offsetMs, driftPpm);
    const start = clock.local(epoch);
    for (let ms = 1; ms < 5_000_000; ms = ms * 3 + 1) {
      const at = clock.worldTime(start + ms);
      assert.ok(clock.local(at) >= start + ms, `${ms} ms have passed`);
      assert.ok(clock.local(at - 0.01) < start + ms, `${ms} ms had not passed before`);
    }
  }
});

test('a process follows its clock forward, never back, and a new process begins where the clock stands', () => {
  const clock = new HostClock(epoch, 0, 0);
  clock.step(5_000);
  assert.equal(clock.local(epoch + 100), epoch + 5_100);
  clock.step(-8_000);
  assert.equal(clock.local(epoch + 200), epoch + 5_200);
  clock.step(7_000);
  assert.equal(clock.local(epoch + 300), epoch + 5_300, 'the clock caught up, but not with the process');
  clock.step(2_000);
  assert.equal(clock.local(epoch + 400), epoch + 6_400);
  clock.step(-10_000);
  clock.processStarted();
  assert.equal(clock.local(epoch + 500), epoch - 3_500);
});

test('a clock that changes its pace loses no time and keeps its promises at the new one', () => {
  const clock = new HostClock(epoch, 0, 0);
  clock.drift(epoch + 1_000_000, 500);
  assert.equal(clock.local(epoch + 1_000_000), epoch + 1_000_000);
  assert.equal(clock.local(epoch + 3_000_000), epoch + 3_001_000);
  assert.ok(Math.abs(clock.worldTime(epoch + 3_001_000) - (epoch + 3_000_000)) < 0.01);
});

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** `a` is synced; `b`, `c` and `d` are with the kernel; the deletion of `a` is on its way to it. */
function brokenOff(seed: number): Disk {
  const world = new World(seed);
  const disk = new Disk(world, world.random('disk'));
  let done = 0;
  disk.write([{ type: 'put', key: 'a', value: bytes('1') }], true, () => done++);
  world.runUntil(epoch + 10);
  for (const key of ['b', 'c', 'd'])
    disk.write([{ type: 'put', key, value: bytes(key) }], false, () => done++);
  world.runUntil(epoch + 11);
  assert.equal(done, 4);
  disk.write([{ type: 'delete', key: 'a' }], true, () => assert.fail('the machine had stopped'));
  return disk;
}

function leftAfter(crash: Crash): Set<string> {
  const found = new Set<string>();
  for (let seed = 0; seed < 60; seed++) {
    const disk = brokenOff(seed);
    disk.crash(crash);
    const keys = disk.entries().map(([key]) => key);
    found.add(keys.join(''));
  }
  return found;
}

test('without power a disk falls back to its last sync, or to some point after it', () => {
  assert.deepEqual(leftAfter('power'), new Set(['a']));
  assert.deepEqual(leftAfter('power-late'), new Set(['a', 'ab', 'abc', 'abcd', 'bcd']));
});

test('a process that is killed loses only what the kernel was not given yet', () => {
  assert.deepEqual(leftAfter('process'), new Set(['abcd', 'bcd']));
  const disk = brokenOff(1);
  disk.crash('process');
  disk.crash('power');
  assert.deepEqual(
    disk.entries().map(([key]) => key),
    ['a'],
    'what outlived the process was still not synced',
  );
});

test('a sync that a crash interrupts never reports success', () => {
  const world = new World(1);
  const disk = new Disk(world, world.random('disk'));
  disk.write([{ type: 'put', key: 'a', value: bytes('1') }], true, () => assert.fail('it had stopped'));
  disk.crash('process');
  world.runUntil(epoch + 1_000);
  let synced = 0;
  disk.write([{ type: 'put', key: 'b', value: bytes('2') }], true, () => synced++);
  world.runUntil(epoch + 2_000);
  disk.crash('power');
  assert.equal(synced, 1);
  assert.ok(disk.entries().some(([key]) => key === 'b'));
});

test('writes complete in the order they were asked for, an empty one behind all before it', () => {
  const world = new World(3);
  const disk = new Disk(world, world.random('disk'));
  const done: number[] = [];
  for (let i = 0; i < 50; i++) {
    const ops = i % 5 === 4 ? [] : [{ type: 'put', key: String(i), value: bytes('x') } as const];
    disk.write(ops, i % 2 === 0, () => done.push(i));
  }
  world.runUntil(epoch + 1_000);
  assert.deepEqual(
    done,
    [...done].sort((a, b) => a - b),
  );
  assert.equal(done.length, 50);
});

test('the trace tells apart order, value and length', () => {
  const digest = (...values: readonly string[]): string => {
    const trace = new Trace();
    for (const value of values) trace.text(value);
    return trace.digest();
  };
  const all = [digest(), digest('a'), digest('b'), digest('a', 'b'), digest('b', 'a'), digest('ab')];
  assert.equal(new Set(all).size, all.length);
  assert.equal(digest('a', 'b'), digest('a', 'b'));
  const raw = new Set([0, 1, 2, 3, 4, 5].map((length) => new Trace().bytes(new Uint8Array(length)).digest()));
  assert.equal(raw.size, 6);
});

test('quantiles are values that were measured', () => {
  const samples = new Samples();
  assert.equal(samples.quantile(0.5), null);
  for (const value of [40, 10, 30, 20]) samples.add(value);
  assert.equal(samples.quantile(0), 10);
  assert.equal(samples.quantile(0.5), 20);
  assert.equal(samples.quantile(0.99), 40);
  assert.equal(samples.max, 40);
});

test('the plot is well-formed and escapes its texts', () => {
  const svg = distributionPlot('a < b & c', [
    {
      unit: 'ms',
      series: [
        { name: 'convergence', values: [12, 40, 900, 4_000] },
        { name: 'nothing', values: [] },
      ],
    },
    { unit: 'B', series: [{ name: 'nothing either', values: [] }] },
  ]);
  assert.match(svg, /^<svg [^>]*>/);
  assert.ok(svg.trimEnd().endsWith('</svg>'));
  assert.ok(!svg.includes('a < b'));
  assert.equal(svg.match(/<polyline/g)?.length, 1);
  assert.ok(!/NaN|undefined|Infinity/.test(svg));
});
