/** The root in many hands, simulated: what is promised of it is kept, and what breaks a promise is noticed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Keeper, TrustLedger } from '../../sim/checks/trust-ledger.ts';
import { Violation } from '../../sim/checks/violation.ts';
import type { Sabotage } from '../../sim/flock.ts';
import type { Scenario } from '../../sim/plan.ts';
import { type RunReport, run } from '../../sim/run.ts';
import { basePlan, ordinaryBounds, sharedRoot } from '../../sim/scenarios/common.ts';
import { scenarios } from '../../sim/scenarios/index.ts';
import { open } from '../../src/agent/envelope.ts';
import {
  describeEpoch,
  type EpochPlan,
  genesisEpoch,
  statementOf,
} from '../../src/trust/epoch/descriptor.ts';
import { createRecord } from '../../src/trust/epoch/record.ts';
import { leafFieldsOf } from '../../src/trust/issuance/issuance.ts';
import { parseCsr } from '../../src/trust/x509/csr.ts';
import { assembleCertificate, buildLeafTbs, pemOf } from '../../src/trust/x509/x509.ts';
import { foundedState, genesis, rootSigner, signerOf, startedAt } from '../unit/trust/mesh.ts';
import { csrOf } from '../unit/trust/quorum/leaves.ts';

function play(name: string, hosts: number, seed: number, log?: (line: string) => void): RunReport {
  return run({ scenario: scenarios.get(name)!, hosts, seed, ...(log === undefined ? {} : { log }) });
}

test('a mesh grows, replaces its root and renews its certificates under every fault', () => {
  const first = play('trust', 7, 3);
  assert.ok(first.trust.roots >= 3, `${first.trust.roots} roots: that of the founder, a shared one, another`);
  assert.ok(first.trust.epochs >= 3, `${first.trust.epochs} epochs`);
  assert.ok(first.trust.byQuorum > 30, `${first.trust.byQuorum} certificates by a quorum`);
  assert.notEqual(first.certifiedMs, null, 'a quorum is left');
  assert.equal(first.falseDowns, 0);
});

test('a trustee that lies is named, and keeps nobody from certificates', () => {
  const events = new Set<string>();
  const report = play('trust-traitor', 6, 7, (line) => events.add(line.split(' ')[3]!));
  assert.ok(report.trust.byQuorum > 30, `${report.trust.byQuorum} certificates by a quorum`);
  assert.ok(events.has('trustee-blamed'), 'for a wrong share of a signature');
  assert.ok(events.has('epoch-blamed'), 'for wrong dealings');
  assert.equal(report.falseDowns, 0);
});

test('a quorum that is lost for good is brought back, to the same root or to another', () => {
  for (const [seed, roots] of [
    [4, 2],
    [1, 3],
  ] as const) {
    const report = play('recovery', 8, seed);
    assert.equal(report.trust.roots, roots, 'the same where shares were put away');
    assert.ok(report.rescuedMs !== null && report.rescuedMs < 60_000, `${report.rescuedMs} ms`);
    assert.notEqual(report.certifiedMs, null, 'a quorum is here again');
  }
});

test('a quorum that is lost, and that nobody brings back, is noticed', () => {
  const recovery = scenarios.get('recovery')!;
  const helpless: Scenario = {
    ...recovery,
    bounds: { ...recovery.bounds, certifyMs: 1_000 },
    plan: (hosts, random) => ({ ...recovery.plan(hosts, random), activeMs: 101_000 }),
  };
  assert.throws(() => run({ scenario: helpless, hosts: 6, seed: 2 }), breaks('certification'));
});

/** Three hosts, whose certificates last a minute. */
const threeHosts: Scenario = {
  name: 'three',
  summary: 'three hosts share a root',
  bounds: ordinaryBounds,
  plan: (hosts, random) => ({
    ...basePlan(hosts, random, 500),
    trust: { ...sharedRoot, svidTtlMs: 60_000 },
    activeMs: 120_000,
  }),
};

function violationOf(sabotage: Sabotage): Violation {
  try {
    run({ scenario: threeHosts, hosts: 3, seed: 1, sabotage });
  } catch (error) {
    if (error instanceof Violation) return error;
    throw error;
  }
  return assert.fail('no checker noticed');
}

test('certificates that run out while a quorum is within reach are noticed', () => {
  const report = run({ scenario: threeHosts, hosts: 3, seed: 1 });
  assert.equal(report.trust.roots, 2, 'unbroken, the root is shared');
  const again = run({ scenario: threeHosts, hosts: 3, seed: 1 });
  assert.equal(again.traceHash, report.traceHash, 'cryptography and all, the same seed is the same run');
  const isQuorum = (frame: Uint8Array): boolean => open(frame).room.startsWith('quorum');
  const violation = violationOf((_from, _to, frame, elapsedMs) => elapsedMs > 30_000 && isQuorum(frame));
  assert.equal(violation.checker, 'uncertified', violation.message);
});

