/** What every connection of a data plane needs from around it. */
import type { Millis, Random } from '../core.ts';
import type { Deadlines } from './deadlines.ts';

export interface EngineContext {
  /** May be fractional: request durations are measured with it. */
  now(): Millis;
  readonly random: Random;
  /** For what takes seconds: idle connections, heads that do not come. Checked about once a second. */
  readonly deadlines: Deadlines;
  /** For what takes tenths of a second: protocol detection, connects. */
  readonly promptDeadlines: Deadlines;
}

/** How long a connection between requests is kept by its server side. */
export const idleDownstreamMs = 120_000;
/** How long a client that is to go may still begin a request: one that did not know when it began to send. */
export const drainIdleMs = 500;
/** How long an unused upstream connection is kept; shorter than the other side, so that it is closed from here. */
export const idleUpstreamMs = 60_000;
/** From the first byte of a request head to its last. Longer: 408. */
export const headReadMs = 10_000;
/** How long a connection that was given up is listened to, so that the peer can read the last answer. */
export const lingerMs = 2_000;
