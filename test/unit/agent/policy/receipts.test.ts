/** Whether a write holds everywhere: what proxies have taken on, and what their agents tell of it. */
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { Command } from 'commander';
import { Catalog } from '../../../../src/agent/catalog/catalog.ts';
import { parseDuration } from '../../../../src/agent/consul/duration.ts';
import { addConfigCommands } from '../../../../src/agent/io/cli/config-commands.ts';
import { CONFIG_ENTRY, HOST, POLICY_RECEIPT } from '../../../../src/agent/kinds.ts';
import { noPolicyRevision, Policies } from '../../../../src/agent/policy/policy.ts';
import { policyReceiptOf, Receipts } from '../../../../src/agent/policy/receipts.ts';
import { Fault, type Random, seededRandom } from '../../../../src/core.ts';
import type { MemberState } from '../../../../src/gossip/port.ts';
import type { ProxyConfig } from '../../../../src/proxy/config.ts';
import { hostValue } from '../../../support/agent.ts';
import { recordOf } from '../../../support/records.ts';

const [self, two, three] = ['a', 'b', 'c'].map((digit) => digit.repeat(64)) as [string, string, string];
let policies: Policies;
let catalog: Catalog;
let receipts: Receipts;
const told = new Map<string, string>();
/** The latest that a receipt is told after it is due. */
const latest: Random = { next: () => 1 };

beforeEach(() => {
  policies = new Policies(() => true);
  catalog = new Catalog();
  receipts = new Receipts(policies, catalog, latest);
  told.clear();
  for (const [id, name] of [
    [self, 'one'],
    [two, 'two'],
    [three, 'three'],
  ] as const) {
    catalog.record(id, HOST, '', hostValue(name, '10.0.0.1'));
    state(id, 'alive');
  }
});

function state(id: string, now: MemberState): void {
  catalog.member({ id, state: now, incarnation: 0, since: 0, roundTripMs: null });
}

const written = (key: string, version: number, value: object | null = {}) =>
  recordOf({ kind: CONFIG_ENTRY, scope: 'policy', key, version, value });

function write(key: string, version: number, value: object | null = {}): void {
  policies.record(written(key, version, value), value, version);
}

const config = (): ProxyConfig => ({}) as ProxyConfig;
const asked = (revision: string | null = null) =>
  receipts.convergence(revision, self, (host) => told.get(host) ?? null, 0);

test('a revision names what all entries say together, in whatever order it came', () => {
  assert.equal(policies.revision, noPolicyRevision);
  write('service-defaults/a', 1);
  const one = policies.revision;
  write('service-defaults/b', 2);
  const both = policies.revision;
  const other = new Policies(() => true);
  for (const [key, version] of [
    ['service-defaults/b', 2],
    ['service-defaults/a', 1],
  ] as const)
    other.record(written(key, version), {}, version);
  assert.equal(other.revision, both);
  assert.equal(new Set([noPolicyRevision, one, both]).size, 3);
  write('service-defaults/b', 3, null);
  assert.notEqual(policies.revision, one, 'a deletion is a record, too');
});

test('a host tells what its proxy serves by, not what it was only given, and not too often', () => {
  assert.equal(receipts.nextWake(), null, 'nothing to tell where there is no policy');
  write('service-defaults/a', 1);
  const first = config();
  receipts.compiled(first, 1000);
  assert.deepEqual(receipts.wake(1000), []);
  receipts.configured(config(), 1000);
  assert.equal(receipts.nextWake(), null, 'another configuration is not the one that is waited for');
  receipts.configured(first, 1000);
  assert.equal(receipts.nextWake(), 1000 + 3 * 40);
  assert.deepEqual(receipts.wake(1119), []);
  assert.deepEqual(receipts.wake(1120), [
    { kind: POLICY_RECEIPT, key: '', value: { revision: policies.revision } },
  ]);
  assert.equal(receipts.nextWake(), null);
  write('service-defaults/a', 2);
  receipts.compiled(null, 1121);
  assert.deepEqual(receipts.wake(1121), []);
  assert.equal(receipts.nextWake(), 1620);
  write('service-defaults/a', 3);
  receipts.compiled(null, 1600);
  assert.equal(receipts.nextWake(), 1620, 'writes that follow do not put it off');
  assert.deepEqual(receipts.wake(1620)[0]?.value, { revision: policies.revision });
  assert.equal(receipts.nextWake(), null);
});

