import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { AgentEffect, AgentInput } from '../../../../src/agent/effects.ts';
import { Driver } from '../../../../src/agent/io/driver.ts';
import { decodeJoinAnswer } from '../../../../src/agent/joining/joining.ts';
import { Fault, type Millis } from '../../../../src/core.ts';
import type { StoreOp } from '../../../../src/gossip/port.ts';

const op = (key: string): StoreOp => ({ type: 'put', key, value: new Uint8Array(0) });
const reply = (request: number): AgentEffect => ({ type: 'reply', request, value: null });
const persist = (key: string | null, ...then: AgentEffect[]): AgentEffect => ({
  type: 'persist',
  ops: key === null ? [] : [op(key)],
  sync: true,
  then,
});

/** What came from the mesh: written, not synced. */
const heard = { type: 'persist', sync: false, then: [] } as const;

/** A driver around a machine that answers each input as the test says, on a disk that waits to be told. */
class Bench {
  readonly inputs: AgentInput[] = [];
  readonly done: string[] = [];
  readonly faults: Fault[] = [];
  readonly stored: (string | null)[] = [];
  readonly joinAnswers: ReturnType<typeof decodeJoinAnswer>[] = [];
  readonly writes: {
    readonly keys: string;
    readonly sync: boolean;
    readonly end: (error?: Error) => void;
  }[] = [];
  readonly keeping: { readonly names: readonly string[]; readonly end: (error?: Error) => void }[] = [];
  effectsOf: (input: AgentInput) => readonly AgentEffect[] = () => [];
  wakeAt: Millis | null = null;
  now: Millis = 1000;
  readonly driver = new Driver({
    core: {
      step: (input) => {
        this.inputs.push(input);
        if (input.type === 'wake' && this.wakeAt !== null && this.now >= this.wakeAt) this.wakeAt = null;
        this.done.push(`step ${input.type}`);
        return this.effectsOf(input);
      },
      nextWake: () => this.wakeAt,
    },
    secrets: {
      keep: (secrets) =>
        new Promise((resolve, reject) => {
          const end = (error?: Error): void => (error === undefined ? resolve() : reject(error));
          this.keeping.push({ names: secrets.map(({ name }) => name), end });
        }),
    },
    store: {
      write: (ops, sync) =>
        new Promise((resolve, reject) => {
          const end = (error?: Error): void => (error === undefined ? resolve() : reject(error));
          this.writes.push({ keys: ops.map(({ key }) => key).join(), sync, end });
        }),
    },
    now: () => this.now,
    carryOut: (effect) => {
      if (effect.type === 'fail') this.faults.push(effect.fault);
      if (effect.type === 'join-reply') this.joinAnswers.push(decodeJoinAnswer(effect.bytes));
      this.done.push('request' in effect ? `${effect.type} ${effect.request}` : effect.type);
    },
    stored: (fault) => this.stored.push(fault?.code ?? null),
  });

  /** Feeds one input that has these effects. */
  feed(...effects: AgentEffect[]): void {
    this.effectsOf = (input) => (input.type === 'wake' ? effects : []);
    this.driver.feed({ type: 'wake' });
    this.done.splice(this.done.indexOf('step wake'), 1);
  }
}

test('what a write releases is carried out once it is durable, not before', async () => {
  const bench = new Bench();
  bench.feed(persist('a', reply(1)));
  await setImmediate();
  assert.deepEqual(bench.done, []);
  bench.writes[0]?.end();
  await setImmediate();
  assert.deepEqual(bench.done, ['reply 1']);
  assert.deepEqual(bench.stored, [null]);
});

test('releases keep the order of the writes, whichever ends first', async () => {
  const bench = new Bench();
  bench.feed(persist('a', reply(1)), persist('b', reply(2)));
  bench.feed(persist('c', reply(3)));
  assert.deepEqual(
    bench.writes.map(({ keys }) => keys),
    ['a', 'b', 'c'],
  );
  bench.writes[2]?.end();
  bench.writes[1]?.end();
  await setImmediate();
  assert.deepEqual(bench.done, []);
  bench.writes[0]?.end();
  await setImmediate();
  assert.deepEqual(bench.done, ['reply 1', 'reply 2', 'reply 3']);
});

