/**
 * When each check of this host runs, what its results mean, and what follows: the status of the check and, if
 * its definition says so, the end of a service that stays critical. Pure: running is the driver's.
 * Thresholds and texts are those of Consul 1.15 (`agent/checks`).
 */
import { byCodeUnit, Fault, type Machine, type Millis, type Random } from '../../core.ts';
import type { CheckDefinition, CheckStatus, StandaloneCheck } from '../kinds.ts';

/** A check to carry out; `status` is what the mesh was last told, the definition's initial status if nothing. */
export interface MonitoredCheck extends StandaloneCheck {
  readonly status?: CheckStatus;
}

export type HealthInput =
  | { readonly type: 'wake' }
  /** Every check of this host; those that are not among them any more are forgotten. */
  | { readonly type: 'checks'; readonly checks: readonly MonitoredCheck[] }
  /** Answers `run`, exactly once. */
  | {
      readonly type: 'result';
      readonly checkId: string;
      readonly status: CheckStatus;
      readonly output: string;
    }
  /** An application reports on its TTL check; see `refusalOfReport`. */
  | { readonly type: 'ttl'; readonly checkId: string; readonly status: CheckStatus; readonly output: string };

export type HealthEffect =
  /** Run it once and answer with `result`. Never sent while an earlier run of the same check is unanswered. */
  | { readonly type: 'run'; readonly check: CheckDefinition }
  /** The check's status changed or, at a bounded rate, its output. */
  | {
      readonly type: 'status';
      readonly checkId: string;
      readonly serviceId: string;
      readonly status: CheckStatus;
      readonly output: string;
    }
  /** The service was critical for as long as its check allows. */
  | { readonly type: 'deregister'; readonly serviceId: string };

/** How often a mere change of output is told, milliseconds; Consul's `check_update_interval`. */
export const outputIntervalMs = 5 * 60_000;
/** The same for output that an application reports with its TTL check. */
export const reportedOutputIntervalMs = 10_000;
/** What is kept of an output, UTF-16 code units. */
const maxOutputLength = 4096;

/** A deadline that never comes. */
const never = Number.POSITIVE_INFINITY;

/** What is known of one check. Deadlines are absolute; `never` means none. */
interface Monitor {
  serviceId: string;
  check: CheckDefinition;
  status: CheckStatus;
  output: string;
  /** When the output was last told. */
  toldAt: Millis;
  /** An output that waits for its turn to be told. */
  outputDueAt: Millis;
  runAt: Millis;
  running: boolean;
  /** The definition changed during the run: its result says nothing any more. */
  stale: boolean;
  expiresAt: Millis;
  /** Results in a row; they start as if the thresholds had been met, so that the first result decides. */
  successes: number;
  failures: number;
  deregisterAt: Millis;
}

export class HealthMachine implements Machine<HealthInput, HealthEffect> {
  private readonly random: Random;
  private readonly monitors = new Map<string, Monitor>();
  /** Checks that went while they ran: the same id may be back before its old run is answered. */
  private readonly orphans = new Set<string>();
  /** At most the earliest deadline of all; too early costs one look at all of them. */
  private wakeAt: Millis = never;

  constructor(random: Random) {
    this.random = random;
  }

  nextWake(): Millis | null {
    return this.wakeAt === never ? null : this.wakeAt;
  }

  step(input: HealthInput, now: Millis): readonly HealthEffect[] {
    const effects: HealthEffect[] = [];
    if (input.type === 'checks') this.replace(input.checks, now);
    else if (input.type === 'result') this.result(input, now, effects);
    else if (input.type === 'ttl') this.report(input, now, effects);
    if (now >= this.wakeAt) this.due(now, effects);
    return effects;
  }

