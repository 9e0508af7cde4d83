/**
 * What a requester and a trustee say to each other until there is a signature: two rounds over channels that
 * prove both host keys. The requester coordinates; a trustee decides on its own and rebuilds what it signs.
 */
import { ByteReader, ByteWriter, Fault } from '../../core.ts';
import { nonceCommitmentBytes } from '../frost/nonces.ts';
import { maxSeats } from '../frost/polynomial.ts';

/** What a requester says. `requestId` is its own; `attempt` counts from 1 within it. */
export type QuorumRequest =
  /** Would you sign for this purpose with your share of this epoch's key? Then promise me nonces. */
  | {
      readonly type: 'ask';
      readonly requestId: number;
      readonly attempt: number;
      readonly epoch: number;
      readonly purpose: Uint8Array;
    }
  /** Sign, with the nonces you promised me for it, together with those whose commitments these are. */
  | {
      readonly type: 'contribute';
      readonly requestId: number;
      readonly attempt: number;
      readonly epoch: number;
      readonly purpose: Uint8Array;
      readonly nonceId: string;
      /** As `encodeNonceCommitments` gives them; empty for the genesis key, which one host holds whole. */
      readonly commitments: Uint8Array;
    };

/** What a trustee answers; `requestId` and `attempt` are those of the request. */
export type QuorumAnswer =
  | {
      readonly type: 'commitment';
      readonly requestId: number;
      readonly attempt: number;
      /** Names the trustee's boot (`bootOf`), and the nonces within it. */
      readonly nonceId: string;
      readonly bytes: Uint8Array;
    }
  | {
      readonly type: 'share';
      readonly requestId: number;
      readonly attempt: number;
      readonly bytes: Uint8Array;
    }
  | {
      readonly type: 'refused';
      readonly requestId: number;
      readonly attempt: number;
      readonly code: string;
      readonly message: string;
      /** Not to be asked again before this long; 0 when waiting is not what is needed. */
      readonly retryAfterMs: number;
    };

export type QuorumMessage = QuorumRequest | QuorumAnswer;

export const maxQuorumRequestId = 0xffff_ffff;
export const maxAttempts = 255;
/** A certificate request has about 500 bytes; a statement about roots may hold certificates. */
export const maxPurposeBytes: number = 16 * 1024;
/** A count, and a commitment for each seat. */
const maxCommitmentsBytes: number = 1 + maxSeats * nonceCommitmentBytes;
const maxNonceIdBytes = 64;
/** A share of a signature has 32 bytes, a whole one 64. */
const maxShareBytes = 64;
const maxCodeBytes = 64;
const maxTextBytes = 512;
export const maxRetryAfterMs = 3_600_000;
export const maxQuorumMessageBytes: number = maxPurposeBytes + maxCommitmentsBytes + 256;

const version = 1;
const types: readonly QuorumMessage['type'][] = ['ask', 'contribute', 'commitment', 'share', 'refused'];
const nonceIdPattern = /^[0-9a-f]{32}-(0|[1-9][0-9]{0,15})$/;
const codePattern = /^[a-z][a-z0-9-]*$/;

/** Which boot of its trustee a nonce id is of, hex. */
export function bootOf(nonceId: string): string {
  return nonceId.slice(0, nonceId.indexOf('-'));
}

export function isQuorumRequest(message: QuorumMessage): message is QuorumRequest {
  return message.type === 'ask' || message.type === 'contribute';
}

export function encodeQuorumMessage(message: QuorumMessage): Uint8Array {
  const writer = new ByteWriter()
    .u8(version)
    .u8(types.indexOf(message.type))
    .varint(message.requestId)
    .varint(message.attempt);
  switch (message.type) {
    case 'ask':
      writer.varint(message.epoch).bytes(message.purpose);
      break;
    case 'contribute':
      writer.varint(message.epoch).bytes(message.purpose);
      writer.string(message.nonceId).bytes(message.commitments);
      break;
    case 'commitment':
      writer.string(message.nonceId).bytes(message.bytes);
      break;
    case 'share':
      writer.bytes(message.bytes);
      break;
    case 'refused':
      // The text is ours, but what it quotes may be long; UTF-8 takes up to three bytes a code unit.
      writer.string(message.code).string(message.message.slice(0, maxTextBytes / 3));
      writer.varint(Math.min(message.retryAfterMs, maxRetryAfterMs));
      break;
  }
  return writer.done();
}

/** Throws `Fault('malformed')`. What it gives shares no memory with `bytes`. */
export function decodeQuorumMessage(bytes: Uint8Array): QuorumMessage {
  if (bytes.length > maxQuorumMessageBytes) throw new Fault('malformed', 'the message is too large');
  const reader = new ByteReader(bytes);
  if (reader.u8() !== version) throw new Fault('malformed', 'a version that is not known here');
  const type = types[reader.u8()];
  if (type === undefined) throw new Fault('malformed', 'unknown kind of message');
  const requestId = reader.varint(maxQuorumRequestId);
  const attempt = reader.varint(maxAttempts);
  const message = readBody(reader, type, { requestId, attempt });
  reader.end();
  return message;
}

function readBody(
  reader: ByteReader,
  type: QuorumMessage['type'],
  head: { readonly requestId: number; readonly attempt: number },
): QuorumMessage {
  switch (type) {
    case 'ask':
      return { type, ...head, epoch: reader.varint(), purpose: readBytes(reader, maxPurposeBytes) };
    case 'contribute':
      return {
        type,
        ...head,
        epoch: reader.varint(),
        purpose: readBytes(reader, maxPurposeBytes),
        nonceId: readNonceId(reader),
        commitments: readBytes(reader, maxCommitmentsBytes),
      };
    case 'commitment':
      return { type, ...head, nonceId: readNonceId(reader), bytes: readBytes(reader, nonceCommitmentBytes) };
    case 'share':
      return { type, ...head, bytes: readBytes(reader, maxShareBytes) };
    case 'refused': {
      const code = reader.string(maxCodeBytes);
      if (!codePattern.test(code)) throw new Fault('malformed', 'the refusal has no valid code');
      const message = reader.string(maxTextBytes);
      return { type, ...head, code, message, retryAfterMs: reader.varint(maxRetryAfterMs) };
    }
  }
}

function readBytes(reader: ByteReader, max: number): Uint8Array {
  return Uint8Array.from(reader.bytes(max));
}

function readNonceId(reader: ByteReader): string {
  const id = reader.string(maxNonceIdBytes);
  if (!nonceIdPattern.test(id)) throw new Fault('malformed', 'not the name of promised nonces');
  return id;
}
