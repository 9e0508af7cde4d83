import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SourceRates, sourceOf } from '../../../src/gossip/source-rates.ts';

test('a source has its burst, then its rate, whatever others do, and a refusal costs it nothing', () => {
  const rates = new SourceRates(10, 2, 3);
  for (let i = 0; i < 3; i++) assert.ok(rates.take('a', 0));
  for (let i = 0; i < 100; i++) assert.ok(!rates.take('a', 0));
  assert.ok(rates.allows('b', 0) && rates.take('b', 0));
  assert.ok(!rates.take('a', 499));
  assert.ok(rates.take('a', 500));
  assert.ok(!rates.allows('a', 500));
  assert.ok(rates.allows('a', 10_000));
});

test('sources without end are forgotten in turn', () => {
  const rates = new SourceRates(100, 1);
  for (let i = 0; i < 10_000; i++) assert.ok(rates.take(`source ${i}`, 0));
  assert.equal(rates.size, 100);
});

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
