/** The hosts of the mesh as this agent sees them, for `starling members` and `/v1/mesh/members`. Pure. */
import type { HostId, Millis } from '../../core.ts';
import type { MemberState } from '../../gossip/port.ts';
import { departureSlot, parseDeparture } from '../../gossip/replica/lifecycle.ts';
import { hlcMillis, type Record } from '../../gossip/replica/record.ts';
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
  /** Of a host that left by an operator's word and not by its own: whose key signed it, and when. */
  readonly departure: ForcedDeparture | null;
  readonly datacenter: string;
  readonly zone: string;
  readonly version: string;
}

export interface ForcedDeparture {
  /** The operator's key, whatever became of it since. */
  readonly by: HostId;
  /** By that operator's clock. */
  readonly at: Millis;
}

/** By whose word `host` counts as left; null if it does not, or said so itself since. */
export function forcedDeparture(
  host: Pick<HostEntry, 'id' | 'state' | 'incarnation'>,
  recordIn: (slot: string) => Record | undefined,
): ForcedDeparture | null {
  if (host.state !== 'left') return null;
  const record = recordIn(departureSlot(host.id));
  const departure = record === undefined ? null : parseDeparture(record);
  if (record === undefined || departure === null || departure.incarnation < host.incarnation) return null;
  return { by: record.author, at: hlcMillis(record.hlc) };
}

/** In the order given. */
export function memberStatuses(
  hosts: readonly HostEntry[],
  self: HostId,
  estimateMs: EstimateMs,
  departureOf: (host: HostEntry) => ForcedDeparture | null,
): MemberStatus[] {
  return hosts.map((host) => statusOf(host, host.id === self, estimateMs(self, host.id), departureOf(host)));
}

function statusOf(
  { id, value, state, incarnation, since, roundTripMs }: HostEntry,
  isSelf: boolean,
  estimatedMs: number | null,
  departure: ForcedDeparture | null,
): MemberStatus {
  return {
    name: value.name,
    id,
    address: value.address,
    port: value.gossipPort,
    state,
    incarnation,
    since: Math.round(since),
    roundTripMs: isSelf ? 0 : tenths(roundTripMs),
    estimatedMs: tenths(estimatedMs),
    departure,
    datacenter: value.datacenter,
    zone: value.zone,
    version: value.version,
  };
}

function tenths(milliseconds: number | null): number | null {
  return milliseconds === null ? null : Math.round(milliseconds * 10) / 10;
}
