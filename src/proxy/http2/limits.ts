/** What one peer of a connection may do, and how often. */
import type { Millis } from '../../core.ts';

/** Streams that a client may have open at once. */
export const maxConcurrentStreams = 250;
/** Assumed of a server until it says otherwise. */
export const assumedConcurrentStreams = 100;
/** Name, value and 32 bytes of each field of a head or of trailers: what HTTP/1.1 heads may have, too. */
export const maxHeaderListBytes = 64 * 1024;
/**
 * Bytes that may come on a stream before its reader has taken any. They alone bound what is held for slow readers:
 * at worst 64 MB of what one client uploads, and of an application as much for each answer as over HTTP/1.1.
 */
export const streamWindowBytes = 256 * 1024;
/** Bytes that may be under way on all streams of a connection together; how fast they are read makes no difference. */
export const connectionWindowBytes = 4 * 1024 * 1024;
/** A client with more than this to read is not read from: whatever else it asks for would only come on top. */
export const maxUnreadBytes = 1024 * 1024;

/** Streams that a client takes back, or breaks, soon after it opened them ("rapid reset", CVE-2023-44487). */
export const resetBurst = 1000;
/** A server breaks off what it was asked, and may have answered what was taken back: neither is more than we began. */
export const resetsPerOwnRequest = 2;
export const resetsPerSecond = 33;
/**
 * Of those, how many a client may have broken off before others have their turn: one write may hold thousands, each
 * a request that is routed, sent and taken back again.
 */
export const resetsPerTurn = 32;
/** Frames that cost work and carry nothing: PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA, ... */
export const idleFrameBurst = 1000;
export const idleFramesPerSecond = 100;
/** Settings in one frame: each may change the windows of all streams. There are seven to choose from. */
export const maxSettings = 32;
/** Frames that carry something earn their sender as many of those that do not. */
export const idleFramesPerRequest = 10;
export const idleFramesPerData = 4;

/** So much at once, and so much a second: a token bucket. */
export class Budget {
  private readonly burst: number;
  private readonly perSecond: number;
  private left: number;
  private at: Millis | null = null;

  constructor(burst: number, perSecond: number) {
    this.burst = burst;
    this.perSecond = perSecond;
    this.left = burst;
  }

  earn(count: number): void {
    this.left = Math.min(this.left + count, this.burst);
  }

  /** Takes one; false when there is none left. The clock is looked at only then. */
  spend(clock: { now(): Millis }): boolean {
    if (this.left < 1) {
      const at = clock.now();
      if (this.at !== null) this.earn(((at - this.at) * this.perSecond) / 1000);
      this.at = at;
      if (this.left < 1) return false;
    }
    this.left--;
    return true;
  }
}
