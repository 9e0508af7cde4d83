/** What a member says about its own coming and going, in a record signed by itself. */
import { Fault, parseJson } from '../core.ts';
import type { Record } from './record.ts';

export interface Lifecycle {
  readonly state: 'active' | 'left';
  /** The member's incarnation when it said so: only a higher one undoes it. */
  readonly incarnation: number;
}

/** Null for a tombstone and for anything that does not say what it should. */
export function parseLifecycle(record: Record): Lifecycle | null {
  if (record.deleted) return null;
  let value: unknown;
  try {
    value = parseJson(record.value);
  } catch (error) {
    if (error instanceof Fault) return null;
    throw error;
  }
  if (typeof value !== 'object' || value === null) return null;
  if (!('state' in value) || !('incarnation' in value)) return null;
  const { state, incarnation } = value;
  if (state !== 'active' && state !== 'left') return null;
  if (typeof incarnation !== 'number' || !Number.isSafeInteger(incarnation) || incarnation < 0) return null;
  return { state, incarnation };
}
