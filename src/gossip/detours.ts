/**
 * Members whose answers come over connections only: a firewall that lets TCP through and not UDP looks like
 * this. They stay alive, but a probe of them takes longer and costs more, which somebody should know.
 */
import type { HostId } from '../core.ts';
import type { Via } from './swim-port.ts';

/** Answers in a row without a datagram among them, for which chance is no explanation. */
const tellingAnswers = 5;
/** Members watched at once; what one more of them would say, the others say already. */
const maxWatched = 1024;
/** Members named in a report. */
const maxNamed = 16;

export class Detours {
  /** Answers over a connection since the last one by datagram. */
  private readonly counts = new Map<HostId, number>();

  /** A member answered a ping, the way that the ping came. */
  answered(member: HostId, via: Via): void {
    if (via === 'datagram') {
      this.counts.delete(member);
      return;
    }
    const count = this.counts.get(member);
    if (count === undefined && this.counts.size >= maxWatched) return;
    this.counts.set(member, Math.min(tellingAnswers, (count ?? 0) + 1));
  }

  forget(member: HostId): void {
    this.counts.delete(member);
  }

  /** Whom no datagram reaches, or whose datagrams do not reach this agent; at most 16 of them. */
  get members(): HostId[] {
    const found: HostId[] = [];
    for (const [member, count] of this.counts) {
      if (found.length >= maxNamed) break;
      if (count >= tellingAnswers) found.push(member);
    }
    return found;
  }
}
