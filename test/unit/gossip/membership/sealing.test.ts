import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519Signer, type HostId } from '../../../../src/core.ts';
import {
  Sealing,
  type SealingOptions,
  sealedOverheadBytes,
  sealedVersion,
} from '../../../../src/gossip/membership/sealing.ts';

const seedOf = (number: number): Uint8Array => new Uint8Array(32).fill(number);
const idOf = (number: number): HostId => ed25519Signer(seedOf(number)).publicKey;
const [a, b, c] = [idOf(1), idOf(2), idOf(3)];
const mesh = new Uint8Array(32).fill(9);
const startedAt = Date.UTC(2026, 0, 1);
const hourMs = 3_600_000;
const frame = Buffer.from('who is alive');

function sealingOf(number: number, knows: readonly HostId[], options: Partial<SealingOptions> = {}): Sealing {
  const seed = seedOf(number);
  const sealing = new Sealing({ self: idOf(number), seed, mesh, epoch: 1, ...options });
  for (const id of knows) sealing.admit(id);
  return sealing;
}

function seal(sealing: Sealing, to: HostId, wallMs = startedAt): Buffer {
  const datagram = sealing.seal(to, frame, wallMs);
  assert.ok(datagram !== null);
  return datagram;
}

/** What makes two datagrams share a key stream: the sender's epoch and counter. */
const nonceOf = (datagram: Buffer): string => datagram.toString('hex', 9, 21);

test('what one seals, the other opens, and learns who wrote it', () => {
  const datagram = seal(sealingOf(1, [b]), b);
  assert.equal(datagram.length, frame.length + sealedOverheadBytes);
  assert.equal(datagram[0], sealedVersion);
  assert.equal(datagram.includes(frame), false);
  const opened = sealingOf(2, [a]).open(datagram);
  assert.ok(typeof opened === 'object');
  assert.equal(opened.from, a);
  assert.deepEqual(Buffer.from(opened.frame), frame);
});

test('a datagram is opened where it lies, inside a larger buffer', () => {
  const datagram = seal(sealingOf(1, [b]), b);
  const larger = Buffer.concat([Buffer.alloc(7, 1), datagram, Buffer.alloc(5, 1)]);
  const opened = sealingOf(2, [a]).open(larger.subarray(7, 7 + datagram.length));
  assert.ok(typeof opened === 'object');
  assert.deepEqual(Buffer.from(opened.frame), frame);
});

test('nothing is sealed for who is not admitted, and nothing of theirs is opened', () => {
  const datagram = seal(sealingOf(1, [b]), b);
  assert.equal(sealingOf(2, [c]).open(datagram), 'stranger');
  assert.equal(sealingOf(1, [c]).seal(b, frame, startedAt), null);
});

test('a datagram is for one receiver, of one mesh, in one direction', () => {
  const sender = sealingOf(1, [b, c]);
  assert.equal(sealingOf(3, [a]).open(seal(sender, b)), 'forged');
  const elsewhere = sealingOf(2, [a], { mesh: new Uint8Array(32).fill(8) });
  assert.equal(elsewhere.open(seal(sender, b)), 'forged');
  // Sent back to where it came from, it is of a sender that nobody is admitted as, or fails under the other key.
  const reflected = seal(sender, b);
  assert.equal(sender.open(reflected), 'stranger');
  reflected.write(b.slice(0, 16), 1, 'hex');
  assert.equal(sender.open(reflected), 'forged');
});

test('a copy is known as one, and so is what is of an earlier run', () => {
  const receiver = sealingOf(2, [a]);
  const earlier = seal(sealingOf(1, [b]), b);
  const datagram = seal(sealingOf(1, [b], { epoch: 2 }), b);
  assert.equal(typeof receiver.open(datagram), 'object');
  assert.equal(receiver.open(datagram), 'replayed');
  assert.equal(receiver.open(earlier), 'replayed');
});

