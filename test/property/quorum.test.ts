import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ed25519Verify, Fault, type HostId } from '../../src/core.ts';
import { encodeIssueRequest } from '../../src/trust/issuance/issuance.ts';
import { leafTask } from '../../src/trust/quorum/leaf.ts';
import {
  bootOf,
  decodeQuorumMessage,
  encodeQuorumMessage,
  maxAttempts,
  maxQuorumRequestId,
  maxRetryAfterMs,
  type QuorumMessage,
} from '../../src/trust/quorum/message.ts';
import { encodePurpose, leafTag } from '../../src/trust/quorum/purpose.ts';
import { createCsr } from '../../src/trust/x509/csr.ts';
import { dnsNamesOf, formatSpiffeId } from '../../src/trust/x509/spiffe.ts';
import { certificateProfile } from '../../src/trust/x509/x509.ts';
import { founder, hour, p256, startedAt, trustDomain } from '../unit/trust/mesh.ts';
import { Court, sharedState } from '../unit/trust/quorum/court.ts';

const head = {
  requestId: fc.nat(maxQuorumRequestId),
  attempt: fc.nat(maxAttempts),
};
const epoch = fc.nat();
const purpose = fc.uint8Array({ maxLength: 600 });
const nonceId = fc
  .tuple(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.nat())
  .map(([boot, count]) => `${Buffer.from(boot).toString('hex')}-${count}`);

const anyMessage: fc.Arbitrary<QuorumMessage> = fc.oneof(
  fc.record({ type: fc.constant('ask' as const), ...head, epoch, purpose }),
  fc.record({
    type: fc.constant('contribute' as const),
    ...head,
    epoch,
    purpose,
    nonceId,
    commitments: fc.uint8Array({ maxLength: 300 }),
  }),
  fc.record({
    type: fc.constant('commitment' as const),
    ...head,
    nonceId,
    bytes: fc.uint8Array({ maxLength: 65 }),
  }),
  fc.record({ type: fc.constant('share' as const), ...head, bytes: fc.uint8Array({ maxLength: 64 }) }),
  fc.record({
    type: fc.constant('refused' as const),
    ...head,
    code: fc.constantFrom('isolated', 'name-not-granted', 'x'),
    message: fc.string({ maxLength: 100, unit: 'grapheme-ascii' }),
    retryAfterMs: fc.nat(maxRetryAfterMs),
  }),
);

function isMalformed(act: () => unknown): boolean {
  try {
    act();
    return false;
  } catch (error) {
    assert.ok(error instanceof Fault && error.code === 'malformed', String(error));
    return true;
  }
}

test('what trustees and requesters say reads back as it was written, and never when it is cut short', () => {
  fc.assert(
    fc.property(anyMessage, fc.nat(), (message, cut) => {
      const bytes = encodeQuorumMessage(message);
      assert.deepEqual(decodeQuorumMessage(bytes), { ...message });
      assert.ok(isMalformed(() => decodeQuorumMessage(bytes.subarray(0, cut % bytes.length))));
      assert.ok(isMalformed(() => decodeQuorumMessage(Buffer.concat([bytes, Buffer.of(0)]))));
      if ('nonceId' in message) assert.match(bootOf(message.nonceId), /^[0-9a-f]{32}$/);
    }),
  );
});

test('whatever else is read is malformed, or reads as what would be written so', () => {
  const garbage = fc.oneof(
    fc.uint8Array({ maxLength: 200 }),
    fc.tuple(anyMessage, fc.nat(), fc.nat(255)).map(([message, at, value]) => {
      const bytes = Uint8Array.from(encodeQuorumMessage(message));
      bytes[at % bytes.length] = value;
      return bytes;
    }),
  );
  fc.assert(
    fc.property(garbage, (bytes) => {
      if (isMalformed(() => decodeQuorumMessage(bytes))) return;
      assert.deepEqual(Buffer.from(encodeQuorumMessage(decodeQuorumMessage(bytes))), Buffer.from(bytes));
    }),
  );
});

test('long texts are cut and late times bounded, so that every refusal can be read', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 2000 }), fc.nat(), (message, retryAfterMs) => {
      const refused = {
        type: 'refused',
        requestId: 1,
        attempt: 1,
        code: 'no',
        message,
        retryAfterMs,
      } as const;
      const read = decodeQuorumMessage(encodeQuorumMessage(refused));
      assert.ok(read.type === 'refused' && read.retryAfterMs <= maxRetryAfterMs);
    }),
  );
});

