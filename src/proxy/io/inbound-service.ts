/** One service of this host as its inbound listener serves it: who may call it, and which instances answer. */
import { isDeepStrictEqual } from 'node:util';
import type { Millis } from '../../core.ts';
import type { InboundService, LocalEndpoint, SourceRule } from '../config.ts';
import { Admission, Permissions, RateGuard } from '../http1/admission.ts';
import { Refusal } from '../http1/refusal.ts';
import { localTimeouts, type Timeouts } from '../http1/timeouts.ts';
import { decide, ruleFor } from '../intentions.ts';
import { Limit } from '../resilience/limit.ts';
import { Upstream, UpstreamGroup } from '../upstream/upstreams.ts';
import { inboundKey, ratesKey, type SharedLimits } from '../workers/memory.ts';
import { AppDialer } from './app-dialer.ts';
import type { Plane } from './options.ts';

/** What all entries of one service share: how much of it is under way, and at which rate. */
export class ServiceLimits {
  readonly requests = new Limit();
  rates: RateGuard | null = null;

  /** `shared` is where threads count together; null where this one is alone. */
  update(
    { service, maxConnections, rateLimits }: InboundService,
    now: Millis,
    shared: SharedLimits | null,
  ): void {
    this.requests.configure(maxConnections, shared?.get(inboundKey(service)));
    const memory = shared?.get(ratesKey(service)) ?? null;
    if (rateLimits === null) this.rates = null;
    else if (this.rates === null) this.rates = new RateGuard(rateLimits, now, memory);
    else this.rates.configure(rateLimits, now, memory);
  }
}

/** What a caller may do: everything, nothing, or what is admitted request by request; null for no such check. */
export type Access =
  | { readonly type: 'refused'; readonly refusal: Refusal }
  | { readonly type: 'allowed'; readonly admission: Admission | null };

interface LocalUpstream {
  readonly endpoint: LocalEndpoint;
  readonly dialer: AppDialer;
  readonly upstream: Upstream;
}

export class LocalService {
  readonly group: UpstreamGroup;
  private readonly plane: Plane;
  private readonly limits: ServiceLimits;
  private config: InboundService;
  private locals: readonly LocalUpstream[] = [];
  /** Of the rules of this very configuration; a rule that says what it said before has the same as before. */
  private permissions: ReadonlyMap<SourceRule, Permissions> = new Map();

  constructor(config: InboundService, limits: ServiceLimits, plane: Plane) {
    this.plane = plane;
    this.limits = limits;
    this.config = config;
    this.group = new UpstreamGroup(plane.context.random, limits.requests);
    this.update(config);
  }

  get name(): string {
    return this.config.service;
  }
  get subset(): string {
    return this.config.subset;
  }
  get spiffeId(): string {
    return this.config.spiffeId;
  }
  get protocol(): InboundService['protocol'] {
    return this.config.protocol;
  }
  get timeouts(): Timeouts {
    return localTimeouts(this.config.requestTimeoutMs);
  }

  /** Takes on a new configuration; connections to instances that stay are kept. */
  update(config: InboundService): void {
    this.config = config;
    this.permissions = this.permissionsFor(config.rules);
    this.locals = config.endpoints.map((endpoint) => {
      const known = this.locals.find((local) => local.endpoint.id === endpoint.id);
      const isSame = known?.endpoint.address === endpoint.address && known.endpoint.port === endpoint.port;
      const local = known && isSame ? { ...known, endpoint } : this.localFor(endpoint);
      local.dialer.connectTimeoutMs = config.connectTimeoutMs;
      return local;
    });
    this.group.update(this.locals.map(({ endpoint, upstream }) => ({ upstream, weight: endpoint.weight })));
  }

  private permissionsFor(rules: readonly SourceRule[]): Map<SourceRule, Permissions> {
    const before = new Map([...this.permissions].map((entry) => [entry[0].source, entry]));
    const made = new Map<SourceRule, Permissions>();
    for (const rule of rules) {
      if (rule.permissions === null) continue;
      const [said, known] = before.get(rule.source) ?? [];
      const isSame = known !== undefined && isDeepStrictEqual(said, rule);
      made.set(rule, isSame ? known : new Permissions(rule.permissions, rule.rule));
    }
    return made;
  }

  private localFor(endpoint: LocalEndpoint): LocalUpstream {
    const { context, violations } = this.plane;
    const dialer = new AppDialer(endpoint.address, endpoint.port, context, (problem) =>
      violations.note('application-http2', { service: this.name, instance: endpoint.id, problem }),
    );
    return { endpoint, dialer, upstream: new Upstream(endpoint.id, dialer, context) };
  }

  /** Nothing more comes for it. */
  retire(): void {
    this.group.update([]);
  }

  /** What requests of `source` may do. */
  accessOf(source: string): Access {
    const { rules, defaultAction } = this.config;
    const rule = ruleFor(rules, source);
    const permissions = rule === null ? null : (this.permissions.get(rule) ?? null);
    const { rates } = this.limits;
    if (permissions === null && (rule?.action ?? defaultAction) === 'deny')
      return { type: 'refused', refusal: this.denial(source, rule?.rule ?? null) };
    const isChecked = permissions !== null || rates !== null;
    const admission = isChecked ? new Admission(source, this.name, permissions, rates) : null;
    return { type: 'allowed', admission };
  }

  /** Why byte streams of `source` are not served; null where they are. Permissions are about requests alone. */
  streamRefusal(source: string): Refusal | null {
    const { action, rule } = decide(this.config.rules, this.config.defaultAction, source);
    return action === 'deny' ? this.denial(source, rule) : null;
  }

  private denial(source: string, rule: string | null): Refusal {
    const why = rule === null ? 'default' : `rule ${rule}`;
    return new Refusal(403, 'denied', `${source} -> ${this.name} (${why})`, rule ?? 'default');
  }

  unavailable(): Refusal {
    if (this.group.refusal === 'overflow')
      return new Refusal(503, 'overflow', `${this.name} serves as much at once as it may`);
    return new Refusal(
      503,
      'no-healthy-upstream',
      `${this.name} has no instance in rotation on this host (${this.config.outOfRotation} out of rotation)`,
    );
  }
}
