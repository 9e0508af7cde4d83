/** How long what the dead said is kept. Pure. */
import type { Millis } from '../../core.ts';
import { hlcMillis, type Record } from './record.ts';

/** Of an author that is not here. */
export interface Death {
  readonly since: Millis;
  /** It left, or was shut out: nobody waits for it. All others may be behind a partition, however long it lasts. */
  readonly isGone: boolean;
}

/**
 * How long a record outlives its author. From the death on, by whether the author may be back or is gone for good;
 * for ever is bounded by the hosts ever admitted. Or from when it was said: all replicas count that alike, so none
 * needs to believe another that it is over.
 */
export type Lasting = { readonly down: Millis; readonly gone: Millis } | { readonly said: Millis };

export const forEver: Millis = Number.POSITIVE_INFINITY;

export interface LastingLimits {
  /** How long a dead host's records are kept. */
  readonly deadGraceMs: Millis;
  /** Kinds whose one record, key '', is kept longer than that. */
  readonly lastingKinds: { readonly [kind: string]: Lasting };
}

function lastingOf({ kind, key }: Record, { lastingKinds }: LastingLimits): Lasting | undefined {
  return key === '' && Object.hasOwn(lastingKinds, kind) ? lastingKinds[kind] : undefined;
}

export function keptUntil(record: Record, { since, isGone }: Death, limits: LastingLimits): Millis {
  const lasting = lastingOf(record, limits);
  const graceEnds = since + limits.deadGraceMs;
  if (lasting === undefined) return graceEnds;
  if ('said' in lasting) return Math.max(graceEnds, hlcMillis(record.hlc) + lasting.said);
  return Math.max(graceEnds, since + (isGone ? lasting.gone : lasting.down));
}

/** Whether a peer's word that it is over is enough. */
export function endsByWord(record: Record, { isGone }: Death, limits: LastingLimits, now: Millis): boolean {
  const lasting = lastingOf(record, limits);
  if (lasting === undefined) return true;
  if ('said' in lasting) return hlcMillis(record.hlc) + lasting.said <= now;
  return (isGone ? lasting.gone : lasting.down) !== forEver;
}
