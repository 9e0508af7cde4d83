import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519Verify } from '../../../../src/core.ts';
import { encodeIssueRequest } from '../../../../src/trust/issuance/issuance.ts';
import { encodeEntry } from '../../../../src/trust/log/issuance-log.ts';
import { LogWalk } from '../../../../src/trust/log/log-walk.ts';
import { signHead } from '../../../../src/trust/log/transparency.ts';
import { leafTask } from '../../../../src/trust/quorum/leaf.ts';
import { createCsr } from '../../../../src/trust/x509/csr.ts';
import { dnsNamesOf, formatSpiffeId } from '../../../../src/trust/x509/spiffe.ts';
import { certificateProfile } from '../../../../src/trust/x509/x509.ts';
import { foundedState, founder, genesis, hour, p256, startedAt, trustDomain } from '../mesh.ts';
import { Court } from './court.ts';

const identity = { trustDomain, datacenter: 'dc1', service: 'api' };
const state = foundedState();
const task = leafTask(
  encodeIssueRequest({
    requestId: 1,
    profile: certificateProfile,
    generation: 0,
    csr: createCsr(p256(), formatSpiffeId(identity), dnsNamesOf(identity)),
    issuedAt: startedAt + 60_000,
    ttlMs: hour,
  }),
  state.bundle,
  founder.publicKey,
);

function courtOf(): Court {
  return new Court(1, 1, () => state, founder);
}

test('the founder alone signs by the same two rounds, several requests at once', () => {
  const court = courtOf();
  for (const name of ['one', 'two', 'three']) court.sign(name, task.purpose, task.message);
  court.deliver();
  for (const name of ['one', 'two', 'three']) {
    const signature = court.outcome(name);
    assert.ok(typeof signature !== 'string');
    assert.ok(ed25519Verify(court.epoch.rootKey, task.message, signature));
  }
});

test('a wrong signature of the founder is its fault, and there is nobody else to ask', () => {
  const court = courtOf();
  court.tamper = (message) =>
    message.type === 'share' ? [{ ...message, bytes: message.bytes.map((byte) => byte ^ 1) }] : [message];
  court.sign('one', task.purpose, task.message);
  court.finish();
  assert.equal(court.outcome('one'), 'quorum-lost');
  assert.deepEqual(court.blamed(), ['bad-share 1']);
});

test('a founder that is silent is given up after a while, one that refuses at once', () => {
  const silent = courtOf();
  silent.kill(founder.publicKey);
  silent.sign('one', task.purpose, task.message);
  silent.finish();
  assert.equal(silent.outcome('one'), 'quorum-lost');
  const refusing = courtOf();
  refusing.tamper = (message) => (message.type === 'ask' ? [{ ...message, epoch: 7 }] : [message]);
  refusing.sign('one', task.purpose, task.message);
  refusing.deliver();
  assert.equal(refusing.outcome('one'), 'epoch-unknown');
});

test('who follows the signed log of a trustee finds every signature, also of what was never shown', () => {
  const court = courtOf();
  const { log } = court.trustees.get(founder.publicKey)!;
  court.sign('withheld', task.purpose, task.message);
  court.deliver();
  const walk = new LogWalk(founder.publicKey);
  const head = signHead(genesis.hash, log.durableHead, founder, court.now);
  const page = { type: 'page', requestId: 1, head, entries: log.before(0, 100).map(encodeEntry) } as const;
  walk.take(page, genesis.hash, ed25519Verify);
  assert.deepEqual([walk.isOver, walk.problem], [true, null]);
  const { entries } = walk;
  assert.deepEqual(
    entries.map((entry) => [entry.requester, entry.subject]),
    [[founder.publicKey, formatSpiffeId(identity)]],
  );
});
