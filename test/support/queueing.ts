/**
 * A small queueing simulation: callers send at a rate, a group of endpoints is picked from, servers with so many
 * workers take their time. The clock is virtual and every run with one seed is the same.
 */
import { type Random, seededRandom } from '../../src/core.ts';
import type { BalancedEndpoint, Outcome } from '../../src/proxy/balance/endpoint.ts';
import { noLocality } from '../../src/proxy/balance/zones.ts';
import { Deadlines } from '../../src/proxy/deadlines.ts';
import type { BalancePolicy, UpstreamPolicy } from '../../src/proxy/policy.ts';
import { defaultBalance, defaultUpstream } from '../../src/proxy/policy-defaults.ts';
import { UpstreamGroup } from '../../src/proxy/upstream/upstream-group.ts';
import { type Dialer, Upstream } from '../../src/proxy/upstream/upstreams.ts';

/** A server that may be made slower, or fail, while the simulation runs. */
export class SimulatedServer {
  readonly id: string;
  readonly zone: string;
  serviceMs: number;
  /** The network's, to it and back. */
  roundTripMs = 0;
  isFailing = false;
  /** How many requests came. */
  seen = 0;
  /** When each worker is free again. */
  private readonly freeAt: number[];

  constructor(id: string, serviceMs: number, workers = 1000, zone = '') {
    this.id = id;
    this.serviceMs = serviceMs;
    this.zone = zone;
    this.freeAt = new Array<number>(workers).fill(0);
  }

  /** When the answer to what comes now is there. */
  take(now: number, random: Random): number {
    this.seen++;
    let worker = 0;
    for (let i = 1; i < this.freeAt.length; i++) if (this.freeAt[i]! < this.freeAt[worker]!) worker = i;
    // Between half and one and a half of the mean.
    const doneAt = Math.max(now, this.freeAt[worker]!) + this.serviceMs * (0.5 + random.next());
    this.freeAt[worker] = doneAt;
    return doneAt + this.roundTripMs;
  }
}

interface Request {
  readonly doneAt: number;
  readonly startedAt: number;
  readonly endpoint: BalancedEndpoint;
  readonly outcome: Outcome;
  readonly retriesLeft: number;
}

export interface Load {
  readonly perSecond: number;
  readonly untilMs: number;
  /** Of a request that failed. */
  readonly maxRetries?: number;
}

export const unusedDialer: Dialer = {
  dial: () => {
    throw new Error('nothing is dialled in a simulation');
  },
  open: () => {},
};

export function groupOf(
  members: readonly { readonly id: string; readonly weight?: number; readonly zone?: string }[],
  random: Random,
): UpstreamGroup {
  const group = new UpstreamGroup(random);
  const context = { now: () => 0, random, deadlines: new Deadlines(), promptDeadlines: new Deadlines() };
  group.update(
    members.map(({ id, weight = 1, zone = '' }) => ({
      upstream: new Upstream(id, unusedDialer, context),
      weight,
      zone,
    })),
  );
  return group;
}

export class Queueing {
  now = 0;
  readonly group: UpstreamGroup;
  readonly servers: readonly SimulatedServer[];
  offered = 0;
  failed = 0;
  refused = 0;
  private readonly random: Random;
  private nextArrivalAt = 0;
  private underWay: Request[] = [];

  constructor(
    servers: readonly SimulatedServer[],
    seed: number,
    balance: Partial<BalancePolicy> = {},
    upstream: Partial<UpstreamPolicy> = {},
    locality = noLocality,
  ) {
    this.servers = servers;
    this.random = seededRandom(seed);
    this.group = groupOf(servers, this.random);
    this.group.configure({ ...defaultBalance, ...balance }, { ...defaultUpstream, ...upstream }, locality);
  }

  /** What all servers saw. */
  get seen(): number {
    return this.servers.reduce((sum, server) => sum + server.seen, 0);
  }

  /** Runs until then; intervals between requests are exponential. Requests under way stay under way. */
  run({ perSecond, untilMs, maxRetries = 0 }: Load): void {
    this.nextArrivalAt = Math.max(this.nextArrivalAt, this.now);
    while (this.now < untilMs) {
      const first = this.underWay[0]?.doneAt ?? Number.POSITIVE_INFINITY;
      const next = Math.min(first, this.nextArrivalAt);
      this.now = Math.min(next, untilMs);
      if (next > untilMs) return;
      if (first <= this.nextArrivalAt) this.finish(this.underWay.shift()!);
      else this.arrive(perSecond, maxRetries);
    }
  }

  private arrive(perSecond: number, maxRetries: number): void {
    this.nextArrivalAt += (-Math.log(1 - this.random.next()) * 1000) / perSecond;
    this.offered++;
    this.group.retries.earn(this.now);
    if (!this.send(undefined, maxRetries)) this.refused++;
  }

  private send(exclude: string | undefined, retriesLeft: number): boolean {
    const endpoint = this.group.pick(this.now, exclude);
    if (endpoint === null) return false;
    const server = this.servers.find(({ id }) => id === endpoint.id)!;
    const doneAt = server.take(this.now, this.random);
    const outcome = server.isFailing ? 'failed' : 'ok';
    const at = this.underWay.findLastIndex((request) => request.doneAt <= doneAt);
    this.underWay.splice(at + 1, 0, { doneAt, startedAt: this.now, endpoint, outcome, retriesLeft });
    return true;
  }

  private finish({ endpoint, outcome, startedAt, retriesLeft }: Request): void {
    endpoint.end(this.now, outcome, this.now - startedAt);
    if (outcome === 'ok') return;
    const isRetried =
      retriesLeft > 0 && this.group.retries.spend(this.now) && this.send(endpoint.id, retriesLeft - 1);
    if (!isRetried) this.failed++;
  }
}
