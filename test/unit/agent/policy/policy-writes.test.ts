/** Policy among whole agents: two operators at once, a host that does not follow, a clock that is wrong. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfigEntry } from '../../../../src/agent/entries/entry.ts';
import { type EntryVersion, historyOf } from '../../../../src/agent/entries/history.ts';
import { CONFIG_ENTRY } from '../../../../src/agent/kinds.ts';
import { policyReceiptOf } from '../../../../src/agent/policy/receipts.ts';
import { encodeJson, Fault } from '../../../../src/core.ts';
import { encodeRecord } from '../../../../src/gossip/replica/codec.ts';
import { Flock, type FlockHost, operator } from '../../../support/flock.ts';

function mesh(...names: string[]): { flock: Flock; hosts: [FlockHost, FlockHost, ...FlockHost[]] } {
  const { flock, first } = Flock.founded();
  const token = flock.token(first, { uses: names.length });
  const joined = names.map((name) => flock.join(name, first, token));
  flock.run(3000);
  return { flock, hosts: [first, joined[0]!, ...joined.slice(1)] };
}

const timeoutOf = (host: FlockHost) =>
  host.core.policies.get('service-resolver', 'api')?.entry.ConnectTimeout;

function write(host: FlockHost, ConnectTimeout: string): void {
  const { kind, name, entry } = parseConfigEntry({ Kind: 'service-resolver', Name: 'api', ConnectTimeout });
  host.command({ type: 'put-config-entry', kind, name, entry, operator });
}

function historyAt({ core }: FlockHost): readonly EntryVersion[] {
  const inForce = core.policies.get('service-resolver', 'api');
  return historyOf(core.gossip.replica, inForce, 'service-resolver', 'api');
}

function convergenceAt({ core, flock }: FlockHost, revision: string | null = null) {
  const receiptOf = (id: string) => policyReceiptOf(id, (slot) => core.gossip.replica.get(slot));
  return core.configurator.receipts.convergence(revision, core.self, receiptOf, flock.now);
}

test('what two operators wrote on the two sides of a partition is the same everywhere, and nothing is lost', () => {
  const { flock, hosts } = mesh('second', 'third');
  const [first, second, third] = hosts;
  write(first, '1s');
  flock.run(1000);
  second.isCut = true;
  write(second, '2s');
  flock.run(5);
  write(first, '3s');
  flock.run(1000);
  assert.deepEqual(hosts.map(timeoutOf), ['3s', '2s', '3s']);
  second.isCut = false;
  flock.run(60_000);
  assert.deepEqual(hosts.map(timeoutOf), ['3s', '3s', '3s']);
  const [one, two, three] = [first, second, third!].map(historyAt);
  assert.deepEqual(two, one);
  assert.deepEqual(three, one);
  assert.deepEqual(
    one!.map(({ entry, inForce }) => [entry?.ConnectTimeout, inForce]),
    [
      ['3s', true],
      ['2s', false],
      ['1s', false],
    ],
  );
  assert.equal(new Set(hosts.map(({ core }) => core.policies.revision)).size, 1);
});

test('an entry keeps its last versions, as many on every host', () => {
  const { flock, hosts } = mesh('second');
  for (let seconds = 1; seconds <= 20; seconds++) {
    write(hosts[seconds % 2]!, `${seconds}s`);
    flock.run(200);
  }
  flock.run(5000);
  const [one, two] = hosts.map(historyAt);
  assert.deepEqual(one, two);
  assert.deepEqual(
    [one!.length, one![0]!.entry?.ConnectTimeout, one!.at(-1)!.entry?.ConnectTimeout],
    [17, '20s', '4s'],
  );
});

test('a write is known to be in force where proxies serve by it, and those that do not are named', () => {
  const { flock, hosts } = mesh('second', 'third');
  const [first, second, third] = hosts;
  write(first, '1s');
  const { revision } = convergenceAt(first);
  assert.deepEqual(convergenceAt(first, revision).pending, ['first', 'second', 'third']);
  flock.run(3000);
  for (const host of hosts) assert.deepEqual(convergenceAt(host).pending, [], host.name);
  // A proxy that does not take its configuration on, on a host whose agent is well.
  second.appliesConfig = false;
  first.register('api');
  write(first, '2s');
  flock.run(3000);
  assert.equal(timeoutOf(second), '2s');
  for (const host of [first, third!]) assert.deepEqual(convergenceAt(host).pending, ['second']);
  assert.deepEqual(convergenceAt(first, revision).pending, [], 'what was written before is in force there');
});

test('a host that stands still is named while it counts as live', () => {
  const { flock, hosts } = mesh('second');
  const [first, second] = hosts;
  second.isCut = true;
  write(first, '1s');
  flock.run(500);
  const answer = convergenceAt(first);
  assert.deepEqual([answer.converged, answer.pending], [false, ['second']]);
});

test('a mesh without policy writes no receipts', () => {
  const { flock, hosts } = mesh('second');
  flock.run(10_000);
  for (const { core } of hosts)
    assert.equal(
      policyReceiptOf(hosts[1].id, (slot) => core.gossip.replica.get(slot)),
      null,
    );
  assert.equal(convergenceAt(hosts[0]).converged, true);
});

test('an entry of the future is refused, whoever passes it on, and the next write wins over the present', () => {
  const { flock, hosts } = mesh('second');
  const [first] = hosts;
  write(first, '1s');
  const { version } = first.core.gossip.nextPolicyFields(operator.publicKey, flock.now);
  const record = encodeRecord(
    {
      scope: 'policy',
      kind: CONFIG_ENTRY,
      key: 'service-resolver/api',
      version,
      hlc: (flock.now + 3_600_000) * 1024,
      value: encodeJson({ Kind: 'service-resolver', Name: 'api', ConnectTimeout: '9s' }),
    },
    operator,
  );
  assert.throws(
    () => first.core.gossip.putSigned(record, flock.now),
    (error: unknown) => error instanceof Fault && error.code === 'clock-ahead',
  );
  const { outcome } = first.core.gossip.offer(record.bytes, flock.now);
  assert.deepEqual(outcome, { code: 'clock-ahead', later: false });
  write(first, '2s');
  flock.run(2000);
  assert.deepEqual(hosts.map(timeoutOf), ['2s', '2s']);
});
