import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ed25519Verify, Fault, seededRandom } from '../../src/core.ts';
import { encodeAdmission, parseAdmission } from '../../src/trust/admission/admission.ts';
import { parseGenesis } from '../../src/trust/admission/genesis.ts';
import { encodeGrant, parseGrant } from '../../src/trust/admission/grant.ts';
import { encodeToken, parseOperatorToken, parseToken, sealText } from '../../src/trust/admission/token.ts';
import {
  decodeIssueReply,
  decodeIssueRequest,
  encodeIssueReply,
  encodeIssueRequest,
  leafFieldsOf,
} from '../../src/trust/issuance/issuance.ts';
import { RateLimiter } from '../../src/trust/issuance/rate.ts';
import { type SvidInput, SvidKeeper } from '../../src/trust/issuance/svid.ts';
import { decodeEntry, encodeEntry, noDigest } from '../../src/trust/log/issuance-log.ts';
import type { SignedStatement } from '../../src/trust/statement.ts';
import { parseCertificate } from '../../src/trust/x509/certificate.ts';
import { createCsr, parseCsr } from '../../src/trust/x509/csr.ts';
import {
  dnsNamesOf,
  formatSpiffeId,
  parseServerName,
  parseSpiffeId,
  serverName,
} from '../../src/trust/x509/spiffe.ts';
import { verifySvidProfile } from '../../src/trust/x509/svid-profile.ts';
import { assembleCertificate, buildLeafTbs, pemOf } from '../../src/trust/x509/x509.ts';
import {
  admissionStatement,
  foundedState,
  founderStatement,
  genesis,
  grantStatement,
  hour,
  makeGrant,
  nextRootStatement,
  p256,
  rootSigner,
  signerOf,
  startedAt,
  statement,
  trustDomain,
} from '../unit/trust/mesh.ts';

/** Runs `act`: only a Fault may come out of it. */
function onlyFaults(act: () => unknown): boolean {
  try {
    act();
    return true;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    assert.ok(!error.message.includes('\n'), 'a fault is one line');
    return false;
  }
}

const identity = { trustDomain, datacenter: 'dc1', service: 'api' };
const csr = createCsr(p256(), formatSpiffeId(identity), dnsNamesOf(identity));
const tbs = buildLeafTbs(
  leafFieldsOf({ issuedAt: startedAt, ttlMs: hour }, parseCsr(csr), genesis.root, signerOf('host').publicKey),
);
const leaf = assembleCertificate(tbs, rootSigner.sign(tbs));
const grant = makeGrant('grant', { services: ['api'], uses: 3 });
const admission = admissionStatement(signerOf('host'), 'grant', grant);
const token = encodeToken(
  {
    trustDomain,
    genesisHash: genesis.hash,
    seeds: [{ address: '127.0.0.1', port: 1, host: signerOf('host').publicKey }],
    grantId: grant.id,
    expiresAt: startedAt,
  },
  new Uint8Array(32),
);

/** Any bytes, or `good` with a few of its bytes changed, cut off or repeated. */
function mutations(good: Uint8Array): fc.Arbitrary<Uint8Array> {
  const edits = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
  return fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    edits.map((list) => {
      const bytes = Uint8Array.from(good);
      for (const [index, value] of list) bytes[index] = value;
      return bytes;
    }),
    fc.nat(good.length).map((length) => good.slice(0, length)),
    fc
      .tuple(fc.nat(good.length), fc.uint8Array({ maxLength: 20 }))
      .map(([at, more]) => Uint8Array.from([...good.slice(0, at), ...more, ...good.slice(at)])),
  );
}

const parsers: [string, Uint8Array, (bytes: Uint8Array) => unknown][] = [
  ['a CSR', csr, parseCsr],
  ['a certificate', genesis.root.der, parseCertificate],
  ['a service certificate', leaf, (bytes) => verifySvidProfile(bytes, trustDomain, startedAt)],
  ['a genesis', genesis.bytes, (bytes) => parseGenesis(bytes, ed25519Verify)],
  ['a grant', encodeGrant(grant), (bytes) => parseGrant(bytes, grant.id)],
  ['an admission', admission.value, parseAdmission],
  ['a token', Buffer.from(token), (bytes) => parseToken(Buffer.from(bytes).toString('latin1'))],
  [
    'an operator token',
    Buffer.from(token),
    (bytes) => parseOperatorToken(Buffer.from(bytes).toString('latin1')),
  ],
  [
    'the inside of a token',
    Buffer.from(token.split('.')[1]!, 'base64url').subarray(0, -4),
    (bytes) => parseToken(sealText('starling-join-1', bytes)),
  ],
  [
    'an issue request',
    encodeIssueRequest({ requestId: 1, profile: 1, generation: 0, csr, issuedAt: 0, ttlMs: 0 }),
    decodeIssueRequest,
  ],
  [
    'an issue reply',
    encodeIssueReply({ type: 'issued', requestId: 1, chain: [genesis.root.der] }),
    decodeIssueReply,
  ],
  [
    'a log entry',
    encodeEntry({
      sequence: 1,
      at: startedAt,
      requester: signerOf('host').publicKey,
      subject: formatSpiffeId(identity),
      serial: 'ab'.repeat(19),
      notBefore: startedAt,
      notAfter: startedAt,
      digest: noDigest,
      nonceId: 'x-1',
      commitments: noDigest,
      previous: noDigest,
    }),
    decodeEntry,
  ],
];

