import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { test } from 'node:test';
import type { HostId, Millis } from '../../../../src/core.ts';
import { createFounderAdmission } from '../../../../src/trust/admission/admission.ts';
import { revokeGrant } from '../../../../src/trust/admission/grant.ts';
import {
  decodeIssueReply,
  decodeIssueRequest,
  encodeIssueReply,
  encodeIssueRequest,
  type IssueReply,
  type IssueRequest,
} from '../../../../src/trust/issuance/issuance.ts';
import { type IssuerEffect, RootIssuer } from '../../../../src/trust/issuance/issuer.ts';
import { LeafRules } from '../../../../src/trust/issuance/leaf-rules.ts';
import {
  type IssuanceEntry,
  IssuanceLog,
  type IssuerStoreOp,
} from '../../../../src/trust/log/issuance-log.ts';
import type { TrustState } from '../../../../src/trust/state.ts';
import { createCsr } from '../../../../src/trust/x509/csr.ts';
import { dnsNamesOf, formatSpiffeId } from '../../../../src/trust/x509/spiffe.ts';
import { certificateProfile } from '../../../../src/trust/x509/x509.ts';
import {
  admissionStatement,
  faultCode,
  foundedState,
  founder,
  genesis,
  grantStatement,
  hour,
  makeGrant,
  p256,
  rootSigner,
  signerOf,
  startedAt,
  trustDomain,
} from '../mesh.ts';

const host = signerOf('host');
const key = p256();
const now = startedAt + 60_000;
const identityOf = (service: string) => ({ trustDomain, datacenter: 'dc1', service });

function csrFor(service: string): Buffer {
  return createCsr(key, formatSpiffeId(identityOf(service)), dnsNamesOf(identityOf(service)));
}

function request(parts: Partial<IssueRequest> = {}): Uint8Array {
  return encodeIssueRequest({
    requestId: 7,
    profile: certificateProfile,
    generation: 0,
    csr: csrFor('api'),
    issuedAt: now,
    ttlMs: hour,
    ...parts,
  });
}

/** An issuer with its store: what it persisted, in the store's order. */
class Bench {
  readonly state: TrustState;
  readonly store = new Map<string, Uint8Array>();
  denied: HostId | null = null;
  /** What the log was said to be on disk up to. */
  readonly durable: IssuanceEntry[] = [];
  issuer: RootIssuer;

  constructor(state: TrustState = foundedState()) {
    this.state = state;
    this.issuer = this.start();
  }

  start(): RootIssuer {
    const state = this.state;
    const saved = [...this.store].sort(([a], [b]) => (a < b ? -1 : 1));
    const context = {
      admissionOf: (id: HostId) => state.admissionOf(id),
      mayServe: (id: HostId, service: string) => state.mayServe(id, service),
      usesOf: (grantId: string) => state.usesOf(grantId),
      isDenied: (id: HostId) => id === this.denied,
    };
    return new RootIssuer({
      root: genesis.root,
      signer: rootSigner,
      rules: new LeafRules(context, saved),
      log: new IssuanceLog(saved),
    });
  }

  write(op: IssuerStoreOp): void {
    if (op.type === 'put') this.store.set(op.key, op.value);
    else this.store.delete(op.key);
  }

  ask(bytes: Uint8Array, from: HostId = founder.publicKey, at: Millis = now): IssueReply {
    const replies: IssueReply[] = [];
    const carryOut = (effects: readonly IssuerEffect[]): void => {
      for (const effect of effects)
        if (effect.type === 'persist') {
          for (const op of effect.ops) this.write(op);
          carryOut(effect.then);
        } else if (effect.type === 'logged') this.durable.push(effect.entry);
        else {
          assert.equal(effect.to, from);
          replies.push(decodeIssueReply(effect.bytes));
        }
    };
    carryOut(this.issuer.step({ type: 'request', from, bytes }, at));
    assert.equal(replies.length, 1);
    return replies[0]!;
  }

  /** The code of a refusal, or `issued`. */
  code(bytes: Uint8Array, from: HostId = founder.publicKey, at: Millis = now): string {
    const reply = this.ask(bytes, from, at);
    return reply.type === 'issued' ? 'issued' : reply.code;
  }
}

