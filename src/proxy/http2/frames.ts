/** The frames of HTTP/2 and what is wrong with their headers (RFC 9113 sections 4, 6 and 7). */

export const frameHeaderBytes = 9;
/** The longest payload taken, and sent: the least that every peer must take. */
export const maxFrameBytes = 16_384;
export const maxStreamId = 0x7fffffff;
export const maxWindow = 0x7fffffff;
/** What both windows are until somebody says otherwise. */
export const defaultWindowBytes = 65_535;

export const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export const FrameType = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goAway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

export const Flag = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const;

export const Setting = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const;

export const ErrorCode = {
  noError: 0,
  protocolError: 1,
  internalError: 2,
  flowControlError: 3,
  streamClosed: 5,
  frameSizeError: 6,
  refusedStream: 7,
  cancel: 8,
  compressionError: 9,
  enhanceYourCalm: 11,
} as const;

export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode];

/** What one side did wrong, and the code that says so. */
export interface Violation {
  readonly code: ErrorCode;
  readonly problem: string;
}

export function violation(code: ErrorCode, problem: string): Violation {
  return { code, problem };
}

/** Which frames belong to a stream, to the connection, or to either. */
const isOfConnection: readonly (boolean | null)[] = [
  false,
  false,
  false,
  false,
  true,
  false,
  true,
  true,
  null,
  false,
];

/** Why the connection cannot go on after a frame header, or null. Types that are not known are never wrong. */
export function headerProblem(
  type: number,
  flags: number,
  length: number,
  streamId: number,
): Violation | null {
  if (length > maxFrameBytes) return violation(ErrorCode.frameSizeError, `frame of ${length} bytes`);
  const ofConnection = isOfConnection[type];
  if (ofConnection === undefined) return null;
  if (ofConnection !== null && ofConnection !== (streamId === 0))
    return violation(ErrorCode.protocolError, `frame type ${type} on stream ${streamId}`);
  return isLengthSound(type, flags, length)
    ? null
    : violation(ErrorCode.frameSizeError, `frame type ${type} with ${length} bytes`);
}

function isLengthSound(type: number, flags: number, length: number): boolean {
  switch (type) {
    case FrameType.data:
      return (flags & Flag.padded) === 0 || length > 0;
    case FrameType.reset:
    case FrameType.windowUpdate:
      return length === 4;
    case FrameType.settings:
      return (flags & Flag.ack) !== 0 ? length === 0 : length % 6 === 0;
    case FrameType.ping:
      return length === 8;
    case FrameType.goAway:
      return length >= 8;
    default:
      return true;
  }
}
