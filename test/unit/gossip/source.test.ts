import assert from 'node:assert/strict';
import { test } from 'node:test';
import { sourceOf } from '../../../src/gossip/source.ts';

test('a source is an IPv4 address, or the network of an IPv6 one, however it is written', () => {
  assert.equal(sourceOf('10.0.0.1'), '10.0.0.1');
  assert.equal(sourceOf('::ffff:10.0.0.1'), '10.0.0.1');
  const network = sourceOf('2001:db8:1:2:3:4:5:6');
  assert.equal(network, '2001:db8:1:2');
  assert.equal(sourceOf('2001:db8:1:2::9'), network);
  assert.notEqual(sourceOf('2001:db8:1:3::9'), network);
  assert.equal(sourceOf('fe80::1%eth0'), sourceOf('fe80::2'));
  assert.equal(sourceOf('::1'), '0:0:0:0');
});