/** The founder's mesh with `host` admitted by a grant for the service `api`. */
function withHost(): Bench {
  const grant = makeGrant('grant', { services: ['api'], uses: 1 });
  const state = foundedState();
  state.apply(grantStatement(grant));
  state.apply(admissionStatement(host, 'grant', grant));
  return new Bench(state);
}

test('a good request gives a certificate of the root, and nothing leaves before it is on disk', () => {
  const bench = new Bench();
  const effects = bench.issuer.step({ type: 'request', from: founder.publicKey, bytes: request() }, now);
  assert.deepEqual(
    effects.map((effect) => effect.type),
    ['persist'],
  );
  const reply = bench.ask(request());
  assert.ok(reply.type === 'issued');
  assert.equal(reply.requestId, 7);
  const certificate = new X509Certificate(reply.chain[0]!);
  assert.ok(certificate.verify(new X509Certificate(genesis.root.der).publicKey));
  assert.equal(certificate.validToDate.getTime(), now + hour);
  assert.deepEqual(
    bench.durable.map(({ sequence }) => sequence),
    [2],
    'what was never written is not said to be on disk',
  );
});

test('the same request asked twice gives the same certificate', () => {
  const bench = new Bench();
  const csr = csrFor('api');
  assert.deepEqual(bench.ask(request({ csr })), bench.ask(request({ csr })));
});

test('an admitted host gets what its grant covers, and no other name', () => {
  const bench = withHost();
  assert.equal(bench.code(request(), host.publicKey), 'issued');
  assert.equal(bench.code(request({ csr: csrFor('web') }), host.publicKey), 'name-not-granted');
  assert.equal(bench.code(request({ csr: csrFor('web') })), 'issued');
});

test('a host goes on getting certificates after its grant was revoked', () => {
  const bench = withHost();
  const grant = makeGrant('grant', { services: ['api'], uses: 1 });
  bench.state.apply(grantStatement(revokeGrant(grant, startedAt + 30_000)));
  assert.equal(bench.code(request(), host.publicKey), 'issued');
});

test('a stranger and a denied host get nothing', () => {
  const bench = withHost();
  assert.equal(bench.code(request(), signerOf('stranger').publicKey), 'not-admitted');
  bench.denied = host.publicKey;
  assert.equal(bench.code(request(), host.publicKey), 'denied');
});

test('names that do not go with the id, or are of another domain, are refused', () => {
  const bench = new Bench();
  const id = formatSpiffeId(identityOf('api'));
  const csr = (uri: string, dns: string[]): string => bench.code(request({ csr: createCsr(key, uri, dns) }));
  assert.equal(csr(id, []), 'csr-names');
  assert.equal(csr(id, dnsNamesOf(identityOf('web'))), 'csr-names');
  assert.equal(csr(id, [...dnsNamesOf(identityOf('api')), 'bank.example']), 'csr-names');
  const foreign = { ...identityOf('api'), trustDomain: 'other.example' };
  assert.equal(csr(formatSpiffeId(foreign), dnsNamesOf(foreign)), 'csr-names');
  assert.equal(csr('https://api.example', []), 'spiffe-id-malformed');
});

test('requests for other profiles, roots, times and lifetimes are refused', () => {
  const bench = new Bench();
  assert.equal(bench.code(request({ profile: certificateProfile + 1 })), 'unsupported-profile');
  assert.equal(bench.code(request({ generation: 1 })), 'wrong-root');
  assert.equal(bench.code(request({ issuedAt: now + 121_000 })), 'clock-skew');
  assert.equal(bench.code(request({ issuedAt: now - 121_000 })), 'clock-skew');
  assert.equal(bench.code(request({ issuedAt: now + 1 })), 'clock-skew');
  assert.equal(bench.code(request({ issuedAt: now + 120_000 })), 'issued');
  assert.equal(bench.code(request({ ttlMs: 9_999 })), 'bad-ttl');
  assert.equal(bench.code(request({ ttlMs: 8 * 24 * hour })), 'bad-ttl');
  const end = genesis.root.notAfter;
  assert.equal(bench.code(request({ issuedAt: end }), founder.publicKey, end), 'wrong-root');
});

