/** Whom the turns of a root wait for: hosts that restart, that are gone, or that had keys of others certified. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SignedChain } from '../../../../src/agent/ca/ca-port.ts';
import { TRUST_ACK } from '../../../../src/agent/kinds.ts';
import { defaultReplicaLimits } from '../../../../src/gossip/replica/replica.ts';
import { standardPolicy } from '../../../../src/trust/epoch/policy.ts';
import { maxTtlMs } from '../../../../src/trust/issuance/leaf-rules.ts';
import { clockSkewMs } from '../../../../src/trust/statement.ts';
import { createCsr } from '../../../../src/trust/x509/csr.ts';
import { dnsNamesOf, formatSpiffeId } from '../../../../src/trust/x509/spiffe.ts';
import { Flock, type FlockHost, genesis, operator } from '../../../support/flock.ts';
import { p256 } from '../../trust/mesh.ts';

const minute = 60_000;

/** So many hosts, of which the first three share the root; each of the others is no trustee. */
function sharing(count: number): { flock: Flock; hosts: FlockHost[] } {
  const { flock, first } = Flock.founded(standardPolicy);
  const trustee = flock.token(first, { roles: ['agent', 'trustee'] });
  const plain = flock.token(first, { roles: ['agent'] });
  const hosts = [first];
  for (let n = 1; n < count; n++) hosts.push(flock.join(`host-${n}`, first, n < 3 ? trustee : plain));
  flock.run(130_000);
  assert.deepEqual(rootsOf(first), ['g0 retired', 'g1 active']);
  return { flock, hosts };
}

const rootsOf = (host: FlockHost): string[] =>
  host.core.trust.bundle.all().map(({ generation, state }) => `g${generation} ${state}`);

const waitedFor = (host: FlockHost): string[] =>
  host.core.credentials!.ca(host.flock.now).roots.flatMap(({ waitingFor }) => waitingFor);

/** Has somebody else's key certified. */
function sign(host: FlockHost, ttlMs: number): void {
  const identity = { trustDomain: genesis.trustDomain, datacenter: 'dc1', service: 'external' };
  const csr = createCsr(p256(), formatSpiffeId(identity), dnsNamesOf(identity));
  const request = host.ask({ type: 'sign-csr', csr, ttlMs, user: null });
  host.flock.run(2000);
  const answer = host.answers.get(request);
  assert.ok(answer !== undefined && 'value' in answer, JSON.stringify(answer));
  assert.equal((answer.value as SignedChain).generation, 1);
}

/** As on SIGTERM. */
function leave(host: FlockHost): void {
  host.ask({ type: 'leave' });
  host.flock.run(3000);
  assert.equal(host.isRunning, false);
}

test('a root that a key of somebody else is certified by stays while its host restarts gracefully', () => {
  const { flock, hosts } = sharing(4);
  const [first, , , last] = hosts as [FlockHost, FlockHost, FlockHost, FlockHost];
  sign(last, 12 * 60 * minute);
  first.command({ type: 'rotate-root', operator });
  flock.run(minute);
  assert.deepEqual(rootsOf(first), ['g0 retired', 'g1 old', 'g2 active']);
  leave(last);
  flock.run(6000);
  last.start();
  flock.run(5 * minute);
  assert.deepEqual(rootsOf(first), ['g0 retired', 'g1 old', 'g2 active']);
  assert.deepEqual(waitedFor(first), ['host-3']);
});

test('it stays after its host has left for good, until the certificate has expired', () => {
  const { flock, hosts } = sharing(4);
  const [first, , , last] = hosts as [FlockHost, FlockHost, FlockHost, FlockHost];
  sign(last, 60 * minute);
  first.command({ type: 'rotate-root', operator });
  flock.run(minute);
  leave(last);
  flock.run(50 * minute);
  assert.deepEqual(rootsOf(first), ['g0 retired', 'g1 old', 'g2 active']);
  assert.deepEqual(waitedFor(first), ['host-3']);
  // What it told of its certificates was rounded up to six hours.
  flock.run(6 * 60 * minute);
  assert.deepEqual(rootsOf(first), ['g0 retired', 'g1 retired', 'g2 active']);
});

test('it stays though its host died right after it had the key certified', () => {
  const { flock, hosts } = sharing(4);
  const [first, , , last] = hosts as [FlockHost, FlockHost, FlockHost, FlockHost];
  sign(last, 60 * minute);
  last.kill();
  first.command({ type: 'rotate-root', operator });
  flock.run(5 * minute);
  assert.deepEqual(rootsOf(first), ['g0 retired', 'g1 old', 'g2 active']);
  assert.deepEqual(waitedFor(first), ['host-3']);
});

test('what a dead host said of its certificates is kept as long as the longest of them lasts', () => {
  const lasting = defaultReplicaLimits.lastingKinds[TRUST_ACK]!;
  // Times are told rounded up to halves of the life of a host's own certificates.
  assert.ok('said' in lasting && lasting.said >= maxTtlMs + maxTtlMs / 2 + clockSkewMs);
});

test('a host that left has a minute to come back with its own certificates, and to believe another root', () => {
  const { flock, hosts } = sharing(4);
  const [first, , , last] = hosts as [FlockHost, FlockHost, FlockHost, FlockHost];
  last.register('web');
  flock.run(5000);
  leave(last);
  first.command({ type: 'rotate-root', operator });
  flock.run(30_000);
  assert.deepEqual(rootsOf(first), ['g0 retired', 'g1 active', 'g2 next']);
  assert.deepEqual(waitedFor(first), ['host-3']);
  flock.run(minute);
  assert.deepEqual(rootsOf(first), ['g0 retired', 'g1 retired', 'g2 active'], 'it left for good');
});

test('of one that left and did not tell its own certificates from those of others all may be in use', () => {
  const { flock, hosts } = sharing(4);
  const [first, , , last] = hosts as [FlockHost, FlockHost, FlockHost, FlockHost];
  last.register('web');
  flock.run(5000);
  leave(last);
  for (const { core } of hosts.slice(0, 3)) {
    const { externalUntil, ...old } = core.knowledge.trustFacts.ackOf(last.id)!;
    assert.equal(externalUntil, 0);
    core.knowledge.trustFacts.acknowledged(last.id, old);
  }
  first.command({ type: 'rotate-root', operator });
  flock.run(5 * minute);
  assert.deepEqual(rootsOf(first), ['g0 retired', 'g1 old', 'g2 active']);
  assert.deepEqual(waitedFor(first), ['host-3']);
});
