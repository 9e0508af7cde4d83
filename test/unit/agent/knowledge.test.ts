import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ADMISSION, HOST, SERVICE } from '../../../src/agent/kinds.ts';
import { createFounderAdmission } from '../../../src/trust/admission/admission.ts';
import { definitionOf } from '../../support/agent.ts';
import { KnownMesh, recordOf, selfId } from '../../support/records.ts';
import { genesis } from '../trust/mesh.ts';

const host = {
  name: genesis.founderName,
  datacenter: 'dc1',
  zone: '',
  address: '10.0.0.1',
  gossipPort: 7946,
  inboundPort: 21000,
  version: '0.1.0',
};

test('a host that takes another name than it was admitted under is not in the catalog by it', () => {
  const mesh = new KnownMesh();
  mesh.apply(recordOf({ kind: ADMISSION, value: createFounderAdmission(genesis) }));
  mesh.apply(recordOf({ kind: HOST, value: { ...host, name: 'somebody-else' } }));
  assert.equal(mesh.knowledge.catalog.hostNamed('somebody-else'), undefined);
  assert.match(mesh.malformed.join(), /admitted as/);
  mesh.apply(recordOf({ kind: HOST, value: host, version: 2 }));
  assert.equal(mesh.knowledge.catalog.hostNamed(genesis.founderName)?.id, selfId);
});

test('an admission and a host record that arrive together are read in that order', () => {
  const mesh = new KnownMesh();
  mesh.apply(
    recordOf({ kind: HOST, value: { ...host, name: 'somebody-else' } }),
    recordOf({ kind: ADMISSION, value: createFounderAdmission(genesis) }),
  );
  assert.equal(mesh.knowledge.catalog.hostNamed('somebody-else'), undefined);
});

test('what the replica has forgotten of a dead host is gone from the catalog, its admission is not forgotten', () => {
  const author = 'a'.repeat(64);
  const mesh = new KnownMesh();
  const admission = recordOf({ kind: ADMISSION, value: createFounderAdmission(genesis) });
  const address = recordOf({ kind: HOST, value: { ...host, name: 'gone' }, author });
  const service = recordOf({ kind: SERVICE, key: 'web', value: definitionOf({ name: 'web' }), author });
  mesh.apply(admission, address, service);
  const { catalog, trust } = mesh.knowledge;
  mesh.knowledge.forget([service]);
  assert.equal(catalog.host(author)?.services.size, 0);
  mesh.knowledge.forget([address, admission]);
  assert.equal(catalog.host(author), undefined);
  assert.ok(trust.isAdmitted(selfId));
});
