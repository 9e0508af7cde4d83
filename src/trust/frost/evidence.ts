/** Evidence: envelopes that prove to anybody, from their signatures alone, who broke a ceremony, and how. */
import { assert, ByteReader, ByteWriter, Fault, type HostId, unreachable, type Verify } from '../../core.ts';
import { openAnswer } from './answer.ts';
import type { Ceremony, Party } from './ceremony.ts';
import { checkDealing, checkShare, type DealingFlaw } from './dealing.ts';
import {
  decodeEnvelope,
  digestBytes,
  type Envelope,
  encodeEnvelope,
  type Head,
  isDealingHead,
  maxEnvelopeBytes,
  signatureBytes,
  signedBy,
} from './envelope.ts';
import { decodeScalar, encodeScalar, type Scalar, scalarBytes } from './group.ts';
import type { Seat } from './polynomial.ts';

/** What is laid before a judge. */
export type Evidence =
  | { readonly type: 'bad-dealing'; readonly dealing: Envelope }
  | { readonly type: 'bad-share'; readonly dealing: Envelope; readonly share: Envelope }
  | { readonly type: 'two-dealings'; readonly dealer: Seat; readonly heads: readonly [Head, Head] }
  | { readonly type: 'bad-message'; readonly message: Envelope }
  /** With the receiver's secret, which opens it. */
  | {
      readonly type: 'bad-answer';
      readonly dealing: Envelope;
      readonly answer: Envelope;
      readonly key: Scalar;
    };

const evidenceTypes = ['bad-dealing', 'bad-share', 'two-dealings', 'bad-message', 'bad-answer'] as const;

/** Why somebody is to blame. */
export type BlameReason = DealingFlaw | 'equivocation' | 'false-accept' | 'false-complaint';

/** Somebody who broke the ceremony, with what proves it: see `judge`. */
export interface Blame {
  readonly host: HostId;
  readonly reason: BlameReason;
  readonly evidence: Evidence;
}

/**
 * Who is convicted by `evidence`; null where it proves nothing. Pure, so every honest judge says the same,
 * whether or not it took part. No honest party can be convicted of anything: a judge believes signatures only.
 */
export function judge(ceremony: Ceremony, evidence: Evidence, verify: Verify): Blame | null {
  const verdict = judgement(ceremony, evidence, verify);
  return verdict === null ? null : { host: verdict.party.host, reason: verdict.reason, evidence };
}

interface Verdict {
  readonly party: Party;
  readonly reason: BlameReason;
}

function judgement(ceremony: Ceremony, evidence: Evidence, verify: Verify): Verdict | null {
  switch (evidence.type) {
    case 'bad-dealing':
      return judgeDealing(ceremony, evidence.dealing, verify);
    case 'bad-share':
      return judgeShare(ceremony, evidence.dealing, evidence.share, verify);
    case 'two-dealings':
      return judgeHeads(ceremony, evidence.dealer, evidence.heads, verify);
    case 'bad-message':
      return judgeMessage(ceremony, evidence.message, verify);
    case 'bad-answer':
      return judgeAnswer(ceremony, evidence, verify);
    default:
      return unreachable(evidence);
  }
}

function judgeDealing(ceremony: Ceremony, dealing: Envelope, verify: Verify): Verdict | null {
  const party = dealing.type === 'dealing' ? signedBy(ceremony, dealing, verify) : null;
  if (party === null) return null;
  const checked = checkDealing(ceremony, dealing.from, dealing.payload);
  return checked.type === 'flawed' ? { party, reason: checked.flaw } : null;
}

function judgeShare(ceremony: Ceremony, dealing: Envelope, share: Envelope, verify: Verify): Verdict | null {
  if (dealing.type !== 'dealing' || share.type !== 'share' || dealing.from !== share.from) return null;
  const party = signedBy(ceremony, dealing, verify);
  if (party === null || signedBy(ceremony, share, verify) === null) return null;
  const checkedDealing = checkDealing(ceremony, dealing.from, dealing.payload);
  if (checkedDealing.type === 'flawed') return { party, reason: checkedDealing.flaw };
  const checked = checkShare(checkedDealing.value, share.to, share.payload);
  return checked.type === 'flawed' ? { party, reason: checked.flaw } : null;
}

function judgeAnswer(
  ceremony: Ceremony,
  { dealing, answer, key }: Extract<Evidence, { type: 'bad-answer' }>,
  verify: Verify,
): Verdict | null {
  if (dealing.type !== 'dealing' || answer.type !== 'answer' || dealing.from !== answer.from) return null;
  const party = signedBy(ceremony, dealing, verify);
  if (party === null || signedBy(ceremony, answer, verify) === null) return null;
  const checkedDealing = checkDealing(ceremony, dealing.from, dealing.payload);
  if (checkedDealing.type === 'flawed') return { party, reason: checkedDealing.flaw };
  const { from, to, payload } = answer;
  const opened = openAnswer(ceremony, checkedDealing.value, from, to, payload, key);
  return opened?.type === 'flawed' ? { party, reason: opened.flaw } : null;
}

function judgeHeads(
  ceremony: Ceremony,
  dealer: Seat,
  heads: readonly [Head, Head],
  verify: Verify,
): Verdict | null {
  const party = ceremony.dealer(dealer);
  const differ = Buffer.compare(heads[0].digest, heads[1].digest) !== 0;
  const areSigned = heads.every((head) => isDealingHead(ceremony, dealer, head, verify));
  return party !== null && differ && areSigned ? { party, reason: 'equivocation' } : null;
}

