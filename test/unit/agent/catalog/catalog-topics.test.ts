import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Catalog } from '../../../../src/agent/catalog/catalog.ts';
import { HOST } from '../../../../src/agent/kinds.ts';
import { hostValue } from '../../../support/agent.ts';

const id = 'd'.repeat(64);

test('a new host is news for those who watch checks: its membership check is one', () => {
  const catalog = new Catalog();
  catalog.record(id, HOST, '', hostValue('new', '10.0.0.9'));
  assert.ok(catalog.takeChanged().has('checks'));
});

test('a host that changes its name is news under both names', () => {
  const catalog = new Catalog();
  catalog.record(id, HOST, '', hostValue('old', '10.0.0.9'));
  catalog.takeChanged();
  catalog.record(id, HOST, '', hostValue('new', '10.0.0.9'));
  const changed = catalog.takeChanged();
  assert.ok(changed.has('node:old') && changed.has('node:new'));
});

test('an index of an earlier run is below all of a later one, also of topics that never changed', () => {
  const before = new Catalog(3);
  for (let i = 0; i < 1000; i++) before.record(id, HOST, '', hostValue(`name-${i % 2}`, '10.0.0.9'));
  const after = new Catalog(4);
  assert.ok(after.indexOf('nodes') > before.index);
  after.record(id, HOST, '', hostValue('name', '10.0.0.9'));
  assert.ok(Number.isSafeInteger(after.index) && after.indexOf('nodes') > after.indexOf('services'));
});
