import assert from 'node:assert/strict';
import { createPublicKey } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { ed25519Signer } from '../../src/core.ts';
import { ReplayWindow } from '../../src/gossip/membership/replay-window.ts';
import { Sealing, sealedVersion } from '../../src/gossip/membership/sealing.ts';
import { agree, agreementKey, montgomery } from '../../src/gossip/membership/x25519.ts';

const seed = fc.uint8Array({ minLength: 32, maxLength: 32 });
const mesh = new Uint8Array(32).fill(9);
const windowSize = 64;
const startedAt = Date.UTC(2026, 0, 1);

function sealingOf(own: Uint8Array, peer: Uint8Array, epoch = 1): Sealing {
  const self = ed25519Signer(own).publicKey;
  const sealing = new Sealing({ self, seed: own, mesh, epoch });
  sealing.admit(ed25519Signer(peer).publicKey);
  return sealing;
}

test('the Montgomery form of every public key is the X25519 key of its seed', () => {
  fc.assert(
    fc.property(seed, (bytes) => {
      const own = createPublicKey(agreementKey(bytes)).export({ format: 'der', type: 'spki' }).subarray(-32);
      const publicKey = Buffer.from(ed25519Signer(bytes).publicKey, 'hex');
      assert.deepEqual(Buffer.from(montgomery(publicKey)), own);
    }),
  );
});

test('any two hosts agree on one secret', () => {
  fc.assert(
    fc.property(seed, seed, (one, other) => {
      const left = agree(agreementKey(one), ed25519Signer(other).publicKey);
      const right = agree(agreementKey(other), ed25519Signer(one).publicKey);
      assert.deepEqual(left, right);
    }),
  );
});

test('every frame that is sealed opens as it was', () => {
  const frames = fc.array(fc.uint8Array({ minLength: 1, maxLength: 1400 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(seed, seed, frames, (one, other, plain) => {
      fc.pre(!Buffer.from(one).equals(other));
      const sender = sealingOf(one, other);
      const receiver = sealingOf(other, one);
      for (const frame of plain) {
        const datagram = sender.seal(ed25519Signer(other).publicKey, frame, startedAt);
        assert.ok(datagram !== null);
        const opened = receiver.open(datagram);
        assert.ok(typeof opened === 'object');
        assert.equal(opened.from, ed25519Signer(one).publicKey);
        assert.deepEqual(Buffer.from(opened.frame), Buffer.from(frame));
      }
    }),
    { numRuns: 50 },
  );
});

test('garbage is never opened, even in the name of a member, and leaves no trace', () => {
  const [one, other] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
  const sender = sealingOf(one, other);
  const receiver = sealingOf(other, one);
  const prefix = ed25519Signer(one).publicKey.slice(0, 16);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (garbage, inName) => {
      const bytes = Buffer.from(garbage);
      if (inName && bytes.length > 9) {
        bytes[0] = sealedVersion;
        bytes.write(prefix, 1, 'hex');
      }
      assert.equal(typeof receiver.open(bytes), 'string');
    }),
    { numRuns: 1000 },
  );
  const datagram = sender.seal(ed25519Signer(other).publicKey, Buffer.from('after all of it'), startedAt);
  assert.ok(datagram !== null);
  assert.equal(typeof receiver.open(datagram), 'object');
});

/** Counters near each other, so that windows overlap, and now and then a leap. */
const arrivals = fc.array(
  fc.record({
    epoch: fc.integer({ min: 0, max: 3 }),
    counter: fc.oneof(fc.integer({ min: 0, max: 200 }), fc.integer({ min: 0, max: 2 ** 48 - 1 })),
  }),
  { maxLength: 300 },
);

test('a window takes what a list of everything taken would let it take, and nothing twice', () => {
  fc.assert(
    fc.property(arrivals, (datagrams) => {
      const window = new ReplayWindow();
      const taken: { readonly epoch: number; readonly counter: number }[] = [];
      let lower = { epoch: -1, floor: -1 };
      for (const { epoch, counter } of datagrams) {
        const highestOf = (some: typeof taken): number => Math.max(-1, ...some.map((one) => one.counter));
        const latest = Math.max(-1, ...taken.map((one) => one.epoch));
        const highest = highestOf(taken);
        const isSuccessor = epoch < latest && epoch !== lower.epoch && counter > highest;
        if (isSuccessor) lower = { epoch, floor: highest };
        const floor = epoch >= latest ? -1 : epoch === lower.epoch ? lower.floor : Infinity;
        const ofRun = taken.filter((one) => one.epoch === epoch && one.counter > floor);
        const isNew = !taken.some((one) => one.epoch === epoch && one.counter === counter);
        const expected = isNew && counter > floor && counter > highestOf(ofRun) - windowSize;
        assert.equal(window.take(epoch, counter), expected);
        if (expected) taken.push({ epoch, counter });
      }
    }),
    { numRuns: 500 },
  );
});

/** Epochs may fall from run to run, as when a disk is set back; each run begins after the end of the one before. */
const runs = fc.array(
  fc.record({
    epoch: fc.integer({ min: 0, max: 5 }),
    pauseMs: fc.integer({ min: 10, max: 100_000 }),
    gapsMs: fc.array(fc.integer({ min: 0, max: 100_000 }), { minLength: 1, maxLength: 5 }),
  }),
  { minLength: 1, maxLength: 12 },
);

test('however often a disk is set back, no nonce repeats, and each datagram is opened exactly once', () => {
  const [one, other] = [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)];
  const receiverId = ed25519Signer(other).publicKey;
  fc.assert(
    fc.property(runs, (lives) => {
      const receiver = sealingOf(other, one);
      const sent: Buffer[] = [];
      let now = startedAt;
      for (const { epoch, pauseMs, gapsMs } of lives) {
        now += pauseMs;
        const sender = sealingOf(one, other, epoch);
        for (const gapMs of gapsMs) {
          now += gapMs;
          const datagram = sender.seal(receiverId, Buffer.from('who is alive'), now);
          assert.ok(datagram !== null);
          assert.equal(typeof receiver.open(datagram), 'object');
          sent.push(datagram);
        }
        for (const datagram of sent) assert.equal(receiver.open(datagram), 'replayed');
      }
      assert.equal(new Set(sent.map((datagram) => datagram.toString('hex', 9, 21))).size, sent.length);
    }),
    { numRuns: 50 },
  );
});

test('of datagrams that arrive within a window of their order, each is taken exactly once', () => {
  const order = fc.array(fc.integer({ min: 0, max: windowSize - 1 }), { minLength: 1, maxLength: 200 });
  fc.assert(
    fc.property(order, (delays) => {
      const window = new ReplayWindow();
      const arriving = delays
        .map((delay, counter) => ({ counter, at: counter + delay }))
        .sort((left, right) => left.at - right.at);
      for (const { counter } of arriving) assert.equal(window.take(1, counter), true);
      for (const { counter } of arriving) assert.equal(window.take(1, counter), false);
    }),
  );
});