const identity = { trustDomain, datacenter: 'dc1', service: 'api' };
const request = encodeIssueRequest({
  requestId: 1,
  profile: certificateProfile,
  generation: 1,
  csr: createCsr(p256(), formatSpiffeId(identity), dnsNamesOf(identity)),
  issuedAt: startedAt + 60_000,
  ttlMs: hour,
});
const state = sharedState(3, 5);
const task = leafTask(request, state.bundle, founder.publicKey);

/** What becomes of one message of a trustee that is not honest. */
const mischief = fc.constantFrom('honest', 'silent', 'refuses', 'garbles', 'repeats', 'lies');
type Mischief = typeof mischief extends fc.Arbitrary<infer T> ? T : never;

function misbehave(message: QuorumMessage, how: Mischief): readonly QuorumMessage[] {
  const { requestId, attempt } = message;
  switch (how) {
    case 'silent':
      return [];
    case 'refuses':
      return [{ type: 'refused', requestId, attempt, code: 'isolated', message: 'alone', retryAfterMs: 0 }];
    case 'garbles':
      return 'bytes' in message ? [{ ...message, bytes: message.bytes.map((byte) => byte ^ 5) }] : [message];
    case 'repeats':
      return [message, message];
    case 'lies':
      return [
        { ...message, attempt: (attempt + 1) % maxAttempts },
        { ...message, requestId: requestId + 1 },
      ];
    default:
      return [message];
  }
}

test('with three honest trustees of five there is a signature, and no honest one is ever blamed', () => {
  const scripts = fc.array(fc.array(mischief, { minLength: 1, maxLength: 6 }), {
    minLength: 2,
    maxLength: 2,
  });
  fc.assert(
    fc.property(scripts, fc.shuffledSubarray([0, 1, 2, 3, 4], { minLength: 5 }), (lists, order) => {
      const court = new Court(3, 5, () => state, founder);
      const liars = order.slice(0, 2).map((place) => court.hosts[place]!);
      let said = 0;
      court.tamper = (message, from) => {
        const script = lists[liars.indexOf(from)];
        return script === undefined ? [message] : misbehave(message, script[said++ % script.length]!);
      };
      court.sign('leaf', task.purpose, task.message);
      court.finish();
      const signature = court.outcome('leaf');
      assert.ok(typeof signature !== 'string', `signed, not ${String(signature)}`);
      assert.ok(ed25519Verify(court.epoch.rootKey, task.message, signature));
      for (const effect of court.outcomes)
        if (effect.type === 'blamed' || effect.type === 'alarm') assert.ok(liars.includes(effect.host));
    }),
    { numRuns: 40 },
  );
});

test('nothing that anybody says makes a trustee sign twice with the same nonces, or what its rules refuse', () => {
  const purposes = [task.purpose, encodePurpose(leafTag, Buffer.from('x')), encodePurpose(3, request)];
  const step = fc.record({
    type: fc.constantFrom('ask' as const, 'contribute' as const),
    from: fc.nat(1),
    requestId: fc.nat(2),
    purpose: fc.nat(purposes.length - 1),
    nonce: fc.nat(3),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
      const court = new Court(3, 5, () => state, founder);
      const [trustee, other] = court.hosts as [HostId, HostId];
      const promised: string[] = ['ab'.repeat(16).concat('-1')];
      for (const { type, from, requestId, purpose: which, nonce } of steps) {
        const common = { requestId, attempt: 1, epoch: 1, purpose: purposes[which]! };
        const message: QuorumMessage =
          type === 'ask'
            ? { type, ...common }
            : {
                type,
                ...common,
                nonceId: promised[nonce % promised.length]!,
                commitments: Buffer.from('none'),
              };
        court.post([founder.publicKey, other][from]!, trustee, encodeQuorumMessage(message));
        court.deliver();
        const last = court.said.at(-1)!.message;
        if (last.type === 'commitment') promised.push(last.nonceId);
      }
      const bench = court.trustees.get(trustee)!;
      const entries = bench.log.latest(100);
      assert.equal(new Set(entries.map((entry) => entry.nonceId)).size, entries.length);
      assert.equal(bench.orders.filter((order) => order === 'contribute').length, entries.length);
      for (const entry of entries) assert.equal(entry.subject, formatSpiffeId(identity));
    }),
    { numRuns: 60 },
  );
});
