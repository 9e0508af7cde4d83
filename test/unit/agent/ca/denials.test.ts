/** What becomes of a mesh when an operator denies a host, or a certificate. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { type DenialAnswer, serialPattern } from '../../../../src/agent/ca/denial-port.ts';
import { denialFindings, listDenials } from '../../../../src/agent/ca/denials.ts';
import { ed25519Signer, encodeJson, Fault, type Signer } from '../../../../src/core.ts';
import { encodeRecord } from '../../../../src/gossip/replica/codec.ts';
import { encodeDelta } from '../../../../src/gossip/spread/dissemination.ts';
import { serialDenialMs } from '../../../../src/trust/admission/denial.ts';
import { standardPolicy } from '../../../../src/trust/epoch/policy.ts';
import { Flock, type FlockHost, operator, signerOf } from '../../../support/flock.ts';

const hour = 3_600_000;

/** A mesh of so many hosts that share the root, each with a service of its own and one that all have. */
function sharing(count: number): { flock: Flock; hosts: FlockHost[] } {
  const { flock, first } = Flock.founded(standardPolicy);
  const token = flock.token(first, { roles: ['agent', 'trustee'] });
  const hosts = [first];
  for (let n = 1; n < count; n++) hosts.push(flock.join(`host-${n}`, first, token));
  for (const host of hosts) {
    host.register(`on-${host.name}`);
    host.register('common');
  }
  flock.run(130_000);
  for (const host of hosts) assert.equal(host.core.trust.bundle.active().generation, 1, host.name);
  return { flock, hosts };
}

const deny = (
  at: FlockHost,
  host: FlockHost,
  more: { force?: boolean; reason?: string; operator?: Signer } = {},
) =>
  at.command({
    type: 'deny',
    denied: { type: 'host', host: host.id },
    reason: '',
    force: false,
    operator,
    ...more,
  }) as DenialAnswer;
const denySerial = (at: FlockHost, serial: string) =>
  at.command({
    type: 'deny',
    denied: { type: 'serial', serial },
    reason: 'stolen',
    force: false,
    operator,
  }) as DenialAnswer;
const serialOf = (host: FlockHost, service: string): string =>
  new X509Certificate(host.identities.get(service)!.certPem).serialNumber.toLowerCase();
const hostsOf = (at: FlockHost, service: string): string[] =>
  at.core.catalog.instances(service).map(({ host }) => host.value.name);
const trusteesAt = (at: FlockHost): readonly string[] =>
  at.core.credentials!.epochStatus().current.plan.trustees;

test('a denied host is out of the catalog, of membership, of every configuration and of its seat', () => {
  const { flock, hosts } = sharing(4);
  const [first] = hosts as [FlockHost];
  const seated = hosts.find(({ id }) => id !== first.id && trusteesAt(first).includes(id))!;
  const others = hosts.filter((host) => host !== seated);
  const answer = deny(first, seated, { reason: 'its disk was stolen' });
  assert.deepEqual([answer.name, answer.changed, answer.until], [seated.name, true, null]);
  assert.equal(answer.trustee, true);
  flock.run(2000);
  for (const host of others) {
    assert.equal(host.core.catalog.host(seated.id), undefined);
    assert.deepEqual(hostsOf(host, 'common'), others.map(({ name }) => name).sort());
    assert.deepEqual(hostsOf(host, `on-${seated.name}`), []);
    assert.equal(host.core.gossip.member(seated.id), undefined);
    assert.equal(host.core.isAdmitted(seated.id), false);
    assert.deepEqual(host.lastConfig.denied, { hosts: [seated.id], serials: [] });
    const common = host.lastConfig.clusters.find(({ service }) => service === 'common');
    assert.ok(common!.endpoints.every(({ id }) => id !== seated.id));
    assert.deepEqual(listDenials(host.core.trust)[0]?.reason, 'its disk was stolen');
  }
  flock.run(15 * 60_000);
  for (const host of others) assert.ok(!trusteesAt(host).includes(seated.id), 'its seat is another’s');
  assert.equal(trusteesAt(first).length, 3);
});

