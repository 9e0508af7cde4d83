import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import { ed25519Verify, type Millis, seededRandom } from '../../../../src/core.ts';
import {
  decodeIssueReply,
  decodeIssueRequest,
  encodeIssueReply,
} from '../../../../src/trust/issuance/issuance.ts';
import { RootIssuer } from '../../../../src/trust/issuance/issuer.ts';
import { LeafRules } from '../../../../src/trust/issuance/leaf-rules.ts';
import { type SavedIdentity, type SvidEffect, SvidKeeper } from '../../../../src/trust/issuance/svid.ts';
import { IssuanceLog } from '../../../../src/trust/log/issuance-log.ts';
import { createCsr } from '../../../../src/trust/x509/csr.ts';
import {
  foundedState,
  founder,
  genesis,
  hour,
  nextRootKeys,
  nextRootStatement,
  p256,
  rootSigner,
  startedAt,
  trustDomain,
  turnOfRoot,
} from '../mesh.ts';

const ttlMs = 12 * hour;
type Effect<T extends SvidEffect['type']> = Extract<SvidEffect, { type: T }>;

/** A keeper with a driver of its own: a virtual clock, real keys, and an issuer that can be switched off. */
class Bench {
  spreadMs = 60_000;
  readonly state = foundedState();
  readonly keeper: SvidKeeper;
  readonly identities: Effect<'identity'>[] = [];
  readonly forgotten: string[] = [];
  readonly requestedAt: Millis[] = [];
  now: Millis = startedAt;
  issuer: 'working' | 'silent' | 'unreachable' = 'working';
  makesKeys = true;
  readonly denied = new Set<string>();
  /** Changes a reply on its way. */
  tamper: (bytes: Uint8Array) => Uint8Array = (bytes) => bytes;
  private readonly root = new RootIssuer({
    root: genesis.root,
    signer: rootSigner,
    rules: new LeafRules(
      {
        admissionOf: (id) => this.state.admissionOf(id),
        mayServe: (id, service) => service !== 'forbidden' && this.state.mayServe(id, service),
        usesOf: (grantId) => this.state.usesOf(grantId),
        isDenied: () => false,
      },
      [],
    ),
    log: new IssuanceLog(),
  });

  constructor(ttl = ttlMs, seed = 1) {
    this.keeper = new SvidKeeper({
      trustDomain,
      datacenter: 'dc1',
      bundle: this.state.bundle,
      isDenied: (serial) => this.denied.has(serial),
      verify: ed25519Verify,
      random: seededRandom(seed),
      ttlMs: ttl,
      renewalSpreadMs: () => this.spreadMs,
    });
  }

  feed(input: Parameters<SvidKeeper['step']>[0]): void {
    for (const effect of this.keeper.step(input, this.now)) this.carryOut(effect);
  }

  private carryOut(effect: SvidEffect): void {
    if (effect.type === 'identity') this.identities.push(effect);
    else if (effect.type === 'forget') this.forgotten.push(effect.service);
    else if (effect.type === 'make-key') this.makeKey(effect);
    else this.request(effect);
  }

  private makeKey(effect: Effect<'make-key'>): void {
    if (!this.makesKeys) return;
    const key = p256();
    const keyPem = key.export({ type: 'pkcs8', format: 'pem' }).toString();
    const csr = createCsr(key, effect.spiffeId, effect.dnsNames);
    this.feed({ type: 'key-made', service: effect.service, csr, keyPem });
  }

  private request(effect: Effect<'request'>): void {
    this.requestedAt.push(this.now);
    if (this.issuer === 'silent') return;
    if (this.issuer === 'unreachable') {
      this.feed({ type: 'request-failed', requestId: effect.requestId, reason: 'no trustee is reachable' });
      return;
    }
    const [done] = this.root.step(
      { type: 'request', from: founder.publicKey, bytes: effect.bytes },
      this.now,
    );
    const reply = done?.type === 'persist' ? done.then.at(-1) : done;
    assert.ok(reply?.type === 'reply');
    this.feed({ type: 'reply', bytes: this.tamper(reply.bytes) });
  }

