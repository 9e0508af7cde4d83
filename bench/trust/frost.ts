/**
 * What threshold signing, key generation and resharing cost, in CPU time of one process, so that a loaded
 * machine gives the same figures: `bin/with-node bench/trust/frost.ts`. The library's own FROST beside it.
 */
import { randomBytes } from 'node:crypto';
import { ed25519_FROST } from '@noble/curves/ed25519.js';
import { commit, decodeElement, decodeWire, encodeElement } from '../../src/trust/frost/group.ts';
import type { GroupKey, KeyShare } from '../../src/trust/frost/keys.ts';
import {
  decodeNonceCommitments,
  encodeNonceCommitments,
  SigningNonces,
} from '../../src/trust/frost/nonces.ts';
import { aggregate, SigningSession, signShare, verifySignatureShare } from '../../src/trust/frost/signing.ts';
import { generationTerms, hostOf, type Keys, range, Table } from '../../test/unit/trust/frost/parties.ts';
import { median } from '../statistics.ts';

const sizes = [
  [2, 3],
  [3, 5],
  [4, 7],
  [5, 9],
  [7, 13],
] as const;
const signatures = 60;
const ceremonies = 5;
const message = randomBytes(1000);

/** Microseconds of CPU time that `act` takes. */
function costOf(act: () => void): number {
  const before = process.cpuUsage();
  act();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

function medianCost(rounds: number, act: () => void): number {
  act();
  return median(range(1, rounds).map(() => costOf(act)));
}

function report(size: string, what: string, microseconds: number): void {
  console.log(`${size.padEnd(8)}${what.padEnd(52)}${microseconds.toFixed(0).padStart(8)} us`);
}

function signatureCosts(size: string, group: GroupKey, signers: readonly KeyShare[]): void {
  const costs = {
    commit: [] as number[],
    sign: [] as number[],
    aggregate: [] as number[],
    verify: [] as number[],
  };
  for (let round = 0; round < signatures; round++) {
    const nonces: SigningNonces[] = [];
    for (const share of signers)
      costs.commit.push(costOf(() => nonces.push(SigningNonces.create(share, randomBytes(64)))));
    const wire = encodeNonceCommitments(nonces.map(({ commitment }) => commitment));
    const parts = new Map<number, Uint8Array>();
    for (const [i, share] of signers.entries())
      costs.sign.push(
        costOf(() => {
          const session = new SigningSession(group, message, decodeNonceCommitments(wire));
          parts.set(share.seat, signShare(session, share, nonces[i]!));
        }),
      );
    let session: SigningSession | null = null;
    costs.aggregate.push(
      costOf(() => {
        session = new SigningSession(group, message, decodeNonceCommitments(wire));
        if (aggregate(session, parts).type !== 'signed') throw new Error('honest shares make a signature');
      }),
    );
    const [seat, part] = [...parts][0]!;
    costs.verify.push(costOf(() => verifySignatureShare(session!, seat, part)));
  }
  report(size, 'commit to a pair of nonces', median(costs.commit));
  report(size, 'sign a share, decoding commitments', median(costs.sign));
  report(size, 'aggregate and verify, decoding commitments', median(costs.aggregate));
  report(size, 'verify one share (only to blame)', median(costs.verify));
}

function ceremonyCosts(size: string, threshold: number, count: number): Keys {
  const signers = range(1, count).map((i) => hostOf(`h${i}`));
  const terms = generationTerms(threshold, count);
  let table = new Table(terms, signers);
  const generate = medianCost(ceremonies, () => {
    table = new Table(terms, signers).start();
  });
  const keys = table.keys();
  report(size, 'generate a key, per host, signed messages and all', generate / count);
  const move = { ...terms, epoch: 2, dealers: terms.dealers.slice(0, threshold), previous: keys.group };
  const reshare = medianCost(ceremonies, () => {
    new Table(move, signers, keys.shares).start();
  });
  report(size, 'reshare, per host, signed messages and all', reshare / count);
  return keys;
}

function libraryCosts(size: string, threshold: number, count: number): void {
  const dealt = ed25519_FROST.trustedDealer({ min: threshold, max: count });
  const signers = Object.values(dealt.secretShares).slice(0, threshold);
  const sign: number[] = [];
  const add: number[] = [];
  for (let round = 0; round < ceremonies; round++) {
    const nonces = signers.map((signer) => ed25519_FROST.commit(signer));
    const list = nonces.map(({ commitments }) => commitments);
    const parts: { [identifier: string]: Uint8Array } = {};
    for (const [i, signer] of signers.entries())
      sign.push(
        costOf(() => {
          parts[signer.identifier] = ed25519_FROST.signShare(
            signer,
            dealt.public,
            nonces[i]!.nonces,
            list,
            message,
          );
        }),
      );
    add.push(costOf(() => ed25519_FROST.aggregate(dealt.public, list, message, parts)));
  }
  report(size, "the library's own: sign a share", median(sign));
  report(size, "the library's own: aggregate and verify", median(add));
}

const { element, wire } = commit(2n ** 251n + 12345n);
const encoded = encodeElement(element);
report(
  '',
  'decode a wire: no membership check needed',
  medianCost(300, () => decodeWire(wire)),
);
report(
  '',
  'decode an element: membership by multiplication',
  medianCost(300, () => decodeElement(encoded)),
);
for (const [threshold, count] of sizes) {
  const size = `${threshold}/${count}`;
  const { group, shares } = ceremonyCosts(size, threshold, count);
  signatureCosts(size, group, [...shares.values()].slice(0, threshold));
  libraryCosts(size, threshold, count);
}
