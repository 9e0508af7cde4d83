import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519Verify, Fault, type HostId } from '../../../../src/core.ts';
import { Ceremony, type CeremonyTerms } from '../../../../src/trust/frost/ceremony.ts';
import { decodeEnvelope } from '../../../../src/trust/frost/envelope.ts';
import { judge } from '../../../../src/trust/frost/evidence.ts';
import { generationTerms, hostOf, partiesOf, range, session, signWith, Table } from './parties.ts';

const message = Buffer.from('the bytes of a certificate');
const labels = ['h1', 'h2', 'h3', 'h4', 'h5'];
const keyOf = (label: string): HostId => hostOf(label).publicKey;
const labelOf = (host: HostId): string => labels.find((label) => keyOf(label) === host) ?? 'stranger';

function tableOf(threshold: number, count: number): Table {
  return new Table(generationTerms(threshold, count), labels.slice(0, count).map(hostOf));
}

test('three, five and seven hosts generate a key that every quorum signs with', () => {
  for (const [threshold, count] of [
    [2, 3],
    [3, 5],
    [4, 7],
  ] as const) {
    const signers = range(1, count).map((i) => hostOf(`h${i}`));
    const { group, shares } = new Table(generationTerms(threshold, count), signers).start().keys();
    assert.equal(group.threshold, threshold);
    assert.equal(shares.size, count);
    for (const share of shares.values()) assert.ok(share.belongsTo(group));
    signWith(group, [...shares.values()].slice(0, threshold), message);
    signWith(group, [...shares.values()].slice(-threshold), message);
  }
});

test('no share is announced before it is stored', () => {
  const table = tableOf(2, 3).start();
  for (const label of ['h1', 'h2', 'h3']) {
    const own = table.effects.filter(({ host }) => host === keyOf(label)).map(({ effect }) => effect);
    const stored = own.findIndex(({ type }) => type === 'persist');
    const announced = own.findIndex(
      (effect) =>
        effect.type === 'broadcast' && decodeEnvelope(table.ceremony, effect.bytes).type === 'accept',
    );
    assert.ok(stored >= 0 && announced > stored);
  }
});

test('messages may come in any order, and more than once', () => {
  const table = tableOf(3, 5);
  const held: { from: HostId; to: HostId; bytes: Uint8Array }[] = [];
  let isHolding = true;
  table.tamper = (from, to, bytes) => {
    if (!isHolding) return bytes;
    held.push({ from, to, bytes });
    return null;
  };
  table.start();
  isHolding = false;
  for (const { from, to, bytes } of [...held.toReversed(), ...held]) table.post(from, to, bytes);
  table.deliver();
  table.keys();
});

/** `h1` replaces the payload of each of its messages of a type, and signs what it made of it. */
function forgedBy(
  cheat: string,
  table: Table,
  type: string,
  change: (payload: Uint8Array, to: HostId) => Uint8Array,
): void {
  table.tamper = (from, to, bytes) => {
    const envelope = decodeEnvelope(table.ceremony, bytes);
    if (from !== keyOf(cheat) || envelope.type !== type || table.ceremony.dealer(envelope.from) === null)
      return bytes;
    return table.forge(from, { ...envelope, payload: change(envelope.payload, to) });
  };
}

const flipped = (payload: Uint8Array, at: number): Uint8Array =>
  payload.map((byte, i) => (i === at ? byte ^ 1 : byte));

/** Every honest host blames `cheat` for `reason`, with evidence that convinces a stranger. */
function assertBlamed(table: Table, cheat: string, reason: string): void {
  const { ceremony } = table;
  for (const [host] of table.machines) {
    if (host === keyOf(cheat)) continue;
    const outcome = table.outcomes.get(host);
    assert.ok(outcome?.type === 'failed', `${labelOf(host)} fails`);
    assert.ok(outcome.blame !== null, `${labelOf(host)} blames somebody`);
    assert.equal(`${outcome.blame.reason} by ${labelOf(outcome.blame.host)}`, `${reason} by ${cheat}`);
    const judged = judge(new Ceremony(ceremony.terms), outcome.blame.evidence, ed25519Verify);
    assert.deepEqual([judged?.host, judged?.reason], [outcome.blame.host, outcome.blame.reason]);
  }
}

