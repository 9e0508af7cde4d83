/** What two of a ceremony cannot say to each other, or do not want to: the others carry it, or see who is silent. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519Verify, Fault, type HostId } from '../../../../src/core.ts';
import { answerKey, decodeClaim, encodeClaim, openAnswer } from '../../../../src/trust/frost/answer.ts';
import { checkDealing } from '../../../../src/trust/frost/dealing.ts';
import {
  decodeEnvelope,
  type Envelope,
  type MessageType,
  maxPayloadBytesOf,
} from '../../../../src/trust/frost/envelope.ts';
import {
  decodeEvidence,
  type Evidence,
  encodeEvidence,
  judge,
} from '../../../../src/trust/frost/evidence.ts';
import { maxSeats } from '../../../../src/trust/frost/polynomial.ts';
import { entropyOf, generationTerms, hostOf, receiptOf, Table } from './parties.ts';

const labels = ['h1', 'h2', 'h3', 'h4', 'h5'];
const keyOf = (label: string): HostId => hostOf(label).publicKey;
const labelOf = (host: HostId): string => labels.find((label) => keyOf(label) === host) ?? 'stranger';

function tableOf(threshold: number, count: number): Table {
  return new Table(generationTerms(threshold, count), labels.slice(0, count).map(hostOf));
}

/** What `isLost` does not arrive. */
function without(table: Table, isLost: (envelope: Envelope, from: HostId, to: HostId) => boolean): Table {
  table.tamper = (from, to, bytes) =>
    isLost(decodeEnvelope(table.ceremony, bytes), from, to) ? null : bytes;
  return table;
}

const everybody = (what: string[], but: Record<string, string[]> = {}): Record<string, string[]> => ({
  ...Object.fromEntries(labels.map((label) => [label, what])),
  ...but,
});

test('a dealer that is silent to one alone changes nothing: what it says to the others reaches that one', () => {
  const table = without(tableOf(3, 5), (_, from, to) => from === keyOf('h4') && to === keyOf('h2'));
  table.start().finish().keys();
  assert.deepEqual(table.missed(labelOf), everybody([]));
});

const cut = [keyOf('h1'), keyOf('h3')];
const isCut = (from: HostId, to: HostId): boolean => cut.includes(from) && cut.includes(to);

test('two that cannot reach each other get the key, and neither misses the other', () => {
  for (const [threshold, count] of [
    [2, 3],
    [3, 5],
  ] as const) {
    const table = without(tableOf(threshold, count), (_, from, to) => isCut(from, to));
    table.start().finish().keys();
    const nobody = Object.fromEntries(labels.slice(0, count).map((label) => [label, []]));
    assert.deepEqual(table.missed(labelOf), nobody);
  }
});

test('two that cannot reach each other see that a third was answered by both', () => {
  const table = without(
    tableOf(3, 5),
    ({ type, from }, sender, to) =>
      isCut(sender, to) ||
      (to === keyOf('h2') && (type === 'share' || type === 'answer')) ||
      (type === 'accept' && from === 2),
  );
  table.start().finish();
  for (const label of ['h1', 'h3', 'h4', 'h5'])
    assert.deepEqual(table.missed(labelOf)[label], ['accept h2'], label);
});

/** What `isLate` of `h4` arrives at the last moment before it is told who was missed. */
function atTheLastMoment(isLate: (envelope: Envelope, to: HostId) => boolean): Table {
  const table = tableOf(3, 5);
  const held: [HostId, HostId, Uint8Array][] = [];
  table.tamper = (from, to, bytes) => {
    const envelope = decodeEnvelope(table.ceremony, bytes);
    if (from !== keyOf('h4') || table.now >= 1490 || !isLate(envelope, to)) return bytes;
    held.push([from, to, bytes]);
    return null;
  };
  table.start().until(1490);
  for (const message of held) table.post(...message);
  table.deliver();
  return table.finish();
}