test('an empty write is a barrier behind all that came before, and reaches no store that has synced it', async () => {
  const bench = new Bench();
  bench.feed(persist(null, reply(1)));
  await setImmediate();
  assert.deepEqual(bench.done, ['reply 1']);
  bench.feed(persist('a'), persist(null, reply(2)));
  await setImmediate();
  assert.deepEqual(bench.done, ['reply 1']);
  bench.writes[0]?.end();
  await setImmediate();
  assert.deepEqual(bench.done, ['reply 1', 'reply 2']);
  assert.equal(bench.writes.length, 1);
});

test('a barrier behind writes that nobody synced syncs them, once', async () => {
  const bench = new Bench();
  bench.feed({ ...heard, ops: [op('a')] }, persist(null, reply(1)), persist(null, reply(2)));
  assert.deepEqual(
    bench.writes.map(({ keys, sync }) => `${keys} ${sync}`),
    ['a false', ' true'],
  );
  bench.writes[0]?.end();
  await setImmediate();
  assert.deepEqual(bench.done, []);
  bench.writes[1]?.end();
  await setImmediate();
  assert.deepEqual(bench.done, ['reply 1', 'reply 2']);

  bench.feed({ ...heard, ops: [op('b')] }, persist(null, reply(3)));
  bench.writes[2]?.end(new Fault('disk-full', 'no space'));
  bench.writes[3]?.end();
  await setImmediate();
  assert.deepEqual(bench.done.at(-1), 'fail 3');
});

test('a failed write answers who waited with its fault, tells the core, and later writes go on', async () => {
  const bench = new Bench();
  const input: AgentEffect = { type: 'input', input: { type: 'durable', records: [] } };
  bench.feed(persist('a', input, { type: 'publish', bytes: new Uint8Array(0) }, reply(1)));
  bench.feed(persist('b', reply(2)));
  bench.writes[0]?.end(new Error('ENOSPC'));
  bench.writes[1]?.end();
  await setImmediate();
  assert.deepEqual(bench.done, ['step not-durable', 'fail 1', 'reply 2']);
  assert.equal(bench.faults[0]?.code, 'storage-failed');
  assert.match(bench.faults[0]?.message ?? '', /ENOSPC/);
  assert.deepEqual(bench.stored, ['storage-failed', null]);
});

test('a barrier behind a failed write fails with it, until a write succeeds', async () => {
  const bench = new Bench();
  bench.feed(persist('a'), persist(null, reply(1)));
  bench.writes[0]?.end(new Fault('store-overloaded', 'too much waits'));
  await setImmediate();
  bench.feed(persist(null, reply(2)));
  await setImmediate();
  bench.feed(persist('b'), persist(null, reply(3)));
  bench.writes[1]?.end();
  await setImmediate();
  assert.deepEqual(bench.done, ['fail 1', 'fail 2', 'reply 3']);
  assert.deepEqual(
    bench.faults.map(({ code }) => code),
    ['store-overloaded', 'store-overloaded'],
  );
  assert.deepEqual(bench.stored, ['store-overloaded', null]);
});

test('a joiner whose admission could not be written is told so, in words it can read', async () => {
  const bench = new Bench();
  bench.feed(persist('a', { type: 'join-reply', exchange: 7, bytes: new Uint8Array(0) }));
  bench.writes[0]?.end(new Error('EIO'));
  await setImmediate();
  const [answer] = bench.joinAnswers;
  assert.equal(answer?.outcome === 'refused' && answer.code, 'storage-failed');
});

test('an input among the effects waits until all of them have been carried out', () => {
  const bench = new Bench();
  const again: AgentEffect = { type: 'input', input: { type: 'connected', peer: 'x' } };
  bench.effectsOf = (input) => (input.type === 'wake' ? [again, reply(1), reply(2)] : [reply(3)]);
  bench.driver.feed({ type: 'wake' });
  assert.deepEqual(bench.done, ['step wake', 'reply 1', 'reply 2', 'step connected', 'reply 3']);
});

test('a bug in the core leaves nothing half-done behind: the next input is taken', () => {
  const bench = new Bench();
  bench.effectsOf = () => {
    throw new Error('bug: out of range');
  };
  assert.throws(() => bench.driver.feed({ type: 'wake' }), /bug/);
  bench.effectsOf = () => [reply(1)];
  bench.driver.feed({ type: 'wake' });
  assert.equal(bench.done.at(-1), 'reply 1');
});

/** Steps real timers by hand. */
function timersOf(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  return (bench: Bench, ms: number) => {
    bench.now += ms;
    t.mock.timers.tick(ms);
  };
}