  /** Lets time pass, waking the keeper whenever it asks. */
  run(until: Millis): void {
    for (let steps = 0; steps < 100_000; steps++) {
      const wake = this.keeper.nextWake();
      if (wake === null || wake > until) break;
      this.now = Math.max(this.now, Math.ceil(wake));
      this.feed({ type: 'wake' });
    }
    this.now = until;
  }

  problem(service = 'api'): string | null {
    return this.keeper.statuses(this.now).find((one) => one.service === service)!.problem;
  }

  saved(): SavedIdentity {
    const { service, certPem, keyPem } = this.identities.at(-1)!;
    return { service, certPem, keyPem };
  }
}

function started(ttl = ttlMs, seed = 1): Bench {
  const bench = new Bench(ttl, seed);
  bench.feed({ type: 'services', services: ['api'] });
  return bench;
}

test('a service gets a certificate for its own key as soon as it is named', () => {
  const bench = started();
  const [identity] = bench.identities;
  assert.ok(identity);
  assert.equal(identity.spiffeId, 'spiffe://mesh.example/ns/default/dc/dc1/svc/api');
  const certificate = new X509Certificate(identity.certPem);
  assert.ok(certificate.checkIssued(new X509Certificate(genesis.root.der)));
  assert.equal(identity.notAfter, startedAt + ttlMs);
  assert.deepEqual(bench.keeper.statuses(bench.now), [
    {
      service: 'api',
      spiffeId: identity.spiffeId,
      notBefore: identity.notBefore,
      notAfter: identity.notAfter,
      problem: null,
    },
  ]);
});

test('renewal begins between a third and a half of the lifetime, spread, with a new key each time', () => {
  const starts = new Set<number>();
  for (let seed = 1; seed <= 20; seed++) {
    const bench = started(ttlMs, seed);
    bench.run(startedAt + ttlMs / 2 + 1000);
    assert.equal(bench.identities.length, 2);
    const at = bench.requestedAt[1]! - startedAt;
    assert.ok(at >= ttlMs / 3 && at <= ttlMs / 2 + 1000, `${at / ttlMs} of the lifetime`);
    assert.notEqual(bench.identities[0]!.keyPem, bench.identities[1]!.keyPem);
    starts.add(Math.round(at / 60_000));
  }
  assert.ok(starts.size > 10);
});

test('a week of renewals never leaves a moment without a valid certificate', () => {
  const bench = started();
  bench.run(startedAt + 7 * 24 * hour);
  for (let index = 1; index < bench.identities.length; index++)
    assert.ok(bench.identities[index]!.notBefore < bench.identities[index - 1]!.notAfter - ttlMs / 3);
  assert.ok(bench.identities.length >= 28 && bench.identities.length <= 43);
});

test('ten minutes of certificates of ten seconds are renewed in time', () => {
  const bench = started(10_000);
  for (let second = 0; second < 600; second++) {
    bench.run(startedAt + second * 1000);
    assert.ok(bench.identities.at(-1)!.notAfter > bench.now, `expired at second ${second}`);
  }
});

test('silence, refusal and unreachable issuers are tried again with growing pauses up to a minute', () => {
  for (const mode of ['silent', 'unreachable'] as const) {
    const bench = new Bench();
    bench.issuer = mode;
    bench.feed({ type: 'services', services: ['api'] });
    bench.run(startedAt + hour);
    const pauses = bench.requestedAt.slice(1).map((at, index) => at - bench.requestedAt[index]!);
    const waited = mode === 'silent' ? 10_000 : 0;
    assert.ok(pauses[0]! >= waited + 500 && pauses[0]! <= waited + 1001, `first ${pauses[0]}`);
    for (const pause of pauses.slice(8))
      assert.ok(pause >= waited + 30_000 && pause <= waited + 60_001, `later ${pause}`);
    assert.equal(
      bench.problem(),
      mode === 'silent' ? 'no issuer answered in time' : 'no trustee is reachable',
    );
    bench.issuer = 'working';
    bench.run(bench.now + 2 * 60_000);
    assert.equal(bench.problem(), null);
    assert.equal(bench.identities.length, 1);
  }
});

