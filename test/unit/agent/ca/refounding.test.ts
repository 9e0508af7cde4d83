/** A root that nothing brings back: another takes its place by the word of the operator and of most hosts. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import type { RecoveryStatus } from '../../../../src/agent/ca/recovery-port.ts';
import { Fault, type Signer } from '../../../../src/core.ts';
import { standardPolicy } from '../../../../src/trust/epoch/policy.ts';
import { Flock, type FlockHost, operator } from '../../../support/flock.ts';

/** Three trustees, a fourth host that may be one, and so many that may not. */
function mesh(plain: number): { flock: Flock; hosts: FlockHost[] } {
  const { flock, first } = Flock.founded(standardPolicy);
  const eligible = flock.token(first, { roles: ['agent', 'trustee'] });
  const others = flock.token(first, { roles: ['agent'], uses: 8 });
  const hosts = [first];
  for (let n = 1; n < 4; n++) hosts.push(flock.join(`host-${n}`, first, eligible));
  for (let n = 0; n < plain; n++) hosts.push(flock.join(`plain-${n}`, first, others));
  for (const host of hosts) host.register(`on-${host.name}`);
  flock.run(130_000);
  for (const host of hosts) assert.deepEqual(rootsOf(host), ['g0 retired', 'g1 active']);
  return { flock, hosts };
}

const rootsOf = (host: FlockHost): string[] =>
  host.core.trust.bundle.all().map(({ generation, state }) => `g${generation} ${state}`);
const planAt = (host: FlockHost) => host.core.credentials!.epochStatus().current.plan;
const issuerOf = (host: FlockHost): string =>
  new X509Certificate([...host.identities.values()][0]!.certPem).issuer;

function statusAt(host: FlockHost): RecoveryStatus {
  return host.command({ type: 'read-recovery' }) as RecoveryStatus;
}

function begin(host: FlockHost, plan: string, signer: Signer = operator): void {
  const none = new Uint8Array();
  host.command({
    type: 'recover',
    plan: Uint8Array.from(Buffer.from(plan, 'base64')),
    signature: none,
    dealing: none,
    shares: new Map(),
    operator: signer,
  });
}

test('most hosts and the operator put another root in the place of a lost one, and nobody is without certificates', () => {
  const { flock, hosts } = mesh(2);
  const [first, second, third, fourth, ...plain] = hosts as [FlockHost, FlockHost, FlockHost, FlockHost];
  assert.equal(statusAt(fourth).newRoot.refusal?.code, 'quorum-here');
  second.kill();
  third.kill();
  flock.run(60_000);
  const { plan, refusal, newRoot } = statusAt(fourth);
  assert.deepEqual([plan, refusal?.code], [null, 'no-cold-seats']);
  assert.deepEqual(newRoot.hosts, ['first', 'host-3']);
  assert.throws(
    () => begin(fourth, newRoot.plan!, fourth.signer),
    (error: unknown) => error instanceof Fault && error.code === 'not-operator',
  );
  begin(fourth, newRoot.plan!);
  flock.run(200_000);
  const alive = [first, fourth, ...plain];
  for (const host of alive) {
    assert.deepEqual(
      rootsOf(host).slice(1),
      ['g1 old', 'g2 active'],
      host.logs.map(({ event }) => event).join(),
    );
    assert.equal(planAt(host).kind, 'refound');
    assert.match(issuerOf(host), /g2/);
    host.register(`later-on-${host.name}`);
  }
  flock.run(30_000);
  for (const host of alive)
    assert.ok(
      host.core.identities(flock.now).every(({ problem }) => problem === null),
      host.name,
    );
  // It is on disk, and a restart needs nobody's word for it; who was away goes over to it.
  first.kill();
  first.start();
  second.start();
  flock.run(400_000);
  for (const host of [first, second]) assert.equal(planAt(host).generation, 2, host.name);
  assert.equal(planAt(second).epoch, planAt(first).epoch);
});

