/** Sick members, and what studies make of their runs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readArguments } from '../../sim/arguments.ts';
import { noNetworkCounters } from '../../sim/network/network.ts';
import { markdownTable, readableBytes } from '../../sim/report/study.ts';
import { membershipCpuShare, trafficBetween } from '../../sim/report/traffic.ts';
import { diagnose } from '../../sim/scale/lifeguard.ts';

test('nobody finds a healthy member down, however long the sick are stopped and however briefly they run', () => {
  for (const [stopMs, runMs] of [
    [256, 1],
    [2_048, 1],
    [8_192, 64],
  ] as const) {
    const { falseDowns } = diagnose({ hosts: 30, sick: 8, stopMs, runMs, seed: 2, parameters: 'own' });
    assert.equal(falseDowns, 0, `stopped for ${stopMs} ms, running for ${runMs} ms`);
  }
});

test('who is stopped for a second is not found down, who is stopped for longer by all', () => {
  const sickness = { hosts: 40, sick: 4, runMs: 1_000, times: 1, seed: 3, parameters: 'own' } as const;
  assert.equal(diagnose({ ...sickness, stopMs: 1_000 }).found, 0);
  const stopped = diagnose({ ...sickness, stopMs: 16_000 });
  assert.equal(stopped.found, 4);
  assert.equal(stopped.last.count, 4);
  assert.ok(stopped.last.max! < 6_000, `${stopped.last.max} ms`);
  assert.ok(stopped.first.max! <= stopped.last.max!);
});

test('members that run with the parameters of serf are slower to find anybody, and accuse the healthy', () => {
  const sickness = { hosts: 40, sick: 12, stopMs: 8_192, runMs: 1, seed: 1 } as const;
  const serf = diagnose({ ...sickness, parameters: 'serf' });
  const own = diagnose({ ...sickness, parameters: 'own' });
  assert.ok(serf.first.quantile(0.5)! > 2 * own.first.quantile(0.5)!);
  assert.ok(serf.falseSuspicions > own.falseSuspicions);
  assert.ok(serf.falseDowns > own.falseDowns);
});

test('traffic is what was sent between two moments, by one host in one second', () => {
  const before = { ...noNetworkCounters(), datagrams: 100, datagramBytes: 1_000 };
  const after = { ...before, datagrams: 300, datagramBytes: 41_000, dials: 10 };
  const traffic = trafficBetween(before, after, 10, 2_000);
  assert.equal(traffic.datagrams, 10);
  assert.equal(traffic.datagramBytes, 2_000);
  assert.equal(traffic.dials, 0.5);
  assert.equal(traffic.publishes, 0);
  assert.ok(membershipCpuShare(traffic) > membershipCpuShare({ ...traffic, dials: 0 }));
});

test('a study is a table that Markdown shows, with sizes that people read', () => {
  const rows = [
    ['', '10 hosts'],
    ['time', '1 s'],
  ];
  assert.equal(markdownTable(rows), '|  | 10 hosts |\n| --- | --- |\n| time | 1 s |\n');
  assert.deepEqual([1, 999.6, 1_234, 123_456].map(readableBytes), ['1 B', '1.0 kB', '1.2 kB', '123 kB']);
});

test('only a study that there is can be asked for, and parameters only where they mean something', () => {
  assert.equal(readArguments(['--study', 'growth']).study, 'growth');
  assert.equal(readArguments([]).study, null);
  assert.equal(readArguments(['--scenario', 'scale', '--parameters', 'serf']).parameters, 'serf');
  for (const argv of [
    ['--study', 'astrology'],
    ['--parameters', 'serf'],
    ['--scenario', 'scale', '--parameters', 'paxos'],
  ])
    assert.throws(() => readArguments(argv), { code: 'bad-option' }, argv.join(' '));
});
