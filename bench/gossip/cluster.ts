/** N agents of one program, one a host, as the measurements see them. */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { Program } from '../../demo/flock.ts';
import { cpuMicroseconds } from '../processes.ts';
import type { Network } from './network.ts';
import { type Fact, Sightings } from './sightings.ts';

/** A small change that one agent is told of and all learn about. */
export interface Change {
  /** What it is, in the program's own words. */
  readonly kind: string;
  /** What the change of this round is called in the sightings. */
  label(writer: number, round: number): string;
  /** Has every agent watch for it; resolves once they do. */
  watch(writer: number, round: number): Promise<void>;
  write(writer: number, round: number): Promise<void>;
}

export interface JoinTimes {
  /** From the moment at which all processes, loaded and running, are let go, until the last agent sees all alive. */
  readonly allMs: number;
  /** CPU of one agent on average: until it is about to join, and from then on until all see all. */
  readonly startCpuSeconds: number;
  readonly joinCpuSeconds: number;
  /** The last words of those that gave up joining; each was made to try again. */
  readonly gaveUp: readonly string[];
}

/** Host 0 is the one that others join through, and is never harmed. */
export abstract class Cluster {
  abstract readonly name: string;
  abstract readonly changes: readonly Change[];
  readonly network: Network;
  readonly sightings: Sightings;
  private readonly programs = new Map<number, Program>();
  private readonly stopping = new AbortController();

  constructor(network: Network) {
    this.network = network;
    this.sightings = new Sightings(network.size);
  }

  get size(): number {
    return this.network.size;
  }

  get hosts(): number[] {
    return Array.from({ length: this.size }, (_, host) => host);
  }

  get pids(): number[] {
    return [...this.programs.values()].filter(({ running }) => running).map(({ pid }) => pid);
  }

  /** Gets all processes to where they join the first, lets them at once, and waits until everybody sees everybody. */
  abstract start(): Promise<JoinTimes>;

  /** Starts the agent of a host again after its process was killed. */
  abstract restart(host: number): Promise<void>;

  /** Whether this agent sees all alive now. */
  protected abstract seesAll(host: number): Promise<boolean>;

  /** Whether this agent does nothing any more that only follows from a join. */
  protected abstract isSettled(host: number): Promise<boolean>;

  /** What a line of an agent's output says, if anything. */
  protected abstract factIn(line: string): Fact | null;

  /** The file that the agents run, as the kernel has it: bin/starling chooses between sources and bundle. */
  get runs(): string {
    const words = readFileSync(`/proc/${this.program(0).pid}/cmdline`, 'utf8').split('\0');
    return words.find((word) => word.endsWith('.ts') || word.endsWith('.js')) ?? words[0]!;
  }

  program(host: number): Program {
    const program = this.programs.get(host);
    if (program === undefined) throw new Error(`no agent was started on host ${host}`);
    return program;
  }

  /** Starts an agent; what it prints becomes sightings from its first line on. */
  protected launch(host: number, command: string, args: readonly string[]): Program {
    this.stopping.signal.throwIfAborted();
    const program = new Program(...this.network.inside(host, command, args));
    this.sightings.forget(host);
    for (const stream of [program.child.stdout!, program.child.stderr!])
      createInterface({ input: stream }).on('line', (line) => {
        const fact = this.factIn(line);
        if (fact !== null) this.sightings.note(host, fact, performance.now());
      });
    this.programs.set(host, program);
    return program;
  }

  /** The time that `join` and the convergence after it take, and their CPU. */
  protected async timedJoin(join: () => Promise<readonly string[]>): Promise<JoinTimes> {
    const startCpuSeconds = cpuMicroseconds(this.pids) / 1e6 / this.size;
    const beginMs = performance.now();
    const gaveUp = await join();
    const allMs = await this.converged(beginMs, joinWithinMs);
    const joinCpuSeconds = cpuMicroseconds(this.pids) / 1e6 / this.size - startCpuSeconds;
    return { allMs, startCpuSeconds, joinCpuSeconds, gaveUp };
  }

  /** Resolves after `milliseconds`; rejects at once when the cluster is stopped. */
  pause(milliseconds: number): Promise<void> {
    return setTimeout(milliseconds, undefined, { signal: this.stopping.signal });
  }

  /** Resolves with the milliseconds since `sinceMs` at which the last agent saw all alive. */
  async converged(sinceMs: number, withinMs: number): Promise<number> {
    const deadlineMs = sinceMs + withinMs;
    const times = await Promise.all(this.hosts.map((host) => this.convergedAt(host, deadlineMs)));
    return Math.max(...times) - sinceMs;
  }

  /** Resolves once no agent is busy with what follows from a join; then idling is idling. */
  async settled(): Promise<void> {
    const deadlineMs = performance.now() + settleWithinMs;
    for (const host of this.hosts)
      while (!(await this.isSettled(host))) {
        if (performance.now() > deadlineMs) throw new Error(`the agent of host ${host} does not settle`);
        await this.pause(doubtfulPauseMs);
      }
  }

  /** An agent is asked often only once its own output makes it likely that it has seen all: asking costs it. */
  private async convergedAt(host: number, deadlineMs: number): Promise<number> {
    for (;;) {
      for (let waitedMs = 0; waitedMs < doubtfulPauseMs && !this.hasHeardOfAll(host); waitedMs += pauseMs)
        await this.pause(pauseMs);
      if (await this.seesAll(host)) return performance.now();
      const { running, stderr } = this.program(host);
      if (!running) throw new Error(`the agent of host ${host} ended: ${stderr.slice(-500)}`);
      if (performance.now() > deadlineMs)
        throw new Error(
          `the agent of host ${host} still sees ${this.sightings.livingSeenBy(host) + 1} of ${this.size}`,
        );
      await this.pause(pauseMs);
    }
  }

  protected hasHeardOfAll(host: number): boolean {
    return this.sightings.livingSeenBy(host) >= this.size - 1;
  }

  /** Kills every process, and waits for their end. */
  async stop(): Promise<void> {
    this.stopping.abort();
    this.sightings.close();
    await Promise.all([...this.programs.values()].map((program) => program.stop('SIGKILL')));
  }
}

const joinWithinMs = 240_000;
const settleWithinMs = 300_000;
const pauseMs = 20;
/** How often an agent is asked that seems not to have seen all. */
const doubtfulPauseMs = 2000;
