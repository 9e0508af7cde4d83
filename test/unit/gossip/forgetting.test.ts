import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeJson } from '../../../src/core.ts';
import { encodeRecord } from '../../../src/gossip/replica/codec.ts';
import { type Record, slotOf } from '../../../src/gossip/replica/record.ts';
import { Mesh, type MeshHost, signerOf } from './mesh.ts';

/** Everybody knows everybody, and a service of each. */
function settle(mesh: Mesh): void {
  mesh.run(3000);
  for (const host of mesh.hosts) mesh.put(host, 'service', 'web', { host: host.id });
  mesh.run(1000);
  assert.ok(mesh.converged());
}

function serviceOf(host: MeshHost): string {
  return slotOf({ scope: 'host', author: host.id, kind: 'service', key: 'web' });
}

/** Lets days pass without their traffic: deadlines that were missed are met at once, late. */
function skipHours(mesh: Mesh, hours: number): void {
  for (let hour = 0; hour < hours; hour++) {
    mesh.now += 3_600_000;
    mesh.run(3000);
  }
}

test('a dead host’s services are forgotten everywhere, and no straggler brings them back', () => {
  const mesh = new Mesh({ seed: 12, size: 6 });
  settle(mesh);
  const [dead, straggler] = [mesh.host(0), mesh.host(5)];
  const slot = serviceOf(dead);
  mesh.kill(straggler);
  mesh.run(10_000);
  mesh.kill(dead);
  skipHours(mesh, 26);
  const others = mesh.hosts.slice(1, 5);
  assert.ok(others.every((host) => host.gossip.replica.get(slot) === undefined));
  assert.ok(others.every((host) => ![...host.store.keys()].includes(`record/${slot}`)));
  assert.ok(mesh.converged());
  mesh.restart(straggler);
  assert.ok(straggler.gossip.replica.get(slot));
  skipHours(mesh, 3);
  assert.equal(straggler.gossip.replica.get(slot), undefined);
  assert.notEqual(
    mesh.until(() => mesh.converged(), 60_000),
    null,
  );
});

test('a host that comes back after it was forgotten is heard again, all it says', () => {
  const mesh = new Mesh({ seed: 13, size: 6 });
  settle(mesh);
  const returner = mesh.host(0);
  const slot = serviceOf(returner);
  mesh.kill(returner);
  skipHours(mesh, 26);
  assert.equal(mesh.host(1).gossip.replica.get(slot), undefined);
  mesh.restart(returner);
  const back = () => mesh.hosts.every((host) => host.gossip.replica.get(slot)) && mesh.converged();
  assert.notEqual(mesh.until(back, 60_000), null);
});

test('a host that was cut off for days forgets nobody, and is forgotten by nobody for good', () => {
  const mesh = new Mesh({ seed: 14, size: 6 });
  settle(mesh);
  const lonely = mesh.host(0);
  mesh.passes = (from, to) => from !== lonely.id && to !== lonely.id;
  skipHours(mesh, 50);
  assert.equal(lonely.gossip.replica.size, 12);
  assert.equal(mesh.host(1).gossip.replica.size, 11);
  mesh.passes = () => true;
  const healed = () => mesh.converged() && mesh.host(1).gossip.replica.size === 12;
  assert.notEqual(mesh.until(healed, 120_000), null);
});

test('what was forgotten stays forgotten over a restart', () => {
  const mesh = new Mesh({ seed: 16, size: 5 });
  settle(mesh);
  const [dead, witness] = [mesh.host(0), mesh.host(1)];
  const { bytes } = dead.gossip.replica.get(serviceOf(dead))!;
  mesh.kill(dead);
  skipHours(mesh, 26);
  mesh.kill(witness);
  mesh.restart(witness);
  assert.notEqual(
    mesh.until(() => mesh.stateOf(witness, dead) === 'down', 60_000),
    null,
  );
  const { outcome } = witness.gossip.offer(bytes, mesh.now);
  assert.deepEqual(outcome, { code: 'below-floor', later: false });
});

test('of concurrent policies the later wins, and every host keeps the other, on its disk as well', () => {
  const mesh = new Mesh({ seed: 15, size: 6 });
  settle(mesh);
  const operator = signerOf('operator');
  const half = new Set(mesh.hosts.slice(0, 3).map(({ id }) => id));
  mesh.passes = (from, to) => half.has(from) === half.has(to);
  const write = (host: MeshHost, value: string) => {
    const { version, hlc } = host.gossip.nextPolicyFields(operator.publicKey, mesh.now);
    const fields = { scope: 'policy', kind: 'config-entry', key: 'a', version, hlc } as const;
    const record = encodeRecord({ ...fields, value: encodeJson(value) }, operator);
    mesh.perform(host, host.gossip.putSigned(record, mesh.now).effects);
  };
  write(mesh.host(0), 'early');
  mesh.run(1000);
  write(mesh.host(5), 'late');
  mesh.run(1000);
  mesh.passes = () => true;
  assert.notEqual(
    mesh.until(() => mesh.converged(), 60_000),
    null,
  );
  for (const { gossip, store } of mesh.hosts) {
    assert.equal(textOf(gossip.replica.get('policy/config-entry/a')), '"late"');
    assert.deepEqual(gossip.replica.history('policy/config-entry/a').map(textOf), ['"early"']);
    assert.ok(store.has('history/policy/config-entry/a'));
  }
  mesh.kill(mesh.host(0));
  mesh.restart(mesh.host(0));
  assert.deepEqual(mesh.host(0).gossip.replica.history('policy/config-entry/a').map(textOf), ['"early"']);
});

function textOf(record: Record | undefined): string {
  return Buffer.from(record?.value ?? []).toString();
}
