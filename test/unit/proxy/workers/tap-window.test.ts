import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  maxUntaken,
  TapReceipts,
  TapWindow,
  takenTogether,
} from '../../../../src/proxy/workers/tap-window.ts';

test('what a thread does not take is bounded, the rest is counted as lost, and all goes on once it is taken', () => {
  const window = new TapWindow();
  const receipts = new TapReceipts();
  const sent = (count: number): number =>
    Array.from({ length: count }, () => window.admits()).filter(Boolean).length;
  assert.equal(sent(maxUntaken + 100), maxUntaken);
  assert.equal(window.lost, 100);
  for (let taken = 1; taken < takenTogether; taken++) assert.ok(!receipts.take());
  assert.ok(receipts.take());
  window.taken();
  assert.equal(sent(maxUntaken), takenTogether);
  for (let taken = 0; taken < maxUntaken; taken++) if (receipts.take()) window.taken();
  assert.equal(sent(maxUntaken), maxUntaken);
});