test('a dealer of a polynomial of another degree is named', () => {
  for (const threshold of [2, 4]) {
    const table = tableOf(3, 5);
    // A dealing has a count, its commitments of 32 bytes, and the proof.
    forgedBy('h2', table, 'dealing', (payload) =>
      threshold === 2
        ? Buffer.concat([Buffer.of(2), payload.subarray(1, 65), payload.subarray(97)])
        : Buffer.concat([Buffer.of(4), payload.subarray(1, 97), payload.subarray(65)]),
    );
    assertBlamed(table.start(), 'h2', 'wrong-degree');
  }
});

test('a dealer without a proof of what it knows is named, and one with a wrong proof', () => {
  const without = tableOf(3, 5);
  forgedBy('h2', without, 'dealing', (payload) => Buffer.concat([payload.subarray(0, 97), Buffer.of(0, 0)]));
  assertBlamed(without.start(), 'h2', 'missing-proof');
  const wrong = tableOf(3, 5);
  forgedBy('h2', wrong, 'dealing', (payload) => flipped(payload, 97 + 1 + 32));
  assertBlamed(wrong.start(), 'h2', 'wrong-proof');
});

test("a dealer that builds on another's secret is named", () => {
  const table = tableOf(2, 3);
  let copied: Uint8Array | null = null;
  table.tamper = (from, _to, bytes) => {
    const envelope = decodeEnvelope(table.ceremony, bytes);
    if (envelope.type !== 'dealing') return bytes;
    if (from === keyOf('h1')) copied = envelope.payload;
    if (from !== keyOf('h3') || copied === null) return bytes;
    return table.forge(from, { ...envelope, payload: copied });
  };
  assertBlamed(table.start(), 'h3', 'wrong-proof');
});

test("a dealing that cannot be read is its signer's fault", () => {
  for (const change of [
    (payload: Uint8Array) => payload.subarray(0, 40),
    (payload: Uint8Array) => Buffer.concat([payload, Buffer.of(0)]),
    // No point of the curve has this encoding.
    (payload: Uint8Array) =>
      Buffer.concat([payload.subarray(0, 1), new Uint8Array(32).fill(0xff), payload.subarray(33)]),
    // The identity.
    (payload: Uint8Array) =>
      Buffer.concat([payload.subarray(0, 1), Buffer.of(1), new Uint8Array(31), payload.subarray(33)]),
  ]) {
    const table = tableOf(2, 3);
    forgedBy('h1', table, 'dealing', change);
    assertBlamed(table.start(), 'h1', 'malformed');
  }
});

test('a dealer of a wrong share to one receiver is named by all', () => {
  const table = tableOf(3, 5);
  forgedBy('h4', table, 'share', (payload, to) => (to === keyOf('h2') ? flipped(payload, 40) : payload));
  assertBlamed(table.start(), 'h4', 'wrong-share');
});

test('a dealer of a share that is of no dealing, or that is too short, is named', () => {
  const other = tableOf(3, 5);
  forgedBy('h4', other, 'share', (payload) => flipped(payload, 0));
  assertBlamed(other.start(), 'h4', 'wrong-share');
  const short = tableOf(3, 5);
  forgedBy('h4', short, 'share', (payload) => payload.subarray(1));
  assertBlamed(short.start(), 'h4', 'malformed');
});

test('a share of a length that no share has is named by all, and one beyond measure was never said', () => {
  const long = tableOf(3, 5);
  forgedBy('h4', long, 'share', (payload, to) => (to === keyOf('h2') ? new Uint8Array(256) : payload));
  assertBlamed(long.start(), 'h4', 'malformed');
  const endless = tableOf(3, 5);
  forgedBy('h4', endless, 'share', (payload, to) => (to === keyOf('h2') ? new Uint8Array(257) : payload));
  assert.deepEqual(
    new Set(endless.start().finish().blames(labelOf)),
    new Set(['done']),
    'it was given in public',
  );
});

