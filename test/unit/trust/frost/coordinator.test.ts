import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519Verify, Fault } from '../../../../src/core.ts';
import {
  type CoordinatorEffect,
  type CoordinatorInput,
  SigningCoordinator,
} from '../../../../src/trust/frost/coordinator.ts';
import { NonceIds, NoncePool } from '../../../../src/trust/frost/nonce-pool.ts';
import { decodeNonceCommitments, nonceEntropyBytes } from '../../../../src/trust/frost/nonces.ts';
import type { Seat } from '../../../../src/trust/frost/polynomial.ts';
import { SigningSession, signShare } from '../../../../src/trust/frost/signing.ts';
import { dealtKeys, entropyOf, hostOf, range } from './parties.ts';

const message = Buffer.from('the bytes of a certificate');
const { group, shares } = dealtKeys(3, range(1, 5));
const requester = hostOf('requester').publicKey;

/** How a trustee behaves; an answer of null is silence. */
type Behaviour = (honest: CoordinatorInput) => CoordinatorInput | null;

interface Run {
  readonly signature: Uint8Array | null;
  readonly excluded: readonly string[];
  readonly fault: Fault | null;
  readonly attempts: number;
}

/** Runs a coordinator against trustees, honest but for `odd`. */
function run(odd: { readonly [seat: Seat]: Behaviour } = {}, candidates: readonly Seat[] = range(1, 5)): Run {
  const coordinator = new SigningCoordinator({ group, message, candidates, answerWithinMs: 1000 });
  const pools = new Map(
    [...shares].map(([seat, share]) => [seat, new NoncePool(share, new NonceIds('ab'.repeat(16)))]),
  );
  let now = 0;
  let drawn = 0;
  const answer = (effect: CoordinatorEffect): CoordinatorInput | null => {
    if (effect.type === 'ask') {
      const { seat, attempt } = effect;
      const offer = pools
        .get(seat)!
        .offer(requester, entropyOf(`${seat} ${drawn++}`, nonceEntropyBytes), now);
      return { type: 'commitment', seat, attempt, nonceId: offer.id, bytes: offer.commitment.wire };
    }
    if (effect.type !== 'request-share') return null;
    const { seat, attempt } = effect;
    const session = new SigningSession(group, message, decodeNonceCommitments(effect.commitments));
    const nonces = pools.get(seat)!.take(requester, effect.nonceId, now);
    return { type: 'share', seat, attempt, bytes: signShare(session, shares.get(seat)!, nonces) };
  };
  const queue: CoordinatorEffect[] = [...coordinator.step({ type: 'start' }, now)];
  const seen: CoordinatorEffect[] = [];
  for (;;) {
    const effect = queue.shift();
    if (effect === undefined) {
      const wake = coordinator.nextWake();
      if (wake === null) break;
      now = wake;
      queue.push(...coordinator.step({ type: 'wake' }, now));
      continue;
    }
    seen.push(effect);
    const honest = answer(effect);
    if (honest === null || !('seat' in honest)) continue;
    const input = odd[honest.seat] === undefined ? honest : odd[honest.seat]!(honest);
    if (input !== null) queue.push(...coordinator.step(input, now));
  }
  const signed = seen.find((effect) => effect.type === 'signed');
  const failed = seen.find((effect) => effect.type === 'failed');
  return {
    signature: signed?.signature ?? null,
    fault: failed?.fault ?? null,
    excluded: seen.flatMap((effect) =>
      effect.type === 'excluded' ? [`${effect.seat} ${effect.reason}`] : [],
    ),
    attempts: Math.max(...seen.map((effect) => ('attempt' in effect ? effect.attempt : 0))),
  };
}

const silent: Behaviour = () => null;
const badShare: Behaviour = (honest) =>
  honest.type === 'share' ? { ...honest, bytes: new Uint8Array(32).fill(1) } : honest;
const refusing: Behaviour = (honest) =>
  honest.type === 'share' ? { type: 'refused', seat: honest.seat, attempt: honest.attempt } : honest;

function assertSigned(result: Run, excluded: readonly string[], attempts: number): void {
  assert.ok(result.signature !== null && ed25519Verify(group.publicKey, message, result.signature));
  assert.deepEqual(result.excluded, excluded);
  assert.equal(result.attempts, attempts);
}

test('three honest trustees sign at the first attempt', () => {
  assertSigned(run(), [], 1);
});

test('a trustee with a bad share is named and done without', () => {
  assertSigned(run({ 2: badShare }), ['2 bad-share'], 2);
});

test('two bad shares are named at once, and the last three sign', () => {
  assertSigned(run({ 1: badShare, 3: badShare }), ['1 bad-share', '3 bad-share'], 2);
});

test('trustees that are silent or refuse are done without', () => {
  assertSigned(run({ 1: silent, 2: refusing }), ['1 silent', '2 refused'], 3);
});

test('a commitment that is malformed, or of another seat, is not waited upon', () => {
  const malformed: Behaviour = (honest) =>
    honest.type === 'commitment' ? { ...honest, bytes: honest.bytes.subarray(1) } : honest;
  const foreign: Behaviour = (honest) =>
    honest.type === 'commitment'
      ? { ...honest, bytes: Uint8Array.from([4, ...honest.bytes.subarray(1)]) }
      : honest;
  assertSigned(run({ 1: malformed, 2: foreign }), ['1 bad-commitment', '2 bad-commitment'], 3);
});

test('with fewer trustees left than must sign, it fails', () => {
  const result = run({ 1: silent, 2: badShare, 5: refusing });
  assert.equal(result.signature, null);
  assert.equal(result.fault?.code, 'quorum-lost');
  assert.equal(run({}, [1, 2]).fault?.code, 'quorum-lost');
});

test('answers that are late, repeated or from nobody who was asked change nothing', () => {
  const coordinator = new SigningCoordinator({
    group,
    message,
    candidates: range(1, 5),
    answerWithinMs: 1000,
  });
  coordinator.step({ type: 'start' }, 0);
  const bytes = new Uint8Array(65);
  for (const [seat, attempt] of [
    [5, 1],
    [1, 0],
    [1, 2],
    [9, 1],
  ] as const) {
    assert.deepEqual(coordinator.step({ type: 'commitment', seat, attempt, nonceId: 'x', bytes }, 1), []);
    assert.deepEqual(coordinator.step({ type: 'refused', seat, attempt }, 1), []);
  }
  assert.deepEqual(coordinator.step({ type: 'share', seat: 1, attempt: 1, bytes }, 1), []);
  assert.deepEqual(coordinator.step({ type: 'wake' }, 999), []);
  assert.equal(coordinator.nextWake(), 1000);
});

test('who is no trustee cannot be asked', () => {
  assert.throws(
    () => new SigningCoordinator({ group, message, candidates: [1, 2, 9], answerWithinMs: 1000 }),
    (error) => error instanceof Fault && error.code === 'unknown-signer',
  );
});
