import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ed25519Verify, Fault, type HostId } from '../../../../src/core.ts';
import { Ceremony, type CeremonyTerms } from '../../../../src/trust/frost/ceremony.ts';
import { decodeEnvelope } from '../../../../src/trust/frost/envelope.ts';
import { encodeScalar, scalars } from '../../../../src/trust/frost/group.ts';
import { KeyShare } from '../../../../src/trust/frost/keys.ts';
import { nonceEntropyBytes, SigningNonces } from '../../../../src/trust/frost/nonces.ts';
import { lagrangeWeight, type Seat } from '../../../../src/trust/frost/polynomial.ts';
import { aggregate, SigningSession, signShare } from '../../../../src/trust/frost/signing.ts';
import {
  dealtKeys,
  entropyOf,
  hostOf,
  type Keys,
  partiesOf,
  range,
  session,
  signWith,
  Table,
} from './parties.ts';

const message = Buffer.from('the bytes of a certificate');
const labels = range(1, 12).map((i) => `h${i}`);
const keyOf = (label: string): HostId => hostOf(label).publicKey;
const old = dealtKeys(3, range(1, 5));

interface Move {
  readonly dealers: readonly string[];
  readonly receivers: readonly string[];
  readonly threshold: number;
  readonly quorum?: number;
  readonly keys?: Keys;
  readonly firstSeat?: number;
}

/** Hosts `h1` to `h5` hold the old seats 1 to 5. */
function moveTerms(move: Move): CeremonyTerms {
  return {
    trustDomain: 'mesh.example',
    generation: 1,
    epoch: 2,
    session,
    dealers: partiesOf(labels).filter((_, i) => move.dealers.includes(labels[i]!)),
    receivers: partiesOf(move.receivers, move.firstSeat),
    threshold: move.threshold,
    quorum: move.quorum ?? move.receivers.length,
    previous: (move.keys ?? old).group,
    cold: null,
    coldDealer: null,
  };
}

function tableOf(move: Move): Table {
  const hosts = [...new Set([...move.dealers, ...move.receivers])];
  return new Table(moveTerms(move), hosts.map(hostOf), (move.keys ?? old).shares);
}

/** The secret that shares interpolate to; only a test puts it together. */
function secretOf(shares: readonly KeyShare[]): bigint {
  const seats = shares.map(({ seat }) => seat);
  return shares
    .map((share) => scalars.mul(lagrangeWeight(seats, share.seat), share.reveal()))
    .reduce((total, term) => scalars.add(total, term), 0n);
}

test('a key moves to other hosts and other thresholds, and stays the same key', () => {
  const moves: Move[] = [
    { dealers: ['h1', 'h3', 'h5'], receivers: ['h6', 'h7', 'h8', 'h9', 'h10'], threshold: 3 },
    { dealers: ['h2', 'h3', 'h4'], receivers: ['h1', 'h2', 'h3', 'h4', 'h5'], threshold: 3 },
    { dealers: ['h1', 'h2', 'h3', 'h4'], receivers: labels.slice(0, 7), threshold: 4 },
    { dealers: ['h1', 'h2', 'h5'], receivers: ['h5', 'h6', 'h7'], threshold: 2, firstSeat: 20 },
  ];
  for (const move of moves) {
    const { group, shares } = tableOf(move).start().keys();
    assert.equal(group.publicKey, old.group.publicKey);
    assert.equal(shares.size, move.receivers.length);
    signWith(group, [...shares.values()].slice(-move.threshold), message);
    assert.equal(secretOf([...shares.values()]), secretOf([...old.shares.values()]));
  }
});

test('a key moves on from move to move', () => {
  let keys: Keys = old;
  for (const threshold of [4, 3, 3]) {
    const receivers = labels.slice(0, 2 * threshold - 1);
    keys = tableOf({ dealers: labels.slice(0, keys.group.threshold), receivers, threshold, keys })
      .start()
      .keys();
  }
  assert.equal(keys.group.publicKey, old.group.publicKey);
  signWith(
    keys.group,
    [1, 3, 5].map((seat) => keys.shares.get(seat)!),
    message,
  );
});