test('who deals or answers at the last moment is missed by all, and nobody who had to wait for it', () => {
  const dealing = atTheLastMoment(({ type }) => type === 'dealing');
  const answer = atTheLastMoment(
    ({ type }, to) => type === 'answer' || (type === 'share' && to === keyOf('h2')),
  );
  for (const table of [dealing, answer]) table.keys();
  // All is well in the end: nobody is missed. But one that then does not say so spares the late one nothing.
  assert.deepEqual(dealing.missed(labelOf), everybody([]));
  const spoilt = tableOf(3, 5);
  spoilt.tamper = (from, to, bytes) => {
    const { type, from: sender } = decodeEnvelope(spoilt.ceremony, bytes);
    if (type === 'accept' && sender === 4) return null;
    const isLate = type === 'answer' || (type === 'share' && to === keyOf('h2'));
    return from === keyOf('h4') && isLate && spoilt.now < 1490 ? null : bytes;
  };
  spoilt.start().finish();
  for (const label of ['h1', 'h3', 'h5'])
    assert.deepEqual(spoilt.missed(labelOf)[label], ['answer h4', 'accept h4'], label);
});

test('who began late claims with the others, and not at once', () => {
  const table = tableOf(3, 5);
  const claim = encodeClaim(entropyOf('early', 32), table.ceremony, []);
  const bytes = table.forge(keyOf('h1'), { type: 'missing', from: 1, to: 0, payload: claim });
  for (const [label, now, wakesAt] of [
    ['h2', 30, 100],
    ['h3', 700, 700],
  ] as const) {
    table.feed(keyOf(label), { type: 'start' });
    assert.equal(table.machines.get(keyOf(label))!.nextWake(), 1000);
    table.now = now;
    table.feed(keyOf(label), { type: 'message', bytes });
    assert.equal(table.machines.get(keyOf(label))!.nextWake(), wakesAt);
  }
});

test('every share that is lost on its way is given in public', () => {
  const table = without(tableOf(3, 5), ({ type }) => type === 'share');
  table.start().finish().keys();
  assert.deepEqual(table.missed(labelOf), everybody([]));
});

test('a dealer that neither gives one its share nor answers it is missed by all', () => {
  const table = without(
    tableOf(3, 5),
    ({ type, from, to }) => from === 4 && ((type === 'share' && to === 2) || type === 'answer'),
  );
  table.start().finish();
  const missed = table.missed(labelOf);
  assert.deepEqual(missed.h2, ['share h4']);
  for (const label of ['h1', 'h3', 'h5']) assert.deepEqual(missed[label], ['answer h4']);
});

test('a dealer that answers but one of the others has answered', () => {
  const table = without(
    tableOf(3, 5),
    ({ type }, from, to) =>
      from === keyOf('h4') &&
      ((type === 'share' && to === keyOf('h2')) || (type === 'answer' && to !== keyOf('h5'))),
  );
  table.start().finish().keys();
});

test('who claims to lack what all have seen answered, and says nothing more, is missed by all', () => {
  const table = tableOf(3, 5);
  without(table, ({ type }, from) => type === 'accept' && from === keyOf('h2'));
  table.start();
  table.now = 1000;
  const claim = encodeClaim(entropyOf('a lie', 32), table.ceremony, [1, 3, 4, 5]);
  const bytes = table.forge(keyOf('h2'), { type: 'missing', from: 2, to: 0, payload: claim });
  for (const label of ['h1', 'h3', 'h4', 'h5']) table.post(keyOf('h2'), keyOf(label), bytes);
  table.deliver();
  table.finish();
  const missed = table.missed(labelOf);
  for (const label of ['h1', 'h3', 'h4', 'h5']) assert.deepEqual(missed[label], ['accept h2']);
});

test('a claim whispered to one is heard by the accused, who answers it to all', () => {
  const table = tableOf(3, 5);
  without(table, ({ type }, from) => type === 'accept' && from === keyOf('h2'));
  table.start();
  table.now = 1000;
  const payload = encodeClaim(entropyOf('a lie', 32), table.ceremony, [4]);
  table.post(
    keyOf('h2'),
    keyOf('h1'),
    table.forge(keyOf('h2'), { type: 'missing', from: 2, to: 0, payload }),
  );
  table.deliver();
  table.finish();
  for (const label of ['h1', 'h3', 'h4', 'h5'])
    assert.deepEqual(table.missed(labelOf)[label], ['accept h2'], label);
});

