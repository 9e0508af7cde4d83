import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { ed25519Verify, type HostId } from '../../../../src/core.ts';
import { maxNoncesPerRequester, nonceLifetimeMs } from '../../../../src/trust/frost/nonce-pool.ts';
import { decodeNonceCommitment, encodeNonceCommitments } from '../../../../src/trust/frost/nonces.ts';
import { aggregate, SigningSession } from '../../../../src/trust/frost/signing.ts';
import type { EngineReport } from '../../../../src/trust/quorum/engine-port.ts';
import { groupOfEpoch, seatOf } from '../../../../src/trust/quorum/epoch-group.ts';
import { decodeSecret } from '../../../../src/trust/quorum/held-shares.ts';
import { defaultEngineTimings } from '../../../../src/trust/quorum/run.ts';
import { decodeSigningMessage, encodeSigningMessage } from '../../../../src/trust/quorum/signing-message.ts';
import { hostOf, range } from '../frost/parties.ts';
import { engineOf, seedOf } from './engines.ts';
import { genesis, hostsOf, planAfter, signing } from './plans.ts';
import { EngineTable } from './table.ts';

const five = range(1, 5).map((i) => `h${i}`);
const hosts = hostsOf(five);
const [h1, h2, h3, h4, h5] = hosts as [HostId, HostId, HostId, HostId, HostId];
const stranger = hostOf('stranger').publicKey;
const message = Buffer.from('an epoch');

const dealt = new EngineTable(five);
const epoch = dealt.deal(planAfter(genesis, 3, five), genesis);

/** The hosts of those labels, started anew with their shares. */
function restarted(labels: readonly string[], boot = 2): EngineTable {
  const table = new EngineTable([]);
  for (const label of labels) {
    const host = hostOf(label).publicKey;
    table.boot(label, boot);
    if (epoch.plan.trustees.includes(host))
      table.order(host, { type: 'hold', name: epoch.session, secret: dealt.secretOf(host, epoch) });
  }
  return table;
}

function signatureAt(table: EngineTable, host: HostId): void {
  const [signed, ...more] = table.said('signed');
  assert.deepEqual(more, []);
  assert.ok(signed?.host === host && ed25519Verify(epoch.rootKey, message, signed.report.signature));
  assert.deepEqual(table.said('failed'), []);
}

test('any three of five sign, and nobody else needs to be there', () => {
  for (const labels of [five, ['h1', 'h2', 'h3'], ['h2', 'h4', 'h5'], ['h5', 'h4', 'h3']]) {
    const table = restarted(labels);
    const coordinator = hostOf(labels[0]!).publicKey;
    table.beginSigning(epoch, coordinator, message);
    signatureAt(table, coordinator);
    assert.equal(table.now, 0, 'nobody waited for those who are away');
  }
});

test('a coordinator without a share has the others sign', () => {
  const table = restarted([...five, 'stranger']);
  table.beginSigning(epoch, stranger, message);
  signatureAt(table, stranger);
  assert.equal(table.engines.get(stranger)!.nextWake(), null);
});

test('of five, no one or two sign anything', () => {
  for (const first of five)
    for (const second of five) {
      const labels = [...new Set([first, second])];
      const table = restarted(labels);
      const coordinator = hostOf(first).publicKey;
      table.beginSigning(epoch, coordinator, message).finish();
      assert.deepEqual(table.said('signed'), []);
      const [failed] = table.said('failed');
      assert.equal(failed?.host, coordinator);
      assert.equal(failed.report.detail, `3 trustees must sign, and ${labels.length} are there`);
      assert.equal(table.now, defaultEngineTimings.gatherMs);
    }
});

test('a trustee that falls silent is left out, and the others sign', () => {
  const table = restarted(['h1', 'h2', 'h3', 'h4']);
  table.tamper = (from, send) =>
    from === h2 && decodeSigningMessage(send.bytes).type !== 'here' ? null : send;
  table.beginSigning(epoch, h1, message).finish();
  signatureAt(table, h1);
  assert.equal(table.now, defaultEngineTimings.answerMs);
});