test('trustees who never come to an agreement are noticed', () => {
  const violation = violationOf((_from, _to, frame) => open(frame).room === 'epoch');
  assert.equal(violation.checker, 'certification', violation.message);
});

// --- The ledger by itself ---

const trustees = ['one', 'two', 'three'].map(signerOf);
const state = foundedState();

function keeper(number: number): Keeper {
  const id = trustees[number]!.publicKey;
  return { number, name: `host-${number}`, id, now: startedAt, agent: { trust: state } };
}

function planOf(change: Partial<EpochPlan> = {}): EpochPlan {
  const before = genesisEpoch(genesis.hash, genesis.founder, genesis.root.publicKey, genesis.createdAt);
  const hosts = trustees.map(({ publicKey }) => publicKey);
  return {
    mesh: genesis.hash,
    epoch: 1,
    previous: before.hash,
    generation: 1,
    kind: 'generate',
    threshold: 2,
    trustees: hosts,
    dealers: hosts,
    ballot: 1,
    proposedAt: startedAt,
    cold: null,
    coldDealt: 0,
    formers: [],
    weakest: 2,
    ...change,
  };
}

const shared = signerOf('a shared root');
const epochOf = (plan: EpochPlan, key = shared.publicKey) => describeEpoch(plan, key, new Uint8Array());

function enter(ledger: TrustLedger, number: number, epoch: ReturnType<typeof epochOf>): void {
  const { bytes: value } = createRecord(epoch, [], new Uint8Array(64));
  const key = `epoch/record/${String(epoch.plan.epoch).padStart(16, '0')}`;
  ledger.wrote(keeper(number), [{ type: 'put', key, value }]);
}

function ledger(): TrustLedger {
  return new TrustLedger({ elapsedMs: 0 }, 3_600_000);
}

const breaks = (checker: string) => (error: unknown) =>
  error instanceof Violation && error.checker === checker;

test('two successors of one epoch are noticed, and two keys of one root', () => {
  const seen = ledger();
  enter(seen, 0, epochOf(planOf()));
  enter(seen, 1, epochOf(planOf()));
  assert.throws(() => enter(seen, 2, epochOf(planOf({ ballot: 2 }))), breaks('one-successor'));
  const other = epochOf(planOf({ epoch: 7 }), signerOf('another').publicKey);
  assert.throws(() => enter(seen, 2, other), breaks('one-successor'));
});

/** Host `number` lends its share of `epoch` to what is signed. */
function lend(seen: TrustLedger, number: number, share: string, message: Uint8Array): void {
  const host = keeper(number);
  const order = {
    exchange: 5,
    requester: host.id,
    share,
    nonceId: '',
    commitments: new Uint8Array(),
    message,
  };
  seen.ordered(host, { type: 'contribute', ...order });
  seen.reported(host, { type: 'contributed', exchange: 5, share: new Uint8Array(32) });
}

test('a certificate that fewer trustees signed than must is noticed, and one that its host may not have', () => {
  state.bundle.learn(new Map([[0, genesis.root.publicKey]]));
  const root = { ...genesis.root, generation: 1, publicKey: shared.publicKey };
  const leafOf = (signer: typeof shared, issuer: typeof root) => {
    const request = { issuedAt: startedAt, ttlMs: 3_600_000 };
    const fields = leafFieldsOf(request, parseCsr(csrOf('api')), issuer, keeper(0).id);
    const tbs = buildLeafTbs(fields);
    return {
      tbs,
      identity: { service: 'api', keyPem: '', certPem: pemOf(assembleCertificate(tbs, signer.sign(tbs))) },
    };
  };
  const byGenesis = leafOf(rootSigner, genesis.root).identity;
  ledger().certified(keeper(0), byGenesis, true);
  assert.throws(() => ledger().certified(keeper(0), byGenesis, false), breaks('certificate'));
  assert.throws(
    () => new TrustLedger({ elapsedMs: 0 }, 60_000).certified(keeper(0), byGenesis, true),
    breaks('certificate'),
  );
  const byStranger = leafOf(signerOf('a stranger'), root).identity;
  assert.throws(() => ledger().certified(keeper(0), byStranger, true), breaks('certificate'));

  const epoch = epochOf(planOf());
  const { tbs } = leafOf(shared, root);
  const next = epochOf(planOf({ epoch: 2, kind: 'reshare', previous: epoch.hash, ballot: 3 }));
  for (const lenders of [[], [0], [0, 0], [0, 1]]) {
    const seen = ledger();
    enter(seen, 0, epoch);
    for (const number of lenders) {
      lend(seen, number, epoch.session, tbs);
      lend(seen, number, epoch.session, statementOf(next));
    }
    if (new Set(lenders).size < 2) assert.throws(() => enter(seen, 0, next), breaks('quorum'));
    else enter(seen, 0, next);
  }
});