test('a dealer that tells two stories is convicted by its two signatures', () => {
  const table = tableOf(2, 3);
  const twin = new Table({ ...generationTerms(2, 3), session: 'f'.repeat(32) }, [hostOf('h1')]);
  const otherStory = new Map<HostId, Uint8Array>();
  // Another sound dealing of h1, with sound shares, for h3 alone: drawn in a table of h1's own.
  twin.feed(keyOf('h1'), { type: 'start' });
  for (const { effect } of twin.effects)
    if (effect.type === 'broadcast') otherStory.set('dealing', effect.bytes);
    else if (effect.type === 'send' && effect.to === keyOf('h3')) otherStory.set('share', effect.bytes);
  table.tamper = (from, to, bytes) => {
    if (from !== keyOf('h1') || to !== keyOf('h3')) return bytes;
    const envelope = decodeEnvelope(table.ceremony, bytes);
    const other = otherStory.get(envelope.type);
    if (other === undefined) return bytes;
    return table.forge(from, { ...envelope, payload: decodeEnvelope(twin.ceremony, other).payload });
  };
  // The proof is bound to the session, so a dealing drawn elsewhere is refused for that already.
  assert.deepEqual(new Set(table.start().blames(labelOf).slice(1)), new Set(['wrong-proof h1']));
});

test('a dealer that tells two stories which both hold is convicted by its two signatures', () => {
  const table = reshareTable({ dealers: ['h1', 'h2', 'h3'] });
  const twin = reshareTable({ dealers: ['h1', 'h2', 'h3'], label: 'twin' });
  table.tamper = (from, to, bytes) => {
    const envelope = decodeEnvelope(table.ceremony, bytes);
    if (from !== keyOf('h1') || to !== keyOf('h5')) return bytes;
    if (envelope.type !== 'dealing' && envelope.type !== 'share') return bytes;
    const other = twin.said(from, envelope.type, to);
    return table.forge(from, { ...envelope, payload: other });
  };
  assertBlamed(table.start(), 'h1', 'equivocation');
});

interface ReshareOptions {
  readonly dealers: readonly string[];
  readonly label?: string;
}

/** Moves a 3-of-5 key of h1 to h5 to the same hosts. `label` varies the dealers' entropy, not the ceremony. */
function reshareTable(options: ReshareOptions): Table {
  const { group, shares } = generation;
  const old = partiesOf(labels);
  const terms: CeremonyTerms = {
    trustDomain: 'mesh.example',
    generation: 1,
    epoch: 2,
    session,
    dealers: old.filter(({ host }) => options.dealers.includes(labelOf(host))),
    receivers: old,
    threshold: 3,
    quorum: 5,
    previous: group,
    cold: null,
    coldDealer: null,
  };
  return new Table(terms, labels.map(hostOf), shares, options.label);
}

const generation = tableOf(3, 5).start().keys();

test('a complaint that convicts nobody convicts the accuser', () => {
  const table = tableOf(3, 5);
  let share: Uint8Array | null = null;
  table.tamper = (from, to, bytes) => {
    const envelope = decodeEnvelope(table.ceremony, bytes);
    if (envelope.type === 'share' && to === keyOf('h5')) share = bytes;
    if (envelope.type !== 'accept' || from !== keyOf('h5') || share === null) return bytes;
    // Evidence of type bad-dealing that is no dealing.
    const payload = Buffer.concat([Buffer.of(1), Buffer.of(share.length | 0x80, share.length >> 7), share]);
    return table.forge(from, { type: 'complaint', from: 5, to: 0, payload });
  };
  assertBlamed(table.start(), 'h5', 'false-complaint');
});

test('a false complaint whispered to one host is heard by all', () => {
  const table = tableOf(3, 5);
  table.tamper = (from, to, bytes) => {
    const envelope = decodeEnvelope(table.ceremony, bytes);
    if (from !== keyOf('h5') || envelope.type !== 'accept') return bytes;
    if (to !== keyOf('h1')) return null;
    return table.forge(from, { type: 'complaint', from: 5, to: 0, payload: Buffer.of(9) });
  };
  assertBlamed(table.start(), 'h5', 'false-complaint');
});