test('a trustee that lost its nonces or got others’ commitments refuses, and is left out at once', () => {
  for (const changed of [new Uint8Array(), Buffer.from('nonsense')]) {
    const table = restarted(['h1', 'h2', 'h3', 'h4']);
    table.tamper = (_from, send) => {
      const said = decodeSigningMessage(send.bytes);
      if (send.to !== h2 || said.type !== 'request-share') return send;
      return { ...send, bytes: encodeSigningMessage({ ...said, commitments: changed }) };
    };
    table.beginSigning(epoch, h1, message);
    signatureAt(table, h1);
    assert.equal(table.now, 0);
  }
});

test('a bad share is held against who sent it, when it costs the signature', () => {
  const table = restarted(['h1', 'h2', 'h3']);
  table.tamper = (from, send) => {
    const said = decodeSigningMessage(send.bytes);
    if (from !== h3 || said.type !== 'share') return send;
    return { ...send, bytes: encodeSigningMessage({ ...said, bytes: new Uint8Array(32).fill(1) }) };
  };
  table.beginSigning(epoch, h1, message).finish();
  const [failed] = table.said('failed');
  assert.ok(failed?.host === h1);
  assert.deepEqual(failed.report.blamed, [h3]);
  // The others are asked anew and sign, where there are enough.
  const more = restarted(five);
  more.tamper = table.tamper;
  more.beginSigning(epoch, h1, message);
  signatureAt(more, h1);
});

test('a trustee lends its share to the one message of the session, to its coordinator only', () => {
  const table = restarted(['h1']);
  const session = signing(epoch, h1, h2, message);
  table.order(h1, { type: 'begin', session });
  const other = restarted(['h2', 'h3']);
  const otherMessage = Buffer.from('another epoch');
  const said: EngineReport[] = [];
  const tell = (from: HostId, bytes: Uint8Array): readonly EngineReport[] =>
    table.engines.get(h1)!.step({ type: 'deliver', session: session.id, from, bytes }, 0);
  for (const from of [h3, stranger])
    assert.deepEqual(tell(from, encodeSigningMessage({ type: 'ask', attempt: 1 })), []);
  // A coordinator that means another message gets a share that is worth nothing for it.
  other.tamper = (from, send) => {
    if (send.to !== h1) return send;
    for (const report of tell(from, send.bytes)) {
      said.push(report);
      if (report.type === 'send')
        other.order(h2, { type: 'deliver', session: otherSession.id, from: h1, bytes: report.bytes });
    }
    return null;
  };
  const otherSession = signing(epoch, h2, h2, otherMessage);
  other.order(h2, { type: 'begin', session: otherSession });
  other.order(h3, { type: 'begin', session: { ...otherSession, coordinator: h2 } });
  other.order(h2, {
    type: 'deliver',
    session: otherSession.id,
    from: h1,
    bytes: encodeSigningMessage({ type: 'here' }),
  });
  other.deliver().finish();
  assert.equal(said.length, 2, 'it answered both rounds');
  assert.deepEqual(other.said('signed'), []);
  assert.deepEqual(other.said('failed')[0]?.report.blamed, [h1]);
});

test('a coordinator gets one answer to a question and no second share', () => {
  const table = restarted(['h1']);
  const session = signing(epoch, h1, h2, message);
  table.order(h1, { type: 'begin', session });
  const engine = table.engines.get(h1)!;
  const answers = (bytes: Uint8Array): string[] =>
    engine
      .step({ type: 'deliver', session: session.id, from: h2, bytes }, 0)
      .map((report) => (report.type === 'send' ? decodeSigningMessage(report.bytes).type : report.type));
  const ask = (attempt: number): Uint8Array => encodeSigningMessage({ type: 'ask', attempt });
  const request = (attempt: number): Uint8Array =>
    encodeSigningMessage({ type: 'request-share', attempt, commitments: Buffer.of(0) });
  assert.deepEqual(answers(request(1)), ['refused'], 'nothing was promised');
  assert.deepEqual(answers(ask(1)), ['commitment']);
  assert.deepEqual(answers(ask(1)), [], 'nor again');
  assert.deepEqual(answers(request(1)), ['refused']);
  assert.deepEqual(answers(request(1)), ['refused'], 'the nonces are gone');
  assert.deepEqual(answers(ask(16)), ['commitment']);
  assert.deepEqual(answers(ask(2)), [], 'never back');
  for (const bytes of [new Uint8Array(), Buffer.of(9), ask(16).subarray(0, 1), Buffer.from('nonsense')])
    assert.deepEqual(answers(bytes), []);
  for (const type of ['here', 'share', 'commitment', 'refused'] as const)
    assert.deepEqual(answers(encodeSigningMessage({ type, attempt: 16, bytes: Buffer.alloc(1) })), []);
});

