/** A record that this agent's own code fails on: told of loudly, left out, passed on, and the end of nobody. */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Catalog } from '../../../src/agent/catalog/catalog.ts';
import { diagnose } from '../../../src/agent/diagnosis.ts';
import { CONFIG_ENTRY, SERVICE } from '../../../src/agent/kinds.ts';
import { Policies } from '../../../src/agent/policy/policy.ts';
import { Quarantine } from '../../../src/agent/quarantine.ts';
import { type Record, slotOf } from '../../../src/gossip/replica/record.ts';
import { TrustState } from '../../../src/trust/state.ts';
import { Flock, type FlockHost, operator } from '../../support/flock.ts';
import { well } from '../../support/shell-facts.ts';
import { makeRecord } from '../gossip/records.ts';

/** Three agents, of which the last is of a release without the bug. */
function mesh(): { flock: Flock; hosts: [FlockHost, FlockHost, FlockHost] } {
  const { flock, first } = Flock.founded();
  const token = flock.token(first, { uses: 2 });
  const hosts = [first, flock.join('second', first, token), flock.join('third', first, token)] as const;
  flock.run(3000);
  for (const host of hosts.slice(0, 2)) host.mayQuarantine = true;
  return { flock, hosts: [...hosts] };
}

/** Whatever reads services called "poison" throws, but for the catalog of the host that is well. */
function poison(context: TestContext, healthy: () => Catalog): { failures: number } {
  const told = { failures: 0 };
  const { record } = Catalog.prototype;
  context.mock.method(
    Catalog.prototype,
    'record',
    function (this: Catalog, ...args: Parameters<Catalog['record']>) {
      const [, kind, key, value] = args;
      if (kind === SERVICE && key === 'poison' && value !== null && this !== healthy()) {
        told.failures++;
        throw new TypeError('nobody thought of this');
      }
      record.apply(this, args);
    },
  );
  return told;
}

const servicesAt = ({ core }: FlockHost) => core.catalog.serviceNames();
const poisonOf = (author: FlockHost, at: FlockHost) =>
  at.core.gossip.replica.get(slotOf({ scope: 'host', author: author.id, kind: SERVICE, key: 'poison' }));
const alarmsOf = ({ logs }: FlockHost) => logs.filter(({ event }) => event === 'record-quarantined');

test('a record that an agent fails on is left out there, named, and passed on to those that understand it', (t) => {
  const { flock, hosts } = mesh();
  const [first, , third] = hosts;
  const told = poison(t, () => third.core.catalog);
  third.register('poison');
  third.register('web');
  flock.run(2000);
  assert.deepEqual(hosts.map(servicesAt), [['web'], ['web'], ['poison', 'web']]);
  assert.equal(told.failures, 2, 'once on each');
  const [alarm, ...more] = alarmsOf(first);
  assert.deepEqual(more, []);
  assert.equal(alarm?.level, 'error');
  const { author, kind, key, deed, detail, stack } = alarm!.fields;
  assert.deepEqual(
    [kind, key, deed, detail],
    [SERVICE, 'poison', 'apply', 'TypeError: nobody thought of this'],
  );
  assert.ok(third.id.startsWith(String(author)));
  assert.match(String(stack), /quarantine\.test/);
  const [found] = diagnose(first.core, well, flock.now);
  assert.deepEqual([found?.grade, found?.subject], ['critical', 'record service/poison of third']);
  assert.match(found!.detail, /failed to apply it .*TypeError: nobody thought of this.*is passed on/);
  // Who joins through an agent that fails on it has it all the same, byte for byte.
  const fourth = flock.admit('fourth', first, flock.token(first));
  fourth.mayQuarantine = true;
  fourth.start();
  flock.run(3000);
  assert.ok(fourth.core.isSynchronised());
  for (const host of flock.hosts) assert.equal(poisonOf(third, host)?.text, poisonOf(third, third)?.text);
});

test('an agent that has such a record on its disk starts all the same, again and again', (t) => {
  const { flock, hosts } = mesh();
  const [first, second, third] = hosts;
  const told = poison(t, () => third.core.catalog);
  third.register('poison');
  third.register('web');
  flock.run(2000);
  for (let run = 0; run < 3; run++) {
    second.kill();
    second.logs.length = 0;
    told.failures = 0;
    second.start();
    flock.run(2000);
    assert.deepEqual([servicesAt(second), alarmsOf(second).length], [['web'], 1]);
    assert.equal(told.failures, 1);
  }
  third.command({ type: 'deregister-service', id: 'poison' });
  flock.run(2000);
  for (const host of [first, second]) {
    assert.deepEqual(host.core.knowledge.quarantine.all(), []);
    assert.ok(!diagnose(host.core, well, flock.now).some(({ subject }) => subject.startsWith('record')));
  }
});

