/** Every message between two agents: its shape, its bytes, its bounds. Records travel inside, still signed. */
import type { HostId, Millis } from '../core.ts';
import type { Coordinate } from './coordinates/coordinate.ts';

/** One frame on the wire, bytes. Keeps a slow link's queue short and one frame's work under a few ms. */
export const maxFrameBytes: number = 64 * 1024;
/** Claims in one frame: a whole `rumors` frame of them stays below `maxFrameBytes`. */
export const maxRumors = 400;
/** Records in one frame or delta. */
export const maxRecordsPerFrame = 512;
/** Slots named in one frame. */
export const maxSlotsPerFrame = 4000;
/** Ranges listed in one frame. */
export const maxRangesPerFrame = 4000;
/** Digest of a replica, a slot or a record, one character a byte. */
export type Digest = string;

/** What one member says about another, passed on from agent to agent. */
export type Rumor =
  /** `proof` is the subject's own signature over its incarnation: nobody else can raise it. */
  | {
      readonly state: 'alive';
      readonly id: HostId;
      readonly incarnation: number;
      readonly proof: Uint8Array;
    }
  /** `accuser` is who could not reach it; distinct accusers shorten the suspicion. */
  | {
      readonly state: 'suspect' | 'down';
      readonly id: HostId;
      readonly incarnation: number;
      readonly accuser: HostId;
    };

/** What the sender of a ping or an ack believes about its receiver, which may have to refute it. */
export interface Belief {
  readonly state: 'alive' | 'suspect' | 'down' | 'left' | 'unknown';
  readonly incarnation: number;
}

/** SWIM (Das et al. 2002, section 3.1) with Lifeguard's nack (Dadgar et al. 2018, section IV.A). */
export type SwimFrame =
  | {
      readonly type: 'ping';
      readonly sequence: number;
      /** The sender's own. */
      readonly incarnation: number;
      /** Where the sender is, as it believes. */
      readonly coordinate: Coordinate;
      readonly belief: Belief;
      readonly rumors: readonly Rumor[];
    }
  | {
      readonly type: 'ack';
      readonly sequence: number;
      readonly incarnation: number;
      readonly coordinate: Coordinate;
      readonly belief: Belief;
      /** The sender's wall clock, whole milliseconds. */
      readonly clock: Millis;
      /** Digest of the sender's replica: a difference starts anti-entropy. */
      readonly root: Digest;
      readonly rumors: readonly Rumor[];
    }
  | {
      readonly type: 'ping-req';
      readonly sequence: number;
      readonly target: HostId;
      /** The asker's own connection was refused: the helper tries a connection at once, too. */
      readonly urgent: boolean;
      readonly rumors: readonly Rumor[];
    }
  /** The helper reached the target. */
  | { readonly type: 'relayed-ack'; readonly sequence: number }
  /** The helper is well but could not reach the target. */
  | { readonly type: 'nack'; readonly sequence: number }
  /** "I suspect this one: probe it now and tell what you find." */
  | {
      readonly type: 'corroborate';
      readonly target: HostId;
      readonly incarnation: number;
      readonly rumors: readonly Rumor[];
    }
  | { readonly type: 'rumors'; readonly rumors: readonly Rumor[] };

/** One range of the sender's replica in full, a bucket or a part of one: the digest of every slot in it. */
export interface RangeListing {
  readonly range: number;
  readonly entries: readonly { readonly slot: Digest; readonly record: Digest }[];
}

/** One bucket of the sender's replica, a digest a part. */
export interface BucketParts {
  readonly bucket: number;
  readonly digests: Uint8Array;
}

/** Anti-entropy; `session` is chosen by the side that opens. Each carrying frame is answered by a credit. */
export type SyncFrame =
  /** All bucket digests, or none: "I hold next to nothing, send everything". */
  | { readonly type: 'sync-open'; readonly session: number; readonly buckets: Uint8Array | null }
  /**
   * From the side that answers: buckets that differ and are small; `last` ends them. From the side that
   * opened: parts that differ, each frame answered by records of which one is the `last`.
   */
  | {
      readonly type: 'sync-listing';
      readonly session: number;
      readonly last: boolean;
      readonly ranges: readonly RangeListing[];
    }
  /** From the side that answers: buckets that differ and are large. */
  | { readonly type: 'sync-parts'; readonly session: number; readonly buckets: readonly BucketParts[] }
  | { readonly type: 'sync-want'; readonly session: number; readonly slots: readonly Digest[] }
  /** `last` ends the answer to one want or listing, or the snapshot. */
  | {
      readonly type: 'sync-records';
      readonly session: number;
      readonly last: boolean;
      readonly records: readonly Uint8Array[];
    }
  /** Slots whose records this side has collected, and will not take in up to version `floor` of their author. */
  | {
      readonly type: 'sync-collected';
      readonly session: number;
      readonly slots: readonly { readonly slot: Digest; readonly floor: number }[];
    }
  | { readonly type: 'sync-credit'; readonly session: number }
  | { readonly type: 'sync-close'; readonly session: number; readonly reason: SyncEnd };

export type SyncEnd = 'done' | 'busy' | 'timeout' | 'overrun';

export type Frame = SwimFrame | SyncFrame;
