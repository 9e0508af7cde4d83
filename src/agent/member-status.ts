/** The hosts of the mesh as this agent sees them, for `starling members` and `/v1/mesh/members`. Pure. */
import type { HostId, Millis } from '../core.ts';
import type { MemberState } from '../gossip/port.ts';
import type { HostEntry } from './catalog.ts';
import type { EstimateMs } from './nearness.ts';

export interface MemberStatus {
  readonly name: string;
  readonly id: HostId;
  readonly address: string;
  /** Of gossip. */
  readonly port: number;
  readonly state: MemberState;
  /** Only its owner raises it: once a start, and whenever it refutes a suspicion. */
  readonly incarnation: number;
  /** When this agent saw the state begin; 0 when it was never heard of. */
  readonly since: Millis;
  /** Smoothed, milliseconds to a tenth; null until this agent has measured it. 0 for this agent itself. */
  readonly roundTripMs: number | null;
  /** What both hosts' coordinates say of it; null while one is not known. */
  readonly estimatedMs: number | null;
  readonly datacenter: string;
  readonly zone: string;
  readonly version: string;
}

/** In the order given. */
export function memberStatuses(
  hosts: readonly HostEntry[],
  self: HostId,
  estimateMs: EstimateMs,
): MemberStatus[] {
  return hosts.map(({ id, value, state, incarnation, since, roundTripMs }) => ({
    name: value.name,
    id,
    address: value.address,
    port: value.gossipPort,
    state,
    incarnation,
    since: Math.round(since),
    roundTripMs: id === self ? 0 : tenths(roundTripMs),
    estimatedMs: tenths(estimateMs(self, id)),
    datacenter: value.datacenter,
    zone: value.zone,
    version: value.version,
  }));
}

function tenths(milliseconds: number | null): number | null {
  return milliseconds === null ? null : Math.round(milliseconds * 10) / 10;
}
