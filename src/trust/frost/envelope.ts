/** The signed messages of a ceremony: whoever holds one can prove to anybody what its sender said. */
import { createHash } from 'node:crypto';
import { ByteReader, ByteWriter, Fault, type Signer, type Verify } from '../../core.ts';
import type { Ceremony, Party } from './ceremony.ts';
import type { Seat } from './polynomial.ts';

/**
 * `dealing`: a dealer's commitments, to all. `share`: a dealer to one receiver, secret. `accept`: a receiver
 * holds a verified share and names the dealings it is of. `complaint`: evidence against somebody. `missing`:
 * a receiver is not done, and lacks shares of these dealers. `answer`: such a share, to all, for that receiver to open.
 */
export const messageTypes = ['dealing', 'share', 'accept', 'complaint', 'missing', 'answer'] as const;
export type MessageType = (typeof messageTypes)[number];

export interface Envelope {
  readonly type: MessageType;
  /** A dealer's seat for `dealing`, `share` and `answer`, a receiver's for the rest. */
  readonly from: Seat;
  /** A receiver's seat for `share` and `answer`, 0 for the rest. */
  readonly to: Seat;
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
}

/** What was signed of a payload, without it: two different ones from one sender prove equivocation. */
export interface Head {
  /** SHA-256 of the payload. */
  readonly digest: Uint8Array;
  readonly signature: Uint8Array;
}

export const digestBytes = 32;
export const signatureBytes = 64;
/**
 * What honest parties of `maxSeats` send, and some more: what is longer is not even evidence. Of what is not,
 * any one of them, or a dealing with a share, fits a complaint: whoever is cheated can prove it to all.
 */
export const maxPayloadBytesOf: Readonly<Record<MessageType, number>> = {
  dealing: 1536,
  share: 256,
  accept: 3584,
  complaint: 4096,
  missing: 1152,
  answer: 96,
};
const maxPayloadBytes = maxPayloadBytesOf.complaint;
/** Longest encoded envelope. */
export const maxEnvelopeBytes: number = 32 + 3 + 2 + maxPayloadBytes + signatureBytes;

/** Not how any DER begins, so that no signature here is one of a certificate. */
const statementTag = Buffer.from('starling-ceremony-message-1\0');

export function digestOf(payload: Uint8Array): Uint8Array {
  return createHash('sha256').update(payload).digest();
}

function statement(
  ceremony: Ceremony,
  type: MessageType,
  from: Seat,
  to: Seat,
  digest: Uint8Array,
): Uint8Array {
  return Buffer.concat([
    statementTag,
    ceremony.id,
    Buffer.of(messageTypes.indexOf(type) + 1, from, to),
    digest,
  ]);
}

function senderOf(ceremony: Ceremony, type: MessageType, from: Seat): Party | null {
  return type === 'dealing' || isForOne(type) ? ceremony.dealer(from) : ceremony.receiver(from);
}

/** Whether it concerns one receiver, which it names. */
function isForOne(type: MessageType): boolean {
  return type === 'share' || type === 'answer';
}

export function signEnvelope(
  ceremony: Ceremony,
  signer: Signer,
  message: Omit<Envelope, 'signature'>,
): Envelope {
  const { type, from, to, payload } = message;
  return { ...message, signature: signer.sign(statement(ceremony, type, from, to, digestOf(payload))) };
}

export function headOf(envelope: Envelope): Head {
  return { digest: digestOf(envelope.payload), signature: envelope.signature };
}

/** Whether a head is of a dealing that `dealer` signed in this ceremony. */
export function isDealingHead(ceremony: Ceremony, dealer: Seat, head: Head, verify: Verify): boolean {
  const party = ceremony.dealer(dealer);
  const signed = statement(ceremony, 'dealing', dealer, 0, head.digest);
  return party !== null && verify(party.host, signed, head.signature);
}

/** Who signed an envelope; null where nobody of this ceremony did, so that it proves nothing. */
export function signedBy(ceremony: Ceremony, envelope: Envelope, verify: Verify): Party | null {
  const { type, from, to, payload, signature } = envelope;
  const party = senderOf(ceremony, type, from);
  if (party === null) return null;
  const signed = statement(ceremony, type, from, to, digestOf(payload));
  return verify(party.host, signed, signature) ? party : null;
}

/** With the ceremony's id first, by which a receiver finds whom it is for. */
export function encodeEnvelope(ceremony: Ceremony, envelope: Envelope): Uint8Array {
  return new ByteWriter()
    .raw(ceremony.id)
    .u8(messageTypes.indexOf(envelope.type) + 1)
    .u8(envelope.from)
    .u8(envelope.to)
    .bytes(envelope.payload)
    .raw(envelope.signature)
    .done();
}

/** The id of the ceremony that an encoded envelope says it is of. Throws `Fault('malformed')`. */
export function ceremonyIdOf(bytes: Uint8Array): Uint8Array {
  return new ByteReader(bytes).raw(digestBytes);
}

/** Throws `Fault`: `malformed`, or `other-ceremony`. Whether it was signed is for `signedBy` to say. */
export function decodeEnvelope(ceremony: Ceremony, bytes: Uint8Array): Envelope {
  if (bytes.length > maxEnvelopeBytes) throw new Fault('malformed', 'the message is too long');
  const reader = new ByteReader(bytes);
  if (Buffer.compare(reader.raw(digestBytes), ceremony.id) !== 0)
    throw new Fault('other-ceremony', 'the message is of another ceremony');
  const type = messageTypes[reader.u8() - 1];
  if (type === undefined) throw new Fault('malformed', 'a message of an unknown type');
  const from = reader.u8();
  const to = reader.u8();
  const payload = Uint8Array.from(reader.bytes(maxPayloadBytesOf[type]));
  const signature = Uint8Array.from(reader.raw(signatureBytes));
  reader.end();
  if (isForOne(type) ? ceremony.receiver(to) === null : to !== 0)
    throw new Fault('malformed', 'the message is for nobody');
  return { type, from, to, payload, signature };
}
