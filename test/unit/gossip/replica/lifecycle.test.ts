import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseLifecycle } from '../../../../src/gossip/replica/lifecycle.ts';
import { makeRecord } from '../records.ts';

test('a lifecycle is read from a record that says one, and from no other', () => {
  const said = { state: 'left', incarnation: 65_536 };
  assert.deepEqual(parseLifecycle(makeRecord({ value: said })), said);
  assert.equal(parseLifecycle(makeRecord({ deleted: true })), null);
  const wrong = [
    null,
    'left',
    [],
    {},
    { state: 'left' },
    { state: 'gone', incarnation: 1 },
    { state: 'left', incarnation: -1 },
    { state: 'left', incarnation: 1.5 },
    { state: 'left', incarnation: 2 ** 60 },
    { state: 'active', incarnation: '1' },
  ];
  for (const value of wrong) assert.equal(parseLifecycle(makeRecord({ value })), null, JSON.stringify(value));
  const garbage = { ...makeRecord({}), value: new Uint8Array([0xff, 0x7b]) };
  assert.equal(parseLifecycle(garbage), null);
});
