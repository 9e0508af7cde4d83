/**
 * Forgets, at the full hour, what has been deleted, dead or over for long enough, and keeps replicas that have
 * forgotten from those that have not: a peer that is offered what it has collected says so, and whoever agrees that
 * the author is dead follows it. An author that is told so itself has been forgotten while it lived, cut off
 * for long, and says once more what was its own. Where a host was is not forgotten while it may be back: it is a
 * member as long as that is known, and looked for.
 */
import type { HostId, Millis } from '../../core.ts';
import type { Member } from '../port.ts';
import type { CollectedSlot } from '../spread/session.ts';
import type { Death } from './lasting.ts';
import { hlcMillis, type Record } from './record.ts';
import type { Collected, Replica } from './replica.ts';

/** Everybody collects at the same hour, so that replicas hardly differ meanwhile. */
const collectEveryMs = 3_600_000;
const collectAtOnce = 1000;
/** How long an author must have been dead here before a peer's word that it was collected counts. */
export const followAfterMs = 3_600_000;
/**
 * Who is down for longer is no sign any more that this agent is cut off: what they said is forgotten then on both
 * sides of a partition, and said again when it heals.
 */
export const cutOffForMs = 7 * 24 * 3_600_000;
/**
 * How far above its own versions an author believes a floor: 1,024 starts, as after a restore of an old
 * snapshot of its disk. A lie cannot use up its versions: there is room for 2,048 of them.
 */
const maxFloorLeap = 2 ** 42;

/** An own record younger than this is not written anew: no peer can make its author write without end. */
const repeatAfterMs = 60_000;

/** What a peer's refusals come to: records to be dropped here, own ones to be written anew. */
export interface Followed {
  readonly collected: Collected;
  /** Own records that the mesh has forgotten, each with the version it must surpass. */
  readonly repeat: readonly { readonly record: Record; readonly floor: number }[];
}

export class Collection {
  private readonly replica: Replica;
  private readonly self: HostId;
  private readonly member: (id: HostId) => Member | undefined;
  private readonly members: () => Iterable<Member>;
  private readonly expelledSince: (id: HostId) => Millis | null;
  private readonly isSaidGone: (id: HostId) => boolean;
  private dueAt: Millis | null = null;
  /** The highest floor that this author believes. */
  private readonly ceiling: number;

  /** `firstVersion`: the lowest version of this run. Neither `member` nor `members` tells of `self`. */
  constructor(options: {
    replica: Replica;
    self: HostId;
    firstVersion: number;
    member: (id: HostId) => Member | undefined;
    members: () => Iterable<Member>;
    /** Since when a host is shut out for good: it counts as gone. */
    expelledSince?: (id: HostId) => Millis | null;
    /** Whether it is in writing that a host is gone, by its own word or an operator's, and that was not denied. */
    isSaidGone?: (id: HostId) => boolean;
  }) {
    this.replica = options.replica;
    this.self = options.self;
    this.member = options.member;
    this.members = options.members;
    this.expelledSince = options.expelledSince ?? (() => null);
    this.isSaidGone = options.isSaidGone ?? (() => false);
    this.ceiling = options.firstVersion + maxFloorLeap;
  }

  /** Null before the first `begin`. */
  nextWake(): Millis | null {
    return this.dueAt;
  }

  /** Sets the first hour; later calls change nothing. */
  begin(now: Millis): void {
    this.dueAt ??= hourOf(now) + collectEveryMs;
  }

  /** Collects if it is time, a bounded portion; nothing otherwise. */
  wake(now: Millis): Collected | null {
    if (this.dueAt === null || now < this.dueAt) return null;
    const hour = hourOf(now);
    const buried = this.replica.collect(hour, collectAtOnce);
    const room = this.isCutOff(hour) ? 0 : collectAtOnce - buried.records.length;
    const dead = this.replica.collectDead((author) => this.deathOf(author), hour, room);
    const left = collectAtOnce - buried.records.length - dead.records.length;
    const over = this.replica.collectExpired(hour, left);
    const records = [...buried.records, ...dead.records, ...over];
    this.dueAt = records.length < collectAtOnce ? hour + collectEveryMs : now + 1;
    return { records, floors: buried.floors, deadFloors: dead.deadFloors };
  }

  private deathOf(author: HostId): Death | null {
    const member = this.member(author);
    if (member !== undefined)
      return isLive(member) ? null : { since: member.since, isGone: member.state === 'left' };
    const since = this.expelledSince(author);
    return since === null ? null : { since, isGone: true };
  }

  /**
   * Whether half of the mesh or more went down lately: then it is likelier that this agent is on one side of a
   * partition than that they all died, and forgetting them would have each of them repeat all it said.
   */
  private isCutOff(now: Millis): boolean {
    let live = 1;
    let down = 0;
    for (const member of this.members())
      if (isLive(member)) live++;
      else if (member.state === 'down' && member.since + cutOffForMs > now) down++;
    return down >= live;
  }

  /** A peer refused these slots' records, because it has collected them. */
  follow(slots: readonly CollectedSlot[], now: Millis): Followed {
    const records: Record[] = [];
    const deadFloors = new Map<HostId, number>();
    const repeat: { record: Record; floor: number }[] = [];
    const isCutOff = this.isCutOff(now);
    const deathOf = (author: HostId) => {
      const death = this.deathOf(author);
      if (isCutOff || death === null || death.since + followAfterMs > now) return null;
      // Peers that have heard less of it than this agent do not wait for it.
      return { ...death, isGone: death.isGone || this.isSaidGone(author) };
    };
    for (const { slot, floor } of slots) {
      const dropped = this.replica.surrender(slot, floor, deathOf, now);
      records.push(...dropped.records);
      for (const [author, version] of dropped.deadFloors) deadFloors.set(author, version);
      for (const record of this.replica.versionsNamed(slot))
        if (this.isForgotten(record, floor, now)) repeat.push({ record, floor });
    }
    return { collected: { records, floors: new Map(), deadFloors }, repeat };
  }

  private isForgotten(record: Record, floor: number, now: Millis): boolean {
    if (record.scope !== 'host' || record.author !== this.self || record.deleted) return false;
    if (floor > this.ceiling) return false;
    return record.version <= floor && hlcMillis(record.hlc) + repeatAfterMs <= now;
  }
}

/** Whether a member is there, as far as is known; undefined is none. */
export function isLive(member: Member | undefined): boolean {
  return member?.state === 'alive' || member?.state === 'suspect';
}

function hourOf(now: Millis): Millis {
  return Math.floor(now / collectEveryMs) * collectEveryMs;
}