test('eight hours without an issuer hurt nobody, and the status says why renewal fails', () => {
  const bench = started();
  bench.run(startedAt + hour);
  bench.issuer = 'unreachable';
  bench.run(startedAt + 11.9 * hour);
  assert.equal(bench.problem(), 'no trustee is reachable');
  assert.ok(bench.identities[0]!.notAfter > bench.now);
  bench.issuer = 'working';
  bench.run(startedAt + 12 * hour);
  assert.equal(bench.identities.length, 2);
  assert.equal(bench.problem(), null);
});

test('a certificate that expired in spite of all is called expired', () => {
  const bench = started();
  bench.makesKeys = false;
  bench.run(startedAt + 13 * hour);
  assert.equal(bench.problem(), 'no key was made in time');
  const restarted = started();
  assert.equal(restarted.keeper.statuses(startedAt + 13 * hour)[0]!.problem, 'the certificate has expired');
});

test('a refusal is shown with its code', () => {
  const bench = new Bench();
  bench.feed({ type: 'services', services: ['forbidden'] });
  assert.match(bench.problem('forbidden')!, /^name-not-granted: /);
});

test('a certificate for another key, another name, or by another root is not taken', () => {
  const other = started();
  const foreign = decodeIssueReply(
    encodeIssueReply({
      type: 'issued',
      requestId: 1,
      chain: [new X509Certificate(other.identities[0]!.certPem).raw],
    }),
  );
  assert.ok(foreign.type === 'issued');
  const { chain } = foreign;
  const cases: [RegExp, (bytes: Uint8Array) => Uint8Array][] = [
    [
      /another key/,
      (bytes) => encodeIssueReply({ type: 'issued', requestId: decodeIssueReply(bytes).requestId, chain }),
    ],
    [
      /malformed|certificate/,
      (bytes) => {
        const reply = decodeIssueReply(bytes);
        return encodeIssueReply({ type: 'issued', requestId: reply.requestId, chain: [Buffer.from('x')] });
      },
    ],
    [
      /not signed by a root/,
      (bytes) => {
        const reply = decodeIssueReply(bytes);
        assert.ok(reply.type === 'issued');
        const broken = Uint8Array.from(reply.chain[0]!);
        broken[broken.length - 1]! ^= 1;
        return encodeIssueReply({ ...reply, chain: [broken] });
      },
    ],
  ];
  for (const [expected, tamper] of cases) {
    const bench = new Bench();
    bench.tamper = tamper;
    bench.feed({ type: 'services', services: ['api'] });
    assert.match(bench.problem()!, expected);
    assert.equal(bench.identities.length, 0);
    bench.tamper = (bytes) => bytes;
    bench.run(startedAt + 5000);
    assert.equal(bench.problem(), null);
  }
  const named = new Bench();
  named.tamper = (bytes) =>
    encodeIssueReply({ type: 'issued', requestId: decodeIssueReply(bytes).requestId, chain });
  named.feed({ type: 'services', services: ['web'] });
  assert.match(named.problem('web')!, /the certificate is for .*svc\/api/);
});

test('late, repeated and nonsensical replies change nothing', () => {
  const bench = started();
  const before = bench.keeper.statuses(bench.now);
  const late = encodeIssueReply({
    type: 'refused',
    requestId: 1,
    code: 'denied',
    message: 'x',
    retryAfterMs: 0,
  });
  for (const bytes of [late, Buffer.from('nonsense'), new Uint8Array()]) bench.feed({ type: 'reply', bytes });
  bench.feed({ type: 'request-failed', requestId: 1, reason: 'x' });
  bench.feed({ type: 'key-made', service: 'api', csr: new Uint8Array(), keyPem: '' });
  bench.feed({ type: 'key-made', service: 'unheard-of', csr: new Uint8Array(), keyPem: '' });
  assert.deepEqual(bench.keeper.statuses(bench.now), before);
});

