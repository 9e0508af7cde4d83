import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Catalog } from '../../src/agent/catalog/catalog.ts';
import { CHECK, CHECK_DEFINITION, CONFIG_ENTRY, HOST, SERVICE } from '../../src/agent/kinds.ts';
import type { Member, MemberState } from '../../src/gossip/port.ts';
import type { Record } from '../../src/gossip/replica/record.ts';
import { checkOf, definitionOf, hostValue } from '../support/agent.ts';
import { KnownMesh, recordOf, selfId } from '../support/records.ts';

const authors = [selfId, 'a'.repeat(64), 'b'.repeat(64)];
const names = ['web', 'api'];
const junk = new TextEncoder().encode('{"neither":"this"}');

const author = fc.constantFrom(...authors);
const version = fc.integer({ min: 1, max: 4 });
/** Mostly well-formed, sometimes gone, sometimes nonsense. */
const valued = (value: fc.Arbitrary<object>) =>
  fc.oneof({ weight: 6, arbitrary: value }, { weight: 1, arbitrary: fc.constantFrom(null, junk) });

const hostRecord = fc
  .record({
    author,
    version,
    value: valued(fc.constantFrom('one', 'two').map((n) => hostValue(n, '10.0.0.1'))),
  })
  .map((fields) => recordOf({ kind: HOST, ...fields }));
const serviceRecord = fc
  .record({
    author,
    version,
    key: fc.constantFrom('s', 't'),
    name: fc.constantFrom(...names),
    port: fc.nat(3),
  })
  .chain(({ key, name, port, ...rest }) =>
    valued(fc.constant(definitionOf({ id: key, name, port }))).map((value) =>
      recordOf({ kind: SERVICE, key, value, ...rest }),
    ),
  );
const checkRecord = fc
  .record({
    author,
    version,
    key: fc.constantFrom('c', 'd'),
    value: valued(
      fc.record({
        name: fc.constant('c'),
        status: fc.constantFrom('passing', 'warning', 'critical'),
        notes: fc.constant(''),
        output: fc.constant(''),
        serviceId: fc.constantFrom('', 's', 't'),
        type: fc.constant('ttl'),
      }),
    ),
  })
  .map((fields) => recordOf({ kind: CHECK, ...fields }));
const standaloneRecord = fc
  .record({ author, version, key: fc.constantFrom('c', 'd'), serviceId: fc.constantFrom('', 's') })
  .map(({ key, serviceId, ...rest }) =>
    recordOf({ kind: CHECK_DEFINITION, key, value: { serviceId, check: checkOf({ id: key }) }, ...rest }),
  );
const policyRecord = fc
  .record({
    version,
    key: fc.constantFrom('service-defaults/web', 'service-defaults/api', 'no-slash'),
    value: valued(fc.constantFrom({ Protocol: 'tcp' }, { Protocol: 'http' })),
  })
  .map((fields) => recordOf({ kind: CONFIG_ENTRY, scope: 'policy', ...fields }));

const records = fc.uniqueArray(
  fc.oneof(hostRecord, hostRecord, serviceRecord, checkRecord, standaloneRecord, policyRecord),
  {
    maxLength: 25,
    selector: (record) => `${record.scope} ${record.author} ${record.kind} ${record.key} ${record.version}`,
  },
);

const member = (id: string, n: number): Member => ({
  id,
  state: (['alive', 'down', 'left'] satisfies MemberState[])[n % 3]!,
  incarnation: n,
  since: 0,
  roundTripMs: null,
});

const withoutIndexes = (key: string, value: unknown): unknown =>
  key === 'createIndex' || key === 'modifyIndex' || key === 'host' ? undefined : value;

