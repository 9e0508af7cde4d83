/** What the coordinator of a signature over a decision and the trustees say to one another, and its encoding. */
import { ByteReader, ByteWriter, Fault } from '../../core.ts';
import { scalarBytes } from '../frost/group.ts';
import { nonceCommitmentBytes } from '../frost/nonces.ts';
import { maxSeats } from '../frost/polynomial.ts';

export type SigningMessage =
  /** A trustee: I take part. Unasked, so that nobody waits for those who are away. */
  | { readonly type: 'here' }
  /** The coordinator: promise nonces. */
  | { readonly type: 'ask'; readonly attempt: number }
  | { readonly type: 'commitment'; readonly attempt: number; readonly bytes: Uint8Array }
  /** The coordinator: sign with them, together with these. */
  | { readonly type: 'request-share'; readonly attempt: number; readonly commitments: Uint8Array }
  | { readonly type: 'share'; readonly attempt: number; readonly bytes: Uint8Array }
  /** A trustee: not in this attempt. */
  | { readonly type: 'refused'; readonly attempt: number };

/** Each attempt leaves a trustee out, so there are fewer than trustees. It bounds what is sent, too. */
export const maxAttempts = 16;
const maxCommitmentsBytes: number = 1 + maxSeats * nonceCommitmentBytes;
const types = ['here', 'ask', 'commitment', 'request-share', 'share', 'refused'] as const;

export function encodeSigningMessage(message: SigningMessage): Uint8Array {
  const writer = new ByteWriter().u8(types.indexOf(message.type) + 1);
  if (message.type === 'here') return writer.done();
  writer.varint(message.attempt);
  if (message.type === 'commitment' || message.type === 'share') writer.bytes(message.bytes);
  else if (message.type === 'request-share') writer.bytes(message.commitments);
  return writer.done();
}

/** Throws `Fault('malformed')`. */
export function decodeSigningMessage(bytes: Uint8Array): SigningMessage {
  const reader = new ByteReader(bytes);
  const type = types[reader.u8() - 1];
  if (type === undefined) throw new Fault('malformed', 'a message of an unknown type');
  const message = readBody(reader, type);
  reader.end();
  return message;
}

function readBody(reader: ByteReader, type: SigningMessage['type']): SigningMessage {
  if (type === 'here') return { type };
  const attempt = reader.varint(maxAttempts);
  switch (type) {
    case 'commitment':
      return { type, attempt, bytes: Uint8Array.from(reader.bytes(nonceCommitmentBytes)) };
    case 'share':
      return { type, attempt, bytes: Uint8Array.from(reader.bytes(scalarBytes)) };
    case 'request-share':
      return { type, attempt, commitments: Uint8Array.from(reader.bytes(maxCommitmentsBytes)) };
    case 'ask':
    case 'refused':
      return { type, attempt };
  }
}
