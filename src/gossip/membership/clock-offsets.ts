/**
 * Whose clock is off: every clean answer to a probe says what time it is there, as in SNTP (RFC 4330), right to
 * half the round trip. Clocks order policy and bound certificates, so a wrong one should not go unnoticed.
 */
import type { HostId, Millis } from '../../core.ts';

/** Less is what time daemons and slow networks leave. */
export const toleratedOffsetMs = 500;
/** Answers in a row that agree before a member's clock is called wrong. */
const tellingAnswers = 3;
/** Fewer members cannot outvote this agent. */
const fewestVoters = 3;
/** Members named, at most. */
const maxNamed = 16;

export interface ClockFindings {
  /** How far this agent's clock is ahead (behind, if negative) of most members'; null when they agree. */
  readonly ownMs: Millis | null;
  /** Members whose clock is ahead of this agent's, or behind, the worst first; none when it is the own one. */
  readonly members: readonly { readonly id: HostId; readonly aheadMs: Millis }[];
}

export class ClockOffsets {
  private readonly entries = new Map<HostId, { aheadMs: Millis; streak: number }>();

  /** A member's clock was found ahead of this agent's by so much, negative for behind. */
  note(member: HostId, aheadMs: Millis): void {
    const before = this.entries.get(member);
    const goesOn = before !== undefined && Math.sign(before.aheadMs) === Math.sign(aheadMs);
    const streak = Math.abs(aheadMs) <= toleratedOffsetMs ? 0 : goesOn ? before.streak + 1 : 1;
    this.entries.set(member, { aheadMs, streak });
  }

  forget(member: HostId): void {
    this.entries.delete(member);
  }

  findings(): ClockFindings {
    const ownMs = this.ownMs();
    if (ownMs !== null) return { ownMs, members: [] };
    const members = [...this.entries]
      .filter(([, { streak }]) => streak >= tellingAnswers)
      .map(([id, { aheadMs }]) => ({ id, aheadMs }))
      .sort((a, b) => Math.abs(b.aheadMs) - Math.abs(a.aheadMs));
    return { ownMs, members: members.slice(0, maxNamed) };
  }

  /** When most members' clocks differ from this agent's in one direction, it is this agent's that is off. */
  private ownMs(): Millis | null {
    const offsets = [...this.entries.values()].map(({ aheadMs }) => aheadMs).sort((a, b) => a - b);
    if (offsets.length < fewestVoters) return null;
    const medianMs = offsets[Math.floor(offsets.length / 2)]!;
    const agree = offsets.filter((aheadMs) => aheadMs * Math.sign(medianMs) > toleratedOffsetMs);
    return agree.length * 2 > offsets.length ? -medianMs : null;
  }
}
