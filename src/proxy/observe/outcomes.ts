/** How requests can end, each way with a number of its own, so that a row of counters is an array. Pure. */
import type { ResponseFlags } from './flags.ts';

/** How one request ended. */
export interface Outcome {
  /** 100 to 599; 499 for a client that did not wait; 0 stands for what there was no room to tell apart. */
  readonly status: number;
  readonly flags: ResponseFlags;
  /** 0 to 16 for gRPC, else `noGrpcStatus`. */
  readonly grpcStatus: number;
}

export const noGrpcStatus = -1;

/** gRPC statuses that are the server's fault; all others but 0 are the caller's, as 4xx are. */
export const grpcServerFaults: ReadonlySet<number> = new Set([2, 4, 12, 13, 14, 15]);

/** The status class, 0 to 5, that an outcome counts as: of gRPC, where HTTP says 200 whatever happens, its own. */
export function classOf({ status, grpcStatus }: Outcome): number {
  if (grpcStatus <= 0) return Math.trunc(status / 100);
  return grpcServerFaults.has(grpcStatus) ? 5 : 4;
}

/** Statuses come from applications: more ways to end than these are counted as one. */
const maxOutcomes = 512;
/** Counts of different outcomes in all rows together, each a line of the metrics. */
const maxSeries = 20_000;

/** The number of the outcome that stands for all that are not told apart. */
export const otherOutcome = 0;

export class Outcomes {
  readonly all: Outcome[] = [{ status: 0, flags: 0, grpcStatus: noGrpcStatus }];
  /** By status, for requests that went as they should; 0 where none has been seen. */
  private readonly plain = new Uint16Array(600);
  private readonly special = new Map<number, number>();
  private series = 0;

  /** The number of an outcome: an array index for most, one look into a map for what failed and for gRPC. */
  indexOf(status: number, flags: ResponseFlags, grpcStatus: number): number {
    if (flags === 0 && grpcStatus === noGrpcStatus) {
      const known = this.plain[status]!;
      if (known !== otherOutcome) return known;
      const added = this.add(status, flags, grpcStatus);
      this.plain[status] = added;
      return added;
    }
    const key = (flags * 32 + grpcStatus + 1) * 1000 + status;
    const known = this.special.get(key);
    if (known !== undefined) return known;
    const added = this.add(status, flags, grpcStatus);
    if (added !== otherOutcome) this.special.set(key, added);
    return added;
  }

  private add(status: number, flags: ResponseFlags, grpcStatus: number): number {
    if (this.all.length >= maxOutcomes) return otherOutcome;
    this.all.push({ status, flags, grpcStatus });
    return this.all.length - 1;
  }

  /** Whether one more count of a row may be told apart. */
  admitSeries(): boolean {
    if (this.series >= maxSeries) return false;
    this.series++;
    return true;
  }
}
