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

function sealingOf(own: Uint8Array, peer: Uint8Array, epoch = 1): Sealing {
  const self = ed25519Signer(own).publicKey;
  const sealing = new Sealing({ self, seed: own, mesh, epoch, startedAt: 0 });
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
        const datagram = sender.seal(ed25519Signer(other).publicKey, frame);
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
  const datagram = sender.seal(ed25519Signer(other).publicKey, Buffer.from('after all of it'));
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

test('a window takes what a list of everything taken would let it take', () => {
  fc.assert(
    fc.property(arrivals, (datagrams) => {
      const window = new ReplayWindow();
      const taken = new Set<string>();
      let epochNow = -1;
      let highest = -1;
      for (const { epoch, counter } of datagrams) {
        const isLater = epoch > epochNow;
        const isRecent = epoch === epochNow && counter > highest - windowSize;
        const expected = isLater || (isRecent && !taken.has(`${epoch} ${counter}`));
        assert.equal(window.take(epoch, counter), expected);
        if (!expected) continue;
        taken.add(`${epoch} ${counter}`);
        highest = isLater ? counter : Math.max(highest, counter);
        epochNow = epoch;
      }
    }),
    { numRuns: 500 },
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