test('old shares are useless with new ones, whatever quorum they are mixed into', () => {
  const all = labels.slice(0, 5);
  const fresh = tableOf({ dealers: ['h1', 'h2', 'h3'], receivers: all, threshold: 3 })
    .start()
    .keys();
  const secret = secretOf([...old.shares.values()].slice(0, 3));
  for (const stale of [[1], [1, 2], [2, 4]]) {
    const mixed = [1, 2, 4].map((seat: Seat) => (stale.includes(seat) ? old : fresh).shares.get(seat)!);
    assert.notEqual(secretOf(mixed), secret);
    for (const { group } of [old, fresh]) {
      const nonces = mixed.map((share) =>
        SigningNonces.create(share, entropyOf(`n${share.seat}`, nonceEntropyBytes)),
      );
      const signing = new SigningSession(
        group,
        message,
        nonces.map(({ commitment }) => commitment),
      );
      const parts = mixed.map((share, i) => [share.seat, signShare(signing, share, nonces[i]!)] as const);
      const foreign = mixed.filter((share) => !share.belongsTo(group)).map(({ seat }) => seat);
      assert.deepEqual(aggregate(signing, new Map(parts)), { type: 'blamed', seats: foreign });
    }
  }
});

test('one share fewer than the threshold, of the old and of the new, do not reach the secret together', () => {
  const all = labels.slice(0, 5);
  const fresh = tableOf({ dealers: ['h1', 'h2', 'h3'], receivers: all, threshold: 3 })
    .start()
    .keys();
  const secret = secretOf([...old.shares.values()]);
  const shares = [old.shares.get(1)!, old.shares.get(2)!, fresh.shares.get(3)!, fresh.shares.get(4)!];
  assert.notEqual(secretOf(shares), secret);
});

test('a quorum of receivers is enough, and late ones are named by nobody', () => {
  const receivers = labels.slice(0, 5);
  const table = tableOf({ dealers: ['h1', 'h2', 'h3'], receivers, threshold: 3, quorum: 4 });
  table.tamper = (from, to, bytes) => (from === keyOf('h5') || to === keyOf('h5') ? null : bytes);
  table.start();
  for (const label of receivers.slice(0, 4)) {
    const outcome = table.outcomes.get(keyOf(label));
    assert.ok(outcome?.type === 'done');
    assert.deepEqual(outcome.acceptedBy, [1, 2, 3, 4]);
  }
  table.finish();
  assert.equal(table.outcomes.get(keyOf('h5'))?.type, 'failed');
});

test('a receiver that comes late is served until the end', () => {
  const receivers = labels.slice(0, 5);
  const table = tableOf({ dealers: ['h1', 'h2', 'h3'], receivers, threshold: 3, quorum: 4 });
  table.tamper = (_from, to, bytes) => (table.now === 0 && to === keyOf('h5') ? null : bytes);
  table.start().finish().keys();
});

test('a dealer that would change the key is named', () => {
  const receivers = labels.slice(5, 10);
  const table = tableOf({ dealers: ['h1', 'h2', 'h3'], receivers, threshold: 3 });
  // Another polynomial, sound in itself: that of a trustee of some other group.
  const other = dealtKeys(3, range(1, 5), 'another group');
  const twin = tableOf({ dealers: ['h1', 'h2', 'h3'], receivers, threshold: 3, keys: other });
  table.tamper = (from, to, bytes) => {
    const envelope = decodeEnvelope(table.ceremony, bytes);
    if (from !== keyOf('h2') || (envelope.type !== 'dealing' && envelope.type !== 'share')) return bytes;
    return table.forge(from, { ...envelope, payload: twin.said(from, envelope.type, to) });
  };
  table.start();
  for (const label of [...receivers, 'h1', 'h3']) {
    const outcome = table.outcomes.get(keyOf(label));
    assert.ok(outcome?.type === 'failed' && outcome.blame !== null);
    assert.deepEqual([outcome.blame.host, outcome.blame.reason], [keyOf('h2'), 'wrong-constant']);
  }
});