  /** Why an application may not report on a check; null if it may. */
  refusalOfReport(checkId: string): Fault | null {
    const monitor = this.monitors.get(checkId);
    if (monitor === undefined)
      return new Fault('unknown-check', `no check with id "${checkId}" is on this host`);
    if (monitor.check.type === 'ttl') return null;
    return new Fault(
      'not-a-ttl-check',
      `check "${checkId}" is run by the agent: only ttl checks are reported`,
    );
  }

  private replace(checks: readonly MonitoredCheck[], now: Millis): void {
    const kept = new Set(checks.map(({ check }) => check.id));
    for (const [id, { running }] of this.monitors) {
      if (kept.has(id)) continue;
      this.monitors.delete(id);
      if (running) this.orphans.add(id);
    }
    for (const monitored of checks) {
      const known = this.monitors.get(monitored.check.id);
      if (known === undefined) this.monitors.set(monitored.check.id, this.begin(monitored, now));
      else if (differs(known, monitored)) this.change(known, monitored, now);
    }
    this.wakeAt = this.earliestDeadline();
  }

  private begin({ serviceId, check, status }: MonitoredCheck, now: Millis): Monitor {
    const running = this.orphans.delete(check.id);
    const monitor: Monitor = {
      serviceId,
      check,
      status: status ?? check.initialStatus,
      output: '',
      toldAt: Number.NEGATIVE_INFINITY,
      outputDueAt: never,
      runAt: never,
      running,
      stale: running,
      expiresAt: never,
      successes: check.successBeforePassing,
      failures: check.failuresBeforeCritical,
      deregisterAt: never,
    };
    this.schedule(monitor, now);
    return monitor;
  }

  private change(monitor: Monitor, { serviceId, check, status }: MonitoredCheck, now: Millis): void {
    monitor.serviceId = serviceId;
    monitor.check = check;
    // A new definition may have set the status back: what differs from what was told must be told.
    monitor.status = status ?? check.initialStatus;
    monitor.stale = monitor.running;
    monitor.successes = check.successBeforePassing;
    monitor.failures = check.failuresBeforeCritical;
    monitor.deregisterAt = never;
    this.schedule(monitor, now);
  }

  /** The first run comes at a random moment of the interval, so that the checks of a host spread. */
  private schedule(monitor: Monitor, now: Millis): void {
    const { check } = monitor;
    const isTtl = check.type === 'ttl';
    monitor.expiresAt = isTtl ? now + check.ttlMs : never;
    monitor.runAt =
      isTtl || monitor.running ? never : now + Math.floor(this.random.next() * check.intervalMs);
    if (monitor.status === 'critical') this.startPatience(monitor, now);
  }

  private startPatience(monitor: Monitor, now: Millis): void {
    const patienceMs = monitor.check.deregisterCriticalAfterMs;
    if (patienceMs > 0 && monitor.serviceId !== '') monitor.deregisterAt = now + patienceMs;
  }

  private result(
    { checkId, status, output }: Extract<HealthInput, { type: 'result' }>,
    now: Millis,
    effects: HealthEffect[],
  ): void {
    const monitor = this.monitors.get(checkId);
    if (monitor === undefined) this.orphans.delete(checkId);
    if (!monitor?.running) return;
    monitor.running = false;
    if (monitor.stale) {
      monitor.stale = false;
      if (monitor.check.type !== 'ttl') monitor.runAt = now;
    } else {
      monitor.runAt = now + monitor.check.intervalMs;
      const reached = weigh(monitor, status);
      if (reached !== null) this.tell(monitor, reached, output, outputIntervalMs, now, effects);
    }
    this.wakeAt = Math.min(this.wakeAt, deadlineOf(monitor));
  }

  private report(
    { checkId, status, output }: Extract<HealthInput, { type: 'ttl' }>,
    now: Millis,
    effects: HealthEffect[],
  ): void {
    const monitor = this.monitors.get(checkId);
    if (monitor?.check.type !== 'ttl') return;
    monitor.expiresAt = now + monitor.check.ttlMs;
    this.tell(monitor, status, output, reportedOutputIntervalMs, now, effects);
    this.wakeAt = Math.min(this.wakeAt, deadlineOf(monitor));
  }

