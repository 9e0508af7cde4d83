import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519Verify, Fault } from '../../../../src/core.ts';
import {
  decodeEnvelope,
  type Envelope,
  type Head,
  headOf,
  type MessageType,
  maxPayloadBytesOf,
} from '../../../../src/trust/frost/envelope.ts';
import {
  complaintVerdict,
  decodeEvidence,
  type Evidence,
  encodeAccept,
  encodeEvidence,
  judge,
} from '../../../../src/trust/frost/evidence.ts';
import { maxSeats } from '../../../../src/trust/frost/polynomial.ts';
import { generationTerms, hostOf, range, Table } from './parties.ts';

const table = new Table(generationTerms(2, 3), ['h1', 'h2', 'h3'].map(hostOf)).start();
const { ceremony } = table;
const h1 = hostOf('h1').publicKey;
const dealing = decodeEnvelope(ceremony, table.messages(h1, 'dealing')[0]!);
const other = decodeEnvelope(ceremony, table.forge(h1, { ...dealing, payload: Buffer.of(1) }));

test('two different signed dealings convict their dealer', () => {
  const evidence: Evidence = { type: 'two-dealings', dealer: 1, heads: [headOf(dealing), headOf(other)] };
  const blame = judge(ceremony, evidence, ed25519Verify);
  assert.deepEqual([blame?.host, blame?.reason], [h1, 'equivocation']);
  assert.deepEqual(decodeEvidence(ceremony, encodeEvidence(ceremony, evidence)), {
    ...evidence,
    heads: evidence.heads.map(({ digest, signature }) => ({
      digest: Uint8Array.from(digest),
      signature: Uint8Array.from(signature),
    })),
  });
});

test('one dealing twice, an unsigned one, or one of another dealer convicts nobody', () => {
  const unsigned: Head = { digest: headOf(other).digest, signature: headOf(dealing).signature };
  const cases: [number, Head, Head][] = [
    [1, headOf(dealing), headOf(dealing)],
    [1, headOf(dealing), unsigned],
    [1, unsigned, headOf(dealing)],
    [2, headOf(dealing), headOf(other)],
    [9, headOf(dealing), headOf(other)],
  ];
  for (const [dealer, ...heads] of cases)
    assert.equal(judge(ceremony, { type: 'two-dealings', dealer, heads }, ed25519Verify), null);
});

test('envelopes of the wrong type, or of two dealers, are no evidence', () => {
  const share = decodeEnvelope(ceremony, table.messages(h1, 'share')[0]!);
  const bad = decodeEnvelope(ceremony, table.forge(h1, { ...share, payload: new Uint8Array(64) }));
  const h2 = hostOf('h2').publicKey;
  const strange = decodeEnvelope(ceremony, table.messages(h2, 'dealing')[0]!);
  assert.equal(judge(ceremony, { type: 'bad-share', dealing, share: bad }, ed25519Verify)?.host, h1);
  for (const evidence of [
    { type: 'bad-share', dealing: strange, share: bad },
    { type: 'bad-share', dealing: share, share: bad },
    { type: 'bad-dealing', dealing: bad },
    { type: 'bad-message', message: other },
  ] as const)
    assert.equal(judge(ceremony, evidence, ed25519Verify), null);
});

test('a complaint about a complaint convicts nobody but its author', () => {
  const complaint = decodeEnvelope(
    ceremony,
    table.forge(h1, { type: 'complaint', from: 1, to: 0, payload: Buffer.of(0) }),
  );
  const evidence: Evidence = { type: 'bad-message', message: complaint };
  assert.equal(judge(ceremony, evidence, ed25519Verify)?.host, h1);
  assert.equal(complaintVerdict(ceremony, encodeEvidence(ceremony, evidence), ed25519Verify), null);
});

test('whatever can be said wrongly fits a complaint', () => {
  const filled = (type: MessageType): Envelope => ({
    type,
    from: 1,
    to: type === 'share' ? 2 : 0,
    payload: new Uint8Array(maxPayloadBytesOf[type]),
    signature: new Uint8Array(64),
  });
  const head: Head = { digest: new Uint8Array(32), signature: new Uint8Array(64) };
  const largest: Evidence[] = [
    { type: 'bad-dealing', dealing: filled('dealing') },
    { type: 'bad-share', dealing: filled('dealing'), share: filled('share') },
    { type: 'bad-message', message: filled('accept') },
    { type: 'two-dealings', dealer: 1, heads: [head, head] },
  ];
  for (const evidence of largest) {
    const bytes = encodeEvidence(ceremony, evidence);
    assert.ok(bytes.length <= maxPayloadBytesOf.complaint, `${bytes.length} bytes of ${evidence.type}`);
    assert.deepEqual(encodeEvidence(ceremony, decodeEvidence(ceremony, bytes)), bytes);
  }
  // And what honest parties of the largest group say is not too long.
  assert.ok(encodeAccept(range(1, maxSeats).map(() => head)).length <= maxPayloadBytesOf.accept);
  assert.ok(1 + maxSeats * 32 + 1 + 64 <= maxPayloadBytesOf.dealing);
});

test('evidence of another ceremony is refused', () => {
  const elsewhere = new Table({ ...generationTerms(2, 3), session: 'f'.repeat(32) }, [hostOf('h1')]).ceremony;
  const bytes = encodeEvidence(ceremony, { type: 'bad-dealing', dealing });
  assert.throws(
    () => decodeEvidence(elsewhere, bytes),
    (error) => error instanceof Fault && error.code === 'other-ceremony',
  );
});
