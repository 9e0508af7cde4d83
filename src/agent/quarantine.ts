/**
 * Records that this agent's own code failed on: a bug, which one record must not turn into the end of the agent, and
 * of every start after. Such a record counts as absent here. One that it fails to judge stays outside; all others the
 * replica holds and passes on. Pure.
 */
import { createHash } from 'node:crypto';
import { RecentMap } from '../gossip/recent-map.ts';
import { type Record, slotOf } from '../gossip/replica/record.ts';
import { shortId } from './kinds.ts';

/** What is done of a record: whether it may enter the replica, and what it means once it has. */
export type Deed = 'judge' | 'apply';

/** Slots remembered; past this, the one that failed longest ago is tried again when its record comes again. */
const maxHeld = 1024;
/** Characters: it may quote the record. */
const maxErrorLength = 300;

export interface Quarantined {
  readonly record: Pick<Record, 'scope' | 'author' | 'kind' | 'key' | 'version'>;
  /** What failed. */
  readonly deed: Deed;
  /** Of the whole record. */
  readonly digest: string;
  /** Name and message. */
  readonly error: string;
}

export class Quarantine {
  private readonly held = new RecentMap<Quarantined>(maxHeld);
  private readonly onFailure: (failed: Quarantined, error: unknown) => void;
  private failures = 0;

  /** `onFailure` is told of each failure, which nobody else will hear of. */
  constructor(onFailure: (failed: Quarantined, error: unknown) => void) {
    this.onFailure = onFailure;
  }

  /** Records that failed since the start. */
  get total(): number {
    return this.failures;
  }

  /** Those that count as absent now, the latest first. */
  all(): Quarantined[] {
    return [...this.held.all()].map(([, one]) => one).reverse();
  }

  /** Does what is to be done of one record; false where that failed, now or before. */
  attempt(record: Record, deed: Deed, act: () => void): boolean {
    if (this.holds(record, deed)) return false;
    try {
      act();
      return true;
    } catch (error) {
      this.add(record, deed, error);
      return false;
    }
  }

  private holds(record: Record, deed: Deed): boolean {
    if (this.held.size === 0) return false;
    const failed = this.held.get(nameOf(record, deed));
    return failed !== undefined && failed.digest === digestOf(record);
  }

  /** The record has won its slot: whatever else failed there is gone. */
  entered(record: Record): void {
    if (this.held.size > 0 && !this.holds(record, 'apply')) this.left(record);
  }

  /** The replica holds it no longer. */
  left(record: Record): void {
    if (this.held.size === 0) return;
    this.held.delete(nameOf(record, 'judge'));
    this.held.delete(nameOf(record, 'apply'));
  }

  private add(record: Record, deed: Deed, error: unknown): void {
    const { scope, author, kind, key, version } = record;
    const text = (error instanceof Error ? `${error.name}: ${error.message}` : String(error)).slice(
      0,
      maxErrorLength,
    );
    const named = { scope, author, kind, key, version };
    const failed = { record: named, deed, digest: digestOf(record), error: text };
    this.held.set(nameOf(record, deed), failed);
    this.failures++;
    this.onFailure(failed, error);
  }
}

/** What the log says of a failure. */
export function failureFields(
  { record: { author, kind, key }, deed, error: detail }: Quarantined,
  error: unknown,
) {
  const stack = (error instanceof Error && error.stack) || '';
  return { author: shortId(author), kind, key, deed, detail, stack };
}

/** Judging comes before a slot is won, so it does not make another record's place in it. */
function nameOf(record: Record, deed: Deed): string {
  return `${deed} ${slotOf(record)}`;
}

function digestOf({ text }: Record): string {
  return createHash('sha256').update(text, 'latin1').digest('hex');
}
