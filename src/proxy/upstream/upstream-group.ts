/**
 * The endpoints that can serve one destination for one caller, and everything that decides whether a request
 * goes to one of them: balancing, limits, the circuit breaker, ejection and the budget for retries.
 */
import type { Millis, Random } from '../../core.ts';
import { Balancer, type PickCounts } from '../balance/balancer.ts';
import { noHash } from '../balance/chooser.ts';
import type { BalancedEndpoint, Outcome, OutcomeListener } from '../balance/endpoint.ts';
import type { Locality } from '../balance/zones.ts';
import type { BalancePolicy, BreakerPolicy, PassiveHealthPolicy, UpstreamPolicy } from '../policy.ts';
import { Breaker, type BreakerState } from '../resilience/breaker.ts';
import { Ejection, ejectedCount } from '../resilience/ejection.ts';
import { Limit } from '../resilience/limit.ts';
import { RetryBudget } from '../resilience/retry-budget.ts';
import { type GroupMemory, notShared, type SharedMemory } from '../workers/memory.ts';
import { talliesBytes } from '../workers/tally.ts';
import type { Upstream } from './upstreams.ts';

/** Why `pick` gave nothing; reasons of `RefusalReason`. */
export type PickRefusal = 'no-healthy-upstream' | 'overflow' | 'circuit-open';

/** The memory in which threads share the limits of a group. */
export const groupBytes = talliesBytes(3);

/** What `most` of each is, is policy's `UpstreamLimits`. */
export interface GroupLimits {
  /** Connections in use: each request, and each stream of bytes, has one of its own. */
  readonly connections: Limit;
  /** Requests that wait for a connection that is being made. */
  readonly pending: Limit;
  readonly requests: Limit;
}

/** For whoever shows it. */
export interface GroupSnapshot {
  readonly endpoints: readonly EndpointSnapshot[];
  /** Null without a breaker. */
  readonly breaker: {
    readonly state: BreakerState;
    readonly opened: number;
    readonly rejected: number;
  } | null;
  readonly inUse: LimitCounts;
  readonly overflows: LimitCounts;
  /** Counted since the group was made; `active` is now. */
  readonly ejections: { readonly total: number; readonly spared: number; readonly active: number };
  readonly retriesDenied: number;
  /** So few endpoints are in good order that health is not looked at. */
  readonly isPanicking: boolean;
  readonly picks: PickCounts;
}

export interface LimitCounts {
  readonly connections: number;
  readonly pending: number;
  readonly requests: number;
}

export interface EndpointSnapshot {
  readonly id: string;
  readonly hostName: string;
  readonly zone: string;
  readonly weight: number;
  readonly inflight: number;
  /** 0 is not known. */
  readonly ewmaMs: number;
  /** Null when it is not ejected. */
  readonly ejectedUntil: Millis | null;
  /** How often it was. */
  readonly ejections: number;
  readonly inRotation: boolean;
  /** Preferred because it is near. */
  readonly isNearest: boolean;
}

export class UpstreamGroup implements OutcomeListener {
  /** For retries of what a server may have acted on; those that reached none are free. */
  readonly retries: RetryBudget;
  readonly limits: GroupLimits;
  /** Why the last `pick` gave nothing. */
  refusal: PickRefusal = 'no-healthy-upstream';
  private readonly random: Random;
  private readonly balancer: Balancer;
  private upstreams = new Map<string, Upstream>();
  private breaker: Breaker | null = null;
  /** Which memory it has together with other threads. */
  private breakerAt: number | null = null;
  private ejection: Ejection | null = null;
  /** What `breaker` and `ejection` were made from. */
  private policy: Pick<UpstreamPolicy, 'breaker' | 'passiveHealth'> = { breaker: null, passiveHealth: null };

  /** `requests` may be shared by groups whose requests count together. */
  constructor(random: Random, requests: Limit = new Limit()) {
    this.random = random;
    this.limits = { connections: new Limit(), pending: new Limit(), requests };
    this.balancer = new Balancer(random, this);
    this.retries = new RetryBudget(() => this.balancer.someAreWell());
  }

  /**
   * Takes on policy, from the next pick on. What was learned stays where its policy stays as it is. Limits and
   * the breaker are in `memory` where all threads have them together.
   */
  configure(
    balance: BalancePolicy,
    policy: UpstreamPolicy,
    locality: Locality,
    memory: GroupMemory = notShared,
  ): void {
    this.balancer.configure(balance, locality);
    const { limits, breaker, passiveHealth } = policy;
    this.limits.connections.configure(limits.maxConnections, memory.limits, 0);
    this.limits.pending.configure(limits.maxPendingRequests, memory.limits, 1);
    this.limits.requests.configure(limits.maxConcurrentRequests, memory.limits, 2);
    this.arm(breaker, memory.breaker);
    if (!isSame(passiveHealth, this.policy.passiveHealth)) this.eject(passiveHealth);
    this.policy = { breaker, passiveHealth };
  }

  private arm(policy: BreakerPolicy | null, memory: SharedMemory | null): void {
    const breakerAt = memory?.id ?? null;
    if (isSame(policy, this.policy.breaker) && breakerAt === this.breakerAt) return;
    this.breakerAt = breakerAt;
    this.breaker = policy && new Breaker(policy, memory);
  }

  /** Who is out stays so for as long as it was to be, unless nobody is ejected any more. */
  private eject(policy: PassiveHealthPolicy | null): void {
    this.ejection = policy && new Ejection(policy, this.random);
    if (policy === null) for (const endpoint of this.balancer.endpoints) endpoint.pardon();
  }

