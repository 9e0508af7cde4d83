import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CONFIG_ENTRY, GRANT, TRUST_ROOT } from '../../../../src/agent/kinds.ts';
import { Policies } from '../../../../src/agent/policy/policy.ts';
import { encodeGrant, type GrantValue, revokeGrant } from '../../../../src/trust/admission/grant.ts';
import { KnownMesh, recordOf } from '../../../support/records.ts';
import { makeGrant, signerOf, startedAt } from '../../trust/mesh.ts';

const entry = (key: string, version: number, value: object | null, author?: string) =>
  recordOf({
    kind: CONFIG_ENTRY,
    scope: 'policy',
    key,
    version,
    value,
    ...(author === undefined ? {} : { author }),
  });

test('an entry is found by kind and name, replaced by a later one and gone with its tombstone', () => {
  const { knowledge, ...mesh } = applied(entry('service-defaults/web', 1, { Protocol: 'tcp' }));
  const first = knowledge.policies.get('service-defaults', 'web');
  assert.deepEqual(first?.entry, { Protocol: 'tcp' });
  mesh.apply(entry('service-defaults/web', 2, { Protocol: 'http' }));
  const second = knowledge.policies.get('service-defaults', 'web');
  assert.deepEqual(second?.entry, { Protocol: 'http' });
  assert.equal(second?.createIndex, first?.createIndex);
  assert.ok(second!.modifyIndex > first!.modifyIndex);
  mesh.apply(entry('service-defaults/web', 3, null));
  assert.equal(knowledge.policies.get('service-defaults', 'web'), undefined);
  assert.deepEqual(knowledge.policies.list('service-defaults'), []);
});

function applied(...records: ReturnType<typeof entry>[]) {
  const mesh = new KnownMesh();
  mesh.apply(...records);
  return { knowledge: mesh.knowledge, apply: mesh.apply.bind(mesh) };
}

test('entries of a kind are listed by name, and kinds do not mix', () => {
  const { knowledge } = applied(
    entry('service-defaults/web', 1, {}),
    entry('service-defaults/api', 1, {}),
    entry('service-intentions/api', 1, {}),
  );
  assert.deepEqual(
    knowledge.policies.list('service-defaults').map(({ name }) => name),
    ['api', 'web'],
  );
  assert.deepEqual(knowledge.policies.list('mesh'), []);
});

test('a name may hold a slash, but a key without one is no entry of any kind', () => {
  const { knowledge } = applied(entry('service-intentionsx', 1, {}), entry('service-defaults/a/b', 1, {}));
  assert.deepEqual(knowledge.policies.list('service-intentions'), []);
  assert.equal(knowledge.policies.get('service-defaults', 'a/b')?.name, 'a/b');
});

test('an entry touches the topics of its kind only', () => {
  const { knowledge, apply } = applied();
  knowledge.catalog.takeChanged();
  apply(entry('service-defaults/web', 1, {}));
  assert.deepEqual([...knowledge.catalog.takeChanged()].sort(), ['config', 'config:service-defaults']);
  assert.deepEqual(Policies.topicsOf('service-defaults/web'), ['config', 'config:service-defaults']);
});

const grantRecord = (grant: GrantValue, version: number) =>
  recordOf({ kind: GRANT, scope: 'policy', key: grant.id, value: encodeGrant(grant), version });

test('an entry is in force only while its author may be heard, and who watches its kind is told', () => {
  const author = signerOf('second operator').publicKey;
  const at = startedAt + 60_000;
  const grant = makeGrant('g', { roles: ['operator'], operatorKey: author });
  const { knowledge, apply } = applied(entry('service-intentions/web', at, {}, author));
  assert.equal(knowledge.policies.get('service-intentions', 'web'), undefined);
  apply(grantRecord(grant, 1));
  assert.equal(knowledge.policies.get('service-intentions', 'web')?.author, author);
  assert.deepEqual(knowledge.policies.list('service-intentions').length, 1);
  knowledge.catalog.takeChanged();
  apply(grantRecord(revokeGrant(grant, at - 1), 2));
  assert.equal(knowledge.policies.get('service-intentions', 'web'), undefined);
  assert.deepEqual([...knowledge.catalog.takeChanged()].sort(), [
    'config',
    'config:service-intentions',
    'grants',
  ]);
});

test('roots and unknown kinds of policy touch nobody’s configuration', () => {
  const { knowledge, apply } = applied();
  knowledge.catalog.takeChanged();
  apply(recordOf({ kind: 'of-later', scope: 'policy', key: 'x', value: {} }));
  assert.deepEqual([...knowledge.catalog.takeChanged()], []);
  const root = recordOf({ kind: TRUST_ROOT, scope: 'policy', key: 'g7', value: {} });
  assert.deepEqual(knowledge.apply([root]), { rootsChanged: true, located: [] });
  assert.deepEqual([...knowledge.catalog.takeChanged()], ['roots']);
});
