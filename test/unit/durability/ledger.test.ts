import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeJson } from '../../../src/core.ts';
import { encodeRecord } from '../../../src/gossip/replica/codec.ts';
import type { Record } from '../../../src/gossip/replica/record.ts';
import { Ledger } from '../../durability/ledger.ts';
import { nameOf } from '../../durability/lines.ts';
import { idleSigner } from '../gossip/records.ts';

const signer = idleSigner('one');
const self = signer.publicKey;
const subject = `service/${self.slice(0, 8)}/web`;

function service(content: string | null, version: number, hlc = version): Record {
  const value = content === null ? null : encodeJson({ meta: { content } });
  return encodeRecord({ scope: 'host', kind: 'service', key: 'web', version, hlc, value }, signer);
}

/** A ledger in which "b" was acknowledged after "a", and "c" asked for. */
function ledgerOf(): Ledger {
  const ledger = new Ledger();
  ledger.note({ type: 'open', self, epoch: 1, incarnation: 10, damaged: 0 });
  for (const content of ['a', 'b']) {
    ledger.note({ type: 'attempt', subject, content });
    ledger.note({ type: 'acknowledged', subject, content });
  }
  ledger.note({ type: 'attempt', subject, content: 'c' });
  return ledger;
}

test('what was acknowledged or asked for later may be found, nothing else', () => {
  for (const [found, isKept] of [
    [[service('b', 2)], true],
    [[service('c', 3)], true],
    [[service('a', 1)], false],
    [[service('never', 4)], false],
    [[service(null, 4)], false],
    [[], false],
  ] as const) {
    const ledger = ledgerOf();
    ledger.compare(found);
    assert.equal(ledger.violations.length === 0, isKept, JSON.stringify(ledger.violations));
  }
});

test('what was found once is what has to be found from then on', () => {
  const ledger = ledgerOf();
  ledger.compare([service('c', 3)]);
  ledger.compare([service('b', 2)]);
  assert.match(ledger.violations.join(), /"c" was acknowledged, "b" found/);
});

test('a version with two contents, published and lost records, and a clock that went back are told', () => {
  const ledger = ledgerOf();
  ledger.note({ type: 'signed', record: nameOf(service('a', 1, 5000)) });
  ledger.note({ type: 'published', record: nameOf(service('b', 7, 6000)) });
  ledger.compare([service('b', 1, 5000)]);
  ledger.note({ type: 'signed', record: nameOf(service('c', 8, 6000)) });
  assert.deepEqual(
    ledger.violations.map((violation) => violation.split(':')[0]),
    ['a version was used twice', 'published and lost', 'the clock went back'],
  );
});

test('an epoch, an incarnation or a host key that does not move on is told', () => {
  const ledger = ledgerOf();
  ledger.note({ type: 'open', self, epoch: 1, incarnation: 11, damaged: 0 });
  ledger.note({ type: 'open', self, epoch: 2, incarnation: 11, damaged: 0 });
  ledger.note({ type: 'open', self: idleSigner('two').publicKey, epoch: 3, incarnation: 12, damaged: 1 });
  assert.deepEqual(
    ledger.violations.map((violation) => violation.split(' ')[0]),
    ['epoch', 'incarnation', 'the', '1'],
  );
});
