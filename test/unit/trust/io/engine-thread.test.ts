import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { ed25519Verify, type HostId } from '../../../../src/core.ts';
import {
  describeEpoch,
  type EpochDescriptor,
  type EpochPlan,
} from '../../../../src/trust/epoch/descriptor.ts';
import { EngineThread } from '../../../../src/trust/io/engine-thread.ts';
import { Boots } from '../../../../src/trust/quorum/boots.ts';
import type { EngineOrder, EngineReport } from '../../../../src/trust/quorum/engine-port.ts';
import { decodeSecret } from '../../../../src/trust/quorum/held-shares.ts';
import { defaultEngineTimings } from '../../../../src/trust/quorum/run.ts';
import { inCrowdedProcess } from '../../../support/crowded.ts';
import { hostOf } from '../frost/parties.ts';
import { seedOf, trustDomain } from '../quorum/engines.ts';
import { dealing, genesis, planAfter, signing } from '../quorum/plans.ts';

const limited = { timeout: 60_000 };

type Of<T extends EngineReport['type']> = Extract<EngineReport, { type: T }>;

/** Threads that hear one another, each with a host of its own. */
class ThreadTable {
  readonly threads = new Map<HostId, EngineThread>();
  private readonly heard: { readonly host: HostId; readonly report: EngineReport }[] = [];
  private readonly waiting = new Set<() => void>();

  constructor(t: TestContext, labels: readonly string[]) {
    for (const label of labels) this.boot(label);
    t.after(() => Promise.all([...this.threads.values()].map((thread) => thread.stop())));
  }

  boot(label: string, restAfterMs?: number): EngineThread {
    const host = hostOf(label).publicKey;
    const data = { seed: seedOf(label), trustDomain, timings: defaultEngineTimings };
    const thread = new EngineThread(data, (report) => this.hear(host, report), restAfterMs);
    this.threads.set(host, thread);
    return thread;
  }

  private hear(host: HostId, report: EngineReport): void {
    if (report.type === 'send') {
      const { session, to, bytes } = report;
      this.threads.get(to)?.order({ type: 'deliver', session, from: host, bytes });
      return;
    }
    this.heard.push({ host, report });
    for (const look of this.waiting) look();
  }

  /** The first report of that type at a host, taken out. */
  async said<T extends EngineReport['type']>(host: HostId, type: T): Promise<Of<T>> {
    for (;;) {
      const at = this.heard.findIndex((said) => said.host === host && said.report.type === type);
      if (at !== -1) return this.heard.splice(at, 1)[0]!.report as Of<T>;
      await new Promise<void>((resolve) => {
        const look = (): void => {
          this.waiting.delete(look);
          resolve();
        };
        this.waiting.add(look);
      });
    }
  }

  async each<T extends EngineReport['type']>(type: T): Promise<Of<T>[]> {
    return Promise.all([...this.threads.keys()].map((host) => this.said(host, type)));
  }

  orderAll(orderOf: (host: HostId) => EngineOrder): void {
    for (const [host, thread] of this.threads) thread.order(orderOf(host));
  }

  /** Everybody's share of the plan's key, kept. */
  async deal(
    plan: EpochPlan,
    from: EpochDescriptor,
  ): Promise<{ readonly epoch: EpochDescriptor; readonly secrets: Map<HostId, Uint8Array> }> {
    this.orderAll(() => ({ type: 'begin', session: dealing(plan, from, null) }));
    const made = await this.each('established');
    const [first] = made;
    assert.ok(first !== undefined);
    const epoch = describeEpoch(plan, first.rootKey, first.outcome);
    for (const report of made) assert.deepEqual(report.outcome, first.outcome);
    this.orderAll(() => ({ type: 'kept', receipt: new Uint8Array(), session: epoch.session }));
    this.orderAll(() => ({ type: 'end', session: epoch.session }));
    return { epoch, secrets: new Map([...this.threads.keys()].map((host, i) => [host, made[i]!.secret])) };
  }
}

