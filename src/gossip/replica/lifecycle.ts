/** What a member says about its own coming and going, in a record signed by itself. */
import { Fault, type HostId, isHex, parseJson } from '../../core.ts';
import { type Record, slotOf } from './record.ts';

export interface Lifecycle {
  readonly state: 'active' | 'left';
  /** The member's incarnation when it said so: only a higher one undoes it. */
  readonly incarnation: number;
}

/** Null for a tombstone and for anything that does not say what it should. */
export function parseLifecycle(record: Record): Lifecycle | null {
  const value = objectIn(record);
  if (value === null || !('state' in value)) return null;
  const { state } = value;
  const incarnation = incarnationIn(value);
  if ((state !== 'active' && state !== 'left') || incarnation === null) return null;
  return { state, incarnation };
}

/** Policy kind of a `Departure`, key = host id. */
export const departureKind = 'departure';

/**
 * What an operator says of a host that will not say it itself: that it is gone. Undone, as a goodbye of its own is,
 * by a higher incarnation; a host that is alive has one soon. Who it was that said so and what became of them since
 * takes nothing back: the host is as gone as before, and speaks for itself if it is not.
 */
export interface Departure {
  readonly host: HostId;
  /** The host's incarnation as the operator's agent knew it. */
  readonly incarnation: number;
}

/** Where the replica holds what was said of a host. */
export function departureSlot(host: HostId): string {
  return slotOf({ scope: 'policy', author: '', kind: departureKind, key: host });
}

/**
 * Beyond any that a host has: 16 million starts. The host meant has to be able to say more, whoever wrote the word
 * and whatever became of that operator since.
 */
const maxDepartureIncarnation = 2 ** 40;

/** Null for a tombstone and for anything that does not say what it should. */
export function parseDeparture(record: Record): Departure | null {
  const value = objectIn(record);
  const incarnation = value === null ? null : incarnationIn(value);
  if (incarnation === null || incarnation > maxDepartureIncarnation || !isHex(record.key, 32)) return null;
  return { host: record.key, incarnation };
}

/** Policy kind of a denial; those of hosts have the key `host/<id>`. Its value is not read here. */
export const denialKind = 'deny';
const deniedHostPrefix = 'host/';

/** The host that the record shuts out of the mesh for good; null for any other record. */
export function deniedHostIn({ scope, kind, key, deleted }: Record): HostId | null {
  if (scope !== 'policy' || kind !== denialKind || deleted || !key.startsWith(deniedHostPrefix)) return null;
  const host = key.slice(deniedHostPrefix.length);
  return isHex(host, 32) ? host : null;
}

/** Where the replica holds the denial of a host. */
export function denialSlot(host: HostId): string {
  return slotOf({ scope: 'policy', author: '', kind: denialKind, key: deniedHostPrefix + host });
}

function objectIn(record: Record): object | null {
  if (record.deleted) return null;
  try {
    const value = parseJson(record.value);
    return typeof value === 'object' ? value : null;
  } catch (error) {
    if (error instanceof Fault) return null;
    throw error;
  }
}

function incarnationIn(value: object): number | null {
  const incarnation = 'incarnation' in value ? value.incarnation : null;
  return typeof incarnation === 'number' && Number.isSafeInteger(incarnation) && incarnation >= 0
    ? incarnation
    : null;
}
