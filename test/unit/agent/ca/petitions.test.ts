/** Certificates for keys that others hold, in a whole mesh, and what they do to the life of a root. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import type { SignedChain } from '../../../../src/agent/ca/ca-port.ts';
import { Petitions } from '../../../../src/agent/ca/petitions.ts';
import { leafTopic } from '../../../../src/agent/port.ts';
import { ed25519Verify, Fault } from '../../../../src/core.ts';
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
  const request = host.ask({ type: 'sign-csr', csr: csrOf(service), ttlMs, user: null });
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
    () => first.command({ type: 'sign-csr', csr: new Uint8Array(9), ttlMs: null, user: null }),
    (error: unknown) => error instanceof Fault && error.code === 'csr-malformed',
  );
});

test('a user that has certificates signed all the time keeps none from the services of its host', () => {
  const { flock, first } = Flock.founded();
  const second = flock.join('second', first, flock.token(first));
  const csr = csrOf('api');
  const codes = new Set<string>();
  const flood = (seconds: number): void => {
    for (let i = 0; i < 20 * seconds; i++) {
      const request = second.ask({ type: 'sign-csr', csr, ttlMs: null, user: 1000 });
      flock.run(50);
      const answer = second.answers.get(request);
      if (answer !== undefined && 'fault' in answer) codes.add(answer.fault.code);
    }
  };
  flood(20);
  second.register('web');
  flood(1);
  assert.deepEqual([...codes], ['rate-limited']);
  assert.ok(second.identities.has('web'));
  assert.equal(second.core.identities(flock.now)[0]?.problem, null);
  assert.ok(typeof sign(second, 'api') !== 'string', 'nor from who owns the host');
});

test('few requests to sign wait, of one user fewer, and half of them at most are under way', () => {
  const { flock, first } = Flock.founded();
  const asked: number[] = [];
  const petitions = new Petitions({
    self: first.id,
    trust: first.core.trust,
    verify: ed25519Verify,
    ttlMs: 3_600_000,
    saved: [],
    ask: (requestId) => {
      asked.push(requestId);
      return [];
    },
  });
  const csr = csrOf('api');
  let request = 0;
  const codeOf = (user: number | null): string => {
    try {
      petitions.begin(++request, { type: 'sign-csr', csr, ttlMs: null, user }, flock.now);
      return 'taken';
    } catch (error) {
      return error instanceof Fault ? error.code : String(error);
    }
  };
  const counted = (user: number | null) =>
    Array.from({ length: 64 }, () => codeOf(user)).filter((code) => code === 'taken');
  assert.deepEqual(
    [1000, 1001, 1002, null].map((user) => counted(user).length),
    [3, 3, 0, 2],
  );
  assert.equal(asked.length, 2);
  assert.deepEqual(
    petitions.failed(asked[0]!, 'unreachable', 'gone', flock.now).map(({ type }) => type),
    ['fail'],
  );
  assert.equal(asked.length, 3, 'the next has its turn');
  assert.equal(codeOf(null), 'taken');
  const ended = petitions.wake(flock.now + 10_000);
  assert.deepEqual(new Set(ended.map(({ type }) => type)), new Set(['fail']));
  assert.equal(ended.length, 8);
  assert.equal(petitions.oldestRootInUse(), null);
  assert.equal(petitions.nextWake(), null);
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
