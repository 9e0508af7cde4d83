import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LightReplica, lightRecord } from '../../sim/scale/light-replica.ts';
import { firstInstanceOf, instancesOn } from '../../sim/scale/population.ts';

test('a light replica holds the latest of each slot, and its digest tells what it holds whatever came first', () => {
  const records = [lightRecord(1, 1), lightRecord(1, 2), lightRecord(2, 1)];
  const [one, other] = [new LightReplica(), new LightReplica()];
  assert.deepEqual(
    records.map((record) => one.join(record)),
    [true, true, true],
  );
  assert.deepEqual(
    [...records].reverse().map((record) => other.join(record)),
    [true, true, false],
  );
  assert.equal(one.digest, other.digest);
  assert.equal(one.versionOf(1), 2);
  assert.equal(one.versionOf(3), 0);
  one.join(lightRecord(2, 2));
  assert.notEqual(one.digest, other.digest);
});

test('every instance is on one host, some seventeen on each', () => {
  assert.equal(instancesOn(10_000), 172_000);
  const hosts = 300;
  assert.equal(firstInstanceOf(0, hosts), 0);
  assert.equal(firstInstanceOf(hosts, hosts), instancesOn(hosts));
  for (let host = 0; host < hosts; host++)
    assert.ok([17, 18].includes(firstInstanceOf(host + 1, hosts) - firstInstanceOf(host, hosts)));
});