/** `hosts` of them in all. */
function enlarge(hosts: number, now: MemberState): void {
  for (let n = catalog.allHosts().length; n < hosts; n++) {
    const id = n.toString(16).padStart(64, '0');
    catalog.record(id, HOST, '', hostValue(`host-${n}`, '10.0.0.1'));
    state(id, now);
  }
}

/** When so many hosts tell what all of them took on, now and again after a rest: milliseconds. */
function toldAfterMs(hosts: number): number[][] {
  write('service-defaults/a', 1);
  const all = Array.from({ length: hosts }, (_, seed) => new Receipts(policies, catalog, seededRandom(seed)));
  return [1_000_000, 5_000_000].map((now, round) => {
    write('service-defaults/a', round + 2);
    for (const one of all) one.compiled(null, now);
    const dueMs = all.map((one) => one.nextWake()! - now);
    for (const one of all) assert.equal(one.wake(now + 40 * hosts).length, 1);
    return dueMs;
  });
}

test('the hosts of a mesh that take a write on at once tell of it one after the other', () => {
  const hosts = 120;
  enlarge(hosts, 'alive');
  for (const dueMs of toldAfterMs(hosts)) {
    const perSecond = new Map<number, number>();
    for (const ms of dueMs)
      perSecond.set(Math.floor(ms / 1000), (perSecond.get(Math.floor(ms / 1000)) ?? 0) + 1);
    const most = Math.max(...perSecond.values());
    assert.ok(most < 50, `${most} receipts in one second`);
  }
});

test('hosts that are down, which are waited for without end, hold up nobody’s receipt', () => {
  enlarge(100, 'down');
  write('service-defaults/a', 1);
  receipts.compiled(null, 1_000_000);
  assert.equal(receipts.nextWake(), 1_000_000 + 3 * 40);
});

test('also in a mesh of a thousand all have told well before `apply --wait` gives up', () => {
  enlarge(1000, 'alive');
  const program = new Command();
  addConfigCommands(program);
  const apply = program.commands.find((command) => command.name() === 'apply');
  const { timeout } = apply!.opts<{ timeout: string }>();
  for (const dueMs of toldAfterMs(1000))
    assert.ok(Math.max(...dueMs) <= parseDuration(timeout, 'timeout') / 2);
});

test('a policy that changes nothing for the data plane waits for the change before it', () => {
  write('service-defaults/a', 1);
  const given = config();
  receipts.compiled(given, 0);
  write('service-intentions/b', 2);
  receipts.compiled(null, 5);
  assert.equal(receipts.applied, noPolicyRevision);
  receipts.configured(given, 9);
  assert.equal(receipts.applied, policies.revision);
});

test('who is behind is named; who is gone is not waited for; who is ahead is not behind', () => {
  write('service-defaults/a', 1);
  receipts.compiled(null, 0);
  const wanted = policies.revision;
  assert.deepEqual(asked(wanted).pending, ['three', 'two']);
  told.set(two, wanted);
  state(three, 'suspect');
  assert.deepEqual(asked(wanted).pending, ['three']);
  state(three, 'down');
  const answer = asked(wanted);
  assert.deepEqual([answer.converged, answer.pending], [true, []]);
  assert.deepEqual(
    answer.hosts.map(({ name, applied }) => [name, applied]),
    [
      ['one', true],
      ['three', false],
      ['two', true],
    ],
  );
  write('service-defaults/a', 2);
  receipts.compiled(null, 1);
  told.set(two, policies.revision);
  assert.equal(asked(wanted).converged, true);
  assert.equal(asked().converged, true);
  told.set(two, wanted);
  assert.deepEqual(asked().pending, ['two']);
});

test('a revision that this host never held cannot be asked about', () => {
  assert.throws(
    () => asked('f'.repeat(16)),
    (error: unknown) => error instanceof Fault && error.code === 'unknown-revision',
  );
});

test('the lag is from signature to service, and what was there at the start has none', () => {
  write('service-defaults/a', 1000);
  receipts.compiled(null, 9_000_000);
  assert.equal(receipts.lagMs, null);
  write('service-defaults/a', 2000);
  receipts.compiled(null, 2040);
  assert.equal(receipts.lagMs, 40);
});

test('a receipt that is not understood is none', () => {
  const receipt = (value: object | null) =>
    policyReceiptOf(two, () => recordOf({ kind: POLICY_RECEIPT, author: two, value }));
  assert.equal(receipt({ revision: '0123456789abcdef' }), '0123456789abcdef');
  assert.equal(receipt({ revision: 'latest' }), null);
  assert.equal(receipt(null), null);
  assert.equal(
    policyReceiptOf(two, () => undefined),
    null,
  );
});
