/**
 * One run: form the mesh, play the plan while safety is watched, mend everything, and demand agreement within
 * the bound. Pure: how long it took for real is for the caller to measure.
 */
import { Checkers, sweepMs } from './checks/checkers.ts';
import { TrustCheckers } from './checks/trust-checkers.ts';
import type { TrustCounters } from './checks/trust-ledger.ts';
import { Violation } from './checks/violation.ts';
import { Flock, type Sabotage } from './flock.ts';
import { rememberingVerify } from './host/keys.ts';
import { localNetwork } from './network/links.ts';
import type { NetworkCounters } from './network/network.ts';
import type { PublishCounters } from './network/pubsub.ts';
import type { Plan, Scenario } from './plan.ts';
import { Samples } from './report/statistics.ts';
import { World } from './world.ts';

export interface RunOptions {
  readonly scenario: Scenario;
  readonly hosts: number;
  readonly seed: number;
  readonly log?: (line: string) => void;
  readonly sabotage?: Sabotage;
}

export interface RunReport {
  readonly scenario: string;
  readonly hosts: number;
  readonly seed: number;
  readonly virtualMs: number;
  readonly events: number;
  /** Equal for equal seeds: every input of every host, with its time and bytes. */
  readonly traceHash: string;
  /** From the founder's start until all knew all. */
  readonly formedMs: number;
  /** From the mending of all faults until all agreed. */
  readonly agreedMs: number;
  /** From then until everybody had its certificates, all of one root; null where too few trustees were left. */
  readonly certifiedMs: number | null;
  /** From the loss of the quorum for good until an operator had brought it back; null where it never was. */
  readonly rescuedMs: number | null;
  /** The longest that a service was without a certificate while a quorum was within reach. */
  readonly longestLackMs: number;
  readonly trust: TrustCounters;
  readonly convergence: Samples;
  readonly delivery: Samples;
  readonly detection: Samples;
  readonly ejection: Samples;
  /** What each host sent in the whole run, frames, publications and datagrams. */
  readonly bytesPerHost: Samples;
  readonly falseDowns: number;
  readonly network: NetworkCounters;
  readonly publish: PublishCounters;
}

/** How often agreement is looked for, virtual milliseconds: the resolution of `formedMs` and `agreedMs`. */
const pollMs = 50;
/** Agreement must last. */
const steadyMs = 5_000;
/** Agents write by themselves now and then, such as the head of a log: within this long it is everywhere. */
const ownWritesMs = 2000;
/** The same where what a delta missed is told by nobody, and anti-entropy alone finds it. */
const unhealedWritesMs = 8000;

/** Throws `Violation` when a promise is broken. */
export function run(options: RunOptions): RunReport {
  const world = new World(options.seed);
  const plan = planOf(options);
  const flock = new Flock(world, {
    plan,
    log: options.log ?? null,
    sabotage: options.sabotage ?? null,
  });
  const runner = new Runner(world, flock, plan, options.scenario);
  const formedMs = runner.form();
  runner.play();
  const { agreedMs, certifiedMs } = runner.mendAndAgree();
  return {
    scenario: options.scenario.name,
    hosts: options.hosts,
    seed: options.seed,
    virtualMs: world.elapsedMs,
    events: world.events,
    traceHash: world.trace.digest(),
    formedMs,
    agreedMs,
    certifiedMs,
    rescuedMs: flock.rescuedMs,
    longestLackMs: runner.longestLackMs,
    trust: flock.trust.counters,
    convergence: flock.ledger.convergence,
    delivery: flock.ledger.delivery,
    detection: flock.ledger.detection,
    ejection: flock.ledger.ejection,
    bytesPerHost: Samples.of(flock.hosts.map(({ number }) => flock.network.sentBytes(number))),
    falseDowns: flock.ledger.falseDowns,
    network: flock.network.counters,
    publish: flock.pubsub.counters,
  };
}

/** What a run would do. */
export function planOf({ scenario, hosts, seed }: Pick<RunOptions, 'scenario' | 'hosts' | 'seed'>): Plan {
  return scenario.plan(hosts, new World(seed).random('plan'));
}

