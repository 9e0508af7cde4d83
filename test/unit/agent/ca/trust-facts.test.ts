/** What records say of roots, by whom, and what of it is taken up when. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TrustFacts } from '../../../../src/agent/ca/trust-facts.ts';
import { seededRandom } from '../../../../src/core.ts';

const base64Of = (text: string): string => Buffer.from(text).toString('base64');
const minuteMs = 60_000;

test('one host’s word of an epoch that nobody reaches is asked about less and less often', () => {
  const facts = new TrustFacts();
  facts.toldOfEpoch('liar', { epoch: 2 ** 40, record: base64Of('junk') });
  const askedAt: number[] = [];
  for (let now = 0; now <= 60 * minuteMs; now += 1000)
    if (facts.laterEpochRecord(3, now, seededRandom(now)) !== null) askedAt.push(now / 1000);
  assert.deepEqual(askedAt.slice(0, 6), [0, 5, 15, 35, 75, 155]);
  assert.ok(askedAt.length < 20, `${askedAt.length} times in an hour`);
  // What it says next is no reason to ask it sooner.
  facts.toldOfEpoch('liar', { epoch: 2 ** 41, record: base64Of('other junk') });
  assert.equal(facts.laterEpochRecord(3, 60 * minuteMs + 1, seededRandom(1)), null);
});

test('a host that lies keeps nobody from another’s word, and a host that is caught up with starts anew', () => {
  const facts = new TrustFacts();
  facts.toldOfEpoch('liar', { epoch: 2 ** 40, record: base64Of('junk') });
  for (let now = 0; now < minuteMs; now += 1000) facts.laterEpochRecord(3, now, seededRandom(now));
  facts.toldOfEpoch('honest', { epoch: 4, record: base64Of('epoch 4') });
  const heard = (epoch: number, now: number): string | null => {
    const record = facts.laterEpochRecord(epoch, now, seededRandom(now));
    return record === null ? null : Buffer.from(record).toString();
  };
  assert.equal(heard(3, minuteMs), 'epoch 4');
  assert.equal(heard(3, minuteMs + 1), null);
  assert.equal(heard(4, minuteMs + 2), null, 'it is reached');
  facts.toldOfEpoch('honest', { epoch: 5, record: base64Of('epoch 5') });
  assert.equal(heard(4, minuteMs + 3), 'epoch 5');
});

test('the last head of a host waits until the host is known to have been a trustee', () => {
  const facts = new TrustFacts();
  const trustees = new Set(['trustee']);
  facts.toldOfHead('trustee', { head: 'a' });
  facts.toldOfHead('other', { head: 'b' });
  facts.toldOfHead('other', { head: 'c' });
  facts.toldOfHead('gone', { head: 'd' });
  assert.deepEqual(facts.takeHeads(trustees), [['trustee', { head: 'a' }]]);
  assert.deepEqual(facts.takeHeads(trustees), []);
  facts.toldOfHead('gone', null);
  assert.deepEqual(facts.takeHeads(new Set(['trustee', 'other', 'gone'])), [['other', { head: 'c' }]]);
  assert.equal(facts.hasHeads, false);
});