test('a service that leaves the host is forgotten, and one that comes later gets its own certificate', () => {
  const bench = started();
  bench.feed({ type: 'services', services: ['web'] });
  assert.deepEqual(bench.forgotten, ['api']);
  assert.deepEqual(
    bench.identities.map((one) => one.service),
    ['api', 'web'],
  );
  bench.feed({ type: 'services', services: [] });
  assert.deepEqual(bench.keeper.statuses(bench.now), []);
  assert.equal(bench.keeper.nextWake(), null);
});

test('after a restart a good certificate from disk is used without asking anybody', () => {
  const saved = started().saved();
  for (const order of ['restore first', 'services first'] as const) {
    const bench = new Bench();
    bench.now = startedAt + hour;
    const restore = (): void => bench.feed({ type: 'restore', saved: [saved] });
    if (order === 'restore first') restore();
    else bench.issuer = 'silent';
    bench.feed({ type: 'services', services: ['api'] });
    if (order === 'services first') restore();
    assert.equal(bench.identities.length, 1);
    assert.equal(bench.identities[0]!.certPem, saved.certPem);
    assert.equal(bench.problem(), null);
    assert.ok(bench.keeper.nextWake()! >= startedAt + 4 * hour);
  }
});

test('an expired, foreign or damaged certificate from disk is replaced by a new one', () => {
  const saved = started().saved();
  const otherKey = p256().export({ type: 'pkcs8', format: 'pem' }).toString();
  for (const [at, bad] of [
    [startedAt + 13 * hour, saved],
    [startedAt, { ...saved, keyPem: otherKey }],
    [startedAt, { ...saved, keyPem: 'nonsense' }],
    [startedAt, { ...saved, certPem: 'nonsense' }],
    [startedAt, { ...saved, certPem: genesis.root.pem }],
  ] as const) {
    const bench = new Bench();
    bench.now = at;
    bench.feed({ type: 'restore', saved: [bad] });
    bench.feed({ type: 'services', services: ['api'] });
    assert.equal(bench.identities.length, 1);
    assert.notEqual(bench.identities[0]!.certPem, saved.certPem);
  }
});

test('when another root becomes active, certificates of the old one are renewed within a minute', () => {
  const bench = started();
  bench.state.bundle.learn(nextRootKeys);
  for (const one of [nextRootStatement(), turnOfRoot(1, 'active')]) bench.state.apply(one);
  bench.feed({ type: 'bundle-changed' });
  const seen: number[] = [];
  bench.tamper = (bytes) => {
    seen.push(bench.now);
    return bytes;
  };
  bench.run(startedAt + 61_000);
  assert.ok(seen.length > 0);
  assert.match(bench.problem()!, /^wrong-root: /);
  assert.ok(bench.identities[0]!.notAfter > bench.now);
});

test('where hosts are few they renew sooner, for nobody has to wait for the others', () => {
  const bench = started();
  const before = bench.requestedAt.length;
  bench.spreadMs = 900;
  bench.state.bundle.learn(nextRootKeys);
  for (const one of [nextRootStatement(), turnOfRoot(1, 'active')]) bench.state.apply(one);
  bench.feed({ type: 'bundle-changed' });
  bench.run(bench.now + 900);
  assert.ok(bench.requestedAt.length > before);
});

test('what a root signed that nobody believes any more is renewed at once, however many hosts there are', () => {
  const bench = started();
  const before = bench.requestedAt.length;
  bench.spreadMs = hour;
  bench.state.bundle.learn(nextRootKeys);
  for (const one of [nextRootStatement(), turnOfRoot(1, 'active'), turnOfRoot(0, 'retired')])
    bench.state.apply(one);
  bench.feed({ type: 'bundle-changed' });
  const { now } = bench;
  bench.run(now);
  assert.deepEqual(bench.requestedAt.slice(before), [now]);
});

