/** What it means that a server's connection ended without an answer: for the caller, the balancer and a retry. */
import type { Outcome } from './balance/endpoint.ts';
import type { RefusalReason } from './dataplane.ts';
import { type ResponseFlags, responseFlag } from './observe/flags.ts';
import { grpcServerFaults } from './observe/outcomes.ts';
import type { CloseReason, DeclineReason } from './transport.ts';

/** Of gRPC. */
const resourceExhausted = 8;

/** How far a request came that got no answer. */
export type Reach =
  /** Nothing of it reached the application: asking elsewhere is safe for every method. */
  | 'unseen'
  /** The application may have acted on it: asking elsewhere is safe only for what may happen twice. */
  | 'unknown'
  /** The application answered, though not with anything to pass on. */
  | 'answered';

export interface UpstreamFailure {
  /** What the caller is told if nobody else can be asked. */
  readonly status: number;
  readonly reason: RefusalReason;
  readonly detail: string;
  readonly reach: Reach;
  readonly outcome: Outcome;
  /** Where a flag says more than the one of `reason`. */
  readonly flags?: ResponseFlags;
  /** The same server may be asked again, by another connection. */
  readonly mayAskAgain?: true;
}

const broken: UpstreamFailure = {
  status: 502,
  reason: 'upstream-reset',
  detail: 'the connection broke before the answer',
  reach: 'unknown',
  outcome: 'failed',
};

/** Everything that says "not here, not now" takes the endpoint out of favour as if it could not be reached. */
const failures: Readonly<{ [close in CloseReason]: UpstreamFailure }> = {
  ended: broken,
  reset: broken,
  'connect-failure': unseen('connect-failure', 'no connection'),
  refused: unseen('connect-failure', 'takes nothing new'),
  unavailable: unseen('no-healthy-upstream', 'no instance in rotation there'),
  unreachable: unseen('connect-failure', 'no connection from its proxy to the application'),
  'not-taken': {
    ...unseen('connect-failure', 'takes nothing new on this connection'),
    outcome: 'abandoned',
    mayAskAgain: true,
  },
  // A proxy has its own reasons, such as permissions that are new: its application may be as well as ever.
  cut: {
    ...broken,
    detail: 'its proxy cut the connection before the answer',
    outcome: 'abandoned',
  },
  failed: {
    ...broken,
    detail: 'the application broke the connection before the answer',
    flags: responseFlag.UR,
  },
};

function unseen(reason: RefusalReason, detail: string): UpstreamFailure {
  return { status: 503, reason, detail, reach: 'unseen', outcome: 'connect-failure' };
}

export function failureOf(close: CloseReason): UpstreamFailure {
  return failures[close];
}

/** The connection ended in the middle of an answer, or in order but without one. */
export function cutShort(detail: string): UpstreamFailure {
  return { ...broken, detail };
}

/** The server said nothing for as long as one try may take. */
export function triedTooLong(perTryMs: number): UpstreamFailure {
  return {
    status: 504,
    reason: 'timeout',
    detail: `no answer within ${perTryMs} ms`,
    reach: 'unknown',
    outcome: 'failed',
  };
}

/** The answer broke the rules; `detail` says which. */
export function badResponse(detail: string): UpstreamFailure {
  return { status: 502, reason: 'bad-response', detail, reach: 'answered', outcome: 'failed' };
}

/** What a whole answer says of the server that gave it; `grpcStatus` is negative where it is not gRPC. */
export function outcomeOf(status: number, grpcStatus: number): Outcome {
  return status >= 500 || grpcServerFaults.has(grpcStatus) ? 'failed' : 'ok';
}

/** Whether a server would not do what was asked for it is asked too much: that is quick, and no sign of speed. */
export function isTurnedAway(status: number, grpcStatus: number): boolean {
  return status === 429 || grpcStatus === resourceExhausted;
}

/**
 * What a proxy of ours that asked is told instead of an HTTP answer, so that it may ask elsewhere; null where
 * the answer would be the same everywhere, such as a denial. `seen` says that an application may have acted.
 */
export function declineOf(reason: RefusalReason, seen: boolean): DeclineReason | null {
  switch (reason) {
    case 'no-route':
    case 'no-healthy-upstream':
      return seen ? 'failed' : 'unavailable';
    case 'connect-failure':
      return seen ? 'failed' : 'unreachable';
    case 'upstream-reset':
      return 'failed';
    default:
      return null;
  }
}
