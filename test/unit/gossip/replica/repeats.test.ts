import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeJson } from '../../../../src/core.ts';
import { encodeRecord } from '../../../../src/gossip/replica/codec.ts';
import type { Way } from '../../../../src/gossip/replica/intake.ts';
import { Repeats } from '../../../../src/gossip/replica/repeats.ts';
import { idleSigner, makeRecord } from '../records.ts';

const now = 1_800_000_000_000;
const self = idleSigner('self');
const [liar, straggler] = ['liar', 'straggler'].map(
  (name): Way => ({ peer: idleSigner(name).publicKey }),
) as [Way, Way];
const old = (n: number) => makeRecord({ author: 'self', key: `old ${n}` });
const forged = (n: number) =>
  encodeRecord(
    { scope: 'host', kind: 'service', key: `forged ${n}`, version: 1, hlc: 1024, value: encodeJson({}) },
    { ...self, sign: () => new Uint8Array(64).fill(1) },
  );

function bench(): { repeats: Repeats; written: string[]; looks: () => number } {
  const written: string[] = [];
  let looks = 0;
  const repeats = new Repeats({
    self: self.publicKey,
    verify: (_key, _message, signature) => {
      looks++;
      return signature.every((byte) => byte === 0);
    },
    write: (_kind, key) => written.push(key),
  });
  return { repeats, written, looks: () => looks };
}

test('forgeries of one peer, or in deltas, keep nobody else from having a deletion said again', () => {
  for (const way of [liar, 'delta'] as const) {
    const { repeats, written, looks } = bench();
    for (let n = 0; n < 2000; n++) repeats.deletion(forged(n), way, now);
    assert.equal(looks(), 512, 'and cost a bounded number of looks');
    repeats.deletion(old(1), way, now);
    assert.deepEqual(written, [], 'whose forgeries they are must wait');
    repeats.deletion(old(1), straggler, now);
    assert.deepEqual(written, ['old 1']);
  }
});

test('what one peer has said again counts as said for all', () => {
  const { repeats, written } = bench();
  for (const way of [straggler, liar, 'delta'] as const) repeats.deletion(old(1), way, now);
  assert.deepEqual(written, ['old 1']);
});
