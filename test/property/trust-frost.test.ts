import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ed25519Verify, Fault } from '../../src/core.ts';
import { Ceremony } from '../../src/trust/frost/ceremony.ts';
import { checkDealing, checkShare } from '../../src/trust/frost/dealing.ts';
import { decodeEnvelope, encodeEnvelope } from '../../src/trust/frost/envelope.ts';
import {
  acceptedHeads,
  complaintVerdict,
  decodeEvidence,
  encodeEvidence,
  judge,
} from '../../src/trust/frost/evidence.ts';
import { GroupKey, KeyShare } from '../../src/trust/frost/keys.ts';
import {
  decodeNonceCommitment,
  decodeNonceCommitments,
  encodeNonceCommitments,
  SigningNonces,
} from '../../src/trust/frost/nonces.ts';
import { openSecret, sealSecret } from '../../src/trust/frost/sealing.ts';
import { aggregate, SigningSession, signShare } from '../../src/trust/frost/signing.ts';
import { decodeSecret, encodeSecret } from '../../src/trust/quorum/held-shares.ts';
import { decodeSigningMessage, encodeSigningMessage } from '../../src/trust/quorum/signing-message.ts';
import {
  dealtKeys,
  entropyOf,
  generationTerms,
  hostOf,
  range,
  signWith,
  Table,
} from '../unit/trust/frost/parties.ts';

/** Runs `act`: only a Fault may come out of it. */
function onlyFaults(act: () => unknown): void {
  try {
    act();
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
  }
}

/** Any bytes, or `good` with a few of its bytes changed, cut off or doubled. */
function mutations(good: Uint8Array): fc.Arbitrary<Uint8Array> {
  const edits = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
  return fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    edits.map((list) => {
      const bytes = Uint8Array.from(good);
      for (const [at, value] of list) bytes[at] = value;
      return bytes;
    }),
    fc.nat(good.length).map((length) => good.slice(0, length)),
    fc.nat(good.length).map((at) => Uint8Array.from([...good.slice(0, at), ...good])),
  );
}

const table = new Table(generationTerms(2, 3), ['h1', 'h2', 'h3'].map(hostOf)).start();
const { ceremony } = table;
const generated = table.keys();
const [h1, h2] = ['h1', 'h2'].map((label) => hostOf(label).publicKey) as [string, string];

/** Threshold, number of trustees and a seed, all small. */
const groups = fc
  .record({ count: fc.integer({ min: 2, max: 7 }), seed: fc.string() })
  .chain(({ count, seed }) =>
    fc.record({
      threshold: fc.integer({ min: Math.max(2, (count >> 1) + 1), max: count }),
      count: fc.constant(count),
      seed: fc.constant(seed),
    }),
  );

test('any quorum of any group signs any message, and a plain verifier agrees', () => {
  fc.assert(
    fc.property(
      groups,
      fc.uint8Array({ maxLength: 300 }),
      fc.nat(),
      ({ threshold, count, seed }, message, skip) => {
        const { group, shares } = dealtKeys(threshold, range(1 + (skip % 40), count), seed);
        const all = [...shares.values()];
        const start = skip % (count - threshold + 1);
        signWith(group, all.slice(start, start + threshold), message, seed);
      },
    ),
    { numRuns: 25 },
  );
});

test('whichever shares are spoilt, they are named and no others', () => {
  const { group, shares } = dealtKeys(3, range(1, 5));
  const message = Buffer.from('m');
  fc.assert(
    fc.property(
      fc.subarray(range(1, 5), { minLength: 1 }),
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      (bad, junk) => {
        const all = [...shares.values()];
        const nonces = all.map((share) => SigningNonces.create(share, entropyOf(`p${share.seat}`, 64)));
        const session = new SigningSession(
          group,
          message,
          nonces.map(({ commitment }) => commitment),
        );
        const parts = all.map((share, i) => {
          const part = signShare(session, share, nonces[i]!);
          return [share.seat, bad.includes(share.seat) ? junk : part] as const;
        });
        assert.deepEqual(aggregate(session, new Map(parts)), { type: 'blamed', seats: bad });
      },
    ),
    { numRuns: 15 },
  );
});

test('groups, commitments, ceremonies and envelopes survive their codecs', () => {
  fc.assert(
    fc.property(groups, ({ threshold, count, seed }) => {
      const { group, shares } = dealtKeys(threshold, range(1, count), seed);
      assert.deepEqual(GroupKey.decode(group.encode()).encode(), group.encode());
      for (const share of shares.values()) {
        assert.equal(KeyShare.decode(share.encode()).reveal(), share.reveal());
        const { commitment } = SigningNonces.create(share, entropyOf(seed, 64));
        const decoded = decodeNonceCommitment(commitment.wire);
        assert.deepEqual(decoded.bindingBytes, commitment.bindingBytes);
        assert.ok(decoded.hiding.equals(commitment.hiding));
      }
    }),
    { numRuns: 10 },
  );
  for (const { effect } of table.effects) {
    if (effect.type !== 'broadcast' && effect.type !== 'send') continue;
    const envelope = decodeEnvelope(ceremony, effect.bytes);
    assert.deepEqual(Buffer.from(encodeEnvelope(ceremony, envelope)), Buffer.from(effect.bytes));
  }
});