test('a changed bit anywhere is noticed, and does not use the original up', () => {
  const receiver = sealingOf(2, [a]);
  const datagram = seal(sealingOf(1, [b]), b);
  for (let bit = 0; bit < datagram.length * 8; bit++) {
    const changed = Buffer.from(datagram);
    changed[bit >> 3]! ^= 1 << (bit & 7);
    const expected = bit < 8 ? 'malformed' : bit < 72 ? 'stranger' : 'forged';
    assert.equal(receiver.open(changed), expected, `bit ${bit}`);
  }
  assert.equal(typeof receiver.open(datagram), 'object');
});

test('a datagram cut short or made longer is not believed', () => {
  const receiver = sealingOf(2, [a]);
  const datagram = seal(sealingOf(1, [b]), b);
  for (let length = 0; length < datagram.length; length++) {
    const expected = length <= sealedOverheadBytes ? 'malformed' : 'forged';
    assert.equal(receiver.open(datagram.subarray(0, length)), expected, `${length} bytes`);
  }
  assert.equal(receiver.open(Buffer.concat([datagram, Buffer.alloc(1)])), 'forged');
  assert.equal(typeof receiver.open(datagram), 'object');
});

test('a forged datagram with a far counter or epoch does not move the window', () => {
  const sender = sealingOf(1, [b]);
  const receiver = sealingOf(2, [a]);
  const datagram = seal(sender, b);
  const forged = Buffer.from(datagram);
  forged.fill(0xff, 9, 21);
  assert.equal(receiver.open(forged), 'forged');
  assert.equal(typeof receiver.open(datagram), 'object');
});

test('a dismissed member is a stranger until it is admitted again', () => {
  const sender = sealingOf(1, [b]);
  const receiver = sealingOf(2, [a]);
  const before = seal(sender, b);
  assert.equal(typeof receiver.open(before), 'object');
  receiver.dismiss(a);
  assert.equal(receiver.open(seal(sender, b)), 'stranger');
  assert.equal(receiver.seal(a, frame, startedAt), null);
  receiver.admit(a);
  assert.equal(receiver.open(before), 'replayed', 'a copy from before is still known as one');
  assert.equal(typeof receiver.open(seal(sender, b)), 'object');
});

test('no counter is used twice in one epoch, however often a peer comes and goes', () => {
  const sender = sealingOf(1, [b, c]);
  const nonces = new Set<string>();
  let sealed = 0;
  const sealSome = (count: number): void => {
    for (let i = 0; i < count; i++) {
      nonces.add(nonceOf(seal(sender, b)));
      sealed++;
    }
  };
  sealSome(10);
  for (let time = 0; time < 5; time++) {
    sender.dismiss(b);
    // Others who leave after having had less do not set the counter back.
    sender.dismiss(c);
    sender.admit(c);
    sender.admit(b);
    sender.admit(b);
    sealSome(time);
  }
  assert.equal(nonces.size, sealed);
});

test('two runs that a restored disk gave the same epoch share no nonce', () => {
  const first = sealingOf(1, [b]);
  const nonces = new Set(Array.from({ length: 1000 }, () => nonceOf(seal(first, b))));
  const second = sealingOf(1, [b]);
  for (let i = 0; i < 1000; i++) assert.equal(nonces.has(nonceOf(seal(second, b, startedAt + 1000))), false);
});

test('a host restored from an older snapshot is heard, and no copy of what it ever sent', () => {
  const receiver = sealingOf(2, [a]);
  const sent: Buffer[] = [];
  for (const [hour, epoch] of [20, 6, 7, 7, 3].entries()) {
    const sender = sealingOf(1, [b], { epoch });
    for (let i = 0; i < 10; i++) sent.push(seal(sender, b, startedAt + hour * hourMs));
    for (const datagram of sent.slice(-10)) assert.equal(typeof receiver.open(datagram), 'object');
    for (const datagram of sent) assert.equal(receiver.open(datagram), 'replayed');
  }
  assert.equal(new Set(sent.map(nonceOf)).size, sent.length);
});