/** Everything but `h4`'s answers arrives, and `h2` says these at these moments; then all say whom they missed. */
function claiming(claims: readonly { at: number; label: string; to: readonly string[] }[]): Table {
  const table = tableOf(3, 5);
  without(
    table,
    ({ type, from }, sender) =>
      (type === 'accept' && sender === keyOf('h2')) ||
      (type === 'answer' && from === 4) ||
      (type === 'missing' && sender === keyOf('h2') && table.now === 1000),
  );
  table.start();
  for (const { at, label, to } of claims) {
    table.now = at;
    const payload = encodeClaim(entropyOf(label, 32), table.ceremony, [4]);
    const bytes = table.forge(keyOf('h2'), { type: 'missing', from: 2, to: 0, payload });
    for (const one of to) table.post(keyOf('h2'), keyOf(one), bytes);
    table.deliver();
  }
  return table.finish();
}

test('a claim that comes too late to be answered is no excuse, and nor are two that differ', () => {
  const others = ['h1', 'h3', 'h4', 'h5'];
  const timely = claiming([{ at: 1249, label: 'one', to: others }]).missed(labelOf);
  const late = claiming([{ at: 1250, label: 'one', to: others }]).missed(labelOf);
  const two = claiming([
    { at: 999, label: 'one', to: ['h1', 'h4'] },
    { at: 1001, label: 'other', to: ['h3', 'h5'] },
  ]).missed(labelOf);
  for (const label of ['h1', 'h3', 'h5']) {
    assert.deepEqual(timely[label], ['answer h4']);
    assert.deepEqual(late[label], ['accept h2']);
    assert.deepEqual(two[label], ['accept h2']);
  }
});

test('a dealer that answers garbage is convicted by all, with the key that opens it', () => {
  // The last bit of the share, above the group's order; its first; the first of what opens it.
  for (const [at, bit, reason] of [
    [95, 0x80, 'malformed'],
    [64, 1, 'wrong-share'],
    [32, 1, null],
  ] as const) {
    const table = tableOf(3, 5);
    table.tamper = (from, to, bytes) => {
      const envelope = decodeEnvelope(table.ceremony, bytes);
      if (from !== keyOf('h4')) return bytes;
      if (envelope.type === 'share' && to === keyOf('h2')) return null;
      if (envelope.type !== 'answer') return bytes;
      const payload = envelope.payload.map((byte, i) => (i === at ? byte ^ bit : byte));
      return table.forge(from, { ...envelope, payload });
    };
    table.start().finish();
    for (const label of ['h1', 'h2', 'h3', 'h5']) {
      const outcome = table.outcomes.get(keyOf(label));
      assert.ok(outcome?.type === 'failed' && outcome.blame !== null, `${label} blames somebody`);
      assert.equal(labelOf(outcome.blame.host), 'h4');
      if (reason !== null) assert.equal(outcome.blame.reason, reason);
      const { evidence } = outcome.blame;
      const judged = judge(table.ceremony, evidence, ed25519Verify);
      assert.equal(judged?.reason, outcome.blame.reason);
      assert.deepEqual(decodeEvidence(table.ceremony, encodeEvidence(table.ceremony, evidence)), evidence);
    }
  }
});

test('an answer for another key than was claimed is none, and the dealer is missed', () => {
  const table = tableOf(3, 5);
  const payload = Buffer.concat([
    decodeClaim(table.ceremony, encodeClaim(entropyOf('nobody', 32), table.ceremony, [1])).get(1)!,
    new Uint8Array(64),
  ]);
  table.tamper = (from, to, bytes) => {
    const envelope = decodeEnvelope(table.ceremony, bytes);
    if (from !== keyOf('h4')) return bytes;
    if (envelope.type === 'share' && to === keyOf('h2')) return null;
    return envelope.type === 'answer' ? table.forge(from, { ...envelope, payload }) : bytes;
  };
  table.start().finish();
  for (const label of ['h1', 'h3', 'h5']) assert.deepEqual(table.missed(labelOf)[label], ['answer h4']);
  assert.deepEqual(table.missed(labelOf).h2, ['share h4']);
});