for (const [name, good, parse] of parsers)
  test(`whatever is handed in as ${name}, only a Fault comes out`, () => {
    fc.assert(
      fc.property(mutations(good), (bytes) => {
        onlyFaults(() => parse(bytes));
      }),
      { numRuns: 400 },
    );
  });

test('no changed request or genesis is accepted unless it says the very same', () => {
  fc.assert(
    fc.property(mutations(csr), (bytes) => {
      if (onlyFaults(() => parseCsr(bytes))) assert.deepEqual(Buffer.from(bytes), csr);
    }),
    { numRuns: 400 },
  );
  fc.assert(
    fc.property(mutations(genesis.bytes), (bytes) => {
      if (onlyFaults(() => parseGenesis(bytes, ed25519Verify)))
        assert.deepEqual(Buffer.from(bytes), Buffer.from(genesis.bytes));
    }),
    { numRuns: 200 },
  );
});

test('any JSON as the value of any trust record is judged without an exception', () => {
  const state = foundedState();
  const fields = fc.constantFrom(
    'founder',
    'name',
    'grantId',
    'use',
    'proof',
    'id',
    'uses',
    'roles',
    'services',
    'generation',
    'certPem',
    'state',
    'crossPem',
    'admittedAt',
    'genesisHash',
    'publicKey',
    'expiresAt',
    '__proto__',
  );
  const values = fc.oneof(
    fc.jsonValue({ maxDepth: 2 }),
    fc.dictionary(fields, fc.jsonValue({ maxDepth: 1 })),
  );
  fc.assert(
    fc.property(
      fc.constantFrom('admission', 'grant', 'trust-root'),
      values,
      fc.string(),
      (kind, value, key) => {
        const scope = kind === 'admission' ? 'host' : 'policy';
        const author = kind === 'admission' ? signerOf('host').publicKey : genesis.operatorKey;
        const record = statement({ scope, kind, author, key, value: Buffer.from(JSON.stringify(value)) });
        assert.notEqual(state.judge(record, startedAt), null);
        state.apply(record);
        assert.equal(state.admitted().length, 1);
      },
    ),
    { numRuns: 300 },
  );
});

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/);

test('ids, server names and tokens read back as they were written', () => {
  fc.assert(
    fc.property(label, label, label, label, (service, datacenter, left, right) => {
      const one = { trustDomain: `${left}.${right}`, datacenter, service };
      assert.deepEqual(parseSpiffeId(formatSpiffeId(one)), one);
      assert.deepEqual(parseServerName(serverName(one), one.trustDomain), one);
    }),
  );
  const hosts = fc
    .uint8Array({ minLength: 32, maxLength: 32 })
    .map((key) => Buffer.from(key).toString('hex'));
  const seeds = fc.array(
    fc
      .tuple(fc.ipV4(), fc.integer({ min: 1, max: 65535 }), hosts)
      .map(([address, port, host]) => ({ address, port, host })),
    {
      minLength: 1,
      maxLength: 3,
    },
  );
  fc.assert(
    fc.property(seeds, fc.nat(), (list, expiresAt) => {
      const fields = { trustDomain, genesisHash: genesis.hash, seeds: list, grantId: grant.id, expiresAt };
      assert.deepEqual({ ...parseToken(encodeToken(fields, new Uint8Array(32))) }, fields);
    }),
  );
});