test('three threads make a key and sign with it, before and after a restart', limited, async (t) => {
  const table = new ThreadTable(t, ['h1', 'h2', 'h3']);
  const plan = planAfter(genesis, 2, ['h1', 'h2', 'h3']);
  const { epoch, secrets } = await table.deal(plan, genesis);
  for (const [host, secret] of secrets)
    assert.equal(decodeSecret(secret).share.seat, plan.trustees.indexOf(host) + 1);
  const sign = async (message: Buffer): Promise<void> => {
    const coordinator = plan.trustees[1]!;
    table.orderAll((host) => ({ type: 'begin', session: signing(epoch, host, coordinator, message) }));
    const { signature } = await table.said(coordinator, 'signed');
    assert.ok(ed25519Verify(epoch.rootKey, message, signature));
  };
  await sign(Buffer.from('an epoch'));

  const boots = new Set<string>();
  const offer = async (host: HostId): Promise<string> => {
    const requester = hostOf('requester').publicKey;
    table.threads.get(host)!.order({ type: 'offer', exchange: 7, requester, share: epoch.session });
    const { exchange, nonceId } = await table.said(host, 'offered');
    assert.equal(exchange, 7);
    return nonceId.split('-')[0]!;
  };
  for (const host of plan.trustees) boots.add(await offer(host));
  await Promise.all([...table.threads.values()].map((thread) => thread.stop()));
  for (const label of ['h1', 'h2', 'h3']) {
    const thread = table.boot(label);
    thread.order({ type: 'hold', name: epoch.session, secret: secrets.get(hostOf(label).publicKey)! });
  }
  await sign(Buffer.from('another epoch'));
  for (const host of plan.trustees) boots.add(await offer(host));
  assert.equal(boots.size, 6, 'each start is a boot of its own');
});

test(
  'a thread starts with the first order that needs one, and knows what it was given before',
  limited,
  async (t) => {
    const table = new ThreadTable(t, ['h1']);
    const [[host, thread]] = [...table.threads] as [[HostId, EngineThread]];
    const seed = seedOf('root');
    thread.order({ type: 'hold', name: 'genesis', secret: seed });
    thread.order({ type: 'hold', name: 'cd'.repeat(32), secret: seed });
    thread.order({ type: 'forget', names: ['cd'.repeat(32)] });
    thread.order({ type: 'kept', receipt: new Uint8Array(), session: 'cd'.repeat(32) });
    thread.order({ type: 'end', session: 'cd'.repeat(32) });
    assert.equal(thread.isRunning, false);
    assert.deepEqual(seed, seedOf('root'), 'what was given is still the giver’s');
    const message = Buffer.from('an epoch');
    thread.order({ type: 'begin', session: signing(genesis, host, host, message) });
    assert.equal(thread.isRunning, true);
    const { signature } = await table.said(host, 'signed');
    assert.ok(ed25519Verify(genesis.rootKey, message, signature));
    thread.order({ type: 'offer', exchange: 1, requester: host, share: 'cd'.repeat(32) });
    assert.equal((await table.said(host, 'declined')).code, 'share-unknown');
    await thread.stop();
    thread.order({ type: 'offer', exchange: 2, requester: host, share: 'genesis' });
    await thread.stop();
  },
);

test(
  'a thread that nobody asks ends, and the next order starts one that knows as much',
  limited,
  async (t) => {
    const table = new ThreadTable(t, []);
    for (const label of ['h1', 'h2', 'h3']) table.boot(label, 20);
    const plan = planAfter(genesis, 2, ['h1', 'h2', 'h3']);
    const { epoch } = await table.deal(plan, genesis);
    const coordinator = plan.trustees[1]!;
    for (const text of ['an epoch', 'another epoch']) {
      // Each turn looks again: nothing tells from outside that a thread has handed over what it held.
      while ([...table.threads.values()].some((thread) => thread.isRunning)) await setImmediate();
      const message = Buffer.from(text);
      const session = (host: HostId) => signing(epoch, host, coordinator, message);
      table.orderAll((host) => ({ type: 'begin', session: session(host) }));
      const { signature } = await table.said(coordinator, 'signed');
      assert.ok(ed25519Verify(epoch.rootKey, message, signature));
      table.orderAll((host) => ({ type: 'end', session: session(host).id }));
    }
  },
);

