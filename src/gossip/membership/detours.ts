/**
 * Members that are not reached the straight way. Of some, answers come over connections only: a firewall that lets
 * TCP through and not UDP looks like this. Others answer the helpers that this agent asks, and never itself: a path
 * that is closed between two hosts alone. They stay alive, but probes of them take longer and cost more, which
 * somebody should know.
 */
import type { HostId } from '../../core.ts';
import type { Via } from '../swim-port.ts';

/** In a row, without one the straight way among them, for which chance is no explanation. */
const tellingAnswers = 5;
/** The same of probes that helpers had to answer for, three of them each time. */
const tellingRelays = 3;
/** Members watched at once; what one more of them would say, the others say already. */
const maxWatched = 1024;
/** Members named in a report. */
const maxNamed = 16;

export class Detours {
  /** Answers over a connection since the last one by datagram. */
  private readonly overConnections = new Map<HostId, number>();
  /** Probes that helpers answered for since the last answer to this agent. */
  private readonly throughOthers = new Map<HostId, number>();

  /** A member answered a ping, the way that the ping came. */
  answered(member: HostId, via: Via): void {
    this.throughOthers.delete(member);
    if (via === 'datagram') this.overConnections.delete(member);
    else count(this.overConnections, member, tellingAnswers);
  }

  /** Helpers reached a member, and this agent did not. */
  relayed(member: HostId): void {
    count(this.throughOthers, member, tellingRelays);
  }

  forget(member: HostId): void {
    this.overConnections.delete(member);
    this.throughOthers.delete(member);
  }

  /** Whom no datagram reaches, or whose datagrams do not reach this agent; at most 16 of them. */
  get withoutDatagrams(): HostId[] {
    return telling(this.overConnections, tellingAnswers);
  }

  /** Whom only others reach, or whose answers reach only others; at most 16 of them. */
  get throughHelpers(): HostId[] {
    return telling(this.throughOthers, tellingRelays);
  }
}

function count(counts: Map<HostId, number>, member: HostId, most: number): void {
  const counted = counts.get(member);
  if (counted !== undefined || counts.size < maxWatched)
    counts.set(member, Math.min(most, (counted ?? 0) + 1));
}

function telling(counts: ReadonlyMap<HostId, number>, least: number): HostId[] {
  const found: HostId[] = [];
  for (const [member, times] of counts) {
    if (found.length >= maxNamed) break;
    if (times >= least) found.push(member);
  }
  return found;
}