test('what a coordinator hears from others, or twice, or in no order, changes nothing', () => {
  const table = restarted(['h1', 'h2', 'h3']);
  table.tamper = (from, send) => {
    for (const type of ['here', 'share', 'commitment', 'refused', 'ask'] as const) {
      const bytes = encodeSigningMessage({ type, attempt: 7, bytes: Buffer.alloc(32) });
      for (const sender of [stranger, h1, from])
        table.order(h1, { type: 'deliver', session: send.session, from: sender, bytes });
    }
    table.order(h1, { type: 'deliver', session: send.session, from, bytes: new Uint8Array() });
    return send;
  };
  table.beginSigning(epoch, h1, message);
  signatureAt(table, h1);
});

test('a share of another epoch, of another seat, or none is refused before anything is said', () => {
  const next = dealt.deal(planAfter(epoch, 3, five, ['h1', 'h2', 'h3']), epoch);
  const engine = engineOf('h1', 3);
  for (const host of [h1, h2])
    engine.step({ type: 'hold', name: host, secret: dealt.secretOf(host, epoch) }, 0);
  const failure = (share: string, from = epoch): string => {
    const session = { ...signing(from, h1, h4, message), share };
    const [report, ...more] = engine.step({ type: 'begin', session }, 0);
    assert.deepEqual(more, []);
    assert.ok(report?.type === 'failed');
    return report.detail.split(':')[0]!;
  };
  assert.equal(failure('never held'), 'share-unknown');
  assert.equal(failure(h2), 'share-foreign');
  assert.equal(failure(h1, next), 'share-foreign');
  assert.deepEqual(
    engine.step({ type: 'begin', session: { ...signing(epoch, h1, h4, message), share: null } }, 0),
    [],
  );
});

test('the founder signs alone, with the genesis key and no other', () => {
  const engine = engineOf('h1');
  const session = signing(genesis, h1, h1, message);
  const begin = (): readonly EngineReport[] => engine.step({ type: 'begin', session }, 0);
  const [unknown] = begin();
  assert.ok(unknown?.type === 'failed' && unknown.detail.startsWith('share-unknown'));
  engine.step({ type: 'hold', name: 'genesis', secret: seedOf('another root') }, 0);
  const [foreign] = begin();
  assert.ok(foreign?.type === 'failed' && foreign.detail.startsWith('share-foreign'));
  engine.step({ type: 'forget', names: ['genesis'] }, 0);
  engine.step({ type: 'hold', name: 'genesis', secret: seedOf('root').subarray(1) }, 0);
  const [damaged] = begin();
  assert.ok(damaged?.type === 'failed' && damaged.detail.startsWith('share-unknown'));
  engine.step({ type: 'forget', names: ['genesis'] }, 0);
  engine.step({ type: 'hold', name: 'genesis', secret: seedOf('root') }, 0);
  const [signed] = begin();
  assert.ok(signed?.type === 'signed' && ed25519Verify(genesis.rootKey, message, signed.signature));
  const asked = { ...session, coordinator: h2 };
  assert.deepEqual(engine.step({ type: 'begin', session: asked }, 0), [], 'nobody else has it sign');
});

// --- Certificates ---

type Answer = Extract<EngineReport, { type: 'offered' | 'contributed' | 'declined' }>;

