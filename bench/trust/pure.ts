/**
 * What threshold signing, key generation and resharing cost in CPU time of one process, so that a loaded machine
 * gives the same figures. The library's own FROST does the same in the same process, turn by turn.
 */
import { randomBytes } from 'node:crypto';
import { ed25519_FROST } from '@noble/curves/ed25519.js';
import { ed25519Signer } from '../../src/core.ts';
import { commit, decodeElement, decodeWire, encodeElement } from '../../src/trust/frost/group.ts';
import {
  decodeNonceCommitments,
  encodeNonceCommitments,
  SigningNonces,
} from '../../src/trust/frost/nonces.ts';
import { aggregate, SigningSession, signShare, verifySignatureShare } from '../../src/trust/frost/signing.ts';
import { generationTerms, hostOf, type Keys, range, Table } from '../../test/unit/trust/frost/parties.ts';
import type { Row } from '../rows.ts';
import { median } from '../statistics.ts';
import { earlierPrototype, earlierReshareMs } from './earlier.ts';
import { Tally } from './tally.ts';

const library = '@noble/curves FROST';
const sizes = [
  [2, 3],
  [3, 5],
  [4, 7],
  [5, 9],
  [7, 13],
] as const;
/** As long as a certificate without its signature. */
const messageBytes = 700;
const signaturesPerRound = 12;
const operationsPerRound = 200;

type LibraryKeys = ReturnType<typeof ed25519_FROST.trustedDealer>;

