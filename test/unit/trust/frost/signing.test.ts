import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ed25519Verify, Fault } from '../../../../src/core.ts';
import { decodeScalar, encodeElement, encodeScalar } from '../../../../src/trust/frost/group.ts';
import { GroupKey, KeyShare } from '../../../../src/trust/frost/keys.ts';
import {
  decodeNonceCommitment,
  decodeNonceCommitments,
  encodeNonceCommitments,
  nonceEntropyBytes,
  SigningNonces,
} from '../../../../src/trust/frost/nonces.ts';
import { lagrangeWeight, Polynomial } from '../../../../src/trust/frost/polynomial.ts';
import {
  aggregate,
  SigningSession,
  signShare,
  verifySignatureShare,
} from '../../../../src/trust/frost/signing.ts';
import { dealtKeys, entropyOf, range, signWith } from './parties.ts';

const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex');
const hex = (value: Uint8Array): string => Buffer.from(value).toString('hex');
const message = Buffer.from('the bytes of a certificate');

interface Vectors {
  readonly minParticipants: number;
  readonly groupSecretKey: string;
  readonly groupPublicKey: string;
  readonly message: string;
  readonly sharePolynomialCoefficients: readonly string[];
  readonly participantShares: { readonly [seat: string]: string };
  readonly signers: readonly {
    readonly identifier: number;
    readonly hidingNonceRandomness: string;
    readonly bindingNonceRandomness: string;
    readonly hidingNonce: string;
    readonly bindingNonce: string;
    readonly hidingNonceCommitment: string;
    readonly bindingNonceCommitment: string;
    readonly bindingFactor: string;
    readonly signatureShare: string;
  }[];
  readonly signature: string;
}

const vectorFile = new URL('../../../vectors/frost-ed25519-sha512.json', import.meta.url);
const vectors = JSON.parse(readFileSync(vectorFile, 'utf8')) as Vectors;

function vectorPolynomial(): Polynomial {
  const coefficients = [vectors.groupSecretKey, ...vectors.sharePolynomialCoefficients];
  return new Polynomial(coefficients.map((text) => decodeScalar(bytes(text))));
}

function vectorGroup(): GroupKey {
  const commitments = vectorPolynomial().commitments();
  return new GroupKey(
    [1, 2, 3],
    commitments.map(({ element }) => element),
  );
}

test("the dealer's shares and key are those of RFC 9591, appendix E.1", () => {
  const polynomial = vectorPolynomial();
  const group = vectorGroup();
  assert.equal(group.publicKey, vectors.groupPublicKey);
  for (const seat of group.seats) {
    const share = new KeyShare(seat, polynomial.evaluate(seat));
    assert.equal(hex(encodeScalar(share.reveal())), vectors.participantShares[seat]);
    assert.ok(share.belongsTo(group));
  }
});

test('nonces, binding factors, shares and signature are those of RFC 9591, appendix E.1', () => {
  const group = vectorGroup();
  const shares = vectors.signers.map(
    ({ identifier }) => new KeyShare(identifier, decodeScalar(bytes(vectors.participantShares[identifier]!))),
  );
  const make = (): SigningNonces[] =>
    vectors.signers.map(({ hidingNonceRandomness, bindingNonceRandomness }, i) =>
      SigningNonces.create(shares[i]!, bytes(hidingNonceRandomness + bindingNonceRandomness)),
    );
  for (const [i, nonces] of make().entries()) {
    const expected = vectors.signers[i]!;
    assert.equal(hex(nonces.commitment.hidingBytes), expected.hidingNonceCommitment);
    assert.equal(hex(nonces.commitment.bindingBytes), expected.bindingNonceCommitment);
    const secrets = nonces.spend();
    assert.equal(hex(encodeScalar(secrets.hiding)), expected.hidingNonce);
    assert.equal(hex(encodeScalar(secrets.binding)), expected.bindingNonce);
  }
  const nonces = make();
  const commitments = nonces.map(({ commitment }) => decodeNonceCommitment(commitment.wire));
  const session = new SigningSession(group, bytes(vectors.message), commitments.toReversed());
  const parts = vectors.signers.map((expected, i) => {
    assert.equal(hex(encodeScalar(session.part(expected.identifier).bindingFactor)), expected.bindingFactor);
    const part = signShare(session, shares[i]!, nonces[i]!);
    assert.equal(hex(part), expected.signatureShare);
    return [expected.identifier, part] as const;
  });
  const result = aggregate(session, new Map(parts));
  assert.ok(result.type === 'signed');
  assert.equal(hex(result.signature), vectors.signature);
  assert.ok(ed25519Verify(vectors.groupPublicKey, bytes(vectors.message), result.signature));
});