test('who accepts a dealing that nobody signed is named', () => {
  for (const change of [
    (payload: Uint8Array) => flipped(payload, 3),
    (payload: Uint8Array) => flipped(payload, 40),
    (payload: Uint8Array) => payload.subarray(96),
  ]) {
    const table = tableOf(2, 3);
    table.tamper = (from, _to, bytes) => {
      const envelope = decodeEnvelope(table.ceremony, bytes);
      if (from !== keyOf('h2') || envelope.type !== 'accept') return bytes;
      return table.forge(from, { ...envelope, payload: change(envelope.payload) });
    };
    assertBlamed(table.start(), 'h2', 'false-accept');
  }
});

test('a message that was tampered with on its way, or said elsewhere, is dropped and blames nobody', () => {
  const table = tableOf(2, 3);
  const dropped = (): string[] =>
    table.effects.flatMap(({ effect }) => (effect.type === 'dropped' ? [effect.fault.code] : []));
  const elsewhere = new Table({ ...generationTerms(2, 3), session: 'f'.repeat(32) }, [hostOf('h1')]);
  elsewhere.feed(keyOf('h1'), { type: 'start' });
  for (const { effect } of elsewhere.effects)
    if (effect.type === 'broadcast') table.post(keyOf('h1'), keyOf('h2'), effect.bytes);
  table.tamper = (from, to, bytes) => {
    if (from === keyOf('h3') && to === keyOf('h2'))
      table.feed(to, { type: 'message', bytes: flipped(bytes, bytes.length - 1) });
    return bytes;
  };
  table.start().keys();
  assert.deepEqual([...new Set(dropped())].sort(), ['other-ceremony', 'unsigned']);
});

test('a share that is for somebody else is dropped', () => {
  const table = tableOf(2, 3);
  let leaked = false;
  table.tamper = (_from, to, bytes) => {
    if (to === keyOf('h2') && decodeEnvelope(table.ceremony, bytes).type === 'share') {
      table.feed(keyOf('h3'), { type: 'message', bytes });
      leaked = true;
    }
    return bytes;
  };
  table.start().keys();
  assert.ok(leaked);
  assert.ok(
    table.effects.some(({ effect }) => effect.type === 'dropped' && effect.fault.code === 'misdirected'),
  );
});

test('a share that was lost is given to who claims that it lacks it', () => {
  const table = tableOf(3, 5);
  table.tamper = (from, to, bytes) =>
    table.now === 0 && from === keyOf('h1') && to === keyOf('h2') ? null : bytes;
  table.start();
  assert.equal(table.outcomes.size, 0);
  table.finish().keys();
});

test('who is never heard is named as absent, without blame', () => {
  const table = tableOf(3, 5);
  table.tamper = (from, _to, bytes) => (from === keyOf('h4') ? null : bytes);
  table.start().finish();
  for (const label of ['h1', 'h2', 'h3', 'h5']) {
    const outcome = table.outcomes.get(keyOf(label));
    assert.ok(outcome?.type === 'failed' && outcome.blame === null);
    assert.ok(outcome.absences.some(({ host }) => labelOf(host) === 'h4'));
  }
});

test('a ceremony survives encoding, and unsound terms make none', () => {
  const { terms, id } = tableOf(3, 5).ceremony;
  assert.deepEqual(Ceremony.decode(new Ceremony(terms).encode()).id, id);
  const resharing = reshareTable({ dealers: labels }).ceremony;
  assert.deepEqual(Ceremony.decode(resharing.encode()).id, resharing.id);
  const unsound: [string, Partial<CeremonyTerms>][] = [
    ['threshold', { threshold: 1 }],
    ['threshold', { threshold: 6 }],
    ['threshold', { threshold: 2 }],
    ['quorum', { quorum: 4 }],
    ['dealers', { dealers: terms.dealers.slice(1) }],
    ['dealers', { dealers: terms.dealers.toReversed() }],
    ['receivers', { receivers: terms.receivers.map((party) => ({ ...party, seat: 1 })) }],
    ['receivers', { receivers: terms.receivers.map((party) => ({ ...party, host: keyOf('h1') })) }],
  ];
  for (const [field, part] of unsound)
    assert.throws(
      () => new Ceremony({ ...terms, ...part }),
      (error) => error instanceof Fault && error.code === 'ceremony-unsound' && error.field === field,
    );
});
