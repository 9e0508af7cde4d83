/** Engines that hear one another over a network that a test can tamper with; time stands still unless told. */
import assert from 'node:assert/strict';
import type { HostId, Millis } from '../../../../src/core.ts';
import type { CryptoSession } from '../../../../src/trust/epoch/crypto-port.ts';
import {
  describeEpoch,
  type EpochDescriptor,
  type EpochPlan,
} from '../../../../src/trust/epoch/descriptor.ts';
import { maxRelayBytes, maxRelaySequence } from '../../../../src/trust/epoch/message.ts';
import type { ThresholdEngine } from '../../../../src/trust/quorum/engine.ts';
import type { EngineOrder, EngineReport } from '../../../../src/trust/quorum/engine-port.ts';
import { hostOf } from '../frost/parties.ts';
import { engineOf } from './engines.ts';
import { dealing, shareIn, signing } from './plans.ts';

type Of<T extends EngineReport['type']> = Extract<EngineReport, { type: T }>;
type Send = Of<'send'>;

function takesPart(session: CryptoSession, host: HostId): boolean {
  if (session.kind === 'sign') return session.coordinator === host || session.share !== null;
  return session.plan.trustees.includes(host) || session.plan.dealers.includes(host);
}

export class EngineTable {
  readonly engines = new Map<HostId, ThresholdEngine>();
  /** All but what went to another engine. */
  readonly reports: { readonly host: HostId; readonly report: EngineReport }[] = [];
  /** What was sent in each session between each two hosts: how much, and the largest. */
  readonly traffic = new Map<string, { count: number; largestBytes: number }>();
  now: Millis = 0;
  /** Changes what is on its way; null drops it. */
  tamper: (from: HostId, send: Send) => Send | null = (_from, send) => send;
  /** Whether shares are kept once they are reported. */
  keeps = true;
  private readonly queue: { readonly from: HostId; readonly send: Send }[] = [];

  constructor(labels: readonly string[]) {
    for (const label of labels) this.boot(label);
  }

  /** Starts a host, or starts it again with nothing but what it is then given to hold. */
  boot(label: string, boot = 1): ThresholdEngine {
    const engine = engineOf(label, boot);
    this.engines.set(hostOf(label).publicKey, engine);
    return engine;
  }

  order(host: HostId, order: EngineOrder | { readonly type: 'wake' }): void {
    const engine = this.engines.get(host);
    if (engine !== undefined) for (const report of engine.step(order, this.now)) this.hear(host, report);
  }

  private hear(host: HostId, report: EngineReport): void {
    if (report.type !== 'send') {
      this.reports.push({ host, report });
      if (report.type === 'established' && this.keeps)
        this.order(host, { type: 'kept', receipt: new Uint8Array(), session: report.session });
      return;
    }
    const path = `${report.session} ${host} ${report.to}`;
    const seen = this.traffic.get(path) ?? { count: 0, largestBytes: 0 };
    seen.count++;
    seen.largestBytes = Math.max(seen.largestBytes, report.bytes.length);
    this.traffic.set(path, seen);
    const sent = this.tamper(host, report);
    if (sent !== null) this.queue.push({ from: host, send: sent });
  }

  deliver(): this {
    for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) {
      const { session, to, bytes } = next.send;
      this.order(to, { type: 'deliver', session, from: next.from, bytes });
    }
    return this;
  }

  /** Time passes until nobody waits for anything. */
  finish(): this {
    for (let wakes = 0; wakes < 100; wakes++) {
      const deadlines = [...this.engines.values()].map(
        (engine) => engine.nextWake() ?? Number.POSITIVE_INFINITY,
      );
      const next = Math.min(...deadlines);
      if (next === Number.POSITIVE_INFINITY) return this;
      this.now = next;
      for (const [host, engine] of this.engines)
        if ((engine.nextWake() ?? Number.POSITIVE_INFINITY) <= next) this.order(host, { type: 'wake' });
      this.deliver();
    }
    assert.fail('it never ends');
  }

  /** At all who take part. */
  beginAll(sessionOf: (host: HostId) => CryptoSession): this {
    for (const host of this.engines.keys()) {
      const session = sessionOf(host);
      if (takesPart(session, host)) this.order(host, { type: 'begin', session });
    }
    return this.deliver();
  }

  said<T extends EngineReport['type']>(type: T): { readonly host: HostId; readonly report: Of<T> }[] {
    return this.reports.filter((said) => said.report.type === type) as {
      readonly host: HostId;
      readonly report: Of<T>;
    }[];
  }

  /** Carries a plan out; nobody may fail. */
  deal(plan: EpochPlan, from: EpochDescriptor): EpochDescriptor {
    this.beginAll((host) => dealing(plan, from, shareIn(from, host)));
    assert.deepEqual(this.said('failed'), []);
    const id = dealing(plan, from, null).id;
    const made = this.said('established').filter(({ report }) => report.session === id);
    assert.deepEqual(made.map(({ host }) => host).sort(), [...plan.trustees].sort());
    const { rootKey, outcome } = made[0]!.report;
    for (const { report } of made) {
      assert.equal(report.rootKey, rootKey);
      assert.deepEqual(report.outcome, outcome);
    }
    for (const host of this.engines.keys()) this.order(host, { type: 'end', session: id });
    return describeEpoch(plan, rootKey, outcome);
  }

  secretOf(host: HostId, { session }: EpochDescriptor): Uint8Array {
    const made = this.said('established').find(
      (said) => said.host === host && said.report.session === session,
    );
    assert.ok(made !== undefined);
    return made.report.secret;
  }

  beginSigning(from: EpochDescriptor, coordinator: HostId, message: Uint8Array): this {
    return this.beginAll((host) => signing(from, host, coordinator, message));
  }

  /** No message is larger, and no session takes more of them, than the agreement carries. */
  assertCarried(): void {
    for (const [path, { count, largestBytes }] of this.traffic) {
      assert.ok(count <= maxRelaySequence, `${count} messages on ${path}`);
      assert.ok(largestBytes <= maxRelayBytes, `${largestBytes} bytes on ${path}`);
    }
  }
}