test(
  'a trustee that rests between requests stays one boot, and a copy beside it is noticed',
  limited,
  async (t) => {
    const table = new ThreadTable(t, []);
    for (const label of ['h1', 'h2', 'h3']) table.boot(label, 20);
    const { epoch, secrets } = await table.deal(planAfter(genesis, 2, ['h1', 'h2', 'h3']), genesis);
    const host = hostOf('h1').publicKey;
    const requester = hostOf('requester').publicKey;
    const original = table.threads.get(host)!;
    const copy = table.boot('h1', 20);
    t.after(() => original.stop());
    copy.order({ type: 'hold', name: epoch.session, secret: secrets.get(host)! });
    let exchange = 0;
    /** Its name for the nonces that it promises; they are used, so that it may rest. */
    const promised = async (thread: EngineThread): Promise<string> => {
      while (thread.isRunning) await setImmediate();
      const share = epoch.session;
      thread.order({ type: 'offer', exchange: ++exchange, requester, share });
      const { nonceId } = await table.said(host, 'offered');
      const [commitments, message] = [Buffer.from('junk'), Buffer.from('a message')];
      thread.order({ type: 'contribute', exchange, requester, share, nonceId, commitments, message });
      assert.notEqual((await table.said(host, 'declined')).code, 'nonce-unknown');
      return nonceId;
    };
    const boots = new Boots();
    const noticed: (string | null)[] = [];
    const observe = async (thread: EngineThread): Promise<void> => {
      const at = noticed.length * 60_000;
      noticed.push(boots.observe(host, await promised(thread), at, at + 1));
    };
    for (let i = 0; i < 3; i++) await observe(original);
    assert.deepEqual(noticed, [null, null, null], 'neither another boot nor the same nonces');
    await observe(copy);
    await observe(original);
    assert.match(noticed.at(-1) ?? '', /two of its boots/);
  },
);

test('one that was never needed stops at once', limited, async () => {
  const data = { seed: seedOf('h1'), trustDomain, timings: defaultEngineTimings };
  const thread = new EngineThread(data, () => assert.fail('it has nothing to say'));
  await thread.stop();
  assert.equal(thread.isRunning, false);
});

test('a deadline fires by the clock: a coordinator that nobody joins gives up', limited, async (t) => {
  const host = hostOf('h1').publicKey;
  const table = new ThreadTable(t, ['h1', 'h2', 'h3']);
  const { epoch, secrets } = await table.deal(planAfter(genesis, 2, ['h1', 'h2', 'h3']), genesis);
  const reports: EngineReport[] = [];
  let tell = (): void => {};
  const told = new Promise<void>((resolve) => {
    tell = resolve;
  });
  const data = { seed: seedOf('h1'), trustDomain, timings: { ...defaultEngineTimings, gatherMs: 50 } };
  const alone = new EngineThread(data, (report) => {
    reports.push(report);
    tell();
  });
  t.after(() => alone.stop());
  alone.order({ type: 'hold', name: epoch.session, secret: secrets.get(host)! });
  alone.order({ type: 'begin', session: signing(epoch, host, host, Buffer.from('an epoch')) });
  await told;
  assert.deepEqual(
    reports.map((report) => (report.type === 'failed' ? report.detail : report.type)),
    ['2 trustees must sign, and 1 are there'],
  );
});

test('a bug in the thread ends the process', limited, async () => {
  // An order of no known shape stands for a bug; the agent's thread never gives one.
  const script = `
    import { EngineThread } from ${JSON.stringify(import.meta.resolve('../../../../src/trust/io/engine-thread.ts'))};
    const data = { seed: new Uint8Array(32).fill(1), trustDomain: 'mesh.example', timings: {} };
    const thread = new EngineThread(data, () => {});
    thread.order({ type: 'begin', session: null });
  `;
  const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(script)}`));
  const [error] = await once(worker, 'error');
  assert.ok(error instanceof TypeError);
});

test(
  'a thread that cannot be started for want of descriptors is started once there are some',
  limited,
  async () => {
    const told = await inCrowdedProcess<string>(`
    import { EngineThread } from ${JSON.stringify(import.meta.resolve('../../../../src/trust/io/engine-thread.ts'))};
    import { defaultEngineTimings as timings } from ${JSON.stringify(import.meta.resolve('../../../../src/trust/quorum/run.ts'))};
    const data = { seed: new Uint8Array(32).fill(1), trustDomain: 'mesh.example', timings };
    const thread = new EngineThread(data, (report) => {
      console.log(JSON.stringify(report.type));
      thread.stop();
    });
    crowd();
    thread.order({ type: 'offer', exchange: 1, requester: 'ab'.repeat(32), share: 'none' });
    while (thread.isRunning) await new Promise(setImmediate);
    uncrowd();
  `);
    assert.equal(told, 'declined');
  },
);