/** An `accept` that names a dealing which nobody signed, or a `complaint` that convicts nobody. */
function judgeMessage(ceremony: Ceremony, message: Envelope, verify: Verify): Verdict | null {
  if (message.type !== 'accept' && message.type !== 'complaint') return null;
  const party = signedBy(ceremony, message, verify);
  if (party === null) return null;
  if (message.type === 'accept')
    return acceptedHeads(ceremony, message.payload, verify) === null
      ? { party, reason: 'false-accept' }
      : null;
  return complaintVerdict(ceremony, message.payload, verify) === null
    ? { party, reason: 'false-complaint' }
    : null;
}

const headBytes = digestBytes + signatureBytes;
/** Longest receipt that comes with an `accept`. */
export const maxReceiptBytes = 256;

/**
 * The payload of an `accept`: the head of every dealer's dealing, in the order of their seats, and what whoever asked for
 * the ceremony wants to hear from those that hold a share, which means nothing here.
 */
export function encodeAccept(heads: readonly Head[], receipt: Uint8Array = new Uint8Array()): Uint8Array {
  assert(receipt.length <= maxReceiptBytes, 'a receipt is short');
  return Buffer.concat([...heads.flatMap(({ digest, signature }) => [digest, signature]), receipt]);
}

/** The receipt in the payload of an `accept`, of which the heads were read. */
export function receiptIn(ceremony: Ceremony, payload: Uint8Array): Uint8Array {
  return payload.subarray(ceremony.dealerSeats().length * headBytes);
}

/**
 * The heads an `accept` names; null where it is malformed or one was never signed, of which the sender is to
 * blame. `known` are heads that were verified before and need not be again.
 */
export function acceptedHeads(
  ceremony: Ceremony,
  payload: Uint8Array,
  verify: Verify,
  known: ReadonlyMap<Seat, Head> = new Map(),
): Map<Seat, Head> | null {
  const seats = ceremony.dealerSeats();
  const receiptBytes = payload.length - seats.length * headBytes;
  if (receiptBytes < 0 || receiptBytes > maxReceiptBytes) return null;
  const heads = new Map<Seat, Head>();
  for (const [i, seat] of seats.entries()) {
    const bytes = payload.subarray(i * headBytes, (i + 1) * headBytes);
    const head = { digest: bytes.subarray(0, digestBytes), signature: bytes.subarray(digestBytes) };
    const familiar = known.get(seat);
    const isKnown =
      familiar !== undefined &&
      Buffer.compare(familiar.digest, head.digest) === 0 &&
      Buffer.compare(familiar.signature, head.signature) === 0;
    if (!isKnown && !isDealingHead(ceremony, seat, head, verify)) return null;
    heads.set(seat, head);
  }
  return heads;
}

/** Whom the payload of a `complaint` convicts; null where it convicts nobody or cannot be read. */
export function complaintVerdict(ceremony: Ceremony, payload: Uint8Array, verify: Verify): Blame | null {
  try {
    const evidence = decodeEvidence(ceremony, payload);
    // Everybody judges a complaint that it was sent: a complaint about one is no evidence but an endless tale.
    if (evidence.type === 'bad-message' && evidence.message.type === 'complaint') return null;
    return judge(ceremony, evidence, verify);
  } catch (error) {
    if (error instanceof Fault) return null;
    throw error;
  }
}

export function encodeEvidence(ceremony: Ceremony, evidence: Evidence): Uint8Array {
  const writer = new ByteWriter().u8(evidenceTypes.indexOf(evidence.type) + 1);
  switch (evidence.type) {
    case 'bad-dealing':
      return writer.bytes(encodeEnvelope(ceremony, evidence.dealing)).done();
    case 'bad-share':
      return writer
        .bytes(encodeEnvelope(ceremony, evidence.dealing))
        .bytes(encodeEnvelope(ceremony, evidence.share))
        .done();
    case 'two-dealings':
      writer.u8(evidence.dealer);
      for (const head of evidence.heads) writer.raw(head.digest).raw(head.signature);
      return writer.done();
    case 'bad-message':
      return writer.bytes(encodeEnvelope(ceremony, evidence.message)).done();
    case 'bad-answer':
      return writer
        .bytes(encodeEnvelope(ceremony, evidence.dealing))
        .bytes(encodeEnvelope(ceremony, evidence.answer))
        .raw(encodeScalar(evidence.key))
        .done();
    default:
      return unreachable(evidence);
  }
}

/** Throws `Fault`: `malformed`, `other-ceremony`. */
export function decodeEvidence(ceremony: Ceremony, bytes: Uint8Array): Evidence {
  const reader = new ByteReader(bytes);
  const type = evidenceTypes[reader.u8() - 1];
  const evidence = readEvidence(ceremony, reader, type);
  reader.end();
  return evidence;
}

function readEvidence(
  ceremony: Ceremony,
  reader: ByteReader,
  type: (typeof evidenceTypes)[number] | undefined,
): Evidence {
  const envelope = (): Envelope => decodeEnvelope(ceremony, reader.bytes(maxEnvelopeBytes));
  const head = (): Head => ({
    digest: Uint8Array.from(reader.raw(digestBytes)),
    signature: Uint8Array.from(reader.raw(signatureBytes)),
  });
  switch (type) {
    case 'bad-dealing':
      return { type, dealing: envelope() };
    case 'bad-share':
      return { type, dealing: envelope(), share: envelope() };
    case 'two-dealings':
      return { type, dealer: reader.u8(), heads: [head(), head()] };
    case 'bad-message':
      return { type, message: envelope() };
    case 'bad-answer':
      return { type, dealing: envelope(), answer: envelope(), key: decodeScalar(reader.raw(scalarBytes)) };
    case undefined:
      throw new Fault('malformed', 'evidence of an unknown type');
    default:
      return unreachable(type);
  }
}
