import assert from 'node:assert/strict';
import { test } from 'node:test';
import { maxRelayBytes, maxRelaySequence } from '../../../../src/trust/epoch/message.ts';
import { Relay } from '../../../../src/trust/epoch/relay.ts';

const bytesOf = (i: number): Uint8Array => Buffer.of(i);

test('messages are delivered once and in order, those that overtook others with them', () => {
  const relay = new Relay(['a', 'b']);
  assert.deepEqual(relay.receive('a', 2, bytesOf(2)), { count: 0, news: [] });
  assert.deepEqual(relay.receive('a', 1, bytesOf(1)), { count: 0, news: [] });
  assert.deepEqual(relay.receive('b', 0, bytesOf(9)), { count: 1, news: [bytesOf(9)] });
  assert.deepEqual(relay.receive('a', 0, bytesOf(0)), { count: 3, news: [0, 1, 2].map(bytesOf) });
  for (const sequence of [0, 1, 2])
    assert.deepEqual(relay.receive('a', sequence, bytesOf(7)), { count: 3, news: [] });
  assert.deepEqual(relay.receive('a', 3, bytesOf(3)), { count: 4, news: [bytesOf(3)] });
  assert.equal(relay.receive('stranger', 0, bytesOf(0)), null);
});

test('what is too far ahead is not kept, and comes again', () => {
  const relay = new Relay(['a']);
  for (let i = maxRelaySequence - 1; i > 0; i--) relay.receive('a', i, bytesOf(i % 256));
  const { count, news } = relay.receive('a', 0, bytesOf(0))!;
  assert.equal(count, news.length);
  assert.ok(count < maxRelaySequence);
  for (let i = count; i < maxRelaySequence; i++) relay.receive('a', i, bytesOf(i % 256));
  assert.equal(relay.receive('a', 0, bytesOf(0))!.count, maxRelaySequence);
});

test('what was not confirmed is sent again, and there is an end to what is sent', () => {
  const relay = new Relay(['a', 'b']);
  for (let i = 0; i < maxRelaySequence; i++) assert.equal(relay.post('a', bytesOf(0))?.sequence, i);
  assert.equal(relay.post('a', bytesOf(0)), null);
  assert.equal(relay.post('b', new Uint8Array(maxRelayBytes + 1)), null);
  assert.equal(relay.post('stranger', bytesOf(0)), null);
  relay.confirm('a', maxRelaySequence - 2);
  relay.confirm('a', 3);
  relay.confirm('a', maxRelaySequence + 1);
  assert.deepEqual(
    relay.unconfirmed().map(({ sequence }) => sequence),
    [maxRelaySequence - 2, maxRelaySequence - 1],
  );
});
