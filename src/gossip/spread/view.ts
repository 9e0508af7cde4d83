/**
 * The active view: the bounded set of members this agent keeps a long-lived connection to. A small mesh is
 * fully connected; in a larger one each agent keeps a few random neighbours, and the union of all choices
 * is connected with overwhelming probability (six choices each make degree 12, for 10,000 hosts; cf. HyParView,
 * Leitão et al. 2007). A connection takes both sides some 10 ms of CPU: no more of them than it takes.
 */
import { earliest, type HostId, type Millis, type Random } from '../../core.ts';
import { Deadlines } from '../deadlines.ts';
import type { Members } from '../membership/members.ts';
import type { SwimReport } from '../swim-port.ts';

export interface ViewParameters {
  /** Up to this many members are all connected; beyond, this is the largest number of chosen neighbours. */
  readonly maxNeighbours: number;
  /** A larger mesh's view is refilled up to this many once it has fewer. */
  readonly minNeighbours: number;
  /** While others still become known, as when a fleet starts, no more than this many are dialled. */
  readonly firstNeighbours: number;
  /** The view is filled up once nobody became known for this long, before jitter, or when it waited `mostRestMs`. */
  readonly restMs: number;
  readonly mostRestMs: number;
  /** First and longest wait before a lost neighbour is dialled again, before jitter. */
  readonly redialMs: number;
  readonly maxRedialMs: number;
}

export const defaultViewParameters: ViewParameters = {
  maxNeighbours: 6,
  minNeighbours: 4,
  firstNeighbours: 3,
  restMs: 3000,
  mostRestMs: 15_000,
  redialMs: 500,
  maxRedialMs: 30_000,
};

/** Members that become known together come within this. */
const fillDelayMs = 20;
/** Redials are given up once the wait has grown by this factor: after four failures. */
const maxPatience = 8;

export class View {
  private readonly members: Members;
  private readonly random: Random;
  private readonly parameters: ViewParameters;
  private readonly emit: (report: Extract<SwimReport, { type: 'connect' | 'disconnect' }>) => void;
  /** Chosen neighbours and how long to wait before the next dial of each. */
  private readonly chosen = new Map<HostId, { redialMs: number }>();
  private readonly redials = new Deadlines<HostId>();
  private fillAt: Millis | null = null;
  /** When the view is filled up, and the latest that may be, while it is kept small. */
  private rest: { readonly at: Millis; readonly by: Millis } | null = null;

  constructor(
    members: Members,
    random: Random,
    parameters: ViewParameters,
    emit: (report: Extract<SwimReport, { type: 'connect' | 'disconnect' }>) => void,
  ) {
    this.members = members;
    this.random = random;
    this.parameters = parameters;
    this.emit = emit;
  }

  get neighbours(): IterableIterator<HostId> {
    return this.chosen.keys();
  }

  isNeighbour(peer: HostId): boolean {
    return this.chosen.has(peer);
  }

  nextWake(): Millis | null {
    return earliest(this.redials.next(), this.fillAt, this.rest?.at ?? null);
  }

  /**
   * Chooses neighbours once those who become known together all are: the first few are no random few. All of them
   * do the same then, and hosts that start together are short of CPU: some are dialled at once, the others when
   * that is over, and by then many of them have dialled this host.
   */
  fillSoon(now: Millis): void {
    this.fillAt ??= now + fillDelayMs;
    const { restMs, mostRestMs } = this.parameters;
    const by = this.rest?.by ?? now + mostRestMs;
    this.rest = { at: Math.min(by, now + restMs * (0.5 + this.random.next())), by };
  }

  /** Chooses neighbours until there are enough. Called after every change of who is reachable. */
  fill(): void {
    const { maxNeighbours, minNeighbours, firstNeighbours } = this.parameters;
    const reachable = this.members.reachableCount;
    const most = this.rest === null ? maxNeighbours : firstNeighbours;
    if (reachable > maxNeighbours && this.chosen.size >= minNeighbours) return;
    const target = Math.min(reachable, most);
    while (this.chosen.size < target) {
      const found = this.members.randomReachable(
        (index) => !this.chosen.has(this.members.roster.idAt(index)),
      );
      if (found === undefined) return;
      const peer = this.members.roster.idAt(found);
      this.chosen.set(peer, { redialMs: this.parameters.redialMs });
      this.emit({ type: 'connect', peer });
    }
  }

  /**
   * The member is down, has left or is no member any more. Even a connection that nobody chose must go: what
   * waits on one across a healed partition stays stuck for as long as the partition lasted (RFC 6298, 5.5).
   */
  drop(peer: HostId): void {
    this.chosen.delete(peer);
    this.redials.delete(peer);
    this.emit({ type: 'disconnect', peer });
  }

  connected(peer: HostId): void {
    const neighbour = this.chosen.get(peer);
    if (neighbour === undefined) return;
    neighbour.redialMs = this.parameters.redialMs;
    this.redials.delete(peer);
  }

  /**
   * A lost or failed connection is dialled again after a wait that doubles, jittered by half. Where there
   * are others to choose, a neighbour that stays out of reach is given up for one of them.
   */
  lost(peer: HostId, now: Millis): void {
    const neighbour = this.chosen.get(peer);
    if (neighbour === undefined || this.redials.get(peer) !== null) return;
    const hasChoice = this.members.reachableCount > this.parameters.maxNeighbours;
    if (hasChoice && neighbour.redialMs > maxPatience * this.parameters.redialMs) {
      this.drop(peer);
      this.fill();
      return;
    }
    this.redials.set(peer, now + neighbour.redialMs * (0.5 + this.random.next()));
    neighbour.redialMs = Math.min(neighbour.redialMs * 2, this.parameters.maxRedialMs);
  }

  wake(now: Millis): void {
    if (this.fillAt !== null && this.fillAt <= now) {
      this.fillAt = null;
      this.fill();
    }
    if (this.rest !== null && this.rest.at <= now) {
      this.rest = null;
      this.fill();
    }
    for (let peer = this.redials.takeDue(now); peer !== undefined; peer = this.redials.takeDue(now))
      if (this.chosen.has(peer)) this.emit({ type: 'connect', peer });
  }
}
