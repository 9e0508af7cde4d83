/**
 * The frames of starling/1: type (8 bits), payload length (24), stream (32), all big-endian, then the payload.
 * Streams are opened by the TLS client alone, with odd numbers that only grow; stream 0 is the session.
 */

/** The ALPN name under which two proxies agree to speak it. */
export const alpnName = 'starling/1';

export const FrameType = {
  /** Bytes of a stream, 1 to `maxDataBytes`. */
  data: 0,
  /** Opens a stream; one byte says which protocol it carries. */
  open: 1,
  /** The sender's side of the stream ended in order. */
  finish: 2,
  /** The stream is over in both directions; one byte says why. */
  reset: 3,
  /** So many more bytes may be sent on the stream: four bytes, 1 to `maxCredit`. */
  window: 4,
  /** Eight bytes to be sent back in a pong. */
  ping: 5,
  pong: 6,
  /** No further stream will be accepted; those open go on. */
  goAway: 7,
} as const;

/** In the payload of `open`: version 1 in the high four bits, the protocol in the low four. */
export const OpenCode = { http1: 0x11, tcp: 0x12, http2: 0x13 } as const;

/** In the payload of `reset`. */
export const ResetCode = {
  /** It was cut, and what was sent may have been acted on. */
  cut: 0,
  refused: 1,
  unavailable: 2,
  unreachable: 3,
  failed: 4,
} as const;

/** By code. What each means for who is told is with `CloseReason`. */
export const resetReasons: readonly (keyof typeof ResetCode)[] = [
  'cut',
  'refused',
  'unavailable',
  'unreachable',
  'failed',
];

export const headerBytes = 8;
/** The longest payload of a data frame, so that streams take turns. */
export const maxDataBytes = 16 * 1024;
/** Bytes each side may send on a stream before the other has asked for more. */
export const initialWindowBytes = 256 * 1024;
/** Credit beyond this is malformed: it could only come from adding up wrongly. */
export const maxCredit = 16 * 1024 * 1024;
/** Streams open at once on one session. A proxy with more to carry opens another session. */
export const maxStreams = 1024;
/** The last number a stream may have; then a session takes no more. */
export const lastStreamId = 0x7fffffff;

/** The payload lengths that frames of a type may have, by type: lowest and highest. */
const payloadBounds: readonly (readonly [number, number])[] = [
  [1, maxDataBytes],
  [1, 1],
  [0, 0],
  [1, 1],
  [4, 4],
  [8, 8],
  [8, 8],
  [0, 0],
];

/** What is wrong with a frame header, or null. */
export function headerProblem(type: number, length: number, streamId: number): string | null {
  const bounds = payloadBounds[type];
  if (bounds === undefined) return `unknown frame type ${type}`;
  if (length < bounds[0] || length > bounds[1]) return `frame type ${type} with ${length} bytes`;
  const isSessionFrame = type >= FrameType.ping;
  if (isSessionFrame !== (streamId === 0)) return `frame type ${type} on stream ${streamId}`;
  if (streamId > lastStreamId || (streamId !== 0 && streamId % 2 === 0)) return `stream number ${streamId}`;
  return null;
}