test('an answer is opened by its receiver alone, and an honest dealer is convicted by nobody', () => {
  const table = without(tableOf(3, 5), ({ type, from, to }) => type === 'share' && from === 4 && to === 2);
  table.start().finish().keys();
  const { ceremony } = table;
  const answer = decodeEnvelope(ceremony, table.messages(keyOf('h4'), 'answer')[0]!);
  const dealing = decodeEnvelope(ceremony, table.messages(keyOf('h4'), 'dealing')[0]!);
  const checked = checkDealing(ceremony, 4, dealing.payload);
  assert.ok(checked.type === 'sound');
  const seedOf = (label: string): Uint8Array =>
    entropyOf(`entropy answers ${ceremony.terms.session} ${keyOf(label)}`, 32);
  for (const label of labels) {
    const secret = answerKey(seedOf(label), ceremony, 4);
    const opened = openAnswer(ceremony, checked.value, 4, 2, answer.payload, secret);
    assert.equal(opened?.type, label === 'h2' ? 'sound' : undefined);
    const evidence: Evidence = { type: 'bad-answer', dealing, answer, key: secret };
    assert.equal(judge(ceremony, evidence, ed25519Verify), null);
  }
  const others = answerKey(seedOf('h2'), ceremony, 3);
  assert.equal(openAnswer(ceremony, checked.value, 4, 2, answer.payload, others), null);
});

test('however often it is claimed, one answer is given, and everything is passed on once', () => {
  const table = tableOf(3, 5).start();
  const count = (type: MessageType): number =>
    table.effects.filter(
      ({ host, effect }) =>
        host === keyOf('h1') &&
        (effect.type === 'send' || effect.type === 'broadcast') &&
        decodeEnvelope(table.ceremony, effect.bytes).type === type,
    ).length;
  const before = count('dealing') + count('accept');
  for (let i = 0; i < 20; i++) {
    const payload = encodeClaim(entropyOf(`claim ${i}`, 32), table.ceremony, [1, 3]);
    const bytes = table.forge(keyOf('h2'), { type: 'missing', from: 2, to: 0, payload });
    for (let twice = 0; twice < 2; twice++) table.feed(keyOf('h1'), { type: 'message', bytes });
  }
  assert.equal(count('answer'), 1);
  assert.equal(
    count('missing'),
    2,
    'the second shows that it contradicts itself; a third shows nothing more',
  );
  assert.equal(
    count('dealing') + count('accept') - before,
    2 + 4,
    'both dealings, and all acceptances but its own',
  );
});

test('a claim that names nobody who deals, or nobody in order, or no key, is dropped', () => {
  const table = tableOf(3, 5).start();
  const key = decodeClaim(table.ceremony, encodeClaim(entropyOf('a', 32), table.ceremony, [1])).get(1)!;
  for (const payload of [
    Buffer.concat([Buffer.of(1, 9), key]),
    Buffer.concat([Buffer.of(2, 3), key, Buffer.of(1), key]),
    Buffer.concat([Buffer.of(1, 3), new Uint8Array(32).fill(0xff)]),
    Buffer.concat([Buffer.of(1, 3), Buffer.of(1), new Uint8Array(31)]),
    Buffer.concat([Buffer.of(2, 3), key]),
    Buffer.concat([Buffer.of(1, 3), key, Buffer.of(0)]),
  ]) {
    assert.throws(() => decodeClaim(table.ceremony, payload), Fault);
    const sent = table.effects.length;
    const bytes = table.forge(keyOf('h2'), { type: 'missing', from: 2, to: 0, payload });
    table.feed(keyOf('h1'), { type: 'message', bytes });
    assert.deepEqual(
      table.effects.slice(sent).map(({ effect }) => effect.type),
      ['dropped'],
    );
  }
});

test('what is said of a receipt reaches all with the word that a share is held', () => {
  const table = tableOf(3, 5).start();
  for (const label of labels) {
    const heard = table.effects.flatMap(({ host, effect }) =>
      host === keyOf(label) && effect.type === 'accepted' ? [[effect.host, effect.receipt] as const] : [],
    );
    const expected = labels.filter((one) => one !== label).map((one) => [keyOf(one), receiptOf(keyOf(one))]);
    assert.deepEqual(heard.map(([host, receipt]) => [host, Buffer.from(receipt)]).sort(), expected.sort());
  }
});

test('what honest parties of the largest ceremony claim is not too long', () => {
  assert.ok(1 + (maxSeats + 1) * 33 <= maxPayloadBytesOf.missing);
});