test('a malformed request and a malformed CSR are answered with a code', () => {
  const bench = new Bench();
  assert.equal(bench.code(Buffer.from('nonsense')), 'malformed-request');
  assert.equal(bench.code(Buffer.alloc(100_000)), 'malformed-request');
  assert.equal(bench.code(request({ csr: Buffer.from('nonsense') })), 'csr-malformed');
});

test('a host that asks too often is told how long to wait, and others are not held up', () => {
  const bench = withHost();
  let issued = 0;
  let reply = bench.ask(request());
  for (; reply.type === 'issued' && issued < 1000; issued++) reply = bench.ask(request());
  assert.equal(issued, 128);
  assert.ok(reply.type === 'refused');
  assert.deepEqual([reply.code, reply.retryAfterMs], ['rate-limited', 500]);
  assert.equal(bench.code(request(), host.publicKey), 'issued');
  assert.equal(bench.code(request(), founder.publicKey, now + 500), 'issued');
});

test('one host key is endorsed for each use of a grant, also after a restart', () => {
  const bench = withHost();
  assert.equal(bench.code(request(), host.publicKey), 'issued');
  // An antedated admission displaces the first host everywhere, but gets no certificate here.
  const thief = signerOf('thief');
  const grant = makeGrant('grant', { services: ['api'], uses: 1 });
  bench.state.apply(admissionStatement(thief, 'grant', grant, { admittedAt: startedAt, name: 'thief' }));
  assert.ok(bench.state.isAdmitted(thief.publicKey));
  assert.equal(bench.code(request(), thief.publicKey), 'use-raced');
  bench.issuer = bench.start();
  assert.equal(bench.code(request(), thief.publicKey), 'use-raced');
});

test('the log chains every certificate, survives a restart, and a gap in it is found', () => {
  const bench = new Bench();
  for (let count = 0; count < 3; count++) bench.ask(request({ issuedAt: now + count * 1000 }));
  const before = bench.issuer.issued(10);
  assert.deepEqual(
    before.map((entry) => entry.sequence),
    [3, 2, 1],
  );
  assert.equal(before[0]!.previous, before[1]!.hash);
  assert.equal(before[2]!.previous, '0'.repeat(64));
  bench.issuer = bench.start();
  assert.deepEqual(bench.issuer.issued(10), before);
  bench.ask(request({ issuedAt: now + 5000 }));
  assert.equal(bench.issuer.issued(1)[0]!.previous, before[0]!.hash);
  const keys = [...bench.store.keys()].filter((one) => one.startsWith('issuer/log/')).sort();
  bench.store.delete(keys[1]!);
  assert.equal(
    faultCode(() => bench.start()),
    'issuance-log-broken',
  );
  bench.store.set(keys[1]!, Buffer.from('nonsense'));
  assert.equal(
    faultCode(() => bench.start()),
    'issuance-log-broken',
  );
});

test('an issuer owns no deadline, and a wake changes nothing', () => {
  const bench = new Bench();
  assert.equal(bench.issuer.nextWake(), null);
  assert.deepEqual(bench.issuer.step({ type: 'wake' }, now), []);
  assert.equal(bench.state.admissionOf(founder.publicKey)?.name, createFounderAdmission(genesis).name);
});

test('issuance frames read back as they were written, and refuse to be read as each other', () => {
  const decoded = decodeIssueRequest(request());
  assert.equal(decoded.ttlMs, hour);
  const refused: IssueReply = { type: 'refused', requestId: 1, code: 'a-b', message: 'no', retryAfterMs: 5 };
  assert.deepEqual(decodeIssueReply(encodeIssueReply(refused)), refused);
  assert.equal(
    faultCode(() => decodeIssueReply(request())),
    'malformed',
  );
  assert.equal(
    faultCode(() => decodeIssueRequest(encodeIssueReply(refused))),
    'malformed',
  );
  const long = decodeIssueReply(encodeIssueReply({ ...refused, message: '\u20ac'.repeat(5000) }));
  assert.ok(long.type === 'refused' && long.message.length <= 512);
  assert.equal(
    faultCode(() => decodeIssueReply(encodeIssueReply({ ...refused, code: 'Not A Code' }))),
    'malformed',
  );
  assert.equal(
    faultCode(() => decodeIssueReply(encodeIssueReply({ type: 'issued', requestId: 1, chain: [] }))),
    'malformed',
  );
});
