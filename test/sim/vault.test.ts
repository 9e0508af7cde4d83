/** Shares of root keys on a simulated disk, and the thread that uses them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HostClock } from '../../sim/host/clock.ts';
import { EngineThread } from '../../sim/host/engine-thread.ts';
import { Vault } from '../../sim/host/vault.ts';
import { World } from '../../sim/world.ts';
import type { EngineInput } from '../../src/trust/quorum/engine.ts';
import type { EngineReport } from '../../src/trust/quorum/engine-port.ts';

const secret = (name: string) => ({ name, bytes: Uint8Array.of(name.length) });

function vaultIn(world: World): Vault {
  return new Vault(world, world.random('vault'), () => 1);
}

test('a share is on disk before what names it is written, and writes stay in order', () => {
  const world = new World(1);
  const vault = vaultIn(world);
  const done: string[] = [];
  vault.keep([], () => done.push('nothing to wait for'));
  vault.keep([secret('a')], () => done.push(`names a, which is there: ${vault.has('a')}`));
  vault.keep([], () => done.push('after it'));
  assert.deepEqual(done, ['nothing to wait for']);
  world.runUntil(world.now + 100);
  assert.deepEqual(done, ['nothing to wait for', 'names a, which is there: true', 'after it']);
});

test('a write of a process that stood still when its secret was kept is overtaken by none', () => {
  const world = new World(1);
  const vault = vaultIn(world);
  const done: string[] = [];
  const deferred: (() => void)[] = [];
  vault.keep([secret('a')], (written) => deferred.push(written));
  world.runUntil(world.now + 100);
  vault.keep([], () => done.push('later'));
  for (const written of deferred) {
    written();
    done.push('names a');
  }
  world.runUntil(world.now + 100);
  assert.deepEqual(done, ['names a', 'later']);
});

test('a crash forgets what was to follow, and leaves a share under way there or not', () => {
  const outcomes = new Set<boolean>();
  for (let seed = 1; seed <= 20; seed++) {
    const world = new World(seed);
    const vault = vaultIn(world);
    vault.insert('old', Uint8Array.of(1));
    vault.keep([secret('new')], () => assert.fail('nobody is there any more'));
    vault.crash();
    world.runUntil(world.now + 100);
    assert.ok(vault.has('old'));
    outcomes.add(vault.has('new'));
    vault.keep([secret('next')], () => outcomes.add(true));
    world.runUntil(world.now + 100);
    assert.ok(vault.has('next'), 'the next life writes as ever');
  }
  assert.deepEqual([...outcomes].sort(), [false, true]);
});

test('what is shredded is gone in a moment, unless a crash comes first', () => {
  const left = new Set<boolean>();
  for (let seed = 1; seed <= 20; seed++) {
    const world = new World(seed);
    const vault = vaultIn(world);
    for (const name of ['a', 'b']) vault.insert(name, Uint8Array.of(1));
    vault.shred(['a']);
    world.runUntil(world.now + 100);
    assert.deepEqual(
      vault.entries().map(([name]) => name),
      ['b'],
    );
    vault.shred(['b']);
    vault.crash();
    left.add(vault.has('b'));
  }
  assert.equal(left.size, 2);
});

/** An engine that reports each order once it carries it out. */
function threadIn(world: World): {
  readonly thread: EngineThread;
  readonly said: (readonly [exchange: number, atMs: number])[];
} {
  const said: (readonly [number, number])[] = [];
  const thread = new EngineThread({
    world,
    clock: new HostClock(world.now, 0, 0),
    host: 0,
    engine: {
      nextWake: () => null,
      step: (input: EngineInput): EngineReport[] =>
        input.type === 'offer'
          ? [{ type: 'declined', exchange: input.exchange, code: 'share-unknown', detail: '' }]
          : [],
    },
    random: world.random('engine'),
    report: (report) => {
      if (report.type === 'declined') said.push([report.exchange, world.elapsedMs]);
    },
  });
  return { thread, said };
}

const offer = (exchange: number) => ({ type: 'offer', exchange, requester: '', share: '' }) as const;

test('orders are carried out one after the other, each in its time', () => {
  const world = new World(2);
  const { thread, said } = threadIn(world);
  for (const exchange of [1, 2, 3]) thread.order(offer(exchange));
  assert.equal(said.length, 0, 'nothing in no time');
  world.runUntil(world.now + 100);
  const [first, second, third] = said.map(([, at]) => at);
  assert.deepEqual(
    said.map(([exchange]) => exchange),
    [1, 2, 3],
  );
  assert.ok(first! > 0.8 && second! - first! > 0.7 && third! - second! > 0.7, said.join(' '));
});

test('a frozen thread goes on where it was, a dead one does not', () => {
  const world = new World(3);
  const { thread, said } = threadIn(world);
  thread.freeze();
  thread.order(offer(1));
  world.runUntil(world.now + 100);
  assert.equal(said.length, 0);
  thread.thaw();
  world.runUntil(world.now + 100);
  assert.equal(said.length, 1);
  thread.order(offer(2));
  thread.kill();
  world.runUntil(world.now + 100);
  assert.equal(said.length, 1);
});