test('it gets no certificate, from nobody, and others get theirs', () => {
  const { flock, hosts } = sharing(4);
  const [first, second, third] = hosts as [FlockHost, FlockHost, FlockHost];
  third.isCut = true;
  deny(first, third);
  third.register('more');
  flock.run(5000);
  assert.deepEqual(denialFindings(third.core.trust, third.id), [], 'nobody told it');
  // Not cut off by the network, but by the others.
  third.isCut = false;
  third.kill();
  third.identities.clear();
  third.start();
  second.register('more');
  flock.run(60_000);
  assert.equal(third.identities.size, 0);
  assert.ok(third.core.identities(flock.now).every(({ problem }) => problem !== null));
  assert.ok(second.identities.has('more'));
});

test('it cannot come back: not by a restart, not by its old admission, not by another token', () => {
  const { flock, hosts } = sharing(3);
  const [first, second, third] = hosts as [FlockHost, FlockHost, FlockHost];
  deny(first, third);
  flock.run(2000);
  const old = third.admission!;
  third.kill();
  third.start();
  second.kill();
  second.start();
  flock.run(30_000);
  for (const host of [first, second]) {
    assert.equal(host.core.catalog.host(third.id), undefined, host.name);
    assert.equal(host.core.gossip.member(third.id), undefined, host.name);
  }
  const token = flock.token(first);
  for (const bytes of [old, flock.joinRequest(third, token)]) {
    const answer = flock.askToJoin(second, bytes);
    assert.ok(answer?.outcome === 'refused' && answer.code === 'denied', JSON.stringify(answer));
  }
});

test('a machine set up anew takes the name of the denied host, with a key and a token of its own', () => {
  const { flock, hosts } = sharing(3);
  const [first, , third] = hosts as [FlockHost, FlockHost, FlockHost];
  deny(first, third);
  flock.run(2000);
  const anew = flock.add(third.name, signerOf('another key'));
  anew.admission = flock.joinRequest(anew, flock.token(first));
  assert.equal(flock.askToJoin(first, anew.admission)?.outcome, 'welcome');
  anew.sponsor = first;
  anew.start();
  flock.run(5000);
  assert.equal(first.core.catalog.hostNamed(third.name)?.id, anew.id);
});

test('who joined through a host that is denied since goes on without it', () => {
  const { flock, first } = Flock.founded();
  const token = flock.token(first);
  const second = flock.join('second', first, token);
  const third = flock.join('third', second, token);
  deny(first, second);
  flock.run(5000);
  assert.equal(third.core.isAdmitted(second.id), false);
  assert.ok(third.core.isSynchronised());
});

test('what a denied host says counts nowhere, and replicas are alike whenever each heard of it', () => {
  const { flock, hosts } = sharing(4);
  const [first, second, third, fourth] = hosts as [FlockHost, FlockHost, FlockHost, FlockHost];
  fourth.isCut = true;
  third.isCut = true;
  deny(first, third);
  flock.run(1000);
  third.register('late');
  const late = third.core.gossip.replica.get(`host/${third.id}/service/late`)!;
  first.feed({ type: 'delta', bytes: encodeDelta([late.bytes]) });
  flock.run(1000);
  fourth.isCut = false;
  flock.run(60_000);
  for (const host of [first, second, fourth]) {
    assert.deepEqual(hostsOf(host, 'late'), []);
    assert.equal(host.core.catalog.host(third.id), undefined);
    assert.equal(host.core.gossip.replica.root(), first.core.gossip.replica.root(), host.name);
  }
  assert.ok(first.core.gossip.replica.get(`host/${third.id}/service/late`) !== undefined);
  flock.now += 12 * 24 * hour;
  flock.run(1000);
  const left = [...first.core.gossip.replica.ofAuthor(third.id)].map(({ kind }) => kind);
  assert.deepEqual(
    left,
    ['admission', 'welcome'],
    'its other records are collected as those of the dead are',
  );
});

