/**
 * No replica holds more of one author than the mesh grants one, however much it writes; and what it writes keeps
 * nobody from holding all that others wrote.
 */
import { ADMISSION } from '../../src/agent/kinds.ts';
import type { HostId } from '../../src/core.ts';
import type { Record } from '../../src/gossip/replica/record.ts';
import { defaultReplicaLimits, othersSlack, type ReplicaLimits } from '../../src/gossip/replica/replica.ts';
import type { World } from '../world.ts';
import { Violation } from './violation.ts';

/** A replica to be looked at. */
export interface Holder {
  /** Of all it holds; changes with it. */
  root(): string;
  records(): Iterable<Record>;
  /** All versions held of every policy slot. */
  policyVersions(): Iterable<Record>;
}

interface Share {
  records: number;
  bytes: number;
}

export class Shares {
  private readonly world: Pick<World, 'elapsedMs'>;
  private readonly overfills: (author: HostId) => boolean;
  private readonly limits: Pick<ReplicaLimits, 'hostEntries' | 'hostBytes'>;
  /** What was last found of a replica, and at which root. */
  private readonly checked = new WeakMap<Holder, string>();
  private readonly rests = new WeakMap<Holder, { readonly root: string; readonly records: Set<string> }>();

  /** `overfills`: who writes more than it may, on purpose. */
  constructor(
    world: Pick<World, 'elapsedMs'>,
    overfills: (author: HostId) => boolean,
    limits: Pick<ReplicaLimits, 'hostEntries' | 'hostBytes'> = defaultReplicaLimits,
  ) {
    this.world = world;
    this.overfills = overfills;
    this.limits = limits;
  }

  /** Throws `Violation` where a replica other than the author's own holds too much of what is in host scope. */
  check(name: string, holder: Holder): void {
    const root = holder.root();
    if (this.checked.get(holder) === root) return;
    this.checked.set(holder, root);
    const most = {
      records: othersSlack * this.limits.hostEntries,
      bytes: othersSlack * this.limits.hostBytes,
    };
    for (const [author, { records, bytes }] of sharesOf(holder))
      if (records > most.records || bytes > most.bytes)
        throw new Violation(
          'quota',
          this.world,
          `${name} holds ${records} records of ${bytes} bytes by ${author.slice(0, 8)}, at most ${most.records} of ${most.bytes}`,
        );
  }

  /**
   * Whether two replicas hold the same, histories of policy included, but for what those said who write too much: which
   * of that fits depends on what came first. But whoever admitted them did so before.
   */
  agree(a: Holder, b: Holder): boolean {
    const ours = this.restOf(a);
    const theirs = this.restOf(b);
    return ours.size === theirs.size && [...ours].every((text) => theirs.has(text));
  }

  private restOf(holder: Holder): Set<string> {
    const root = holder.root();
    const known = this.rests.get(holder);
    if (known?.root === root) return known.records;
    const records = new Set<string>();
    for (const { author, kind, text } of holder.records())
      if (kind === ADMISSION || !this.overfills(author)) records.add(text);
    for (const { text } of holder.policyVersions()) records.add(text);
    this.rests.set(holder, { root, records });
    return records;
  }
}

function sharesOf(holder: Holder): Map<HostId, Share> {
  const shares = new Map<HostId, Share>();
  for (const { scope, author, text } of holder.records()) {
    if (scope !== 'host') continue;
    const share = shares.get(author) ?? { records: 0, bytes: 0 };
    share.records++;
    share.bytes += text.length;
    shares.set(author, share);
  }
  return shares;
}