test('hosts whose founder is lost before it shared the root make one without it', () => {
  const { flock, first } = Flock.founded(standardPolicy);
  const token = flock.token(first, { roles: ['agent', 'trustee'] });
  const [second, third] = [flock.join('second', first, token), flock.join('third', first, token)];
  second.register('web');
  flock.run(10_000);
  first.kill();
  flock.run(90_000);
  assert.deepEqual(rootsOf(second), ['g0 active']);
  begin(third, statusAt(third).newRoot.plan!);
  flock.run(120_000);
  for (const host of [second, third]) assert.deepEqual(rootsOf(host), ['g0 retired', 'g1 active']);
  assert.match(issuerOf(second), /g1/);
});

test('a founder that has lost the key that it alone had is helped out by the others', () => {
  const { flock, first } = Flock.founded(standardPolicy);
  const token = flock.token(first, { roles: ['agent', 'trustee'] });
  const second = flock.join('second', first, token);
  second.register('web');
  flock.run(10_000);
  first.kill();
  first.secrets.delete('genesis');
  first.start();
  flock.run(60_000);
  const { newRoot } = statusAt(second);
  assert.equal(
    newRoot.refusal?.code,
    'too-few-hosts',
    'the founder holds no office any more, and one host is too few',
  );
  const third = flock.join('third', first, token);
  flock.run(60_000);
  begin(second, statusAt(second).newRoot.plan!);
  flock.run(120_000);
  for (const host of [first, second, third])
    assert.equal(host.core.trust.bundle.active().generation, 1, host.name);
  assert.match(issuerOf(second), /g1/);
});

test('half of the hosts are not enough, and nobody stands by a new root while a quorum holds the old', () => {
  const { flock, hosts } = mesh(0);
  const [first, second, third, fourth] = hosts as [FlockHost, FlockHost, FlockHost, FlockHost];
  second.kill();
  third.kill();
  flock.run(60_000);
  begin(fourth, statusAt(fourth).newRoot.plan!);
  flock.run(120_000);
  for (const host of [first, fourth])
    assert.deepEqual(rootsOf(host), ['g0 retired', 'g1 active'], 'two of four');
  for (const host of [first, fourth]) assert.notEqual(host.core.knowledge.trustFacts.standOf(first.id), null);
  second.start();
  flock.run(400_000);
  assert.deepEqual(rootsOf(second), ['g0 retired', 'g1 active'], 'a quorum is here again');
  for (const host of [first, second, fourth])
    for (const { id } of hosts)
      assert.equal(host.core.knowledge.trustFacts.standOf(id), null, 'and nobody’s word outlasts that');
  for (const host of [first, second, fourth]) assert.equal(planAt(host).generation, 1);
});

test('a quorum that was thought lost, and made another root of its own, is told on both sides whose root stays', () => {
  const { flock, hosts } = mesh(2);
  const [first, second, third, fourth, ...plain] = hosts as [FlockHost, FlockHost, FlockHost, FlockHost];
  const cutOff = [second, third];
  const others = [first, fourth, ...plain];
  for (const host of others) host.kill();
  second.command({ type: 'rotate-root', operator });
  // Once the seat of the one that is away may be vacant.
  flock.run(720_000);
  for (const host of cutOff) assert.equal(planAt(host).generation, 2, 'two of three made another root');
  for (const host of cutOff) host.kill();
  for (const host of others) host.start();
  flock.run(60_000);
  begin(fourth, statusAt(fourth).newRoot.plan!);
  flock.run(120_000);
  for (const host of others) assert.equal(planAt(host).kind, 'refound');
  for (const host of cutOff) host.start();
  flock.run(120_000);
  for (const host of hosts) {
    const { split } = host.core.credentials!.ca(flock.now);
    const isOurs = others.includes(host);
    assert.deepEqual([split?.generation, split?.isOurs], [2, isOurs], host.name);
    assert.deepEqual(
      split?.holders.toSorted(),
      (isOurs ? cutOff : [first, fourth]).map(({ name }) => name).sort(),
    );
    assert.ok(
      host.logs.some(({ event }) => event === 'epoch-root-split'),
      host.name,
    );
  }
  for (const host of cutOff) host.kill();
  flock.run(60_000);
  for (const host of others)
    assert.equal(host.core.credentials!.ca(flock.now).split, null, 'until they are gone');
});
