/** The versions of this host's own records: above all of its earlier runs, and above what it finds of itself. */
import { Fault } from '../../core.ts';

const versionsPerEpoch = 2 ** 32;
/** Epochs beyond would exceed a safe integer. */
const maxEpoch = 2 ** 21 - 1;
/**
 * Versions are never climbed past this, whatever this host's own key seems to have signed (a cloned disk, a
 * stolen key): 1,024 epochs' worth of versions stay free for writes to every slot that is not above it.
 */
const highestClimb = Number.MAX_SAFE_INTEGER - 2 ** 42;

export class OwnVersions {
  private nextVersion: number;

  /** `Fault('invalid-epoch')`. */
  constructor(epoch: number) {
    if (!Number.isSafeInteger(epoch) || epoch < 0 || epoch > maxEpoch)
      throw new Fault('invalid-epoch', `epoch ${epoch} is outside 0 to ${maxEpoch}`, { field: 'epoch' });
    this.nextVersion = epoch * versionsPerEpoch + 1;
  }

  /** The version of the next record. */
  get next(): number {
    return this.nextVersion;
  }

  /**
   * This version is used: by a record just written, or by one that this host did not know, since its store was
   * set back. Never to be repeated. False when it is too high to be climbed over: its slot is lost.
   */
  used(version: number): boolean {
    const isClimbed = version <= Math.max(highestClimb, this.nextVersion);
    if (isClimbed) this.nextVersion = Math.max(this.nextVersion, version + 1);
    return isClimbed;
  }

  /** What is written next must surpass this floor, as far as it may be believed. */
  climbAbove(floor: number): void {
    this.used(Math.min(floor, highestClimb));
  }
}