/** Milliseconds of CPU time that `act` takes, all threads of this process together. */
function costOf(act: () => void): number {
  const before = process.cpuUsage();
  act();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

export function measurePure(rounds: number, say: (text: string) => void): Row[] {
  const tally = new Tally();
  for (let round = 0; round <= rounds; round++) {
    // The first is for the compiler, and counts for nothing.
    const into = round === 0 ? new Tally() : tally;
    operationCosts(into);
    for (const [threshold, count] of sizes) {
      if (round === 0 && count > 5) continue;
      sizeCosts(into, threshold, count, round % 2 === 0);
    }
    if (round > 0) say(`CPU of the threshold key, round ${round} of ${rounds}`);
  }
  return tally.rows();
}

function sizeCosts(tally: Tally, threshold: number, count: number, libraryFirst: boolean): void {
  const size = `${threshold}/${count}`;
  const add = (metric: string, value: number, peerValue: number): void =>
    tally.add({ metric: `${metric}-${size}`, unit: 'ms CPU', value, peer: library, peerValue });
  const [mine, theirs] = inTurn(
    libraryFirst,
    () => generate(threshold, count),
    () => libraryGenerate(threshold, count),
  );
  add('make-key-per-host', mine.cpuMs, theirs.cpuMs);
  const peerValue = earlierReshareMs[size];
  tally.add({
    ...{ metric: `reshare-per-host-${size}`, unit: 'ms CPU', value: reshare(mine.keys, threshold, count) },
    ...(peerValue === undefined ? {} : { peer: earlierPrototype, peerValue }),
  });
  for (let i = 0; i < signaturesPerRound; i++) {
    const message = randomBytes(messageBytes);
    const [own, other] = inTurn(
      i % 2 === 0,
      () => signOnce(mine.keys, threshold, message),
      () => librarySignOnce(theirs.keys, threshold, message),
    );
    add('sign-share', own.signMs, other.signMs);
    add('aggregate', own.aggregateMs, other.aggregateMs);
    add('verify-share', own.verifyMs, other.verifyMs);
  }
}

/** Who goes second meets a warmer or a dirtier machine, so that changes. */
function inTurn<A, B>(secondFirst: boolean, first: () => A, second: () => B): [A, B] {
  if (!secondFirst) return [first(), second()];
  const b = second();
  return [first(), b];
}

/** With all signed and sealed messages between the hosts, as they go over the network. */
function generate(threshold: number, count: number): { readonly cpuMs: number; readonly keys: Keys } {
  const signers = range(1, count).map((i) => hostOf(`h${i}`));
  const table = new Table(generationTerms(threshold, count), signers, new Map(), randomLabel());
  const cpuMs = costOf(() => table.start()) / count;
  return { cpuMs, keys: table.keys() };
}

/** From `threshold` dealers to the same hosts, all messages included. */
function reshare(keys: Keys, threshold: number, count: number): number {
  const terms = generationTerms(threshold, count);
  const signers = range(1, count).map((i) => hostOf(`h${i}`));
  const move = { ...terms, epoch: 2, dealers: terms.dealers.slice(0, threshold), previous: keys.group };
  const table = new Table(move, signers, keys.shares, randomLabel());
  const cpuMs = costOf(() => table.start()) / count;
  table.keys();
  return cpuMs;
}

function randomLabel(): string {
  return randomBytes(8).toString('hex');
}

interface SignatureCost {
  readonly signMs: number;
  readonly aggregateMs: number;
  readonly verifyMs: number;
}

/** What a trustee and a requester do once they have each other's messages, decoding these included. */
function signOnce({ group, shares }: Keys, threshold: number, message: Uint8Array): SignatureCost {
  const signers = [...shares.values()].slice(0, threshold);
  const nonces = signers.map((share) => SigningNonces.create(share, randomBytes(64)));
  const wire = encodeNonceCommitments(nonces.map(({ commitment }) => commitment));
  const parts = new Map<number, Uint8Array>();
  const sign = signers.map((share, i) =>
    costOf(() => {
      const session = new SigningSession(group, message, decodeNonceCommitments(wire));
      parts.set(share.seat, signShare(session, share, nonces[i]!));
    }),
  );
  let session: SigningSession | null = null;
  const aggregateMs = costOf(() => {
    session = new SigningSession(group, message, decodeNonceCommitments(wire));
    if (aggregate(session, parts).type !== 'signed') throw new Error('honest shares make a signature');
  });
  const [seat, part] = [...parts][0]!;
  const verifyMs = costOf(() => verifySignatureShare(session!, seat, part));
  return { signMs: median(sign), aggregateMs, verifyMs };
}

function libraryGenerate(
  threshold: number,
  count: number,
): { readonly cpuMs: number; readonly keys: LibraryKeys } {
  const { DKG, Identifier } = ed25519_FROST;
  const names = range(1, count).map((i) => Identifier.fromNumber(i));
  const secretShares: LibraryKeys['secretShares'] = {};
  let shared: LibraryKeys['public'] | null = null;
  const cpuMs = costOf(() => {
    const first = names.map((name) => DKG.round1(name, { min: threshold, max: count }));
    const others = (i: number) => first.filter((_, j) => j !== i).map((one) => one.public);
    const second = first.map(({ secret }, i) => DKG.round2(secret, others(i)));
    for (const [i, { secret }] of first.entries()) {
      const received = second.filter((_, j) => j !== i).map((sent) => sent[names[i]!]!);
      const key = DKG.round3(secret, others(i), received);
      secretShares[names[i]!] = key.secret;
      shared = key.public;
    }
  });
  return { cpuMs: cpuMs / count, keys: { public: shared!, secretShares } };
}

function librarySignOnce(keys: LibraryKeys, threshold: number, message: Uint8Array): SignatureCost {
  const signers = Object.values(keys.secretShares).slice(0, threshold);
  const nonces = signers.map((signer) => ed25519_FROST.commit(signer));
  const list = nonces.map(({ commitments }) => commitments);
  const parts: { [identifier: string]: Uint8Array } = {};
  const sign = signers.map((signer, i) =>
    costOf(() => {
      parts[signer.identifier] = ed25519_FROST.signShare(
        signer,
        keys.public,
        nonces[i]!.nonces,
        list,
        message,
      );
    }),
  );
  const aggregateMs = costOf(() => ed25519_FROST.aggregate(keys.public, list, message, parts));
  const [seat, part] = Object.entries(parts)[0]!;
  const verifyMs = costOf(() => ed25519_FROST.verifyShare(keys.public, list, message, seat, part));
  return { signMs: median(sign), aggregateMs, verifyMs };
}

/** The curve operations that all of it is made of, each the mean of many. */
function operationCosts(tally: Tally): void {
  const { element, wire } = commit(2n ** 251n + 12345n);
  const encoded = encodeElement(element);
  const signer = ed25519Signer(randomBytes(32));
  const message = randomBytes(messageBytes);
  const operations: { readonly [metric: string]: () => void } = {
    'operation-decode-wire': () => decodeWire(wire),
    'operation-decode-element-checked': () => decodeElement(encoded),
    'operation-commit': () => commit(2n ** 251n + 12345n),
    'operation-sign-envelope': () => signer.sign(message),
  };
  for (const [metric, act] of Object.entries(operations)) {
    const value = costOf(() => {
      for (let i = 0; i < operationsPerRound; i++) act();
    });
    tally.add({ metric, unit: 'ms CPU', value: value / operationsPerRound });
  }
}
