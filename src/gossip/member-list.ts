/**
 * The members as membership last reported them: a copy for the rest of the agent, which may not wait for the
 * thread that decides.
 */
import type { HostId, Millis } from '../core.ts';
import { type Coordinate, estimateMs, maxError } from './coordinates/coordinate.ts';
import { ClockOffsets } from './membership/clock-offsets.ts';
import { noMembershipStats } from './membership/membership-stats.ts';
import type { Member, MemberState, MemberStatus } from './port.ts';
import type { SwimReport, SwimStats } from './swim-port.ts';

const noStats: SwimStats = {
  ...noMembershipStats(),
  localHealth: 0,
  withoutDatagrams: [],
  throughHelpers: [],
  discredited: [],
};

export class MemberList {
  private readonly members = new Map<HostId, Member>();
  private readonly chosen = new Set<HostId>();
  private readonly self: HostId;
  /** Where members, and this agent, last said they are. */
  private readonly coordinates = new Map<HostId, Coordinate>();
  readonly clocks = new ClockOffsets();
  private own: number;
  private lastStats: SwimStats = noStats;

  /** `incarnation`: this agent's own, at its start. */
  constructor(self: HostId, incarnation: number) {
    this.self = self;
    this.own = incarnation;
  }

  /** This agent's own, as far as reported; never falls. */
  get incarnation(): number {
    return this.own;
  }

  get stats(): SwimStats {
    return this.lastStats;
  }

  get count(): number {
    return this.members.size;
  }

  get neighbours(): Iterable<HostId> {
    return this.chosen;
  }

  all(): IterableIterator<Member> {
    return this.members.values();
  }

  get(id: HostId): Member | undefined {
    return this.members.get(id);
  }

  /**
   * The round trip to expect between two hosts, milliseconds; null when nothing is known of one of them, or it says
   * itself that estimates from there are further off than `mostError`, relative to the round trip.
   */
  estimateMs(a: HostId, b: HostId, mostError: number = maxError): number | null {
    const [from, to] = [this.coordinates.get(a), this.coordinates.get(b)];
    if (from === undefined || to === undefined) return null;
    if (Math.max(from.error, to.error) > mostError) return null;
    return a === b ? 0 : estimateMs(from, to);
  }

  /** Null when it was a member already. */
  add(id: HostId, now: Millis): Member | null {
    if (this.members.has(id)) return null;
    const member: Member = { id, state: 'alive', incarnation: 0, since: now, roundTripMs: null };
    this.members.set(id, member);
    return member;
  }

  /** What was known of it, if it was a member. */
  remove(id: HostId): Member | undefined {
    const member = this.members.get(id);
    this.members.delete(id);
    this.coordinates.delete(id);
    this.clocks.forget(id);
    return member;
  }

  raiseIncarnation(incarnation: number): void {
    this.own = Math.max(this.own, incarnation);
  }

  /**
   * Takes a report in. Returns the change it makes to a member, if any: `was` is what this list held before,
   * which is the state that others were told.
   */
  take(report: SwimReport, now: Millis): { readonly member: Member; readonly was: MemberState } | null {
    switch (report.type) {
      case 'member':
        return this.update(report.member.id, report.member, now);
      case 'measured':
        return this.measured(report, now);
      case 'coordinate':
        if (report.id === this.self || this.members.has(report.id))
          this.coordinates.set(report.id, report.coordinate);
        return null;
      case 'connect':
        this.chosen.add(report.peer);
        return null;
      case 'disconnect':
        this.chosen.delete(report.peer);
        return null;
      case 'incarnation':
        this.raiseIncarnation(report.incarnation);
        return null;
      case 'stats':
        this.lastStats = report.stats;
        return null;
      default:
        return null;
    }
  }

  private measured(report: SwimReport & { type: 'measured' }, now: Millis) {
    const { id, roundTripMs, incarnation, clockAheadMs } = report;
    const held = this.members.get(id);
    if (held !== undefined) this.clocks.note(id, clockAheadMs);
    const risen = Math.max(held?.incarnation ?? 0, incarnation);
    return this.update(id, { roundTripMs, incarnation: risen }, now);
  }

  /**
   * A report about somebody who is no member any more was on its way when that was decided. Since when a state
   * lasts is by the clock that its age is reckoned by: membership's does not follow when the time is set.
   */
  private update(
    id: HostId,
    change: Partial<MemberStatus>,
    now: Millis,
  ): { member: Member; was: MemberState } | null {
    const held = this.members.get(id);
    if (held === undefined) return null;
    const isNews = change.state !== undefined && change.state !== held.state;
    const member = { ...held, ...change, since: isNews ? now : held.since };
    this.members.set(id, member);
    return { member, was: held.state };
  }
}
