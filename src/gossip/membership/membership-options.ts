/** What membership needs to be told once, at its start. */
import type { HostId, Millis, Random } from '../../core.ts';
import type { Digest } from '../frames.ts';
import type { SwimParameters } from '../parameters.ts';
import type { Roster } from './roster.ts';

export interface MembershipOptions {
  readonly self: HostId;
  readonly random: Random;
  /** Where this agent's incarnations begin: above all of its earlier runs. */
  readonly incarnation: number;
  /** Signs this agent's claim to be alive at an incarnation; 64 bytes. */
  readonly prove: (incarnation: number) => Uint8Array;
  /** Checks such a claim of another. */
  readonly isProof: (id: HostId, incarnation: number, proof: Uint8Array) => boolean;
  /** The digest of this agent's replica, for acks. */
  readonly root: () => Digest;
  /** The wall clock, where steps are timed by another. */
  readonly wallMs?: () => Millis;
  readonly parameters?: SwimParameters;
  /** A roster whose hosts are all members from the start, shared by simulated agents of one process. */
  readonly presumedRoster?: Roster;
}