function ask(table: EngineTable, host: HostId, order: Parameters<EngineTable['order']>[1]): Answer {
  const [answer, ...more] = table.engines.get(host)!.step(order, table.now);
  assert.deepEqual(more, []);
  assert.ok(answer?.type === 'offered' || answer?.type === 'contributed' || answer?.type === 'declined');
  assert.ok('exchange' in order && answer.exchange === order.exchange);
  return answer;
}

const offerTo = (requester: HostId, exchange = 1) =>
  ({ type: 'offer', exchange, requester, share: epoch.session }) as const;

function codeOf(answer: Answer): string {
  return answer.type === 'declined' ? answer.code : answer.type;
}

test('promised nonces and signed shares add up to the root’s signature', () => {
  const table = restarted(['h2', 'h4', 'h5']);
  const signers = [h2, h4, h5];
  const offers = signers.map((host) => ask(table, host, offerTo(stranger)));
  const list = offers.map((offer) => {
    assert.ok(offer.type === 'offered');
    return decodeNonceCommitment(offer.commitment);
  });
  const commitments = encodeNonceCommitments(list);
  const shares = signers.map((host, i) => {
    const { nonceId } = offers[i] as Extract<Answer, { type: 'offered' }>;
    const share = epoch.session;
    const order = {
      type: 'contribute',
      exchange: 2,
      requester: stranger,
      share,
      nonceId,
      commitments,
      message,
    } as const;
    const answer = ask(table, host, order);
    assert.ok(answer.type === 'contributed');
    assert.equal(codeOf(ask(table, host, order)), 'nonce-unknown', 'nonces are used once');
    return [seatOf(epoch.plan.trustees, host)!, answer.share] as const;
  });
  const result = aggregate(new SigningSession(groupOfEpoch(epoch), message, list), new Map(shares));
  assert.ok(result.type === 'signed' && ed25519Verify(epoch.rootKey, message, result.signature));
});

test('what cannot be promised or signed is declined with a code, and spends the nonces', () => {
  const table = restarted(['h1']);
  assert.equal(codeOf(ask(table, h1, { ...offerTo(stranger), share: 'never held' })), 'share-unknown');
  const offered = ask(table, h1, offerTo(stranger));
  assert.ok(offered.type === 'offered');
  const contribution = {
    type: 'contribute',
    exchange: 3,
    requester: stranger,
    share: epoch.session,
    nonceId: offered.nonceId,
    commitments: encodeNonceCommitments([decodeNonceCommitment(offered.commitment)]),
    message,
  } as const;
  assert.equal(codeOf(ask(table, h1, { ...contribution, share: 'never held' })), 'share-unknown');
  assert.equal(codeOf(ask(table, h1, { ...contribution, requester: h5 })), 'nonce-unknown');
  assert.equal(codeOf(ask(table, h1, contribution)), 'too-few-signers');
  assert.equal(codeOf(ask(table, h1, contribution)), 'nonce-unknown');
  for (const [wrong, code] of [
    [{ commitments: Buffer.from('nonsense') }, 'malformed'],
    [{ message: new Uint8Array(65_537) }, 'message-too-long'],
  ] as const) {
    const again = ask(table, h1, offerTo(stranger));
    assert.ok(again.type === 'offered');
    assert.equal(codeOf(ask(table, h1, { ...contribution, nonceId: again.nonceId, ...wrong })), code);
    assert.equal(codeOf(ask(table, h1, { ...contribution, nonceId: again.nonceId })), 'nonce-unknown');
  }
  for (let promised = 0; promised < maxNoncesPerRequester; promised++)
    assert.equal(codeOf(ask(table, h1, offerTo(h5))), 'offered');
  assert.equal(codeOf(ask(table, h1, offerTo(h5))), 'nonce-quota');
  assert.equal(codeOf(ask(table, h1, offerTo(stranger))), 'offered');
});