class Runner {
  private readonly world: World;
  private readonly flock: Flock;
  private readonly plan: Plan;
  private readonly scenario: Scenario;
  private readonly checkers: Checkers;
  private readonly trust: TrustCheckers;

  constructor(world: World, flock: Flock, plan: Plan, scenario: Scenario) {
    this.world = world;
    this.flock = flock;
    this.plan = plan;
    this.scenario = scenario;
    this.checkers = new Checkers(flock, scenario.bounds, rememberingVerify());
    this.trust = new TrustCheckers(flock, scenario.bounds.lackMs);
  }

  get longestLackMs(): number {
    return this.trust.longestLackMs;
  }

  /** Starts all hosts and waits until every one knows every other. */
  form(): number {
    const startedAt = this.world.now;
    const lastJoinMs = this.plan.joinAtMs.reduce((last: number, at) => Math.max(last, at ?? 0), 0);
    this.flock.form();
    this.untilAgreed('formation', startedAt, lastJoinMs + this.scenario.bounds.formMs);
    return this.world.now - startedAt;
  }

  /** Plays the timeline, with all faults and actions; what was to come after its end never comes. */
  play(): void {
    const startedAt = this.world.now;
    this.flock.ledger.measuring = true;
    for (const { atMs, step } of this.plan.timeline)
      if (atMs < this.plan.activeMs) this.world.at(startedAt + atMs, () => this.flock.apply(step));
    this.runWithSweeps(startedAt + this.plan.activeMs);
  }

  /**
   * Mends network, disks and frozen processes; the dead stay dead, but for those whom others need to be known. Then
   * all must agree, and stay so. The seat of a trustee that left last falls vacant in that time: it is to be taken within
   * the bound for certificates.
   */
  mendAndAgree(): { readonly agreedMs: number; readonly certifiedMs: number | null } {
    this.flock.apply({ do: 'mend' });
    this.flock.apply({ do: 'quality', quality: localNetwork });
    for (const host of this.flock.hosts) {
      host.thaw();
      host.disk.mend();
    }
    this.flock.reunite();
    const mendedAt = this.world.now;
    this.untilAgreed('convergence', mendedAt, this.scenario.bounds.convergeMs);
    const agreedMs = this.world.now - mendedAt;
    this.until(() => this.trust.unsettled(), 'certification', mendedAt, this.scenario.bounds.certifyMs);
    const certifiedMs = this.trust.isLost() ? null : this.world.now - mendedAt;
    this.runWithSweeps(this.world.now + steadyMs);
    const steadyAt = this.world.now;
    const withinMs = this.plan.lazyPublish ? ownWritesMs : unhealedWritesMs;
    const relapse = (): string | null => this.checkers.disagreement() ?? this.trust.unsettledHosts();
    this.until(relapse, 'stability', steadyAt, withinMs);
    this.until(() => this.trust.unsettled(), 'stability', steadyAt, this.scenario.bounds.certifyMs);
    this.checkers.final();
    return { agreedMs, certifiedMs };
  }

  private untilAgreed(checker: string, sinceMs: number, withinMs: number): void {
    this.until(() => this.unfinished() ?? this.checkers.disagreement(), checker, sinceMs, withinMs);
  }

  private until(difference: () => string | null, checker: string, sinceMs: number, withinMs: number): void {
    for (;;) {
      const differs = difference();
      if (differs === null) return;
      if (this.world.now - sinceMs > withinMs)
        throw new Violation(checker, this.world, `not within ${withinMs} ms: ${differs}`);
      this.runWithSweeps(this.world.now + pollMs);
    }
  }

  /** Hosts that still wait to join, or are at it. */
  private unfinished(): string | null {
    const late = this.flock.unfinished();
    return late === null ? null : `${late.name} is still ${late.state}`;
  }

  private nextSweepAt = 0;

  private runWithSweeps(until: number): void {
    while (this.world.now < until) {
      if (this.world.now >= this.nextSweepAt) {
        this.checkers.sweep();
        this.trust.sweep();
        this.nextSweepAt = this.world.now + sweepMs;
      }
      this.world.runUntil(Math.min(until, this.nextSweepAt));
    }
  }
}