test('a dealing with a proof in a resharing, or a wrong share, is named', () => {
  for (const [type, reason] of [
    ['dealing', 'malformed'],
    ['share', 'wrong-share'],
  ] as const) {
    const table = tableOf({ dealers: ['h1', 'h2', 'h3'], receivers: labels.slice(5, 10), threshold: 3 });
    table.tamper = (from, _to, bytes) => {
      const envelope = decodeEnvelope(table.ceremony, bytes);
      if (from !== keyOf('h2') || envelope.type !== type) return bytes;
      const payload =
        type === 'dealing'
          ? Buffer.concat([envelope.payload.subarray(0, -1), Buffer.of(64), new Uint8Array(64)])
          : Buffer.concat([envelope.payload.subarray(0, 32), encodeScalar(5n)]);
      return table.forge(from, { ...envelope, payload });
    };
    table.start();
    for (const label of labels.slice(5, 10)) {
      const outcome = table.outcomes.get(keyOf(label));
      assert.ok(outcome?.type === 'failed' && outcome.blame !== null);
      assert.deepEqual([outcome.blame.host, outcome.blame.reason], [keyOf('h2'), reason]);
    }
  }
});

test('too few old trustees, or strangers, cannot move a key', () => {
  const receivers = labels.slice(5, 10);
  for (const dealers of [
    ['h1', 'h2'],
    ['h1', 'h2', 'h6'],
  ])
    assert.throws(
      () => new Ceremony(moveTerms({ dealers, receivers, threshold: 3 })),
      (error) => error instanceof Fault && error.code === 'ceremony-unsound' && error.field === 'dealers',
    );
});

test('a share that is not its own does not let a dealer begin', () => {
  const terms = moveTerms({ dealers: ['h1', 'h2', 'h3'], receivers: labels.slice(5, 10), threshold: 3 });
  const wrong = new Map([[1, new KeyShare(1, 7n)]]);
  const table = new Table(terms, [hostOf('h1')], wrong);
  assert.throws(() => table.start(), /a dealer has its own share/);
});

test('a signature by the new shares verifies under the key that the old ones had', () => {
  const { group, shares } = tableOf({
    dealers: ['h1', 'h4', 'h5'],
    receivers: labels.slice(5, 8),
    threshold: 2,
  })
    .start()
    .keys();
  const signature = signWith(group, [...shares.values()].slice(1), message);
  assert.ok(ed25519Verify(old.group.publicKey, message, signature));
});

test('who is convicted after the key is done is named once, and complaints do not go round for ever', () => {
  const receivers = labels.slice(0, 5);
  const table = tableOf({ dealers: ['h1', 'h2', 'h3'], receivers, threshold: 3, quorum: 4 });
  table.tamper = (from, to, bytes) => (from === keyOf('h5') || to === keyOf('h5') ? null : bytes);
  table.start();
  table.tamper = (_from, _to, bytes) => bytes;
  const whispered = table.forge(keyOf('h5'), { type: 'complaint', from: 5, to: 0, payload: Buffer.of(1) });
  const again = table.forge(keyOf('h5'), { type: 'complaint', from: 5, to: 0, payload: Buffer.of(2) });
  for (const bytes of [whispered, again, whispered]) table.post(keyOf('h5'), keyOf('h1'), bytes);
  table.deliver();
  for (const label of receivers.slice(0, 4)) {
    const blames = table.effects.flatMap(({ host, effect }) =>
      host === keyOf(label) && effect.type === 'blamed' ? [effect.blame] : [],
    );
    assert.deepEqual(
      blames.map(({ host, reason }) => [host, reason]),
      [[keyOf('h5'), 'false-complaint']],
    );
    assert.equal(table.outcomes.get(keyOf(label))?.type, 'done');
  }
});

test('a false acceptance after the key is done is answered with one complaint, however often it is said', () => {
  const receivers = labels.slice(0, 5);
  const table = tableOf({ dealers: ['h1', 'h2', 'h3'], receivers, threshold: 3, quorum: 4 });
  table.tamper = (from, _to, bytes) => (from === keyOf('h5') ? null : bytes);
  table.start();
  for (const filler of range(1, 5)) {
    const payload = new Uint8Array(3 * 96).fill(filler);
    table.post(
      keyOf('h5'),
      keyOf('h2'),
      table.forge(keyOf('h5'), { type: 'accept', from: 5, to: 0, payload }),
    );
  }
  table.tamper = (_from, _to, bytes) => bytes;
  table.deliver();
  assert.equal(
    table
      .messages(keyOf('h2'), 'complaint')
      .filter((bytes) => decodeEnvelope(table.ceremony, bytes).from === 2).length,
    1,
  );
});
