/** What travels between two agents: the first byte says which room of the house the rest is for. */
import { Fault } from '../core.ts';

export const envelopeRooms = {
  gossip: 1,
  issueRequest: 2,
  issueReply: 3,
  epoch: 4,
  quorumRequest: 5,
  quorumAnswer: 6,
  logRequest: 7,
  logAnswer: 8,
} as const;
export type EnvelopeRoom = keyof typeof envelopeRooms;

export function seal(room: EnvelopeRoom, payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(payload.length + 1);
  bytes[0] = envelopeRooms[room];
  bytes.set(payload, 1);
  return bytes;
}

/** Throws `Fault('malformed')` for an empty frame, `Fault('unknown-room')` for one of a later version. */
export function open(bytes: Uint8Array): { readonly room: EnvelopeRoom; readonly payload: Uint8Array } {
  const [tag] = bytes;
  if (tag === undefined) throw new Fault('malformed', 'an empty frame');
  for (const [room, known] of Object.entries(envelopeRooms))
    if (known === tag) return { room: room as EnvelopeRoom, payload: bytes.subarray(1) };
  throw new Fault('unknown-room', `a frame for room ${tag}, which this version does not have`);
}