test('the author of such a record lives on with it', (t) => {
  const { flock, hosts } = mesh();
  const [first, second, third] = hosts;
  poison(t, () => third.core.catalog);
  first.register('poison');
  flock.run(2000);
  assert.deepEqual(hosts.map(servicesAt), [[], [], ['poison']]);
  first.register('web');
  flock.run(2000);
  assert.deepEqual(servicesAt(second), ['web']);
});

test('an entry of policy that an agent fails on is as one that it cannot read', (t) => {
  const { flock, hosts } = mesh();
  const [first, second] = hosts;
  const put = (connectTimeout: string) =>
    first.command({
      type: 'put-config-entry',
      kind: 'service-resolver',
      name: 'api',
      entry: { Kind: 'service-resolver', Name: 'api', ConnectTimeout: connectTimeout } as never,
      operator,
    });
  put('1s');
  flock.run(1000);
  const { record } = Policies.prototype;
  t.mock.method(
    Policies.prototype,
    'record',
    function (this: Policies, ...args: Parameters<Policies['record']>) {
      if (args[1] !== null && this === second.core.policies) throw new RangeError('too deep');
      record.apply(this, args);
    },
  );
  put('2s');
  flock.run(1000);
  assert.equal(second.core.policies.get('service-resolver', 'api'), undefined);
  assert.deepEqual(
    alarmsOf(second).map(({ fields }) => [fields.kind, fields.key, fields.detail]),
    [[CONFIG_ENTRY, 'service-resolver/api', 'RangeError: too deep']],
  );
  assert.deepEqual(alarmsOf(first), []);
  t.mock.restoreAll();
  put('3s');
  flock.run(1000);
  const now = second.core.policies.get('service-resolver', 'api')?.entry as { ConnectTimeout?: string };
  assert.equal(now.ConnectTimeout, '3s', 'the next one counts');
});

test('a record that its very judgement fails on stays outside, and the agent goes on', (t) => {
  const { flock, hosts } = mesh();
  const [first, second, third] = hosts;
  const { judge } = TrustState.prototype;
  t.mock.method(
    TrustState.prototype,
    'judge',
    function (this: TrustState, ...args: Parameters<TrustState['judge']>) {
      if (args[0].key === 'poison' && this !== third.core.trust) throw new TypeError('what is this');
      return judge.apply(this, args);
    },
  );
  third.register('poison');
  third.register('web');
  flock.run(10_000);
  for (const host of [first, second]) {
    assert.deepEqual(servicesAt(host), ['web']);
    assert.equal(alarmsOf(host).length, 1);
    assert.ok(host.core.gossip.stats().recordsRefused.get('judgement-failed')! > 0);
    assert.equal(poisonOf(third, host), undefined);
    const [found] = diagnose(host.core, well, flock.now);
    assert.match(found!.detail, /failed to judge it .*what is this.*: it stays outside/);
    assert.doesNotMatch(found!.detail, /passed on/);
  }
});

test('what failed is remembered up to a bound, and until another record takes its place', () => {
  const told: string[] = [];
  const quarantine = new Quarantine(({ record: { key } }) => told.push(key));
  const fail = (record: Record) =>
    quarantine.attempt(record, 'apply', () => {
      throw new Error('x'.repeat(10_000));
    });
  const bad = makeRecord({ key: 'bad' });
  assert.equal(fail(bad), false);
  assert.equal(fail(bad), false);
  assert.deepEqual([told, quarantine.total], [['bad'], 1], 'told of once');
  assert.ok(quarantine.all()[0]!.error.length <= 300);
  quarantine.entered(bad);
  assert.equal(quarantine.all().length, 1);
  const better = makeRecord({ key: 'bad', version: 2 });
  quarantine.entered(better);
  assert.equal(
    quarantine.attempt(better, 'apply', () => undefined),
    true,
  );
  assert.deepEqual(quarantine.all(), []);
  for (let i = 0; i < 3000; i++) fail(makeRecord({ key: `${i}` }));
  assert.equal(quarantine.all().length, 1024);
  assert.equal(quarantine.all()[0]?.record.key, '2999');
});