test('a host whose memory was set back is heard again once its clock is right', () => {
  const [host, restored, receiver] = [sealingOf(1, [b]), sealingOf(1, [b]), sealingOf(2, [a])];
  const nonces = new Set<string>();
  for (let second = 0; second < 1000; second++) {
    const datagram = seal(host, b, startedAt + 1000 * second);
    nonces.add(nonceOf(datagram));
    assert.equal(typeof receiver.open(datagram), 'object');
  }
  seal(restored, b);
  for (let second = 0; second < 10; second++) {
    const datagram = seal(restored, b, startedAt + hourMs + 1000 * second);
    assert.equal(nonces.has(nonceOf(datagram)), false);
    assert.equal(typeof receiver.open(datagram), 'object');
  }
});

test('a memory that was set back by some seconds only is noticed as well', () => {
  const [host, restored, receiver] = [sealingOf(1, [b]), sealingOf(1, [b]), sealingOf(2, [a])];
  const before = [host, restored].map((one) => nonceOf(seal(one, b)));
  assert.equal(before[0], before[1], 'what both had sent when the memory was copied');
  const nonces = new Set(before);
  for (let second = 1; second <= 5; second++) {
    const datagram = seal(host, b, startedAt + 1000 * second);
    nonces.add(nonceOf(datagram));
    assert.equal(typeof receiver.open(datagram), 'object');
  }
  const datagram = seal(restored, b, startedAt + 6000);
  assert.equal(nonces.has(nonceOf(datagram)), false);
  assert.equal(typeof receiver.open(datagram), 'object');
});

test('a datagram that many others have overtaken within seconds is no copy', () => {
  const [sender, receiver] = [sealingOf(1, [b]), sealingOf(2, [a])];
  const late = seal(sender, b);
  for (let step = 1; step < 10; step++)
    assert.equal(typeof receiver.open(seal(sender, b, startedAt + 1000 * step)), 'object');
  assert.equal(typeof receiver.open(late), 'object');
});

test('a clock that goes to and fro lets no counter repeat', () => {
  const sender = sealingOf(1, [b]);
  const nonces = new Set<string>();
  const times = [0, 2 * hourMs, -hourMs, hourMs, 2 * hourMs, 0, 3 * hourMs];
  for (const time of times) nonces.add(nonceOf(seal(sender, b, startedAt + time)));
  assert.equal(nonces.size, times.length);
});

test('the latest and the earliest clock both leave room for counters', () => {
  for (const time of [-1, 0, 2 ** 31 * 1000 - 1, 2 ** 31 * 1000, 8.64e15]) {
    const opened = sealingOf(2, [a]).open(seal(sealingOf(1, [b], { epoch: 2 ** 32 - 1 }), b, time));
    assert.equal(typeof opened, 'object', `${time}`);
  }
});

test('whoever has a key that none can agree with is a stranger, every time', () => {
  const smallOrder = `01${'00'.repeat(31)}`;
  const receiver = sealingOf(2, [smallOrder]);
  const datagram = Buffer.alloc(100);
  datagram[0] = sealedVersion;
  datagram.write(smallOrder.slice(0, 16), 1, 'hex');
  assert.equal(receiver.seal(smallOrder, frame, startedAt), null);
  for (let i = 0; i < 3; i++) assert.equal(receiver.open(datagram), 'stranger');
});

test('a member whose id begins like another’s does not take its place', () => {
  const twin = `${a.slice(0, 16)}${c.slice(16)}`;
  const receiver = sealingOf(2, [a, twin]);
  const sender = sealingOf(1, [b]);
  assert.equal(typeof receiver.open(seal(sender, b)), 'object');
  receiver.dismiss(twin);
  assert.equal(typeof receiver.open(seal(sender, b)), 'object');
});

test('an epoch that does not fit the nonce is a bug', () => {
  assert.throws(() => sealingOf(1, [], { epoch: 2 ** 32 }), /the epoch fits the nonce/);
});
