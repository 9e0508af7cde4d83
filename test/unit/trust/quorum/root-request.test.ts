/** What a trustee has to say to others that ask for signatures on roots. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '../../../../src/core.ts';
import {
  judgeRootRequest,
  type RootContext,
  type RootRequest,
} from '../../../../src/trust/quorum/root-request.ts';
import { founder, hour, signerOf, startedAt } from '../mesh.ts';
import { sharedState } from './court.ts';

const { bundle, genesis } = sharedState(2, 3);
const key = signerOf('root 2').publicKey;
bundle.learn(
  new Map([0, 1, 2].map((generation) => [generation, bundle.nameOf(generation)?.publicKey ?? key])),
);

const context: RootContext = {
  mesh: genesis.hash,
  nameOf: (generation) => bundle.nameOf(generation),
  root: (generation) => bundle.get(generation),
  activeGeneration: () => bundle.active().generation,
  isTrustee: (host) => host === founder.publicKey,
  waitingFor: () => [],
  rootLifetimeMs: hour,
  longestLeafMs: hour,
};

function codeOf(request: Partial<RootRequest>, from = founder.publicKey): string | null {
  const whole = { issuer: 2, subject: 2, issuedAt: startedAt, lifetimeMs: hour, ...request };
  try {
    judgeRootRequest(whole, from, context, startedAt);
    return null;
  } catch (error) {
    assert.ok(error instanceof Fault);
    return error.code;
  }
}

test('a root that is to come is certified, by itself and by the one before, for a trustee', () => {
  assert.equal(codeOf({}), null);
  assert.equal(codeOf({ issuer: 1 }), null);
  assert.equal(codeOf({}, signerOf('stranger').publicKey), 'not-a-trustee');
  assert.equal(codeOf({ issuer: 0 }), 'root-not-linked');
  assert.equal(codeOf({ issuer: 3, subject: 3 }), 'root-unknown');
  assert.equal(codeOf({ issuedAt: startedAt + hour }), 'clock-skew');
  assert.equal(codeOf({ lifetimeMs: 59_000 }), 'bad-ttl');
});

test('no trustee has a root that is known certified anew, to last shorter or longer', () => {
  for (const lifetimeMs of [60_000, 9 * 365 * 24 * hour])
    for (const issuer of [0, 1]) assert.equal(codeOf({ issuer, subject: 1, lifetimeMs }), 'root-known');
});

test('how long a root lasts is what this host is set up for, within a factor of two', () => {
  for (const lifetimeMs of [hour / 2, hour, 2 * hour]) assert.equal(codeOf({ lifetimeMs }), null);
  for (const lifetimeMs of [60_000, hour / 2 - 1, 2 * hour + 1])
    assert.equal(codeOf({ lifetimeMs }), 'bad-ttl');
});