/** All subsets of `items`. */
function subsets<T>(items: readonly T[]): T[][] {
  return range(0, 2 ** items.length).map((chosen) => items.filter((_, i) => (chosen >>> i) & 1));
}

test('every three, four or five of five sign, and no fewer do', () => {
  const { group, shares } = dealtKeys(3, range(1, 5));
  for (const some of subsets([...shares.values()])) {
    if (some.length >= 3) signWith(group, some, message);
    else
      assert.throws(
        () => signWith(group, some, message),
        (error) => error instanceof Fault && error.code === 'too-few-signers',
      );
  }
});

test('two of three who ignore the threshold sign nothing that verifies', () => {
  const { group, shares } = dealtKeys(3, range(1, 5));
  const pair = [shares.get(1)!, shares.get(4)!];
  const smaller = new GroupKey([1, 4, 5], group.commitments.slice(0, 2));
  const nonces = pair.map((share) => SigningNonces.create(share, entropyOf(`${share.seat}`, 64)));
  const session = new SigningSession(
    smaller,
    message,
    nonces.map(({ commitment }) => commitment),
  );
  const parts = pair.map((share, i) => [share.seat, signShare(session, share, nonces[i]!)] as const);
  assert.equal(aggregate(session, new Map(parts)).type, 'blamed');
});

/** Three of five on the way to a signature. */
function threeSigners() {
  const { group, shares } = dealtKeys(3, range(1, 5));
  const signers = [2, 3, 5].map((seat) => shares.get(seat)!);
  const nonces = signers.map((share) =>
    SigningNonces.create(share, entropyOf(`nonces ${share.seat}`, nonceEntropyBytes)),
  );
  const commitments = nonces.map(({ commitment }) => commitment);
  return { group, signers, nonces, commitments };
}

test('a bad share is named, and so are two', () => {
  const { group, signers, nonces, commitments } = threeSigners();
  const session = new SigningSession(group, message, commitments);
  const parts = new Map(signers.map((share, i) => [share.seat, signShare(session, share, nonces[i]!)]));
  for (const seat of session.seats) assert.ok(verifySignatureShare(session, seat, parts.get(seat)!));
  const good = parts.get(3)!;
  parts.set(3, encodeScalar(decodeScalar(good) + 1n));
  assert.deepEqual(aggregate(session, parts), { type: 'blamed', seats: [3] });
  parts.set(5, new Uint8Array(32).fill(0xff));
  assert.deepEqual(aggregate(session, parts), { type: 'blamed', seats: [3, 5] });
  parts.set(3, good).set(5, new Uint8Array(3));
  assert.deepEqual(aggregate(session, parts), { type: 'blamed', seats: [5] });
});

test('a share for another message, or by other nonces, is a bad share', () => {
  const { group, signers, nonces, commitments } = threeSigners();
  const session = new SigningSession(group, message, commitments);
  const other = new SigningSession(group, Buffer.from('swapped by the coordinator'), commitments);
  const parts = new Map(
    signers.map((share, i) => [share.seat, signShare(share.seat === 2 ? other : session, share, nonces[i]!)]),
  );
  assert.deepEqual(aggregate(session, parts), { type: 'blamed', seats: [2] });
});

