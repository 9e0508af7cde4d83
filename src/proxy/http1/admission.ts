/** What a service asks of each request before it is let in: a permission that allows it, and a rate within limits. */
import type { Millis } from '../../core.ts';
import type { PermissionPolicy, RateLimitsPolicy } from '../policy.ts';
import { noRoute, RateLimiter } from '../resilience/rate-limiter.ts';
import type { SharedMemory } from '../workers/memory.ts';
import { RequestFacts } from './facts.ts';
import { RequestHead } from './head.ts';
import { CompiledMatch, pathTest, type TextTest } from './match.ts';
import { Refusal } from './refusal.ts';
import { settlePath } from './route-table.ts';

/** Matching is synchronous, so one object serves every request, and one every head that is read again. */
const facts = new RequestFacts();
const upgradeHead = new RequestHead();

/** The permissions of one layer 7 rule. */
export class Permissions {
  readonly looksAtPaths: boolean;
  private readonly rule: string;
  private readonly permissions: readonly { readonly allows: boolean; readonly match: CompiledMatch }[];

  constructor(permissions: readonly PermissionPolicy[], rule: string) {
    this.rule = rule;
    this.looksAtPaths = permissions.some(({ match }) => match.path !== null);
    this.permissions = permissions.map(({ action, match }) => ({
      allows: action === 'allow',
      match: new CompiledMatch(match, action === 'allow' ? 'every' : 'any'),
    }));
  }

  /** Which permission decides, -1 for none. */
  first(request: RequestFacts): number {
    return this.permissions.findIndex(({ match }) => match.holds(request));
  }

  isAllowedBy(index: number): boolean {
    return index >= 0 && this.permissions[index]!.allows;
  }

  /** Whether a tunnel that was let in before may stay, by the head that asked for it. */
  mayStay(upgrade: Buffer): boolean {
    if (upgradeHead.parse(upgrade, 0, upgrade.length) <= 0) return false;
    if (this.looksAtPaths && settlePath(upgrade, upgradeHead) !== null) return false;
    return this.isAllowedBy(this.first(facts.of(upgrade, upgradeHead)));
  }

  /** Null lets the request in: the first permission that matches decides, and without one it is denied. */
  refusal(request: RequestFacts, pair: string): Refusal | null {
    const index = this.first(request);
    if (this.isAllowedBy(index)) return null;
    const why = index < 0 ? 'no permission matches' : `permission ${index + 1}`;
    return new Refusal(403, 'denied', `${pair} (rule ${this.rule}, ${why})`, this.rule);
  }
}

/** The rates of one service on this host, for all entries of its listener. */
export class RateGuard {
  private readonly limiter: RateLimiter;
  private policy: RateLimitsPolicy;
  private routes: readonly TextTest[] = [];

  /** `memory` as in `configure`. */
  constructor(policy: RateLimitsPolicy, now: Millis, memory: SharedMemory | null = null) {
    this.policy = policy;
    this.limiter = new RateLimiter(policy, now, memory);
    this.routes = policy.routes.map(({ path }) => pathTest(path));
  }

  /**
   * Takes on policy, and where all threads keep its buckets, null for this one by itself; what was used of the
   * buckets it still has stays used.
   */
  configure(policy: RateLimitsPolicy, now: Millis, memory: SharedMemory | null = null): void {
    this.policy = policy;
    this.limiter.configure(policy, now, memory);
    this.routes = policy.routes.map(({ path }) => pathTest(path));
  }

  get looksAtPaths(): boolean {
    return this.routes.length > 0;
  }

  /** How many requests were counted together with those of other callers, for want of room. */
  get crowded(): number {
    return this.limiter.crowded;
  }

  /** Null lets the request in, and counts it. */
  refusal(request: RequestFacts, source: string, service: string, now: Millis): Refusal | null {
    const route = this.routes.length === 0 ? noRoute : this.routeOf(request.path);
    const limitedBy = this.limiter.admit(now, source, route);
    if (limitedBy === null) return null;
    const { retryAfterMs } = this.limiter;
    const seconds = Number.isFinite(retryAfterMs) ? Math.max(Math.ceil(retryAfterMs / 1000), 1) : 0;
    const which = { instance: service, route: this.routeName(route), caller: source }[limitedBy];
    const detail = `${source} -> ${service} (the limit of ${limitedBy} ${which})`;
    return new Refusal(429, 'rate-limited', detail, null, seconds);
  }

  private routeOf(path: string): number {
    const index = this.routes.findIndex((test) => test(path));
    return index < 0 ? noRoute : index;
  }

  private routeName(route: number): string {
    return this.policy.routes[route]?.path.value ?? '';
  }
}

/** Both, for one caller of one service. */
export class Admission {
  private readonly source: string;
  private readonly service: string;
  /** Null where there are only rates. */
  readonly permissions: Permissions | null;
  private readonly rates: RateGuard | null;

  constructor(source: string, service: string, permissions: Permissions | null, rates: RateGuard | null) {
    this.source = source;
    this.service = service;
    this.permissions = permissions;
    this.rates = rates;
  }

  /** Null lets the request in. Gives its path the one spelling where something looks at it. */
  refusal(bytes: Buffer, head: RequestHead, now: Millis): Refusal | null {
    const { permissions, rates, source, service } = this;
    const looksAtPaths = permissions?.looksAtPaths || rates?.looksAtPaths;
    const unclear = looksAtPaths ? settlePath(bytes, head) : null;
    if (unclear !== null) return unclear;
    facts.of(bytes, head);
    const denial = permissions?.refusal(facts, `${source} -> ${service}`) ?? null;
    return denial ?? rates?.refusal(facts, source, service, now) ?? null;
  }
}
