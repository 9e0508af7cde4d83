/** How high a leader's next ballot is, by what others say of theirs. Liars shall not drive it beyond what others follow. */
import type { HostId } from '../../core.ts';
import { maxLeapRounds } from './acceptor.ts';
import type { Electorate } from './electorate.ts';
import type { EpochMessage } from './message.ts';

type Refused = Extract<EpochMessage, { type: 'refused' }>;

/** Rounds by which one trustee's word raises the next ballot, once in each: no more than the others follow twice. */
const believedRounds = maxLeapRounds / 2;

export class BallotHeight {
  private readonly electorate: Electorate;
  private highest = 0;
  /** Whose word has raised the next ballot already. */
  private readonly raisedBy = new Set<HostId>();

  constructor(electorate: Electorate) {
    this.electorate = electorate;
  }

  /** The next ballot of `leader`, which promised `promised` itself. */
  next(promised: number, leader: HostId): number {
    this.raisedBy.clear();
    this.highest = this.electorate.ballotAbove(Math.max(promised, this.highest), leader);
    return this.highest;
  }

  /** Another trustee will not follow: it has promised a ballot as high as this. */
  refused(by: HostId, promised: number): void {
    if (this.raisedBy.has(by)) return;
    this.raisedBy.add(by);
    const most = this.highest + this.electorate.members.length * believedRounds;
    this.highest = Math.max(this.highest, Math.min(promised, most));
  }

  /**
   * Where the last ballot was so high that too few could follow, the next is as high as a quorum has promised, whatever
   * those say that may lie; those who promised more say so then. Each trustee votes once in a ballot, be it led once or
   * twice.
   */
  comeDown(refusals: ReadonlyMap<HostId, Refused>): void {
    const { members, threshold } = this.electorate;
    const said = members.map((host) => refusals.get(host)).filter((refusal) => refusal !== undefined);
    if (said.filter(({ code }) => code === 'ballot-too-high').length <= members.length - threshold) return;
    const promised = said.map((refusal) => refusal.promised).sort((a, b) => a - b);
    const honest = Math.max(0, promised.length - 1 - (members.length - threshold));
    this.highest = Math.min(this.highest, promised[honest]!);
  }
}