test('decoders of bytes from elsewhere throw faults only', () => {
  const share = generated.shares.get(1)!;
  const key = entropyOf('key', 32);
  const context = { name: 'ab'.repeat(32), host: h1 };
  const { commitment } = SigningNonces.create(share, entropyOf('n', 64));
  const cases: [Uint8Array, (bytes: Uint8Array) => unknown][] = [
    [generated.group.encode(), GroupKey.decode],
    [share.encode(), KeyShare.decode],
    [commitment.wire, decodeNonceCommitment],
    [encodeNonceCommitments([commitment]), decodeNonceCommitments],
    [ceremony.encode(), Ceremony.decode],
    [
      sealSecret(share.encode(), context, key, entropyOf('i', 12)),
      (bytes) => openSecret(bytes, context, key),
    ],
    [encodeSecret(generated.group, share), decodeSecret],
    [encodeSigningMessage({ type: 'ask', attempt: 1 }), decodeSigningMessage],
    [encodeSigningMessage({ type: 'commitment', attempt: 1, bytes: commitment.wire }), decodeSigningMessage],
  ];
  for (const [good, decode] of cases)
    fc.assert(
      fc.property(mutations(good), (bytes) => onlyFaults(() => decode(bytes))),
      { numRuns: 150 },
    );
});

test('signed payloads of any bytes are judged, never thrown at', () => {
  const payloads = {
    dealing: table.said(h1, 'dealing', h2),
    share: table.said(h1, 'share', h2),
    accept: table.said(h1, 'accept', h2),
  };
  const checked = checkDealing(ceremony, 1, payloads.dealing);
  assert.ok(checked.type === 'sound');
  const dealing = checked.value;
  fc.assert(
    fc.property(mutations(payloads.dealing), (bytes) => {
      const result = checkDealing(ceremony, 1, bytes);
      if (result.type === 'flawed') return;
      // Terms above the constant are free: whether the shares match them is another check.
      assert.ok(result.value.commitments[0]!.equals(dealing.commitments[0]!));
      assert.ok(result.value.commitments.every((commitment) => commitment.isTorsionFree()));
    }),
    { numRuns: 150 },
  );
  fc.assert(
    fc.property(mutations(payloads.share), (bytes) => {
      assert.ok(checkShare(dealing, 2, bytes).type === 'flawed' || Buffer.from(bytes).equals(payloads.share));
    }),
    { numRuns: 150 },
  );
  fc.assert(
    fc.property(mutations(payloads.accept), (bytes) => {
      // What follows the heads is a receipt, and for others to judge.
      const heads = payloads.accept.subarray(0, 96 * ceremony.dealerSeats().length);
      const isSame = Buffer.from(bytes.subarray(0, heads.length)).equals(heads);
      assert.ok(acceptedHeads(ceremony, bytes, ed25519Verify) === null || isSame);
    }),
    { numRuns: 100 },
  );
});

test('no evidence made of honest messages and noise convicts anybody', () => {
  const dealing = decodeEnvelope(ceremony, table.messages(h1, 'dealing')[0]!);
  const share = decodeEnvelope(ceremony, table.messages(h1, 'share')[0]!);
  const accept = decodeEnvelope(ceremony, table.messages(h1, 'accept')[0]!);
  const evidence = [
    { type: 'bad-dealing', dealing } as const,
    { type: 'bad-share', dealing, share } as const,
    { type: 'bad-message', message: accept } as const,
  ];
  for (const honest of evidence) {
    assert.equal(judge(ceremony, honest, ed25519Verify), null);
    const encoded = encodeEvidence(ceremony, honest);
    assert.deepEqual(decodeEvidence(ceremony, encoded), honest);
    fc.assert(
      fc.property(mutations(encoded), (bytes) => {
        assert.equal(complaintVerdict(ceremony, bytes, ed25519Verify), null);
      }),
      { numRuns: 150 },
    );
  }
});

test('whatever noise is among the messages, a ceremony of honest hosts ends with a key', () => {
  const good = table.messages(h1, 'dealing')[0]!;
  fc.assert(
    fc.property(fc.array(mutations(good), { maxLength: 10 }), (noise) => {
      const noisy = new Table(generationTerms(2, 3), ['h1', 'h2', 'h3'].map(hostOf));
      for (const bytes of noise) noisy.post(h1, h2, bytes);
      for (const host of noisy.machines.keys()) noisy.feed(host, { type: 'start' });
      noisy.deliver();
      noisy.keys();
    }),
    { numRuns: 10 },
  );
});