test('hosts that learn the same records in any order agree on who is admitted and for what', () => {
  const hosts = ['a', 'b', 'c', 'd'].map(signerOf);
  const other = makeGrant('other', { uses: 2 });
  const claim = fc.tuple(fc.nat(3), fc.nat(3), fc.boolean()).map(([host, second, first]) =>
    admissionStatement(hosts[host]!, first ? 'grant' : 'other', first ? grant : other, {
      name: `host-${host}`,
      admittedAt: startedAt + second,
    }),
  );
  const claims = fc.uniqueArray(claim, { selector: (one) => one.author, maxLength: 4 });
  const orders = claims.chain((list) => {
    const records: SignedStatement[] = [
      ...list,
      grantStatement(grant),
      grantStatement(other),
      founderStatement,
      nextRootStatement(),
    ];
    const order = fc.shuffledSubarray(records, { minLength: records.length });
    return fc.tuple(order, order);
  });
  fc.assert(
    fc.property(orders, ([left, right]) => {
      const outcome = (records: SignedStatement[]) => {
        const state = foundedState();
        for (const record of records) state.apply(record);
        const admitted = state.admitted();
        for (const { id, uses } of state.allGrants())
          assert.equal(
            admitted.filter(({ grantId }) => grantId === id).length,
            Math.min(uses, state.takenUses(id)),
            'as many hosts as there are uses',
          );
        return admitted.map((one) => [one.host, one.name, state.mayServe(one.host, 'web')]);
      };
      assert.deepEqual(outcome(left), outcome(right));
    }),
    { numRuns: 150 },
  );
});

test('a requester never gets more than its burst and its rate, and the table stays bounded', () => {
  const limits = { burst: 5, perSecond: 2, maxRequesters: 10 };
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(3000), fc.nat(30)), { maxLength: 200 }), (arrivals) => {
      const limiter = new RateLimiter(limits);
      let now = 0;
      let taken = 0;
      for (const [pause, noise] of arrivals) {
        now += pause;
        if (limiter.take('one', now) === 0) taken++;
        if (noise < 9) limiter.take(`other-${noise}`, now);
        assert.ok(limiter.size <= limits.maxRequesters);
      }
      assert.ok(taken <= limits.burst + (now / 1000) * limits.perSecond);
    }),
  );
});

test('an admission reads back as it was written', () => {
  const value = parseAdmission(admission.value);
  assert.deepEqual(parseAdmission(encodeAdmission(value)), value);
  assert.ok(value.admittedAt < startedAt + hour);
});

test('a keeper of identities takes any inputs in any order, and always knows what to do next', () => {
  const key = p256().export({ type: 'pkcs8', format: 'pem' }).toString();
  const services = fc.subarray(['api', 'web', 'db']);
  const input: fc.Arbitrary<SvidInput> = fc.oneof(
    fc.constant<SvidInput>({ type: 'wake' }),
    fc.constant<SvidInput>({ type: 'bundle-changed' }),
    fc.constant<SvidInput>({ type: 'denials-changed' }),
    services.map((list): SvidInput => ({ type: 'services', services: list })),
    fc.nat(12).map((requestId): SvidInput => ({ type: 'request-failed', requestId, reason: 'no one there' })),
    fc
      .constantFrom('api', 'web', 'x')
      .map((service): SvidInput => ({ type: 'key-made', service, csr, keyPem: key })),
    fc.nat(12).map(
      (requestId): SvidInput => ({
        type: 'reply',
        bytes: encodeIssueReply({ type: 'issued', requestId, chain: [leaf] }),
      }),
    ),
    fc.uint8Array({ maxLength: 40 }).map((bytes): SvidInput => ({ type: 'reply', bytes })),
    fc.constantFrom('api', 'x').map(
      (service): SvidInput => ({
        type: 'restore',
        saved: [{ service, certPem: pemOf(leaf), keyPem: key }],
      }),
    ),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(input, fc.nat(20_000)), { maxLength: 60 }), fc.nat(), (inputs, seed) => {
      const { bundle } = foundedState();
      const options = { trustDomain, datacenter: 'dc1', bundle, verify: ed25519Verify, ttlMs: 12 * hour };
      const isDenied = () => seed % 3 === 0;
      const keeper = new SvidKeeper({
        ...options,
        isDenied,
        renewalSpreadMs: () => 60_000,
        random: seededRandom(seed),
      });
      let now = startedAt;
      let wanted: readonly string[] = [];
      for (const [one, pause] of inputs) {
        if (one.type === 'services') wanted = one.services;
        for (const effect of keeper.step(one, now)) {
          if (effect.type === 'identity' || effect.type === 'request')
            assert.ok(wanted.includes(effect.service));
          // `leaf` is for another key than the one above: it must never be taken.
          assert.notEqual(effect.type, 'identity');
        }
        const statuses = keeper.statuses(now);
        assert.deepEqual(statuses.map((status) => status.service).sort(), [...wanted].sort());
        assert.ok(statuses.every((status) => status.problem !== null));
        const wake = keeper.nextWake();
        assert.equal(wake === null, wanted.length === 0);
        now += pause;
      }
    }),
    { numRuns: 200 },
  );
});
