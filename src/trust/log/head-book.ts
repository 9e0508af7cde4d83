/**
 * The heads of issuance logs that this host has seen, from gossip and from the trustees themselves. Whoever
 * tells two stories needs two heads, and each may reach somebody who has the other.
 */
import { Fault, type HostId, type Verify } from '../../core.ts';
import { encodeEntry, type IssuanceEntry } from './issuance-log.ts';
import { type Equivocation, isGenuineHead, maxAuditedEntries, type SignedHead } from './transparency.ts';

/** Heads remembered of each trustee, those seen longest ago go first, the longest never; and trustees, present and past. */
const maxHeads = 64;
const maxTrustees = 256;

export class HeadBook {
  private readonly mesh: string;
  private readonly verify: Verify;
  /** By sequence, in the order they were first seen. */
  private readonly heads = new Map<HostId, Map<number, SignedHead>>();

  /** `mesh` is the hash of the genesis. */
  constructor(mesh: string, verify: Verify) {
    this.mesh = mesh;
    this.verify = verify;
  }

  /** Every trustee of whom a head was seen. */
  trustees(): HostId[] {
    return [...this.heads.keys()];
  }

  /** The longest of the heads seen. */
  longestOf(trustee: HostId): SignedHead | undefined {
    let longest: SignedHead | undefined;
    for (const head of this.heads.get(trustee)?.values() ?? [])
      if (longest === undefined || head.sequence > longest.sequence) longest = head;
    return longest;
  }

  /**
   * Remembers a head; gives evidence when its trustee signed another for the same sequence. Throws
   * `Fault('head-forged')` if its trustee did not sign it, `Fault('too-many-logs')` for one more trustee than can
   * be followed; neither changes anything.
   */
  note(head: SignedHead): Equivocation | null {
    if (!isGenuineHead(this.mesh, head, this.verify))
      throw new Fault('head-forged', 'a head of an issuance log is not signed by its trustee');
    let seen = this.heads.get(head.trustee);
    if (seen === undefined) {
      if (this.heads.size >= maxTrustees)
        throw new Fault('too-many-logs', `no more than ${maxTrustees} logs are followed`);
      seen = new Map();
      this.heads.set(head.trustee, seen);
    }
    const same = seen.get(head.sequence);
    if (same !== undefined)
      return same.hash === head.hash ? null : { earlier: same, later: head, entries: [] };
    seen.set(head.sequence, head);
    if (seen.size > maxHeads) {
      // However many come after it, a log never becomes shorter than this.
      const longest = this.longestOf(head.trustee)?.sequence;
      const [oldest] = [...seen.keys()].filter((sequence) => sequence !== longest);
      seen.delete(oldest!);
    }
    return null;
  }

  /**
   * Holds a log against the heads seen of its trustee. `entries` are in order and lead to `head`, both checked.
   * Gives evidence where a head is of another log; it proves itself only if the two are not too far apart.
   */
  compare(head: SignedHead, entries: readonly IssuanceEntry[]): Equivocation | null {
    const first = entries[0]?.sequence ?? head.sequence + 1;
    // The nearest needs the fewest entries to prove it.
    const heads = [...(this.heads.get(head.trustee)?.values() ?? [])].sort((a, b) => b.sequence - a.sequence);
    for (const seen of heads) {
      const entry = entries[seen.sequence - first];
      if (entry === undefined || entry.hash === seen.hash) continue;
      const between = entries.slice(seen.sequence - first + 1);
      const isShort = between.length <= maxAuditedEntries;
      return { earlier: seen, later: head, entries: isShort ? between.map(encodeEntry) : [] };
    }
    return null;
  }
}
