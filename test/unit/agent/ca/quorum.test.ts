/** A mesh whose hosts share the root: how it comes about, what comes from it, what becomes of it. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { envelopeRooms } from '../../../../src/agent/envelope.ts';
import { standardPolicy } from '../../../../src/trust/epoch/policy.ts';
import { Flock, type FlockHost, operator } from '../../../support/flock.ts';

/** A mesh of so many hosts, each with a service of its own name. */
function grown(count: number, rootTtlMs?: number): { flock: Flock; hosts: FlockHost[] } {
  const { flock, first } = Flock.founded(standardPolicy, rootTtlMs);
  const token = flock.token(first, { roles: ['agent', 'trustee'] });
  const hosts = [first];
  for (let n = 1; n < count; n++) hosts.push(flock.join(`host-${n}`, first, token));
  for (const host of hosts) host.register(`on-${host.name}`);
  return { flock, hosts };
}

const rootsOf = (host: FlockHost): string[] =>
  host.core.trust.bundle.all().map(({ generation, state }) => `g${generation} ${state}`);

function issuerOf(host: FlockHost): string {
  const [identity] = host.identities.values();
  assert.ok(identity !== undefined, `${host.name} has a certificate`);
  return new X509Certificate(identity.certPem).issuer;
}

test('three hosts make a root that none of them has, and retire the one that the founder had', () => {
  const { flock, hosts } = grown(3);
  flock.run(10_000);
  for (const host of hosts) assert.deepEqual(rootsOf(host), ['g0 active']);
  flock.run(120_000);
  for (const host of hosts) {
    assert.deepEqual(rootsOf(host), ['g0 retired', 'g1 active'], JSON.stringify(host.logs.slice(-3)));
    assert.match(issuerOf(host), /g1/);
    assert.equal(host.core.credentials?.epochStatus().current.plan.threshold, 2);
    assert.equal(host.secrets.size, 1);
  }
});

test('a root is believed as long as a host that is away may come back with a certificate of it', () => {
  const { flock, hosts } = grown(4);
  const [first, , , away] = hosts as [FlockHost, FlockHost, FlockHost, FlockHost];
  flock.run(90_000);
  assert.deepEqual(rootsOf(first), ['g0 retired', 'g1 active']);
  away.isCut = true;
  flock.run(60_000);
  first.command({ type: 'rotate-root', operator });
  flock.run(120_000);
  assert.deepEqual(rootsOf(first), ['g0 retired', 'g1 old', 'g2 active']);
  const waiting = first.core.credentials?.ca(flock.now).roots.flatMap(({ waitingFor }) => waitingFor);
  assert.deepEqual(waiting, ['host-3']);
  away.isCut = false;
  flock.run(120_000);
  for (const host of hosts) {
    assert.deepEqual(rootsOf(host), ['g0 retired', 'g1 retired', 'g2 active']);
    assert.match(issuerOf(host), /g2/);
  }
});

test('a root is replaced after two thirds of its life, before certificates would outlive it, and nobody asks', () => {
  const { flock, hosts } = grown(3, 3 * 3_600_000);
  flock.run(130_000);
  const { notBefore, notAfter } = hosts[0]!.core.trust.bundle.active();
  flock.run(notBefore + (2 / 3) * (notAfter - notBefore) - 60_000 - flock.now);
  for (const host of hosts) assert.deepEqual(rootsOf(host), ['g0 retired', 'g1 active'], 'not sooner');
  flock.run(240_000);
  for (const host of hosts) {
    assert.deepEqual(rootsOf(host).slice(2), ['g2 active'], JSON.stringify(host.logs.slice(-3)));
    assert.match(issuerOf(host), /g2/);
  }
});

test('shares of a root that another overtook before it had certificates go once the other signs', () => {
  const { flock, hosts } = grown(4);
  const first = hosts[0]!;
  flock.run(130_000);
  for (const host of hosts) host.loses = ([room]) => room === envelopeRooms.quorumRequest;
  first.command({ type: 'rotate-root', operator });
  flock.run(60_000);
  const planAt = (host: FlockHost) => host.core.credentials!.epochStatus().current.plan;
  assert.equal(planAt(first).generation, 2);
  const denied = hosts.find(({ id }) => id !== first.id && planAt(first).trustees.includes(id))!;
  const command = { type: 'deny', denied: { type: 'host', host: denied.id }, reason: '' } as const;
  first.command({ ...command, force: true, operator });
  flock.run(60_000);
  assert.deepEqual([planAt(first).generation, rootsOf(first)], [3, ['g0 retired', 'g1 active']]);
  for (const host of hosts) host.loses = () => false;
  flock.run(120_000);
  for (const host of hosts) {
    if (host === denied) continue;
    assert.deepEqual(rootsOf(host), ['g0 retired', 'g1 retired', 'g3 active'], host.name);
    const held = host.core.credentials!.epochStatus().share;
    assert.deepEqual([...host.secrets.keys()], held === null ? [] : [held], host.name);
  }
});