  /** Replaces the endpoints; those that are gone finish what they have. */
  update(
    endpoints: readonly { readonly upstream: Upstream; readonly weight: number; readonly zone?: string }[],
  ): void {
    const upstreams = new Map(endpoints.map(({ upstream }) => [upstream.id, upstream]));
    for (const [id, upstream] of this.upstreams) if (upstreams.get(id) !== upstream) upstream.renew();
    this.upstreams = upstreams;
    this.balancer.update(
      endpoints.map(({ upstream, weight, zone = '' }) => ({ id: upstream.id, weight, zone })),
    );
  }

  /** Whether it has an endpoint in good order; if not, the next cluster in the order of failover is asked. */
  isServing(now: Millis): boolean {
    return this.balancer.hasFit(now);
  }

  /**
   * The balancer's choice, begun: `end` is called on it once. Null, and `refusal` says why, when there is none
   * but the excluded one, too much is under way, or the circuit is open.
   */
  pick(now: Millis, exclude: string | undefined, hash: number = noHash): BalancedEndpoint | null {
    const choice = this.balancer.pick(now, exclude, hash);
    if (choice === null || choice.id === exclude) return this.refused('no-healthy-upstream');
    if (!this.hasRoomToWait(choice)) return this.refused('overflow');
    if (!this.take()) return this.turnedAway('overflow');
    if (this.breaker !== null && !this.breaker.admit(now)) {
      this.give();
      return this.turnedAway('circuit-open');
    }
    choice.begin(now);
    return choice;
  }

  /** Whether it need not wait for a connection, or not too many do. */
  private hasRoomToWait(choice: BalancedEndpoint): boolean {
    const { pending } = this.limits;
    if (pending.most === 0 || this.isReady(choice)) return true;
    pending.settle(this.waitingCount());
    return pending.take();
  }

  /** Counts again how many wait: there is a connection, or something that may have waited is over. */
  settle(): void {
    const { pending } = this.limits;
    if (pending.inUse > 0) pending.settle(this.waitingCount());
  }

  private isReady({ id }: BalancedEndpoint): boolean {
    return this.upstreams.get(id)!.dialer.isReady !== false;
  }

  /** All that was sent to endpoints without a connection waits for one. */
  private waitingCount(): number {
    let count = 0;
    for (const endpoint of this.balancer.endpoints) if (!this.isReady(endpoint)) count += endpoint.inflight;
    return count;
  }

  /** Whether limits have room for one more. */
  private take(): boolean {
    const { connections, requests } = this.limits;
    if (!connections.take()) return false;
    if (requests.take()) return true;
    connections.give();
    return false;
  }

  private give(): void {
    this.limits.connections.give();
    this.limits.requests.give();
  }

  /** What had found room to wait does not wait. */
  private turnedAway(reason: PickRefusal): null {
    this.settle();
    return this.refused(reason);
  }

  private refused(reason: PickRefusal): null {
    this.refusal = reason;
    return null;
  }

  /** The upstream of what `pick` gave. */
  upstreamOf(choice: BalancedEndpoint): Upstream {
    return this.upstreams.get(choice.id)!;
  }

  /** This, `left` and `ended` are told by endpoints, also by those that are gone. */
  reached(endpoint: BalancedEndpoint, now: Millis, startedAt: Millis): void {
    this.judge(endpoint, now, 'ok', startedAt);
  }

  left(): void {
    this.give();
    this.settle();
  }

  ended(endpoint: BalancedEndpoint, now: Millis, outcome: Outcome, startedAt: Millis): void {
    this.left();
    this.judge(endpoint, now, outcome, startedAt);
  }

  private judge(endpoint: BalancedEndpoint, now: Millis, outcome: Outcome, startedAt: Millis): void {
    this.breaker?.record(now, outcome, startedAt);
    if (this.ejection !== null && this.balancer.get(endpoint.id) === endpoint)
      this.ejection.record(endpoint, this.balancer.endpoints, now, outcome);
  }

  /** Not for the path of every request. */
  snapshot(now: Millis): GroupSnapshot {
    const { breaker, ejection, limits } = this;
    const isPanicking = this.balancer.isPanicking(now);
    return {
      endpoints: this.balancer.endpoints.map((endpoint) => ({
        id: endpoint.id,
        hostName: this.upstreams.get(endpoint.id)!.name,
        zone: endpoint.zone,
        weight: endpoint.weight,
        inflight: endpoint.inflight,
        ewmaMs: endpoint.latencyMs(now),
        ejectedUntil: endpoint.ejectedUntil > now ? endpoint.ejectedUntil : null,
        ejections: endpoint.ejections,
        inRotation: endpoint.inRotation,
        isNearest: this.balancer.isNearest(endpoint),
      })),
      breaker: breaker && { state: breaker.state(now), opened: breaker.opened, rejected: breaker.rejected },
      inUse: {
        connections: limits.connections.inUse,
        pending: this.waitingCount(),
        requests: limits.requests.inUse,
      },
      overflows: {
        connections: limits.connections.overflows,
        pending: limits.pending.overflows,
        requests: limits.requests.overflows,
      },
      ejections: {
        total: ejection?.ejected ?? 0,
        spared: ejection?.spared ?? 0,
        active: ejectedCount(this.balancer.endpoints, now),
      },
      retriesDenied: this.retries.exhausted,
      isPanicking,
      picks: { ...this.balancer.counts },
    };
  }
}

/** Whether two policies, plain data with the same order of fields, say the same. */
function isSame<Policy>(a: Policy, b: Policy): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}
