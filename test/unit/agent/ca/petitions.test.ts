/** Certificates for keys that others hold, in a whole mesh, and what they do to the life of a root. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import type { SignedChain } from '../../../../src/agent/ca/ca-port.ts';
import { leafTopic } from '../../../../src/agent/port.ts';
import { Fault } from '../../../../src/core.ts';
import { standardPolicy } from '../../../../src/trust/epoch/policy.ts';
import { createCsr } from '../../../../src/trust/x509/csr.ts';
import { dnsNamesOf, formatSpiffeId } from '../../../../src/trust/x509/spiffe.ts';
import { Flock, type FlockHost, genesis, operator } from '../../../support/flock.ts';
import { p256 } from '../../trust/mesh.ts';

function csrOf(service: string): Uint8Array {
  const identity = { trustDomain: genesis.trustDomain, datacenter: 'dc1', service };
  return createCsr(p256(), formatSpiffeId(identity), dnsNamesOf(identity));
}

function ofThree(): { flock: Flock; hosts: FlockHost[] } {
  const { flock, first } = Flock.founded(standardPolicy);
  const token = flock.token(first, { roles: ['agent', 'trustee'] });
  const hosts = [first, flock.join('second', first, token), flock.join('third', first, token)];
  flock.run(130_000);
  return { flock, hosts };
}

/** What comes of a request to sign, or the code of its refusal. */
function sign(host: FlockHost, service: string, ttlMs: number | null = null): SignedChain | string {
  const request = host.ask({ type: 'sign-csr', csr: csrOf(service), ttlMs });
  host.flock.run(11_000);
  const answer = host.answers.get(request);
  assert.ok(answer !== undefined, 'a request to sign is answered within ten seconds');
  return 'fault' in answer ? answer.fault.code : (answer.value as SignedChain);
}

const generations = (host: FlockHost): string[] =>
  host.core.trust.bundle.all().map(({ generation, state }) => `g${generation} ${state}`);

test('the founder signs for a service of its host, and refuses a name that the host was not granted', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first, { services: ['api'] }));
  const signed = sign(second, 'api', 3_600_000);
  assert.ok(typeof signed !== 'string', String(signed));
  const certificate = new X509Certificate(signed.certPem);
  assert.ok(certificate.verify(new X509Certificate(genesis.root.der).publicKey));
  assert.match(certificate.subjectAltName ?? '', /svc\/api/);
  assert.equal(sign(second, 'web'), 'name-not-granted');
  assert.equal(sign(second, 'api', 1), 'bad-ttl');
  first.kill();
  assert.equal(sign(second, 'api'), 'unreachable');
});

test('what is no signing request is refused at once', () => {
  const { first } = Flock.founded();
  assert.throws(
    () => first.command({ type: 'sign-csr', csr: new Uint8Array(9), ttlMs: null }),
    (error: unknown) => error instanceof Fault && error.code === 'csr-malformed',
  );
});

test('a root is not retired while a key of somebody else is certified by it, restarts included', () => {
  const { flock, hosts } = ofThree();
  const [first, second, third] = hosts as [FlockHost, FlockHost, FlockHost];
  const signed = sign(second, 'api', 20 * 60_000);
  assert.ok(typeof signed !== 'string', String(signed));
  assert.equal(signed.generation, 1);
  first.command({ type: 'rotate-root', operator });
  flock.run(60_000);
  second.kill();
  second.start();
  flock.run(300_000);
  assert.deepEqual(generations(third), ['g0 retired', 'g1 old', 'g2 active']);
  const ca = third.core.credentials!.ca(flock.now);
  assert.deepEqual([ca.rotation, ca.roots[1]?.waitingFor], ['retiring', ['second']]);
  flock.run(20 * 60_000);
  assert.deepEqual(generations(third), ['g0 retired', 'g1 retired', 'g2 active']);
  assert.ok(![...second.store.keys()].some((key) => key.includes('external')));
});

test('without a quorum a request to sign is refused, and how requests ended is counted', () => {
  const { hosts } = ofThree();
  const [first, second, third] = hosts as [FlockHost, FlockHost, FlockHost];
  assert.ok(typeof sign(first, 'api') !== 'string');
  second.kill();
  third.kill();
  assert.match(String(sign(first, 'api')), /^(quorum-lost|timed-out|isolated|unreachable)$/);
  const { outcomes, buckets } = first.core.credentials!.issuance;
  assert.equal(outcomes.get('issued'), 1);
  assert.equal(buckets.at(-1), 1);
  assert.equal(
    [...outcomes.values()].reduce((sum, count) => sum + count, 0),
    2,
  );
});

test('whoever waits for a service’s certificate hears of each that comes, and when there is none any more', () => {
  const { flock, first } = Flock.founded();
  const { catalog } = first.core;
  const index = () => catalog.indexOf(leafTopic('web'));
  const before = index();
  first.register('web');
  flock.run(1000);
  const issued = index();
  assert.ok(issued > before);
  flock.run(7 * 3_600_000);
  const renewed = index();
  assert.ok(renewed > issued);
  first.command({ type: 'deregister-service', id: 'web' });
  flock.run(1000);
  assert.ok(index() > renewed);
});
