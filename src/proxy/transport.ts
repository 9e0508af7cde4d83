/**
 * A two-way byte connection, whatever carries it: a kernel socket, TLS, or one stream of a starling/1
 * session. The engines know only this, so each runs over all of them, and over bytes in memory in tests.
 */

/** Above this many bytes waiting to be sent, whoever feeds a transport stops reading its source. */
export const highWaterBytes = 256 * 1024;

/** Why a transport ended, as far as its own side can tell. */
export type CloseReason =
  /** Both directions ended in order. */
  | 'ended'
  /** It never came to be: nothing that was written reached the peer. */
  | 'connect-failure'
  /** The peer is a proxy of ours and said why it did not serve what was sent last. */
  | DeclineReason
  /** The peer has read nothing of it, and may take it on another connection: this one was full, or is going. */
  | 'not-taken'
  /** The peer is a proxy of ours, and cut it without saying why: bytes in either direction may be lost. */
  | 'cut'
  /** It broke: bytes in either direction may be lost. */
  | 'reset';

/** Why a proxy of ours does not serve a connection, or the request that came last on it. */
export type DeclineReason =
  /** It takes nothing new, and has read nothing of it. */
  | 'refused'
  /** It has no application to give it to. */
  | 'unavailable'
  /** It could not connect to its application: nothing reached it. */
  | 'unreachable'
  /** Its application broke the connection without an answer, and may have acted. */
  | 'failed';

export interface Transport {
  /** Who is told what happens; replaced when the connection changes hands. */
  owner: TransportOwner;
  /** Bytes accepted by `write` that have not left yet. */
  readonly pendingBytes: number;
  /**
   * Sends `bytes[start, end)`. The transport may keep the slice instead of copying it, so nobody changes
   * those bytes again. Ignored once the transport is over.
   */
  write(bytes: Buffer, start: number, end: number): void;
  /** Asks for no more input. A bounded amount may still come, and is to be taken. */
  pause(): void;
  resume(): void;
  /** Ends this side in order, after everything written; the other side may go on sending. */
  finish(): void;
  /**
   * Gives the connection up in order: what was written still leaves, what comes is dropped, nothing is told. A peer
   * that is at fault has but a moment to take what was written.
   */
  close(isAtFault?: boolean): void;
  /** Cuts both directions so that the peer sees a break, not an end. Nothing is told after it. */
  destroy(): void;
  /**
   * As `destroy`, and tells a peer that is a proxy of ours why. False, and nothing is done, where the peer
   * would not understand.
   */
  decline(reason: DeclineReason): boolean;
}

/**
 * Must be called by whoever still refers to received bytes when its `onData` returns: else the next read may
 * go to the same place. Most bytes are copied on at once, and reading them costs no memory then.
 */
export function keepReceived(): void {
  wereKept = true;
}

/** For readers: whether what was just delivered must be left alone. Asks anew for the next delivery. */
export function takeKept(): boolean {
  const kept = wereKept;
  wereKept = false;
  return kept;
}

/** As `transport.write`, for bytes that were made here: whoever keeps them keeps nothing that was received. */
export function writeMade(transport: Transport, bytes: Buffer, start: number, end: number): void {
  const before = wereKept;
  transport.write(bytes, start, end);
  wereKept = before;
}

/**
 * Delivers bytes that were made of received ones; true if they must be left alone from now on. Whether the
 * received ones are kept is another question, which this does not touch.
 */
export function deliverMade(owner: TransportOwner, bytes: Buffer, start: number, end: number): boolean {
  const before = wereKept;
  wereKept = false;
  owner.onData(bytes, start, end);
  const kept = wereKept;
  wereKept = before;
  return kept;
}

/** Deliveries are synchronous and never nest, so one flag serves them all. */
let wereKept = false;

/** What a transport tells. Calls never come from within the owner's own call of the transport. */
export interface TransportOwner {
  onData(bytes: Buffer, start: number, end: number): void;
  /** The peer ended its side in order: no more data will come. */
  onFinish(): void;
  /** It is over. Told once, unless this side called `close` or `destroy`. */
  onClose(reason: CloseReason): void;
  /** What was written has left: a paused source may go on. */
  onDrain(): void;
}

/** Takes everything and does nothing: the owner of a transport that was given up. */
export const nobody: TransportOwner = {
  onData() {},
  onFinish() {},
  onClose() {},
  onDrain() {},
};
