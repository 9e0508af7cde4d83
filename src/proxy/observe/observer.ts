/**
 * The hook for whoever wants to know of single requests: access log, traces, tap. A row of counters has an observer
 * only while one of them is on, so that where none is a request pays for one comparison with null.
 */
import type { Millis } from '../../core.ts';
import type { HeadFacts } from './head-facts.ts';
import type { Observation } from './observation.ts';
import type { TrafficCounter } from './traffic.ts';

export interface Observer {
  /**
   * A request was read and its row is known: what is going to be told of it, or null where nobody asks. To be
   * called before the head is forwarded: it may cut lines from `head` and ask for others in their place
   * (`addedLines`). The bytes are only looked at during the call.
   */
  begin(counter: TrafficCounter, bytes: Buffer, head: HeadFacts, now: Millis): Observation | null;
  /** As `begin`, for a byte stream. */
  beginStream(counter: TrafficCounter, now: Millis): Observation | null;
  /** It is over, and everything that `observation` can say is in it. Called by `Observation.end`. */
  ended(observation: Observation): void;
}
