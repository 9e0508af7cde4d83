/**
 * What the thread of threshold cryptography costs a trustee: start, memory, and CPU time to make a root key, to
 * move it to new shares and to sign an epoch, all threads in this process: `bin/with-node bench/trust/engine.ts`.
 */
import { readFileSync } from 'node:fs';
import type { HostId } from '../../src/core.ts';
import { describeEpoch, type EpochDescriptor, type EpochPlan } from '../../src/trust/epoch/descriptor.ts';
import { EngineThread } from '../../src/trust/io/engine-thread.ts';
import type { EngineReport } from '../../src/trust/quorum/engine-port.ts';
import { defaultEngineTimings } from '../../src/trust/quorum/run.ts';
import { hostOf, range } from '../../test/unit/trust/frost/parties.ts';
import { seedOf, trustDomain } from '../../test/unit/trust/quorum/engines.ts';
import { dealing, genesis, planAfter, shareIn, signing } from '../../test/unit/trust/quorum/plans.ts';
import { median } from '../statistics.ts';

const sizes = [
  [2, 3],
  [3, 5],
  [4, 7],
] as const;
const rounds = 7;

function residentKb(): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]);
}

/** Threads that hear one another; `done` is told of what is not for another thread. */
class Threads {
  readonly byHost: ReadonlyMap<HostId, EngineThread>;
  done: (host: HostId, report: EngineReport) => void = () => {};

  constructor(labels: readonly string[]) {
    const start = (label: string): [HostId, EngineThread] => {
      const host = hostOf(label).publicKey;
      const data = { seed: seedOf(label), trustDomain, timings: defaultEngineTimings };
      return [host, new EngineThread(data, (report) => this.hear(host, report))];
    };
    this.byHost = new Map(labels.map(start));
  }

  private hear(from: HostId, report: EngineReport): void {
    if (report.type !== 'send') this.done(from, report);
    else {
      const { session, to, bytes } = report;
      this.byHost.get(to)!.order({ type: 'deliver', session, from, bytes });
    }
  }

  /** Resolves with the first of `count` reports of that type; any failure ends the bench. */
  until(type: EngineReport['type'], count: number): Promise<EngineReport> {
    return new Promise((resolve, reject) => {
      let seen = 0;
      this.done = (host, report) => {
        if (report.type === 'failed') reject(new Error(report.detail));
        if (report.type === 'established')
          this.byHost.get(host)!.order({ type: 'kept', receipt: new Uint8Array(), session: report.session });
        if (report.type === type && ++seen === count) resolve(report);
      };
    });
  }

  async wake(): Promise<void> {
    const all = this.until('declined', this.byHost.size);
    for (const thread of this.byHost.values())
      thread.order({ type: 'offer', exchange: 0, requester: '', share: 'none' });
    await all;
  }

  async stop(): Promise<void> {
    for (const thread of this.byHost.values()) await thread.stop();
  }
}

interface Cost {
  readonly cpuMs: number;
  readonly wallMs: number;
}

async function costOf(act: () => Promise<unknown>): Promise<Cost> {
  const before = process.cpuUsage();
  const startedAt = performance.now();
  await act();
  const { user, system } = process.cpuUsage(before);
  return { cpuMs: (user + system) / 1000, wallMs: performance.now() - startedAt };
}

function report(what: string, costs: readonly Cost[], hosts: number): void {
  const cpuMs = median(costs.map((cost) => cost.cpuMs)) / hosts;
  const wallMs = median(costs.map((cost) => cost.wallMs));
  console.log(
    `${what.padEnd(56)}${cpuMs.toFixed(1).padStart(8)} ms CPU a host${wallMs.toFixed(1).padStart(9)} ms`,
  );
}

async function deal(threads: Threads, plan: EpochPlan, from: EpochDescriptor): Promise<EpochDescriptor> {
  const made = threads.until('established', plan.trustees.length);
  for (const [host, thread] of threads.byHost)
    thread.order({ type: 'begin', session: dealing(plan, from, shareIn(from, host)) });
  const first = await made;
  if (first.type !== 'established') throw new Error('a dealing establishes shares');
  return describeEpoch(plan, first.rootKey, first.outcome);
}

for (const [threshold, count] of sizes) {
  const labels = range(1, count).map((i) => `h${i}`);
  const residentBefore = residentKb();
  const threads = new Threads(labels);
  const started = await costOf(() => threads.wake());
  console.log(`\n${threshold} of ${count}`);
  report('start all threads', [started], count);
  const made: Cost[] = [];
  const moved: Cost[] = [];
  const signed: Cost[] = [];
  for (let round = 0; round < rounds; round++) {
    let epoch = genesis;
    const generate = planAfter(genesis, threshold, labels);
    made.push(
      await costOf(async () => {
        epoch = await deal(threads, generate, genesis);
      }),
    );
    const reshare = planAfter(epoch, threshold, labels, labels.slice(0, threshold));
    moved.push(
      await costOf(async () => {
        epoch = await deal(threads, reshare, epoch);
      }),
    );
    const coordinator = epoch.plan.trustees[0]!;
    const message = Buffer.from(`epoch ${round}`);
    signed.push(
      await costOf(async () => {
        const done = threads.until('signed', 1);
        for (const [host, thread] of threads.byHost)
          thread.order({ type: 'begin', session: signing(epoch, host, coordinator, message) });
        await done;
      }),
    );
    for (const thread of threads.byHost.values())
      for (const session of [generate, reshare].map((plan) => dealing(plan, genesis, null).id)) {
        thread.order({ type: 'end', session });
        thread.order({ type: 'forget', names: [session] });
      }
  }
  report('first key', made.slice(0, 1), count);
  report('make a key', made, count);
  report('move it to new shares', moved, count);
  report('sign an epoch', signed, count);
  const megabytes = (residentKb() - residentBefore) / 1024 / count;
  console.log(`${'resident memory a thread, at the end'.padEnd(56)}${megabytes.toFixed(1).padStart(8)} MB`);
  await threads.stop();
}