test('nobody takes a denial back, and nobody but an operator makes one', () => {
  const { flock, hosts } = sharing(3);
  const [first, second, third] = hosts as [FlockHost, FlockHost, FlockHost];
  const by = (signer: Signer) =>
    first.command({
      type: 'deny',
      denied: { type: 'host', host: third.id },
      reason: '',
      force: false,
      operator: signer,
    });
  assert.throws(() => by(signerOf('impostor')), { code: 'not-operator' });
  by(operator);
  flock.run(1000);
  const write = (key: string, value: object | null, signer = operator) => {
    const fields = second.core.gossip.nextPolicyFields(signer.publicKey, flock.now);
    const bytes = value === null ? null : encodeJson(value);
    const record = encodeRecord({ scope: 'policy', kind: 'deny', key, value: bytes, ...fields }, signer);
    return second.core.gossip.putSigned(record, flock.now);
  };
  const key = `host/${third.id}`;
  const at = flock.now;
  assert.throws(() => write(key, null), { code: 'denial-permanent' });
  assert.throws(() => write(key, { reason: '', at, until: at + 1000 }), { code: 'denial-malformed' });
  assert.throws(() => write(key, { reason: '', at: at - hour, until: null }), { code: 'denial-antedated' });
  assert.throws(() => write(key, { reason: '', at, until: null }), { code: 'stale-record' });
  assert.throws(() => write('host/abc', { reason: '', at, until: null }), { code: 'denial-malformed' });
  const again = deny(second, third, { reason: 'once more' });
  assert.deepEqual([again.changed, again.reason], [false, '']);
  assert.ok(first.core.trust.isDenied(third.id));
});

test('a denial outlives the token of the operator who wrote it', () => {
  const { flock, hosts } = sharing(3);
  const [first, , third] = hosts as [FlockHost, FlockHost, FlockHost];
  const { operatorSeed, id } = flock.createToken(first, { roles: ['operator'] });
  flock.run(1000);
  deny(first, third, { operator: ed25519Signer(Buffer.from(operatorSeed!, 'hex')) });
  first.command({ type: 'revoke-token', id, operator });
  flock.run(1000);
  for (const host of hosts.slice(0, 2)) {
    host.kill();
    host.start();
  }
  flock.run(5000);
  for (const host of hosts.slice(0, 2)) {
    assert.ok(host.core.trust.isDenied(third.id));
    assert.equal(host.core.catalog.host(third.id), undefined);
  }
});

test('an operator is stopped from denying so many trustees that nobody can sign, unless it insists', () => {
  const { flock, hosts } = sharing(3);
  const [first, second, third] = hosts as [FlockHost, FlockHost, FlockHost];
  assert.throws(() => deny(first, first), { code: 'conflict' });
  deny(first, third);
  flock.run(60_000);
  assert.throws(
    () => deny(first, second),
    (error) => error instanceof Fault && /trustees would be left/.test(error.message),
  );
  assert.equal(deny(first, second, { force: true, reason: 'lost' }).changed, true);
  flock.run(1000);
  assert.equal(first.core.isAdmitted(second.id), false);
  const record = first.core.gossip.replica.get(`policy/deny/host/${second.id}`)!;
  second.feed({ type: 'delta', bytes: encodeDelta([record.bytes]) });
  const [finding] = denialFindings(second.core.trust, second.id);
  assert.match(finding!.detail, /an operator denied it at .*Z: lost$/);
  assert.ok(second.logs.some(({ event }) => event === 'host-denied'));
  assert.throws(() => second.register('more'), { code: 'name-not-granted' });
});

test('a founder who holds the root alone is not denied by mistake', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  assert.throws(() => deny(second, first), { code: 'conflict' });
  const unknown = { type: 'host', host: 'e'.repeat(64) } as const;
  assert.throws(() => second.command({ type: 'deny', denied: unknown, reason: '', force: true, operator }), {
    code: 'unknown-host',
  });
});

test('the denial of a serial number reaches all, and is forgotten once no such certificate can be valid', () => {
  const { flock, hosts } = sharing(3);
  const [first, second] = hosts as [FlockHost, FlockHost];
  const serial = serialOf(second, 'common');
  assert.match(serial, new RegExp(serialPattern));
  const answer = denySerial(first, serial);
  const before = flock.now;
  assert.equal(answer.until, answer.at + serialDenialMs);
  flock.run(1000);
  assert.equal(denySerial(second, serial).changed, false);
  for (const host of hosts) assert.deepEqual(host.lastConfig.denied.serials, [serial]);
  assert.notEqual(serialOf(second, 'common'), serial, 'its service has another certificate by now');
  assert.equal(flock.now - before, 1000);
  const slot = `policy/deny/serial/${serial}`;
  flock.now += serialDenialMs + hour;
  flock.run(1000);
  for (const host of hosts) {
    assert.equal(host.core.gossip.replica.get(slot), undefined, host.name);
    assert.ok(![...host.store.keys()].some((key) => key.includes(slot)));
    assert.deepEqual(listDenials(host.core.trust), []);
    assert.deepEqual(host.lastConfig.denied.serials, []);
  }
});
