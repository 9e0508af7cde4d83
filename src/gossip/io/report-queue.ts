/**
 * Reports on their way to the agent's thread. However slow that is, what waits stays small: of what is
 * superseded only the latest waits, and frames beyond a bound are dropped.
 */
import type { SwimReport } from '../swim-port.ts';

/** Frames for connections that wait; each is a fallback probe or its answer, soon too late anyway. */
export const maxWaitingFrames = 256;

export class ReportQueue {
  dropped = 0;
  private readonly latest = new Map<string, SwimReport>();
  private readonly frames: SwimReport[] = [];

  get isEmpty(): boolean {
    return this.latest.size === 0 && this.frames.length === 0;
  }

  get size(): number {
    return this.latest.size + this.frames.length;
  }

  add(report: SwimReport): void {
    if (report.type === 'frame') {
      if (this.frames.length < maxWaitingFrames) this.frames.push(report);
      else this.dropped++;
      return;
    }
    const key = keyOf(report);
    this.latest.delete(key);
    this.latest.set(key, report);
  }

  /** Everything that waits, in the order of its last change, frames last. */
  take(): SwimReport[] {
    const reports = [...this.latest.values(), ...this.frames];
    this.latest.clear();
    this.frames.length = 0;
    return reports;
  }
}

/** Two reports of one key: the later says all that the earlier did. */
function keyOf(report: Exclude<SwimReport, { type: 'frame' }>): string {
  switch (report.type) {
    case 'member':
      return `member ${report.member.id}`;
    case 'measured':
    case 'coordinate':
      return `${report.type} ${report.id}`;
    case 'connect':
    case 'disconnect':
      return `connection ${report.peer}`;
    case 'root':
      return `root ${report.peer}`;
    default:
      return report.type;
  }
}