test('nonces are spent by signing once, and by a refused attempt as well', () => {
  const { group, signers, nonces, commitments } = threeSigners();
  const session = new SigningSession(group, message, commitments);
  signShare(session, signers[0]!, nonces[0]!);
  assert.ok(nonces[0]!.isSpent);
  assert.throws(() => signShare(session, signers[0]!, nonces[0]!), /nonces are used once/);
  const foreign = SigningNonces.create(signers[1]!, entropyOf('others', nonceEntropyBytes));
  assert.throws(
    () => signShare(session, signers[1]!, foreign),
    (error) => error instanceof Fault && error.code === 'foreign-commitment',
  );
  assert.ok(foreign.isSpent);
});

test('nonces and shares show no secret when they are printed, serialised or copied', () => {
  const { signers, nonces } = threeSigners();
  assert.deepEqual(JSON.parse(JSON.stringify(signers[0])), { seat: 2 });
  assert.deepEqual(Object.keys(nonces[0]!), ['commitment']);
  assert.equal('spend' in structuredClone({ ...nonces[0], commitment: null }), false);
});

test('a session wants known signers, each once, and a message of bounded length', () => {
  const { group, commitments } = threeSigners();
  const stranger = dealtKeys(3, [7, 8, 9], 'stranger').shares.get(7)!;
  const strange = SigningNonces.create(stranger, entropyOf('strange', nonceEntropyBytes)).commitment;
  const cases = [
    ['unknown-signer', [...commitments, strange], message],
    ['duplicate-signer', [...commitments, commitments[1]!], message],
    ['too-few-signers', commitments.slice(1), message],
    ['message-too-long', commitments, new Uint8Array(65_537)],
  ] as const;
  for (const [code, list, text] of cases)
    assert.throws(
      () => new SigningSession(group, text, list),
      (error) => error instanceof Fault && error.code === code,
    );
});

test('a session is the same in whatever order its commitments come', () => {
  const { group, commitments } = threeSigners();
  const [one, two] = [commitments, commitments.toReversed()].map(
    (list) => new SigningSession(group, message, list),
  );
  assert.deepEqual(one!.seats, [2, 3, 5]);
  assert.deepEqual(two!.seats, one!.seats);
  assert.equal(one!.challenge, two!.challenge);
});

test('a list of commitments is sent in the order of seats, and taken in no other', () => {
  const { commitments } = threeSigners();
  const encoded = encodeNonceCommitments(commitments.toReversed());
  assert.deepEqual(
    decodeNonceCommitments(encoded).map(({ seat }) => seat),
    [2, 3, 5],
  );
  const wires = commitments.map(({ wire }) => wire);
  for (const list of [wires.toReversed(), [wires[0]!, wires[0]!, wires[1]!]])
    assert.throws(() => decodeNonceCommitments(Buffer.concat([Buffer.of(3), ...list])), Fault);
});

test('weights of all quorums interpolate the very secret', () => {
  const polynomial = vectorPolynomial();
  for (const seats of [
    [1, 2],
    [1, 3],
    [2, 3],
    [1, 2, 3],
  ]) {
    const secret = seats
      .map((seat) => lagrangeWeight(seats, seat) * polynomial.evaluate(seat))
      .reduce((a, b) => a + b);
    assert.equal(
      hex(encodeScalar(secret % (2n ** 252n + 27742317777372353535851937790883648493n))),
      vectors.groupSecretKey,
    );
  }
});

test('a group key survives encoding, and its public shares with it', () => {
  const { group, shares } = dealtKeys(4, range(1, 7));
  const decoded = GroupKey.decode(group.encode());
  assert.equal(decoded.publicKey, group.publicKey);
  for (const share of shares.values()) assert.ok(share.belongsTo(decoded));
  assert.deepEqual(encodeElement(decoded.publicShare(3)), encodeElement(group.publicShare(3)));
});