test('a restart forgets what was promised, and its ids tell it apart', () => {
  const before = ask(restarted(['h1'], 4), h1, offerTo(stranger));
  const table = restarted(['h1'], 5);
  const after = ask(table, h1, offerTo(stranger));
  assert.ok(before.type === 'offered' && after.type === 'offered');
  assert.notEqual(before.nonceId, after.nonceId);
  const { nonceId, commitment } = before;
  const commitments = encodeNonceCommitments([decodeNonceCommitment(commitment)]);
  const share = epoch.session;
  const order = {
    type: 'contribute',
    exchange: 2,
    requester: stranger,
    share,
    nonceId,
    commitments,
    message,
  } as const;
  assert.equal(codeOf(ask(table, h1, order)), 'nonce-unknown');
});

test('the genesis key needs no nonces, and contributes the whole signature', () => {
  const table = restarted(['h1']);
  const offer = { ...offerTo(stranger), share: 'genesis' };
  assert.equal(codeOf(ask(table, h1, offer)), 'share-unknown');
  table.order(h1, { type: 'hold', name: 'genesis', secret: seedOf('root') });
  const offered = ask(table, h1, offer);
  assert.ok(offered.type === 'offered' && offered.commitment.length === 0);
  const { nonceId } = offered;
  const commitments = new Uint8Array();
  const order = {
    type: 'contribute',
    exchange: 2,
    requester: stranger,
    share: 'genesis',
    nonceId,
    commitments,
    message,
  } as const;
  const signed = ask(table, h1, order);
  assert.ok(signed.type === 'contributed' && ed25519Verify(genesis.rootKey, message, signed.share));
  assert.equal(codeOf(ask(table, h1, { ...order, nonceId: 'of another boot' })), 'nonce-unknown');
  assert.equal(codeOf(ask(table, h1, { ...order, message: new Uint8Array(65_537) })), 'message-too-long');
  table.order(h1, { type: 'forget', names: ['genesis'] });
  assert.equal(codeOf(ask(table, h1, order)), 'share-unknown');
});

test('printing an engine shows no secret', () => {
  const table = restarted(['h1']);
  table.order(h1, { type: 'hold', name: 'genesis', secret: seedOf('root') });
  ask(table, h1, offerTo(stranger));
  const { share } = decodeSecret(dealt.secretOf(h1, epoch));
  const engine = table.engines.get(h1);
  const shown = inspect(engine, { depth: 20, maxArrayLength: null }) + JSON.stringify(engine);
  for (const secret of [share.encode().subarray(1), seedOf('root')]) {
    const bytes = Buffer.from(secret);
    for (const text of [bytes.toString('hex'), bytes.join(', '), inspect(bytes).slice(8, 60)])
      assert.ok(!shown.includes(text));
  }
  assert.ok(!shown.includes(share.reveal().toString()));
});

test('shares held are bounded', () => {
  const table = restarted(['h1']);
  const secret = dealt.secretOf(h1, epoch);
  for (let i = 0; i < 200; i++) table.order(h1, { type: 'hold', name: `share ${i}`, secret });
  assert.equal(codeOf(ask(table, h1, { ...offerTo(stranger), share: 'share 126' })), 'offered');
  assert.equal(codeOf(ask(table, h1, { ...offerTo(stranger), share: 'share 127' })), 'share-unknown');
});

test('an engine rests once nothing is under way, and another goes on with its shares', () => {
  const table = restarted(['h1', 'h2', 'h3']);
  table.beginSigning(epoch, h1, message);
  const engine = table.engines.get(h2)!;
  assert.equal(engine.rest(0), null, 'a signature is under way');
  engine.step({ type: 'end', session: signing(epoch, h2, h1, message).id }, 0);
  engine.step({ type: 'offer', exchange: 1, requester: h1, share: epoch.session }, 0);
  assert.equal(engine.rest(nonceLifetimeMs - 1), null, 'nonces are promised');
  const estate = engine.rest(nonceLifetimeMs);
  assert.deepEqual(
    estate?.secrets.map(({ name }) => name),
    [epoch.session],
  );
  assert.deepEqual(decodeSecret(estate.secrets[0]!.secret), decodeSecret(dealt.secretOf(h2, epoch)));
  assert.equal(estate.nonceCount, 1, 'and names no nonces as these were');
  assert.deepEqual(engine.rest(nonceLifetimeMs)?.secrets, [], 'it holds nothing any more');
});
