/** Whole agents among real records of hosts that do not run. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { takeCensus } from '../../sim/census/census.ts';

test('one agent follows what happens in a mesh of forty, and a newcomer has all of it after one session', () => {
  let ticks = 0;
  const report = takeCensus(40, 1, { stopwatch: () => ++ticks, bytesInUse: () => 0 });
  assert.equal(report.instances, 688);
  // A grant, and of each host an admission, where it is, and a record and a check for each instance.
  assert.equal(report.records, 1 + 2 * 40 + 2 * 688);
  assert.ok(report.costs.changes.count >= 200);
  assert.ok(report.costs.configurations.count >= 200);
  assert.ok(report.snapshot.bytes > report.recordBytes && report.snapshot.bytes < 1.1 * report.recordBytes);
});
