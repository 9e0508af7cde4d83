/** Who has written how much: what each author holds of the replica, held against its quota. */
import type { HostId } from '../../core.ts';
import type { Record, Scope } from './record.ts';

export interface WriterSize {
  readonly author: HostId;
  readonly scope: Scope;
  readonly records: number;
  readonly bytes: number;
}

export interface Quota {
  readonly records: number;
  readonly bytes: number;
}

interface Share {
  records: number;
  bytes: number;
}

export class Writers {
  private readonly shares: { readonly [scope in Scope]: Map<HostId, Share> } = {
    host: new Map(),
    policy: new Map(),
  };
  private total = 0;

  /** Bytes of all. */
  get bytes(): number {
    return this.total;
  }

  has(author: HostId): boolean {
    return this.shares.host.has(author) || this.shares.policy.has(author);
  }

  add(record: Record): void {
    const shares = this.shares[record.scope];
    const share = shares.get(record.author) ?? { records: 0, bytes: 0 };
    shares.set(record.author, share);
    share.records++;
    share.bytes += record.text.length;
    this.total += record.text.length;
  }

  remove(record: Record): void {
    const shares = this.shares[record.scope];
    const share = shares.get(record.author)!;
    share.records--;
    share.bytes -= record.text.length;
    this.total -= record.text.length;
    if (share.records === 0) shares.delete(record.author);
  }

  /**
   * Whether the author of `record` would hold more than `quota` with it, `leaving` having gone. What grows
   * nothing is never too much: an author over its quota may still replace and delete.
   */
  exceeds(quota: Quota, record: Record, leaving: Record | undefined): boolean {
    const share = this.shares[record.scope].get(record.author);
    const freed = leaving?.author === record.author ? leaving : undefined;
    const growth = record.text.length - (freed?.text.length ?? 0);
    if (freed === undefined && (share?.records ?? 0) + 1 > quota.records) return true;
    return growth > 0 && (share?.bytes ?? 0) + growth > quota.bytes;
  }

  /** The `count` writers that hold most, by bytes, then by name: bounded, however many there are. */
  largest(count: number): WriterSize[] {
    const top: WriterSize[] = [];
    for (const scope of ['host', 'policy'] as const)
      for (const [author, { records, bytes }] of this.shares[scope]) {
        if (top.length === count && !isLarger({ author, bytes }, top[count - 1])) continue;
        const size = { author, scope, records, bytes };
        const place = top.findIndex((other) => isLarger(size, other));
        top.splice(place < 0 ? top.length : place, 0, size);
        if (top.length > count) top.pop();
      }
    return top;
  }
}

function isLarger(a: Pick<WriterSize, 'author' | 'bytes'>, b: WriterSize | undefined): boolean {
  if (b === undefined) return false;
  return a.bytes > b.bytes || (a.bytes === b.bytes && a.author < b.author);
}