test('one timer follows the core’s one deadline, nearer or farther', (t) => {
  const pass = timersOf(t);
  const bench = new Bench();
  const wakes = () => bench.inputs.filter(({ type }) => type === 'wake').length;
  bench.wakeAt = 2000;
  bench.driver.feed({ type: 'connected', peer: 'x' });
  bench.wakeAt = 1100;
  bench.driver.feed({ type: 'connected', peer: 'x' });
  pass(bench, 99);
  assert.equal(wakes(), 0);
  bench.wakeAt = 1150;
  bench.driver.feed({ type: 'connected', peer: 'x' });
  pass(bench, 1);
  assert.equal(wakes(), 0);
  pass(bench, 50);
  assert.equal(wakes(), 1);
  bench.wakeAt = bench.now + 100;
  bench.driver.feed({ type: 'connected', peer: 'x' });
  bench.wakeAt = null;
  bench.driver.feed({ type: 'connected', peer: 'x' });
  pass(bench, 10_000);
  assert.equal(wakes(), 1);
});

test('a deadline far off is looked at again in between, and one that has passed is met at once', (t) => {
  const pass = timersOf(t);
  const bench = new Bench();
  bench.wakeAt = bench.now + 40 * 24 * 3_600_000;
  bench.driver.feed({ type: 'connected', peer: 'x' });
  pass(bench, 60_000);
  pass(bench, 60_000);
  assert.equal(bench.inputs.length, 3);
  bench.wakeAt = bench.now - 5000;
  bench.driver.feed({ type: 'connected', peer: 'x' });
  pass(bench, 1);
  assert.equal(bench.inputs.at(-1)?.type, 'wake');
});

test('what a finished write changed arms the timer too', async (t) => {
  const pass = timersOf(t);
  const bench = new Bench();
  bench.feed(persist('a', reply(1)));
  bench.wakeAt = bench.now + 10;
  bench.writes[0]?.end();
  await setImmediate();
  pass(bench, 10);
  assert.equal(bench.inputs.length, 2);
});

const withSecret = (effect: AgentEffect, name: string): AgentEffect => {
  assert.equal(effect.type, 'persist');
  return { ...effect, secrets: [{ name, bytes: Uint8Array.of(1) }] };
};

test('a secret is kept before the write that names it, and later writes wait their turn', async () => {
  const bench = new Bench();
  bench.feed(withSecret(persist('a', reply(1)), 'ab'), persist('b', reply(2)));
  await setImmediate();
  assert.deepEqual(
    bench.keeping.map(({ names }) => names),
    [['ab']],
  );
  assert.equal(bench.writes.length, 0);
  bench.keeping[0]?.end();
  await setImmediate();
  assert.deepEqual(
    bench.writes.map(({ keys }) => keys),
    ['a', 'b'],
  );
  for (const write of bench.writes) write.end();
  await setImmediate();
  assert.deepEqual(bench.done, ['reply 1', 'reply 2']);
  bench.feed(persist('c', reply(3)));
  assert.equal(bench.writes.length, 3, 'once they are kept nobody waits for them');
});

test('a secret that cannot be kept fails the write that names it, and no other', async () => {
  const bench = new Bench();
  bench.feed(withSecret(persist('a', reply(1)), 'ab'), persist('b', reply(2)));
  await setImmediate();
  bench.keeping[0]?.end(new Error('ENOSPC'));
  await setImmediate();
  assert.deepEqual(
    bench.writes.map(({ keys }) => keys),
    ['b'],
  );
  bench.writes[0]?.end();
  await setImmediate();
  assert.deepEqual(bench.done, ['fail 1', 'reply 2']);
});

test('a stopped driver takes no input, wakes nobody, and ends with its last write', async (t) => {
  const pass = timersOf(t);
  const bench = new Bench();
  bench.wakeAt = bench.now + 10;
  bench.feed(persist('a', reply(1)));
  let ended = false;
  const stopped = bench.driver.stop().then(() => {
    ended = true;
  });
  bench.driver.feed({ type: 'connected', peer: 'x' });
  pass(bench, 1000);
  await setImmediate();
  assert.equal(bench.inputs.length, 1);
  assert.equal(ended, false);
  bench.writes[0]?.end();
  await stopped;
  assert.deepEqual(bench.done, ['reply 1']);
});
