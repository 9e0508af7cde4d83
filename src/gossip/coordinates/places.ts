/**
 * Where this agent and its members are, as membership learns it from probes; the rest of the agent is told
 * only of moves that matter, since in a mesh at rest every probe moves everybody a little.
 */
import type { HostId, Millis, Random } from '../../core.ts';
import { RecentMap } from '../recent-map.ts';
import type { SwimReport } from '../swim-port.ts';
import { type Coordinate, reliableError, separationMs } from './coordinate.ts';
import { type CoordinateStats, Coordinates, maxKnownPeers } from './coordinates.ts';

/** A move is told once it is longer than this, and than this share of the way to the middle of the mesh. */
const materialMs = 0.1;
const materialShare = 0.05;

export class Places {
  private readonly self: HostId;
  private readonly emit: (report: SwimReport & { type: 'coordinate' }) => void;
  private readonly coordinates: Coordinates;
  /** What the rest of the agent was last told; of a host that fell out it is told once more. */
  private readonly told = new RecentMap<Coordinate>(maxKnownPeers + 1);

  constructor(self: HostId, random: Random, emit: (report: SwimReport & { type: 'coordinate' }) => void) {
    this.self = self;
    this.emit = emit;
    this.coordinates = new Coordinates(self, random);
  }

  /** This agent's own; what its pings and acks carry. */
  get own(): Coordinate {
    return this.coordinates.own;
  }

  get stats(): Readonly<CoordinateStats> {
    return this.coordinates.stats;
  }

  /** A member says where it is. */
  note(member: HostId, coordinate: Coordinate): void {
    if (this.coordinates.note(member, coordinate)) this.tell(member, coordinate);
  }

  /** A member that has just said where it is answered after `roundTripMs`. */
  observe(member: HostId, roundTripMs: Millis): void {
    const theirs = this.coordinates.of(member);
    if (theirs === null) return;
    this.coordinates.observe(member, theirs, roundTripMs);
    this.tell(this.self, this.own);
  }

  forget(member: HostId): void {
    this.coordinates.forget(member);
    this.told.delete(member);
  }

  private tell(id: HostId, coordinate: Coordinate): void {
    const before = this.told.get(id);
    if (before !== undefined && !isMaterial(before, coordinate)) return;
    this.told.set(id, coordinate);
    this.emit({ type: 'coordinate', id, coordinate });
  }
}

/** Also where a place becomes one to rely on, or is not any more. */
function isMaterial(from: Coordinate, to: Coordinate): boolean {
  if (from.error <= reliableError !== to.error <= reliableError) return true;
  const movedMs =
    separationMs(from.vectorMs, to.vectorMs) +
    Math.abs(from.heightMs - to.heightMs) +
    Math.abs(from.adjustmentMs - to.adjustmentMs);
  const outMs = Math.hypot(...from.vectorMs) + from.heightMs;
  return movedMs > Math.max(materialMs, materialShare * outMs);
}