  /** Takes on a status and output; tells a new status at once, a new output when its turn has come. */
  private tell(
    monitor: Monitor,
    status: CheckStatus,
    output: string,
    everyMs: number,
    now: Millis,
    effects: HealthEffect[],
  ): void {
    const clipped = output.slice(0, maxOutputLength);
    const statusChanged = monitor.status !== status;
    const outputChanged = monitor.output !== clipped;
    monitor.status = status;
    monitor.output = clipped;
    if (status !== 'critical') monitor.deregisterAt = never;
    else if (statusChanged) this.startPatience(monitor, now);
    if (statusChanged || (outputChanged && now >= monitor.toldAt + everyMs)) this.say(monitor, now, effects);
    else if (outputChanged) monitor.outputDueAt = Math.min(monitor.outputDueAt, monitor.toldAt + everyMs);
  }

  private say(monitor: Monitor, now: Millis, effects: HealthEffect[]): void {
    const { check, serviceId, status, output } = monitor;
    monitor.toldAt = now;
    monitor.outputDueAt = never;
    effects.push({ type: 'status', checkId: check.id, serviceId, status, output });
  }

  /** Everything whose time has come, in the order of check ids. */
  private due(now: Millis, effects: HealthEffect[]): void {
    const due: Monitor[] = [];
    for (const monitor of this.monitors.values()) if (now >= deadlineOf(monitor)) due.push(monitor);
    due.sort((a, b) => byCodeUnit(a.check.id, b.check.id));
    const ending = new Set<string>();
    for (const monitor of due) {
      if (now >= monitor.expiresAt) this.expire(monitor, now, effects);
      if (now >= monitor.outputDueAt) this.say(monitor, now, effects);
      if (now >= monitor.deregisterAt) {
        monitor.deregisterAt = never;
        ending.add(monitor.serviceId);
      }
      if (now >= monitor.runAt) {
        monitor.runAt = never;
        monitor.running = true;
        effects.push({ type: 'run', check: monitor.check });
      }
    }
    for (const serviceId of ending) effects.push({ type: 'deregister', serviceId });
    this.wakeAt = this.earliestDeadline();
  }

  private expire(monitor: Monitor, now: Millis, effects: HealthEffect[]): void {
    monitor.expiresAt = never;
    const text = 'TTL expired';
    const last = monitor.output === '' ? '' : ` (last output before timeout follows): ${monitor.output}`;
    this.tell(monitor, 'critical', text + last, reportedOutputIntervalMs, now, effects);
  }

  private earliestDeadline(): Millis {
    let least = never;
    for (const monitor of this.monitors.values()) least = Math.min(least, deadlineOf(monitor));
    return least;
  }
}

function deadlineOf({ runAt, expiresAt, outputDueAt, deregisterAt }: Monitor): Millis {
  return Math.min(runAt, expiresAt, outputDueAt, deregisterAt);
}

function differs(known: Monitor, { serviceId, check }: MonitoredCheck): boolean {
  if (known.serviceId !== serviceId) return true;
  return known.check !== check && JSON.stringify(known.check) !== JSON.stringify(check);
}

/**
 * Counts a result; the status it leads to, or null while the threshold is not reached (Consul,
 * `StatusHandler.updateCheck`: a warning counts as a success).
 */
function weigh(monitor: Monitor, status: CheckStatus): CheckStatus | null {
  const { successBeforePassing, failuresBeforeWarning, failuresBeforeCritical } = monitor.check;
  if (status !== 'critical') {
    monitor.successes += 1;
    monitor.failures = 0;
    return monitor.successes >= successBeforePassing ? status : null;
  }
  monitor.failures += 1;
  monitor.successes = 0;
  if (monitor.failures >= failuresBeforeCritical) return 'critical';
  return monitor.failures >= failuresBeforeWarning ? 'warning' : null;
}
