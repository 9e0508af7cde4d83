/**
 * One running process: a machine, driven exactly as the real shell drives it. One input at a time, every
 * effect of it carried out in order, then the next input; woken when its own deadline has come.
 */
import { type Machine, messageOf } from '../../src/core.ts';
import { Violation } from '../checks/violation.ts';
import type { Trace } from '../trace.ts';
import type { World } from '../world.ts';
import type { HostClock } from './clock.ts';

/** A machine that asks to be woken so often at one instant will never let time pass. */
const wakesAtOneInstantMax = 1_000;
/** What waits for a frozen process. Real kernels hold a few megabytes of socket buffers; more is dropped. */
const backlogMax = 50_000;

export interface ProcessParts<I, E> {
  readonly world: World;
  readonly clock: HostClock;
  readonly machine: Machine<I, E>;
  /** For the trace and for violations. */
  readonly host: number;
  readonly wake: I;
  /** Carries out one effect; may feed inputs, which then wait their turn. */
  perform(effect: E): void;
  /** Adds what identifies the input to the trace: its type and bytes. */
  describe(input: I, trace: Trace): void;
}

export class Process<I, E> {
  private readonly parts: ProcessParts<I, E>;
  private readonly inbox: I[] = [];
  private readonly backlog: I[] = [];
  private draining = false;
  private alive = true;
  private frozen = false;
  /** World time of the wake event under way; infinite when there is none. */
  private wakeScheduledAt = Number.POSITIVE_INFINITY;
  private wakesAtOneInstant = 0;
  private lastWakeAt = 0;
  /** How many inputs this process handled. */
  steps = 0;
  /** The most inputs that ever waited while one was handled. */
  longestInbox = 0;

  constructor(parts: ProcessParts<I, E>) {
    this.parts = parts;
  }

  get isAlive(): boolean {
    return this.alive;
  }

  /** Hands over an input now, or when the process thaws. A dead process takes none. */
  feed(input: I): void {
    if (!this.alive) return;
    if (this.frozen) {
      if (this.backlog.length < backlogMax) this.backlog.push(input);
      return;
    }
    this.inbox.push(input);
    this.longestInbox = Math.max(this.longestInbox, this.inbox.length);
    this.drain();
  }

  /** The process is gone: what it had not done yet is never done. */
  kill(): void {
    this.alive = false;
    this.inbox.length = 0;
    this.backlog.length = 0;
  }

  /** Stops it, as SIGSTOP or a starved machine does. */
  freeze(): void {
    this.frozen = true;
  }

  thaw(): void {
    if (!this.frozen || !this.alive) return;
    this.frozen = false;
    // An overdue timer runs before the sockets are read, as in an event loop.
    this.wakeIfDue();
    for (const input of this.backlog.splice(0)) this.inbox.push(input);
    this.drain();
  }

  private drain(): void {
    if (this.draining) return;
    this.draining = true;
    try {
      for (let next = 0; next < this.inbox.length && this.alive && !this.frozen; next++)
        this.step(this.inbox[next]!);
    } finally {
      this.inbox.length = 0;
      this.draining = false;
    }
    if (this.alive && !this.frozen) this.scheduleWake();
  }

  private step(input: I): void {
    const { world, clock, machine, host } = this.parts;
    world.trace.double(world.elapsedMs).integer(host);
    this.parts.describe(input, world.trace);
    this.steps++;
    for (const effect of this.stepOrViolate(machine, input, clock.local(world.now))) {
      if (!this.alive) return;
      this.parts.perform(effect);
    }
  }

  /** Whatever reaches a machine, it never throws: an exception here would have stopped a real agent. */
  private stepOrViolate(machine: Machine<I, E>, input: I, now: number): readonly E[] {
    try {
      return machine.step(input, now);
    } catch (error) {
      const detail = error instanceof Error ? (error.stack ?? error.message) : messageOf(error);
      throw new Violation('no-crash', this.parts.world, `host ${this.parts.host}: ${detail}`, error);
    }
  }

  private scheduleWake(): void {
    const { world, clock, machine } = this.parts;
    const wakeAt = machine.nextWake();
    if (wakeAt === null) return;
    // Clocks show whole milliseconds; a deadline between two is met at the second.
    const worldTime = Math.max(world.now, clock.worldTime(Math.ceil(wakeAt)));
    if (worldTime >= this.wakeScheduledAt) return;
    this.wakeScheduledAt = worldTime;
    world.at(worldTime, () => {
      if (this.wakeScheduledAt !== worldTime) return;
      this.wakeScheduledAt = Number.POSITIVE_INFINITY;
      if (!this.alive || this.frozen) return;
      this.wakeIfDue();
    });
  }

  private wakeIfDue(): void {
    const { world, clock, machine, host, wake } = this.parts;
    const wakeAt = machine.nextWake();
    if (wakeAt === null) return;
    if (wakeAt > clock.local(world.now)) {
      this.scheduleWake();
      return;
    }
    this.wakesAtOneInstant = this.lastWakeAt === world.now ? this.wakesAtOneInstant + 1 : 0;
    this.lastWakeAt = world.now;
    if (this.wakesAtOneInstant > wakesAtOneInstantMax)
      throw new Violation('progress', world, `host ${host} asks to be woken at ${wakeAt} again and again`);
    this.feed(wake);
  }
}