/** Everything that can be asked, without the indexes, which only count. */
function answers({ knowledge }: KnownMesh): string {
  const { catalog, policies, registry } = knowledge;
  const seen = {
    names: catalog.serviceNames(),
    hosts: catalog.allHosts().map((host) => [host.id, host.value, host.state, catalog.checksOfHost(host)]),
    named: ['one', 'two'].map((name) => catalog.hostNamed(name)?.id),
    instances: names.map((name) => instancesOf(catalog, name)),
    policies: policies.list('service-defaults'),
    own: registry.services(),
    checks: registry.checks().toSorted((a, b) => (a.check.id < b.check.id ? -1 : 1)),
  };
  return JSON.stringify(seen, withoutIndexes);
}

const instancesOf = (catalog: Catalog, name: string) =>
  catalog
    .instances(name)
    .map((entry) => [
      entry.host.id,
      entry.definition,
      catalog.statusOf(entry),
      catalog.checksOfService(entry),
    ]);

/** Feeds records in some order and some batches, and the members' states somewhere in between. */
function learn(records: readonly Record[], batch: number, membersAt: number): KnownMesh {
  const mesh = new KnownMesh();
  for (let at = 0; at <= records.length; at += batch) {
    if (at <= membersAt && membersAt < at + batch)
      for (const [n, id] of authors.entries()) mesh.knowledge.catalog.member(member(id, n));
    mesh.apply(...records.slice(at, at + batch));
  }
  return mesh;
}

test('whatever order and batches records and members arrive in, every question has one answer', () => {
  fc.assert(
    fc.property(
      records.chain((all) =>
        fc.tuple(
          fc.constant(all),
          fc.shuffledSubarray(all, { minLength: all.length, maxLength: all.length }),
          fc.integer({ min: 1, max: 8 }),
          fc.nat(all.length),
        ),
      ),
      ([all, shuffled, batch, membersAt]) => {
        assert.equal(answers(learn(shuffled, batch, membersAt)), answers(learn(all, all.length + 1, 0)));
      },
    ),
    { numRuns: 500 },
  );
});

test('no index ever goes back, and every topic that changed has the newest', () => {
  fc.assert(
    fc.property(records, (all) => {
      const mesh = new KnownMesh();
      const { catalog } = mesh.knowledge;
      const before = new Map<string, number>();
      for (const record of all) {
        const index = catalog.index;
        mesh.apply(record);
        assert.ok(catalog.index >= index);
        for (const topic of catalog.takeChanged()) {
          assert.ok(catalog.indexOf(topic) > index && catalog.indexOf(topic) <= catalog.index);
          before.set(topic, catalog.indexOf(topic));
        }
        for (const [topic, seen] of before) assert.ok(catalog.indexOf(topic) >= seen);
      }
    }),
    { numRuns: 200 },
  );
});

/** What a compromised host may sign: any JSON, or none, under any kind this agent reads. */
test('no value whatsoever gets past knowledge as an exception, and what is malformed is absent', () => {
  const bytes = fc.oneof(
    fc.json().map((text) => new TextEncoder().encode(text)),
    fc.uint8Array({ maxLength: 40 }),
    fc
      .constantFrom('null', '[]', '{}', '"x"', '-0', '{"id":"s"}')
      .map((text) => new TextEncoder().encode(text)),
  );
  const kind = fc.constantFrom(
    HOST,
    SERVICE,
    CHECK,
    CHECK_DEFINITION,
    'admission',
    'lifecycle',
    'of-a-later-version',
  );
  fc.assert(
    fc.property(
      fc.array(fc.tuple(kind, author, fc.constantFrom('', 's'), bytes), { maxLength: 12 }),
      (writes) => {
        const mesh = new KnownMesh();
        mesh.apply(recordOf({ kind: HOST, value: hostValue('one', '10.0.0.1') }));
        writes.forEach(([kind, author, key, value], n) => {
          mesh.apply(recordOf({ kind, author, key, value, version: n + 2 }));
        });
        assert.deepEqual(mesh.knowledge.catalog.serviceNames(), []);
        assert.deepEqual(mesh.knowledge.registry.checks(), []);
      },
    ),
    { numRuns: 500 },
  );
});