test('who waits for a certificate of a root that signs no more asks for one of the next at once', () => {
  const bench = new Bench();
  bench.issuer = 'silent';
  bench.feed({ type: 'services', services: ['api'] });
  assert.equal(bench.requestedAt.length, 1);
  bench.state.bundle.learn(nextRootKeys);
  for (const one of [nextRootStatement(), turnOfRoot(1, 'active')]) bench.state.apply(one);
  bench.feed({ type: 'bundle-changed' });
  assert.deepEqual(bench.requestedAt, [startedAt, startedAt]);
  bench.feed({ type: 'bundle-changed' });
  assert.equal(bench.requestedAt.length, 2, 'and not again for the same root');
});

test('services past the limit of one host get no identity and say so', () => {
  const bench = new Bench();
  bench.makesKeys = false;
  bench.feed({ type: 'services', services: Array.from({ length: 1026 }, (_, index) => `s${index}`) });
  const statuses = bench.keeper.statuses(bench.now);
  assert.equal(statuses.length, 1026);
  assert.equal(statuses.filter((one) => one.problem?.includes('at most')).length, 2);
});

test('a request carries what was asked for', () => {
  const bench = new Bench();
  const [makeKey] = bench.keeper.step({ type: 'services', services: ['api'] }, startedAt + 1);
  assert.ok(makeKey?.type === 'make-key');
  assert.deepEqual(makeKey.dnsNames, ['api.default.dc1.internal.mesh.example']);
  const key = p256();
  const csr = createCsr(key, makeKey.spiffeId, makeKey.dnsNames);
  const keyPem = key.export({ type: 'pkcs8', format: 'pem' }).toString();
  const [request] = bench.keeper.step({ type: 'key-made', service: 'api', csr, keyPem }, startedAt + 1);
  assert.ok(request?.type === 'request');
  const decoded = decodeIssueRequest(request.bytes);
  assert.deepEqual([decoded.issuedAt, decoded.ttlMs, decoded.generation], [startedAt, ttlMs, 0]);
});

test('a root near its end does not make its certificates be renewed without pause', () => {
  const bench = new Bench();
  bench.now = genesis.root.notAfter - 60_000;
  bench.feed({ type: 'services', services: ['api'] });
  bench.run(genesis.root.notAfter + 60_000);
  assert.ok(bench.requestedAt.length < 60, `${bench.requestedAt.length} requests in two minutes`);
  for (const [index, at] of bench.requestedAt.slice(1).entries())
    assert.ok(at - bench.requestedAt[index]! >= 500);
});

test('a certificate that was denied is replaced at once, with its key, and is not taken from disk again', () => {
  const bench = started();
  const [stolen] = bench.identities;
  bench.feed({ type: 'denials-changed' });
  assert.equal(bench.identities.length, 1, 'the denial of others changes nothing');
  bench.now += hour;
  bench.denied.add(new X509Certificate(stolen!.certPem).serialNumber.toLowerCase());
  bench.issuer = 'silent';
  bench.feed({ type: 'denials-changed' });
  assert.match(bench.keeper.statuses(bench.now)[0]?.problem ?? '', /denied/);
  bench.issuer = 'working';
  bench.run(bench.now + 60_000);
  assert.equal(bench.identities.length, 2);
  assert.notEqual(bench.identities[1]!.keyPem, stolen!.keyPem);
  assert.equal(bench.keeper.statuses(bench.now)[0]?.problem, null);
  const after = new Bench();
  for (const serial of bench.denied) after.denied.add(serial);
  after.feed({ type: 'restore', saved: [stolen!] });
  after.feed({ type: 'services', services: ['api'] });
  assert.equal(after.requestedAt.length, 1);
});
